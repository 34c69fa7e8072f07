"""Exact credit: values and advantages under the current policy, by backward recursion over states and turns.

    V_t(s) = payoff(s)                                  if s is terminal
    V_H(s) = 0                                          the turn limit ends the walk unpaid
    Q_t(s, c) = sum_s' P(s' | s, c) V_{t+1}(s'),   V_t(s) = sum_c pi(c | s) Q_t(s, c),   A = Q - V

Valid because the windowed prompt is a function of the state: the policy is Markov in it. The hidden part of the state
(is the walk doomed?) is known here, so this is the credit of a judge who knows everything but the dice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cairn.lab.episodes import Episodes
from cairn.lab.policy import PolicyTable
from cairn.lab.world import WorldBatch

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class ExactCredit:
    """values: (H + 1, S), value of each state with t turns gone. table: the policy that it belongs to."""

    values: FloatArray
    table: PolicyTable

    def success(self) -> FloatArray:
        """Return the success probability of each world from its start, (W,)."""
        return np.asarray(self.values[0, self.table.worlds.starts])

    def action_values(self, turn: NDArray[np.int64], state: NDArray[np.int64]) -> FloatArray:
        """Return Q (N, C + 1) for states (N,) with `turn` (N,) turns gone."""
        worlds = self.table.worlds
        after = self.values[turn[:, None, None] + 1, worlds.successors[state]]
        return np.asarray((worlds.probabilities[state] * after).sum(-1))

    def advantages(self, episodes: Episodes) -> FloatArray:
        """Return A_t(s_t, c_t) of episodes that were played from the start: (R, K), 0 where no turn took place."""
        result = np.zeros(episodes.options.shape)
        row, turn = np.nonzero(episodes.alive)
        state, option = episodes.states[row, turn], episodes.options[row, turn]
        chosen = self.action_values(turn, state)[np.arange(row.size), option]
        result[row, turn] = chosen - self.values[turn, state]
        return result


def solve(table: PolicyTable) -> ExactCredit:
    """Run the recursion for all worlds of the batch at once."""
    return ExactCredit(values_of(table.worlds, table.option_probs), table)


def values_of(
    worlds: WorldBatch, option_probs: FloatArray, each_turn: float = 0.0, payoffs: FloatArray | None = None
) -> FloatArray:
    """Return V (H + 1, S) of any policy (S, C + 1). each_turn: paid for every turn; payoffs: instead of the worlds'."""
    paid = worlds.payoffs if payoffs is None else payoffs
    values = np.zeros((worlds.horizon + 1, worlds.terminal.size))
    values[:, worlds.terminal] = paid[worlds.terminal]
    for turn in range(worlds.horizon - 1, -1, -1):
        after = (worlds.probabilities * values[turn + 1][worlds.successors]).sum(-1)
        values[turn] = np.where(worlds.terminal, paid, each_turn + (option_probs * after).sum(1))
    return values


def occupancy(worlds: WorldBatch, option_probs: FloatArray) -> FloatArray:
    """Return how often turn t begins in state s, (H, S), when every world is played once from its start; ends left out.

    The same transitions as in `values_of`, summed forward.
    """
    here: FloatArray = np.zeros(worlds.terminal.size)
    here[worlds.starts] = 1.0
    met = np.zeros((worlds.horizon, here.size))
    for turn in range(worlds.horizon):
        met[turn] = np.where(worlds.terminal, 0.0, here)
        flow = (met[turn][:, None] * option_probs)[:, :, None] * worlds.probabilities
        here = np.bincount(worlds.successors.ravel(), flow.ravel(), here.size).astype(np.float64)
    return met
