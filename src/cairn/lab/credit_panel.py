"""A fixed panel of trajectories with the exact credit of their turns, and the batches in which rules judge them.

A panel is one batch of the initial policy: `group_size` trajectories in each evaluation instance of a task. It stays.
To judge a rule, each trajectory in turn is put into a group of otherwise new rollouts, so that a turn of the panel is
credited again and again while everything random besides the trajectory itself is drawn anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.evidence.base import sha256_of
from cairn.lab import montecarlo
from cairn.lab.credit_figures import Exact
from cairn.lab.episodes import Branch
from cairn.lab.exact import ExactCredit
from cairn.lab.fidelity import FixedForm
from cairn.lab.forms import prompt_form
from cairn.lab.instance import Spoken, concatenate, take
from cairn.lab.loop import Panel, TrainSettings
from cairn.lab.model import LanguageModel, load
from cairn.lab.players import Player, PromptForm, Success
from cairn.lab.policy_gradient import return_gradient
from cairn.lab.protocol import Protocol, build_panel, family_of, panel_digest, task_knobs, task_prompt
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
PANEL_STREAM, REFERENCE_STREAM, DRAW_STREAM, FIT_STREAM = (1_100_000_000 + 10_000_000 * place for place in range(4))
DECISIVE = ("group_size", "prompt", "critic_learning_rate", "clip_norm")  # of the settings of training
CONTINUATIONS = 64  # of a Monte Carlo reference, before and after each turn


class ReplayForm:
    """A prompt form whose players begin with given trajectories, one in the first place of each instance's group."""

    def __init__(self, form: FixedForm, given: Spoken) -> None:
        """Play with what `form` has read. given: one trajectory for each instance, in their order."""
        self._form, self._given = form, given
        self.has_exact_credit, self.evaluation = form.has_exact_credit, form.evaluation

    def player(self, model: LanguageModel, instances: Sequence[Any]) -> Player[Any]:
        """See `PromptForm.player`. Each player starts afresh with the given trajectories."""
        return Replay(self._form.player(model, instances), self._given)


class Replay:
    """A player whose first batch holds given trajectories; see `cairn.lab.players.Player`."""

    def __init__(self, inside: Player[Any], given: Spoken) -> None:
        """Put `given` in the first place of each instance's group."""
        self._inside, self._given = inside, given
        self._fresh = True

    def __getattr__(self, name: str) -> Any:
        """Return what players of this form offer beyond the protocol."""
        return getattr(self._inside, name)

    @property
    def n_instances(self) -> int:
        """See `Player.n_instances`."""
        return self._inside.n_instances

    def play(self, instance: IntArray, rng: np.random.Generator) -> Spoken:
        """See `Player.play`. The dice of the places that are taken are drawn all the same."""
        played: Spoken = self._inside.play(instance, rng)
        if not self._fresh:
            return played
        self._fresh = False
        index = np.arange(instance.size)
        index[first_places(instance)] = instance.size + np.arange(self._given.instance.size)
        return take(concatenate([played, self._given]), index)

    def fork(self, spoken: Spoken, branch: Branch, rng: np.random.Generator) -> Spoken:
        """See `Player.fork`."""
        forked: Spoken = self._inside.fork(spoken, branch, rng)
        return forked

    def situations(self, spoken: Spoken) -> IntArray:
        """See `Player.situations`."""
        return self._inside.situations(spoken)

    def bifurcations(self, spoken: Spoken) -> BoolArray:
        """See `Player.bifurcations`."""
        return self._inside.bifurcations(spoken)

    def rollouts(self, spoken: Spoken, draw_seed: int) -> Rollouts:
        """See `Player.rollouts`."""
        return self._inside.rollouts(spoken, draw_seed)

    def exact(self) -> ExactCredit:
        """See `Player.exact`."""
        return self._inside.exact()

    def success(self, rng: np.random.Generator) -> Success:
        """See `Player.success`."""
        return self._inside.success(rng)


def first_places(instance: IntArray) -> IntArray:
    """Return where each instance stands first, in the order of the instances. instance: (R,)."""
    return np.unique(instance, return_index=True)[1]


