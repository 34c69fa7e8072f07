"""The training loop beside another trainer: the same model, prompts, generated tokens and updates, in one process.

Two workloads are made from a task's own instances:

    one turn: N prompts at which something is at stake, G samples of each. A sample is one phrase; 1 is paid for the
        first phrase that the prompt allows.
    episodes: N instances, G samples of each. A sample is an episode; what the world pays is its reward.

Both sides sample, compare rewards within groups, add the KL term to the initial policy, and take one step of AdamW.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from cairn.errors import UserError
from cairn.lab.controls import NullControl
from cairn.lab.loop import Panel, Trainer, TrainSettings
from cairn.lab.model import LanguageModel, load, quiet
from cairn.lab.pretrain import embedded_model
from cairn.lab.protocol import Protocol, read_protocol
from cairn.lab.speed import one_thread
from cairn.lab.task import Prompt
from cairn.lab.tasks import find
from cairn.lab.world import World
from cairn.method import Method

WARM_UPDATES = 2  # not timed: first calls allocate, and first optimiser steps make their state
FORMS: tuple[Prompt, ...] = ("windowed", "history")
RUNS_IN_PAIR = 2 * (len(FORMS) + 1)  # two workloads, our forms and the other trainer
FIRST_SEED, SEEDS = 1000, 64  # of the instances, as the protocol trains on
ACT = " . act"  # what stands between an observation and the policy's words


@dataclass(frozen=True)
class Workload:
    """What both sides do in an update, and the settings that both read."""

    name: str
    worlds: tuple[World, ...]
    group_size: int
    learning_rate: float
    clip_norm: float
    clip_ratio: float
    kl_coefficient: float

    @property
    def samples(self) -> int:
        """Return the samples of an update."""
        return len(self.worlds) * self.group_size

    @staticmethod
    def of(name: str, worlds: Sequence[World], group_size: int, protocol: Protocol) -> Workload:
        """Take the settings of the protocol."""
        rates = protocol.learning_rate, protocol.clip_norm
        return Workload(name, tuple(worlds), group_size, *rates, **protocol.loss.model_dump())


@dataclass(frozen=True)
class Spent:
    """What one side took for its timed updates. Processor seconds of the whole process."""

    processor_s: float
    wall_s: float
    samples: int
    generated_tokens: int

    @property
    def samples_per_s(self) -> float:
        """Return samples for each processor second."""
        return self.samples / self.processor_s


Side = Callable[[int], Spent]  # makes a fresh trainer and lets it make this many updates


@dataclass(frozen=True)
class Race:
    """The runs of several sides in turn, by the name of the side."""

    runs: dict[str, list[Spent]] = field(default_factory=dict)

    def samples_per_s(self, side: str) -> float:
        """Return the median."""
        return statistics.median(run.samples_per_s for run in self.runs[side])

    def tokens_per_sample(self, side: str) -> float:
        """Return generated tokens for each sample, over all runs."""
        return sum(run.generated_tokens for run in self.runs[side]) / sum(run.samples for run in self.runs[side])

    def ratios(self, ours: str, theirs: str) -> list[float]:
        """Return how many times as many samples `ours` makes in a second, pair by pair."""
        pairs = zip(self.runs[ours], self.runs[theirs], strict=True)
        return [mine.samples_per_s / other.samples_per_s for mine, other in pairs]


def race(sides: dict[str, Side], updates: int, pairs: int, advance: Callable[[], None]) -> Race:
    """Let all sides run in turn, `pairs` times, on one thread. advance: called after each run."""
    found = Race({name: [] for name in sides})
    with one_thread():
        for _ in range(pairs):
            for name, side in sides.items():
                found.runs[name].append(side(updates))
                advance()
    return found


def run_ours(work: Workload, model: LanguageModel, prompt: Prompt, updates: int) -> Spent:
    """Train with our loop in one prompt form, the plain method, and the stages as they are."""
    method = Method(clip_ratio=work.clip_ratio, kl_coefficient=work.kl_coefficient)
    settings = TrainSettings(
        updates=WARM_UPDATES + updates,
        tasks_per_update=len(work.worlds),
        group_size=work.group_size,
        learning_rate=work.learning_rate,
        clip_norm=work.clip_norm,
        evaluate_every=WARM_UPDATES + updates,
        critic_learning_rate=work.learning_rate,
        prompt=prompt,
    )
    trainer = Trainer(model, method, NullControl(), Panel(work.worlds, work.worlds), settings, seed=0)
    for update in range(WARM_UPDATES):
        trainer.step(update)
    said, wall, clock = trainer.ledger.generated_tokens, time.perf_counter(), time.process_time()
    for update in range(WARM_UPDATES, WARM_UPDATES + updates):
        trainer.step(update)
    taken = time.process_time() - clock, time.perf_counter() - wall
    return Spent(*taken, updates * work.samples, trainer.ledger.generated_tokens - said)


def one_turn_worlds(worlds: Sequence[World], tokenizer: PreTrainedTokenizerBase, count: int) -> tuple[World, ...]:
    """Make `count` worlds of one turn from distinct prompts of `worlds` at which the choice matters.

    All their phrases have the same number of tokens and the same last one. Raises UserError where there are too few.
    """
    found: dict[str, World] = {}
    shape = None
    for world in worlds:
        for prompt in np.unique(world.state_prompt[world.bifurcations & ~world.terminal]):
            text, phrases = world.prompts[prompt], world.options[prompt]
            tokens = tokenizer(list(phrases), add_special_tokens=False)["input_ids"] if len(phrases) > 1 else []
            shapes = {(len(ids), ids[-1]) for ids in tokens}
            if len(shapes) == 1 and text not in found and shape in (None, *shapes):
                (shape,) = shapes
                found[text] = one_turn(world, text, phrases)
            if len(found) == count:
                return tuple(found.values())
    raise UserError("too few different prompts", value=len(found), repair=f"ask for {len(found)} prompts at most")


def one_turn(world: World, prompt: str, phrases: tuple[str, ...]) -> World:
    """Return a world that asks once: `phrases[0]` is paid. Its prompt is the same in both prompt forms."""
    won, lost = 1, 2
    answers = np.array([won, *[lost] * len(phrases)])  # the last one is for what is not understood
    successors = np.stack([answers, np.full_like(answers, won), np.full_like(answers, lost)])[:, :, None]
    end = "the end"
    return World(
        name="one turn",
        header=world.header,
        prompts=(prompt, end),
        options=(phrases, ()),
        observations=(prompt.removeprefix(world.header).removesuffix(ACT).strip(), end),
        state_prompt=np.array([0, 1, 1]),
        state_observation=np.array([0, 1, 1]),
        successors=successors,
        probabilities=np.ones(successors.shape),
        terminal=np.array([False, True, True]),
        payoffs=np.array([0.0, 1.0, 0.0]),
        bifurcations=np.array([True, False, False]),
        start=0,
        horizon=1,
        recurrence=1.0,
    )


def compare(
    task: str, counts: tuple[int, int], group_size: int, updates: int, pairs: int, advance: Callable[[], None]
) -> list[dict[str, Any]]:
    """Race our loop in both prompt forms against the other trainer, on both workloads; return plain rows.

    counts: prompts of an update with one turn, instances of an update with episodes. advance: called after each of the
    `RUNS_IN_PAIR * pairs` runs. Needs trl. Raises UserError for a task without an embedded model, or too many prompts.
    """
    from cairn.lab.speed_trl import NAME, run_trl

    quiet()
    protocol, found = read_protocol(), find(task)
    knobs, folder = found.make_knobs({}), str(embedded_model(task))
    model = load(folder)
    worlds = [found.build(knobs, seed) for seed in range(FIRST_SEED, FIRST_SEED + SEEDS)]
    turns, episodes = one_turn_worlds(worlds, model.tokenizer, counts[0]), worlds[: counts[1]]
    rows = []
    for name, chosen in (("one turn", turns), ("episodes", episodes)):
        work = Workload.of(name, chosen, group_size, protocol)
        sides: dict[str, Side] = {form: partial(run_ours, work, model, form) for form in FORMS}
        raced = race({**sides, NAME: partial(run_trl, work, folder)}, updates, pairs, advance)
        rows += [_row(work, raced, form, NAME) for form in FORMS]
    return rows


def _row(work: Workload, raced: Race, ours: str, theirs: str) -> dict[str, Any]:
    ratios = raced.ratios(ours, theirs)
    return {
        "workload": work.name,
        "samples_in_update": work.samples,
        "prompt": ours,
        "against": theirs,
        "ours_samples_per_s": raced.samples_per_s(ours),
        "theirs_samples_per_s": raced.samples_per_s(theirs),
        "ours_tokens_per_sample": raced.tokens_per_sample(ours),
        "theirs_tokens_per_sample": raced.tokens_per_sample(theirs),
        "ratio": raced.samples_per_s(ours) / raced.samples_per_s(theirs),
        "least_ratio": min(ratios),
        "greatest_ratio": max(ratios),
    }
