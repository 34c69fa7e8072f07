"""Rollouts without some of the agents, paired with those in which all of them were there.

A pair has the same instance and the same dice: what was drawn for a turn, for the words as for the world's answer, is
drawn the same in both (common random numbers). So what differs comes from the absence alone, and the difference of the
two returns has less variance than that of two independent rollouts. The agents who are there speak again, knowing what
they are told this time; nothing that was said before is kept.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cairn.errors import UserError
from cairn.lab.episodes import Episodes
from cairn.lab.world import BoolArray, IntArray, WorldBatch


@runtime_checkable
class TeamPlayer(Protocol):
    """A player (`cairn.lab.players.Player`) who can leave agents out."""

    worlds: WorldBatch

    def play_without(self, world: IntArray, absent: BoolArray, rng: np.random.Generator) -> Episodes:
        """Play from the start of each world of `world` (R,), without the agents `absent` (R, A).

        Column k is turn k of the world, empty where the agent was absent.
        """


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

    absent: (R, A) or (A,), who is left out of each. Raises UserError where the task tells no agents apart, where the
    prompt form cannot leave any out, or where `absent` does not fit the agents.
    """
    if not isinstance(player, TeamPlayer):
        repair = "Use the windowed prompt."
        raise UserError("agents cannot be left out in this prompt form", repair=repair)
    team(player.worlds)
    shape = episodes.instance.size, player.worlds.n_agents
    if absent.shape not in (shape, shape[1:]):
        repair = f"Give one entry for each of the {shape[1]} agents, or that for each of the {shape[0]} rollouts."
        raise UserError("who is absent has the wrong shape", value=tuple(absent.shape), repair=repair)
    return close_gaps(player.play_without(episodes.instance, np.broadcast_to(absent, shape), rng), player.worlds)


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
