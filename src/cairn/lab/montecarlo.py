"""Monte Carlo values and advantages with standard errors, for policies whose worlds cannot be solved exactly.

    Q(s, c) = mean of n returns after the action taken,   V(s) = mean of n returns from before it,   A = Q - V

All continuations are drawn independently, and the world answers the taken action anew in each of them, so that A is
unbiased. Its standard error is sqrt(var(Q returns) / n + var(V returns) / n) with unbiased sample variances. Where all
continuations of a turn agree the sample variance is 0 and so is the stated error: with few continuations it is then
too small, as for any proportion near 0 or 1. Works for every prompt form.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cairn.errors import UserError
from cairn.lab.episodes import Branch
from cairn.lab.players import Player, S, Success

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """An estimate and its standard error, of the same shape."""

    value: FloatArray
    standard_error: FloatArray


def advantages(player: Player[S], episodes: S, continuations: int, rng: np.random.Generator) -> Estimate:
    """Estimate the advantage of each turn of episodes that were played from the start: (R, K), 0 where none was.

    continuations: n, for Q and for V each. Raises UserError for fewer than 2.
    """
    _require_two("continuations", continuations)
    rollout, turn = np.nonzero(episodes.alive)
    after = _returns(player, episodes, Branch(rollout, turn, after=True), continuations, rng)
    before = _returns(player, episodes, Branch(rollout, turn), continuations, rng)
    value, error = np.zeros((2, *episodes.alive.shape))
    value[rollout, turn] = after.mean(1) - before.mean(1)
    error[rollout, turn] = np.sqrt((after.var(1, ddof=1) + before.var(1, ddof=1)) / continuations)
    return Estimate(value, error)


def success(player: Player[S], episodes_each: int, rng: np.random.Generator) -> Success:
    """Estimate the success probability, averaged over the instances of the player.

    The instances are fixed, so that the standard error holds the dice of the episodes alone:
    sqrt(sum_w var_w / n) / W. Raises UserError for fewer than 2 episodes in each.
    """
    _require_two("episodes in each instance", episodes_each)
    instances = player.n_instances
    played = player.play(np.repeat(np.arange(instances), episodes_each), rng)
    rewards = played.rewards.reshape(instances, episodes_each)
    variance = rewards.var(1, ddof=1).sum() / episodes_each
    return Success(float(rewards.mean()), float(np.sqrt(variance)) / instances)


def _returns(player: Player[S], episodes: S, branch: Branch, count: int, rng: np.random.Generator) -> FloatArray:
    """(F, count) returns of continuations from each branching point."""
    repeated = Branch(np.repeat(branch.rollout, count), np.repeat(branch.turn, count), branch.after)
    return player.fork(episodes, repeated, rng).rewards.reshape(-1, count)


def _require_two(what: str, count: int) -> None:
    if count < 2:
        raise UserError(f"a standard error takes at least 2 {what}", value=count, repair="Ask for more.")
