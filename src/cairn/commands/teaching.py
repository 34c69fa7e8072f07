"""Progress of making a small model, and the model that a preset asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from cairn.commands.terminal import messages

if TYPE_CHECKING:
    from cairn.lab.protocol import Protocol


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


def own_model(protocol: Protocol, preset: str, family: str, device: str) -> Path:
    """Return the preset's model for a task, which is made first where none is shipped and none was made before."""
    from cairn.lab.plan import preset_model
    from cairn.lab.tasks import find

    recipe = find(family).recipe.changed(protocol.preset(preset).recipe)
    with lessons(recipe.steps) as step:
        return preset_model(protocol, preset, family, device, step)
