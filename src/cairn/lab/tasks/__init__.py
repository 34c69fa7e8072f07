"""One module for each task, found by its name; there is no list to edit. Tests hold what a task must fulfil."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from cairn.errors import UserError
from cairn.lab.task import Task


def names() -> list[str]:
    """Return the names of all tasks, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def find(name: str) -> Task[Any]:
    """Return a task. Raises UserError, with the known names, for one that is not there."""
    if name not in names():
        raise UserError("unknown task", value=name, repair=f"Choose one of: {', '.join(names())}.")
    module = importlib.import_module(f"{__name__}.{name}")
    found: Task[Any] = module.TASK
    return found
