"""What a process keeps of one cell for the next, which may need the same: then it is computed once."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """The last thing of a kind, under a key that says all that decides it, with the seconds that it took."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: tuple[str, T, float] | None = None

    def take(self, key: str) -> tuple[T, float] | None:
        """Return what there is under a key, and the seconds; it is not kept any longer, since its taker may change it.

        None where there is nothing, or something else.
        """
        if self._kept is None or self._kept[0] != key:
            return None
        (_, thing, seconds), self._kept = self._kept, None
        return thing, seconds

    def put(self, key: str, thing: T, seconds: float) -> None:
        """Keep a thing in place of the last one."""
        self._kept = key, thing, seconds