@dataclass(frozen=True)
class CreditPanel:
    """W instances with G trajectories each, R = W * G in all, instance by instance; the policy that played them.

    advantages, errors: (R, K), 0 where no turn took place; errors is None where the advantages are exact.
    return_gradient: of the mean success over the instances, by all weights; None where nothing is exact.
    """

    task: str
    preset: str
    model: LanguageModel
    form: FixedForm
    instances: Panel
    settings: TrainSettings
    seed: int
    spoken: Spoken
    forks: BoolArray
    advantages: NDArray[np.float64]
    errors: NDArray[np.float64] | None
    return_gradient: Tensor | None

    @property
    def player(self) -> Player[Any]:
        """Return the policy on the evaluation instances."""
        return self.form.player(self.model, self.instances.evaluation)

    @property
    def rounds(self) -> int:
        """Return G: as many batches judge all trajectories once."""
        return self.settings.group_size

    @property
    def is_exact(self) -> bool:
        """Say whether the reference is exact credit."""
        return self.errors is None

    def members(self, round_: int) -> IntArray:
        """Return the trajectories (W,) that are judged in a round: one of each instance."""
        return np.arange(len(self.instances.evaluation)) * self.rounds + round_

    def replay(self, round_: int) -> ReplayForm:
        """Return the prompt form of a round's batches."""
        return ReplayForm(self.form, take(self.spoken, self.members(round_)))

    @property
    def instance_of_turn(self) -> IntArray:
        """(N,) instance of each turn that took place, in the order of the turns of all trajectories."""
        return np.asarray(np.nonzero(self.spoken.alive)[0] // self.rounds)

    def exact(self) -> Exact:
        """Return the reference of all N turns."""
        alive = self.spoken.alive
        return Exact(self.advantages[alive], self.forks[alive], None if self.errors is None else self.errors[alive])

    @cached_property
    def hash(self) -> str:
        """Return the sha256 of the instances, of all that was said and done on the trajectories, and of the sizes."""
        done = {name: value.tolist() for name, value in vars(self.spoken).items() if value.dtype.kind in "ib"}
        sizes = {name: getattr(self.settings, name) for name in DECISIVE}
        return sha256_of({"instances": panel_digest(self.instances), "done": done, "sizes": sizes, "seed": self.seed})

    def most_telling(self) -> int:
        """Return the trajectory that holds both a large gain and a large loss: max of min(max A, -min A); the first."""
        return int(np.minimum(self.advantages.max(1), -self.advantages.min(1)).argmax())


def make_panel(protocol: Protocol, preset: str, task: str, folder: Path) -> CreditPanel:
    """Play the panel of a task at a preset's sizes, with the model that lies in a folder.

    The panel and its exact credit are those of the weights in float64, so that no machine's rounding decides what was
    said; rules are judged in float32, as they are trained.
    """
    family = family_of(task)
    spec, sizes = protocol.of(family).tasks[family], protocol.of(family).preset(preset)
    train, evaluation = (
        (spec.train.first_seed, sizes.train_count or spec.train.count),
        (spec.evaluation.first_seed, sizes.evaluation_count or spec.evaluation.count),
    )
    instances = build_panel(family, task_knobs(protocol, preset, task), train, evaluation)
    settings = dataclasses.replace(protocol.settings(sizes), prompt=task_prompt(protocol, task))
    return play_panel((task, preset), folder, instances, settings, protocol.first_seed)


def play_panel(
    name: tuple[str, str], folder: Path, instances: Panel, settings: TrainSettings, seed: int
) -> CreditPanel:
    """Play a panel on given instances and find its reference. name: task and preset."""
    model, precise = load(folder), load(folder, dtype=torch.float64)
    form = prompt_form(settings.prompt, model.tokenizer, settings.evaluation_episodes)
    player = form.player(precise, instances.evaluation)
    which = np.repeat(np.arange(len(instances.evaluation)), settings.group_size)
    spoken: Spoken = player.play(which, np.random.default_rng([seed, PANEL_STREAM]))
    advantages, errors = _reference(form, player, spoken, seed)
    return CreditPanel(
        *name,
        model=model,
        form=FixedForm(form, model),
        instances=instances,
        settings=settings,
        seed=seed,
        spoken=spoken,
        forks=player.bifurcations(spoken),
        advantages=advantages,
        errors=errors,
        return_gradient=return_gradient(precise, player.exact()) if form.has_exact_credit else None,
    )


def _reference(
    form: PromptForm[Any], player: Player[Any], spoken: Any, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    if form.has_exact_credit:
        return player.exact().advantages(spoken), None
    rng = np.random.default_rng([seed, REFERENCE_STREAM])
    found = montecarlo.advantages(player, spoken, CONTINUATIONS, rng)
    return found.value, found.standard_error
