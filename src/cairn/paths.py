"""Where the project's data lives: the checkout when there is one, else the copy shipped in the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent
_SHIPPED = _PACKAGE / "_data"


def data_root() -> Path:
    """Return the folder that holds `inventory/`, `reproductions/`, `schemas/` and `checklist/`."""
    return _CHECKOUT if in_checkout() else _SHIPPED


def in_checkout() -> bool:
    """Say whether the package runs from a source checkout (an editable install), where results may be written."""
    return (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "inventory").is_dir()
