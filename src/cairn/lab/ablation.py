"""Rollouts without some of the agents, paired with those in which all of them were there.

A pair has the same instance and the same dice: what was drawn for a turn, for the words as for the world's answer, is
drawn the same in both (common random numbers). So what differs comes from the absence alone, and the difference of the
two returns has less variance than that of two independent rollouts. `replay` lets the agents who are there speak again,
knowing what they are told this time; `returns_without` keeps what they said and takes away the words of the absent.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cairn.errors import UserError
from cairn.lab.episodes import Episodes, answer, longest_phrase
from cairn.lab.policy import UNKNOWN
from cairn.lab.world import BoolArray, FloatArray, IntArray, WorldBatch


@runtime_checkable
class TeamPlayer(Protocol):
    """A player (`cairn.lab.players.Player`) who can leave agents out."""

    worlds: WorldBatch

    def play_without(self, world: IntArray, absent: BoolArray, rng: np.random.Generator) -> Episodes:
        """Play from the start of each world of `world` (R,), without the agents `absent` (R, A).

        Column k is turn k of the world, empty where the agent was absent.
        """

    @property
    def phrases(self) -> tuple[IntArray, IntArray]:
        """The prefix trees of all that is understood: `roots` (P,) and `child` (M, V), as in `PolicyTable`."""


@dataclass(frozen=True)
class Ablated(Episodes):
    """Episodes in which agents were absent: the turns of those who were there, without gaps."""

    passed: IntArray  # (R,) turns of absent agents, each of which the world answered

    @property
    def environment_steps(self) -> int:
        """Return how often the world answered, turns that were passed over included."""
        return super().environment_steps + int(self.passed.sum())


def replay(player: Any, episodes: Episodes, absent: BoolArray, rng: np.random.Generator) -> Ablated:
    """Play each of `episodes` again with `rng`, in the state in which it was for them, without the agents `absent`.

    absent: (R, A) or (A,), who is left out of each; agents beyond the last one that it names are there, since a batch
    need not show the whole team. Raises UserError where the task tells no agents apart, where the prompt form cannot
    leave any out, or where `absent` does not fit the agents.
    """
    player, absent = _check(player, episodes, absent)
    return close_gaps(player.play_without(episodes.instance, absent, rng), player.worlds)


def returns_without(
    player: Any, episodes: Episodes, absent: BoolArray, rng: np.random.Generator
) -> tuple[FloatArray, int]:
    """Return what `episodes` would have paid if the words of `absent` agents were taken out and all others kept.

    rng: in the state in which it was for the episodes. Returns the rewards (R,) and how many turns the worlds answered.
    A phrase that means nothing in its new place is a turn that was not understood, and so is one beyond the end of the
    finished rollout, where nothing was said. Raises UserError as `replay`.
    """
    player, absent = _check(player, episodes, absent)
    worlds, (roots, child) = player.worlds, player.phrases
    agents, absences = team(worlds)
    state, answers = episodes.states[:, 0], 0
    for k in range(worlds.horizon):
        luck = rng.random((state.size, longest_phrase(roots, child) + 2))
        going = np.flatnonzero(~worlds.terminal[state])
        at = state[going]
        option = _understood(roots[worlds.prompt[at]], child, episodes.tokens[going, k], episodes.lengths[going, k])
        option = np.where(absent[going, agents[at]], absences[at], option)
        state = state.copy()
        state[going] = answer(worlds, at, option, luck[going, -1])
        answers += going.size
    return worlds.payoffs[state], answers


def _check(player: Any, episodes: Episodes, absent: BoolArray) -> tuple[TeamPlayer, BoolArray]:
    """Return the player and `absent` as (R, A). Raises UserError as `replay`."""
    if not isinstance(player, TeamPlayer):
        repair = "Use the windowed prompt."
        raise UserError("agents cannot be left out in this prompt form", repair=repair)
    team(player.worlds)
    rollouts, agents = episodes.instance.size, player.worlds.n_agents
    if absent.ndim not in (1, 2) or absent.shape[-1] > agents or absent.shape[:-1] not in ((), (rollouts,)):
        repair = f"Give one entry for each of the {agents} agents, or that for each of the {rollouts} rollouts."
        raise UserError("who is absent has the wrong shape", value=tuple(absent.shape), repair=repair)
    everybody = np.zeros((rollouts, agents), dtype=bool)
    everybody[:, : absent.shape[-1]] = absent
    return player, everybody


def _understood(root: IntArray, child: IntArray, tokens: IntArray, lengths: IntArray) -> IntArray:
    """Return the option that each phrase, tokens (N, L) of which `lengths` (N,) count, means at `root`; -1 for none."""
    code, option = root.copy(), np.full(root.size, -1)
    for level in range(tokens.shape[1]):
        going = np.flatnonzero((code >= 0) & (lengths > level))
        code[going] = child[code[going], tokens[going, level]]
        complete = going[code[going] < UNKNOWN]
        option[complete] = -2 - code[complete]
    return option


def close_gaps(episodes: Episodes, worlds: WorldBatch) -> Ablated:
    """Move the turns that took place to the front of each rollout; the last state stays the last."""
    alive, states = episodes.alive, episodes.states
    order = np.argsort(~alive, axis=1, kind="stable")
    fields = {field.name: getattr(episodes, field.name) for field in dataclasses.fields(Episodes)}
    turns = {name: _reorder(values, order) for name, values in fields.items() if values.ndim > 1 and name != "states"}
    began = np.where(_reorder(alive, order), _reorder(states[:, :-1], order), states[:, -1:])
    passed = (~alive & ~worlds.terminal[states[:, :-1]]).sum(1)
    return Ablated(**{**fields, **turns, "states": np.concatenate([began, states[:, -1:]], 1)}, passed=passed)


def team(worlds: WorldBatch) -> tuple[IntArray, IntArray]:
    """Return who acts in each state and what happens without it, both (S,). Raises UserError where nobody is told."""
    if worlds.agents is None or worlds.absences is None:
        raise UserError(
            "agents were to be left out, but the task does not tell one agent from another",
            value=worlds.worlds[0].name,
            repair="Choose a task with several agents: `cairn tasks` lists them.",
        )
    return worlds.agents, worlds.absences


def _reorder(values: Any, order: IntArray) -> Any:
    return np.take_along_axis(values, order.reshape(*order.shape, *[1] * (values.ndim - 2)), 1)
