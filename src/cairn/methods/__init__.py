"""One module for each method: its own maths, and a `Method` that overrides only the stages its paper changes.

A module is found by its name (the entry's id with `-` as `_`); there is no list to edit.
"""

from __future__ import annotations

import importlib
import pkgutil

from cairn.errors import UserError
from cairn.method import Method


def implemented_ids() -> list[str]:
    """Return the ids of all methods that have a module here, sorted."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def find(method_id: str) -> type[Method]:
    """Return the method class of an id. Raises UserError, with the known ids, for one that is not implemented."""
    if method_id not in implemented_ids():
        known = ", ".join(implemented_ids())
        raise UserError("this method has no implementation", value=method_id, repair=f"Choose one of: {known}.")
    module = importlib.import_module(f"{__name__}.{method_id.replace('-', '_')}")
    classes = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Method)]
    (own,) = [c for c in classes if c.__module__ == module.__name__]
    return own
