"""Progress of making a small model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress

from cairn.commands.terminal import messages


@contextmanager
def lessons(count: int) -> Iterator[Callable[[], None]]:
    """Yield what to call after each of `count` lessons; the bar appears with the first one."""
    progress = Progress(console=messages(), transient=True)
    bar = progress.add_task("making the model", total=count)

    def step() -> None:
        progress.start()  # a second start does nothing
        progress.advance(bar)

    try:
        yield step
    finally:
        if progress.live.is_started:
            progress.stop()
