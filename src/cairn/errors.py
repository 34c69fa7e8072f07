"""The one error that a person can repair: what is wrong, where, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


# Not frozen: contextlib sets `__traceback__` on whatever passes through a `with` block.
@dataclass(eq=False)
class UserError(Exception):
    """Wrong input. The command line prints `str(error)` once and exits with code 2.

    message: what is wrong, in one sentence.
    file, line: where; `line` counts from 1.
    value: the offending value as it was given.
    repair: what the person can do about it.
    """

    message: str
    file: Path | str | None = None
    line: int | None = None
    value: object = None
    repair: str | None = None

    def __str__(self) -> str:
        place = "" if self.file is None else f"{self.file}" + (f":{self.line}" if self.line else "") + ": "
        value = "" if self.value is None else f" (got {_short(self.value)})"
        repair = "" if self.repair is None else f" Repair: {self.repair}"
        return f"{place}{self.message}{value}.{repair}"


def _short(value: object, limit_characters: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit_characters else text[: limit_characters - 3] + "..."
