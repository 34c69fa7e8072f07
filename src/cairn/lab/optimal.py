"""The best that can be achieved, and which turns threw some of it away.

    V*_t(s) = payoff(s) if s is terminal,   V*_H(s) = 0,
    Q*_t(s, c) = sum_s' P(s' | s, c) V*_{t+1}(s'),   V*_t(s) = max_c Q*_t(s, c)

A turn is *wrong* if, after the option that was taken, no play can do as well as before it: Q*_t(s_t, c_t) < V*_t(s_t).
That is a property of the world alone, not of the policy, and of what was said, not of the dice that followed. In a
chain of thought it is the first step that cannot be mended without loss; what a later step can mend is not wrong in
this sense. Saying what is not understood is an option like any other: it is wrong where the turn is missed.
The same recursion as `cairn.lab.exact`, with the maximum in the place of the policy (Bellman's optimality equation).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cairn.lab.episodes import Episodes
from cairn.lab.world import WorldBatch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
EQUAL = 1e-9  # values that differ by less are equally good


@dataclass(frozen=True)
class Optimal:
    """values: (H + 1, S), the best achievable value of each state with t turns gone."""

    worlds: WorldBatch
    values: FloatArray

    def success(self) -> FloatArray:
        """Return the best success probability of each world from its start, (W,)."""
        return np.asarray(self.values[0, self.worlds.starts])

    def action_values(self, turn: IntArray, state: IntArray) -> FloatArray:
        """Return Q* (N, C + 1) for states (N,) with `turn` (N,) turns gone, the last column for `stay`."""
        after = self.values[turn[:, None, None] + 1, self.worlds.successors[state]]
        return np.asarray((self.worlds.probabilities[state] * after).sum(-1))

    def losses(self, episodes: Episodes) -> FloatArray:
        """Return V*_t(s_t) - Q*_t(s_t, c_t) >= 0 of episodes played from the start: (R, K), 0 where no turn was."""
        lost = np.zeros(episodes.options.shape)
        rollout, turn = np.nonzero(episodes.alive)
        state, option = episodes.states[rollout, turn], episodes.options[rollout, turn]
        taken = self.action_values(turn, state)[np.arange(rollout.size), option]
        lost[rollout, turn] = (self.values[turn, state] - taken).clip(0)
        return lost

    def wrong_turns(self, episodes: Episodes) -> BoolArray:
        """Return (R, K) bool: the turn took place and was wrong. Episodes as for `losses`."""
        return np.asarray(self.losses(episodes) > EQUAL)

    def first_wrong_turn(self, episodes: Episodes) -> IntArray:
        """Return (R,) the first wrong turn of each rollout, -1 where none was. Episodes as for `losses`."""
        wrong = self.wrong_turns(episodes)
        return np.where(wrong.any(1), wrong.argmax(1), -1)


def solve_best(worlds: WorldBatch) -> Optimal:
    """Run the recursion for all worlds of a batch at once."""
    values = np.zeros((worlds.horizon + 1, worlds.terminal.size))
    values[:, worlds.terminal] = worlds.payoffs[worlds.terminal]
    for turn in range(worlds.horizon - 1, -1, -1):
        after = (worlds.probabilities * values[turn + 1][worlds.successors]).sum(-1)
        values[turn] = np.where(worlds.terminal, worlds.payoffs, after.max(1))
    return Optimal(worlds, values)
