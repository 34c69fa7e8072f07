"""Episodes that leave others: what they share with them, and the whole episodes that come of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cairn.lab.episodes import Branch
from cairn.lab.instance import S, Spoken, concatenate, take

IntArray = NDArray[np.int64]


def kept_turns(branch: Branch) -> IntArray:
    """(F,) how many turns the new rollouts take over."""
    return np.asarray(branch.turn + branch.after)


def shared_tokens(episodes: Spoken, branch: Branch) -> IntArray:
    """(F,) tokens of the rows that the new rollouts continue, up to where they leave; 0 where a turn is a row.

    Counted up to the last token that was said before; what the environment says next is new to the branch. The header
    of a row that is left before its first turn counts as new, too.
    """
    if not episodes.context_tokens.any():
        return np.zeros_like(branch.turn)
    end = episodes.context_tokens + episodes.prompt_tokens + episodes.lengths
    before = np.pad(end, ((0, 0), (1, 0)))
    return np.asarray(before[branch.rollout, kept_turns(branch)])


def splice(episodes: S, branch: Branch, played: S) -> S:
    """Return F whole episodes: the turns that were taken over from `episodes`, then those that were `played`."""
    both = concatenate([take(episodes, branch.rollout), played])
    count, kept = branch.rollout.size, kept_turns(branch)[:, None]
    return type(played)(**{name: _joined(values, count, kept) for name, values in vars(both).items()})


def _joined(values: NDArray[Any], count: int, kept: IntArray) -> NDArray[Any]:
    """Join one field of the old episodes, its first `count` rows, to that of the new ones, which begin at turn 0."""
    if values.ndim == 1:
        return values[count:]
    column = np.arange(values.shape[1])
    row = np.arange(count)[:, None]
    taken_over = column < kept
    return np.asarray(values[np.where(taken_over, row, row + count), np.where(taken_over, column, column - kept)])
