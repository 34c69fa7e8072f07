"""Progress of making a small model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rich.progress import Progress

from cairn.commands.terminal import messages


@contextmanager
def lessons(changes: Mapping[str, Any]) -> Iterator[Callable[[], None]]:
    """Yield what to call after each lesson; the bar appears with the first one.

    changes: fields of the model's recipe that differ from the embedded model's.
    """
    from cairn.lab.pretrain import Recipe

    recipe = replace(Recipe(), **changes)
    progress = Progress(console=messages(), transient=True)
    bar = progress.add_task("making the model", total=recipe.clean_steps + recipe.noisy_steps)

    def step() -> None:
        progress.start()  # a second start does nothing
        progress.advance(bar)

    try:
        yield step
    finally:
        if progress.live.is_started:
            progress.stop()
