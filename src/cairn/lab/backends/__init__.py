"""Where cells are computed: one module for each back end, found by its name; there is no list to edit.

A back end takes cells and gives news of them. Which cell is due, what is tried again, what is kept and where is the
runner's business and the same for all.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from cairn.errors import UserError
from cairn.evidence.records import Record
from cairn.lab.cell import Cell
from cairn.lab.loop import Point


@dataclass(frozen=True)
class Lost:
    """The process that computed a cell went away before the record came. reason: how it went."""

    reason: str


News = Point | Record | Lost
"""A record, or the loss of the worker, is the last news of a cell that was submitted."""


class Backend(Protocol):
    """Computes cells. It is a context: what still runs when it is left is stopped and thrown away."""

    def __enter__(self) -> Self:
        """Get ready."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop whatever runs."""

    def room(self) -> int:
        """Return how many more cells it would take now."""

    def last(self) -> Cell | None:
        """Return what the worker computed last that takes the next cell; None where it has done nothing, or any may.

        A worker need not do again what the two have in common.
        """

    def submit(self, cell: Cell) -> None:
        """Take a cell."""

    def news(self) -> Iterator[tuple[Cell, News]]:
        """Wait until there is news of the cells that run and yield it."""


Opener = Callable[[int, str | None], Backend]
"""What each module offers as `open_backend`: (workers, address) -> back end.

workers: cells at a time on this machine. address: of a cluster, for those that have one.
"""


def names() -> list[str]:
    """Return the names of all back ends, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def open_backend(name: str | None, workers: int, address: str | None = None) -> Backend:
    """Return a back end by its name; without one, this process for one worker and processes for more.

    Raises UserError for an unknown name, and for an address that the back end has no use for.
    """
    name = name or ("serial" if workers == 1 else "processes")
    if name not in names():
        raise UserError("unknown back end", value=name, repair=f"Choose one of: {', '.join(names())}.")
    opener: Opener = importlib.import_module(f"{__name__}.{name}").open_backend
    return opener(workers, address)


def refuse_address(name: str, address: str | None) -> None:
    """Raise UserError where a back end without a cluster is given the address of one."""
    if address is not None:
        raise UserError(
            f"the back end `{name}` has no cluster to connect to", value=address, repair="Add --backend ray."
        )
