"""The coalition game of the current policy: what each set of agents is worth when the others are absent, exactly.

    v(S) = success probability when the agents in S play the policy, and where one of the others would have to act the
           world carries out what it has for that agent's absence (`World.absences`)

By the recursion of `cairn.lab.exact`, with the option probabilities of absent agents replaced, for all 2^A sets at
once. So it is exact for the windowed prompt, and for it alone. The game belongs to a policy: roles that a task designs
show in it as designed where the policy plays them well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from cairn.lab.ablation import team
from cairn.lab.policy import PolicyTable
from cairn.lab.world import BoolArray, FloatArray, WorldBatch
from cairn.ops.shapley import leave_one_out_values, shapley_values


@dataclass(frozen=True)
class CoalitionGame:
    """values: (W, 2^A) worth of each set of agents in each world; bit i of the index says that agent i is there."""

    values: FloatArray

    @property
    def n_agents(self) -> int:
        """Return A."""
        return int(self.values.shape[1]).bit_length() - 1

    def shapley(self) -> FloatArray:
        """Return the Shapley value of each agent, (W, A): its share in the success that the team owes to all."""
        return np.asarray(shapley_values(torch.from_numpy(self.values)))

    def leave_one_out(self) -> FloatArray:
        """Return what the full team loses without each agent, (W, A)."""
        return np.asarray(leave_one_out_values(torch.from_numpy(self.values)))


def coalition_game(table: PolicyTable) -> CoalitionGame:
    """Solve the game of a policy in each world of its batch. Raises UserError where the worlds have no agents."""
    worlds = table.worlds
    agents, absences = team(worlds)
    here = members(worlds.n_agents)[:, agents]
    absent = np.zeros_like(table.option_probs)
    absent[np.arange(absences.size), absences] = 1.0
    values = np.broadcast_to(np.where(worlds.terminal, worlds.payoffs, 0.0), here.shape)
    for _ in range(worlds.horizon):
        after = _after(worlds, values)
        chosen = np.where(here, (table.option_probs * after).sum(-1), (absent * after).sum(-1))
        values = np.where(worlds.terminal, worlds.payoffs, chosen)
    return CoalitionGame(values[:, worlds.starts].T.copy())


def members(agents: int) -> BoolArray:
    """(2^A, A) who belongs to each coalition."""
    return np.asarray(np.arange(1 << agents)[:, None] >> np.arange(agents) & 1 == 1)


def _after(worlds: WorldBatch, values: FloatArray) -> FloatArray:
    """(N, S, C + 1) expected value after each option, for N sets of values (N, S)."""
    total = np.zeros((len(values), *worlds.successors.shape[:2]))
    for branch in range(worlds.successors.shape[2]):  # few, and a sum over them at once would take J times the memory
        total += worlds.probabilities[..., branch] * values[:, worlds.successors[..., branch]]
    return total
