"""Batches of earlier updates, kept for methods that learn from them again."""

from __future__ import annotations

from cairn.rollouts import Rollouts

CAPACITY = 64  # updates


class ReplayBuffer:
    """The batches that were sampled in the last `CAPACITY` updates that sampled anything, in their order."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._kept: dict[int, list[Rollouts]] = {}

    def add(self, update: int, rollouts: Rollouts) -> None:
        """Keep a batch; the oldest update leaves when there is no room."""
        self._kept.setdefault(update, []).append(rollouts)
        while len(self._kept) > CAPACITY:
            del self._kept[next(iter(self._kept))]

    def before(self, update: int, count: int) -> tuple[Rollouts, ...]:
        """Return the batches of the last `count` updates before `update`, oldest first; fewer where there are fewer."""
        earlier = [number for number in self._kept if number < update]
        return tuple(batch for number in earlier[max(len(earlier) - count, 0) :] for batch in self._kept[number])
