"""How commands speak: results on standard output, progress and messages on standard error, JSON for programs."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Annotated, Literal, TextIO

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cairn.errors import UserError

PIPED_WIDTH_CHARACTERS = 120
NARROW_CHARACTERS = 100
DASH = "–"
_RUN_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors")

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]


def output() -> Console:
    """Return a console on standard output."""
    return _console(sys.stdout)


def messages() -> Console:
    """Return a console on standard error, for progress and remarks that are not the result."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    # Nothing is markup: names and texts of the inventory are data, whatever brackets they hold.
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH_CHARACTERS
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def say(text: str) -> None:
    """Print a remark on standard error."""
    messages().print(printable(text), soft_wrap=True)


def print_json(value: object) -> None:
    """Print a value as JSON on standard output, readable and in the order given."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def print_error(error: UserError) -> None:
    """Print what a person can repair, once, on standard error, without reading anything in it as markup."""
    sys.stderr.write(f"Error: {printable(str(error))}\n")


def printable(text: str) -> str:
    """Return text without characters that would steer a terminal; line breaks and tabs stay."""
    return "".join(
        one if one in "\n\t" or unicodedata.category(one)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for one in text
    )


def heading(console: Console, text: str) -> None:
    """Print a line in bold, after an empty one."""
    console.print(Text(f"\n{printable(text)}", style="bold"))


def table(*columns: str, right: Sequence[str] = (), whole: Sequence[str] = ()) -> Table:
    """Return an empty table. right: columns of numbers; whole: columns of words that must not be broken."""
    found = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        found.add_column(column, justify=justify, no_wrap=column in (*right, *whole), overflow="fold")
    return found


def add(rows: Table, *cells: RenderableType | None) -> None:
    """Add a row; what is absent becomes a dash, and text loses characters that would steer a terminal."""
    rows.add_row(
        *(DASH if cell is None else Text(printable(cell)) if isinstance(cell, str) else cell for cell in cells)
    )


def folded(name: str, console: Console, width_characters: int = 13) -> str:
    """Return a name on several lines, broken at hyphens, where the terminal is narrow."""
    if console.width >= NARROW_CHARACTERS:
        return name
    return "\n".join(textwrap.wrap(name, width_characters))


def words(values: Sequence[str]) -> str:
    """Return words in one line, a dash for none."""
    return ", ".join(values) or DASH


def require_run_extra() -> None:
    """Raise UserError where the packages of the extra `run` are not installed."""
    missing = [name for name in _RUN_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"this command needs {', '.join(missing)}, which the base install leaves out",
            repair="python -m pip install 'cairn-credit[run]'",
        )
