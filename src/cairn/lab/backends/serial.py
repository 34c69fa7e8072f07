"""One cell after the other in this process. A cell that kills its process ends the run; a rerun goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import torch

from cairn.lab.backends import News, refuse_address
from cairn.lab.cell import Cell, attempt


class Serial:
    """Holds one cell at a time and computes it when it is asked for news."""

    def __init__(self) -> None:
        """Hold no cell yet."""
        self._cell: Cell | None = None
        self._last: Cell | None = None

    def __enter__(self) -> Self:
        torch.set_num_threads(1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave nothing behind."""

    def room(self) -> int:
        """Return 1, unless a cell waits."""
        return int(self._cell is None)

    def last(self) -> Cell | None:
        """Return the cell before."""
        return self._last

    def submit(self, cell: Cell) -> None:
        """Keep the cell until news are asked for."""
        self._cell = cell

    def news(self) -> Iterator[tuple[Cell, News]]:
        """Compute the cell."""
        cell, self._cell = self._cell, None
        if cell is not None:
            self._last = cell
            yield from ((cell, news) for news in attempt(cell))


def open_backend(_: int, address: str | None) -> Serial:
    """Return the back end. It has one worker, whatever is asked for."""
    refuse_address("serial", address)
    return Serial()
