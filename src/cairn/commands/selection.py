"""The options by which commands choose entries: one for each criterion of the inventory, all of which compose."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from cairn.errors import UserError
from cairn.evidence.catalogue import ALL_CRITERIA, load
from cairn.inventory import Inventory

WITHOUT = "without_"
_WITH_PANEL = "Keep the entries with a word (a,b: one of them; the option twice: both)"
_WITHOUT_PANEL = "Keep the entries without a word"
_OTHER_PANEL = "Keep the entries by year, or by whether the survey has them"
# parameter -> (annotation, option)
_OTHER: Mapping[str, tuple[Any, Any]] = {
    "year": (list[str] | None, typer.Option("--year", metavar="YEAR", help="A year, or some: 2024,2025.")),
    "year_from": (int | None, typer.Option("--year-from", metavar="YEAR", help="The first year, included.")),
    "year_to": (int | None, typer.Option("--year-to", metavar="YEAR", help="The last year, included.")),
    "surveyed": (bool | None, typer.Option("--surveyed/--not-surveyed", help="Whether the survey labels it.")),
}


def with_criteria(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each criterion; it receives what was asked as keywords, for `select`."""
    kept = [
        one for one in inspect.signature(command, eval_str=True).parameters.values() if one.kind is not one.VAR_KEYWORD
    ]
    options = [_option(prefix, name) for prefix in ("", WITHOUT) for name in ALL_CRITERIA]
    parameters = [*options, *_other_options(), *kept]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _option(prefix: str, name: str) -> inspect.Parameter:
    flag = f"--{prefix}{name}".replace("_", "-")
    panel = _WITHOUT_PANEL if prefix else _WITH_PANEL
    option = typer.Option(flag, metavar="WORD[,WORD]", show_default=False, rich_help_panel=panel)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(f"{prefix}{name}", kind, default=None, annotation=Annotated[list[str] | None, option])


def _other_options() -> list[inspect.Parameter]:
    kind, found = inspect.Parameter.KEYWORD_ONLY, []
    for name, (annotation, option) in _OTHER.items():
        option.rich_help_panel, option.show_default = _OTHER_PANEL, False
        found.append(inspect.Parameter(name, kind, default=None, annotation=Annotated[annotation, option]))
    return found


def select(asked: Mapping[str, Any]) -> Inventory:
    """Return the entries that meet all that was asked. Raises UserError on a wrong word, or a broken inventory."""
    found = load()
    for name, given in asked.items():
        alone = name in _OTHER and name != "year"
        values = [] if given is None else [given] if alone else [_words(name, value) for value in given]
        for value in values:
            criterion: dict[str, Any] = {name: value}
            found = found.filter(**criterion)
    return found


def _words(name: str, value: str) -> list[Any]:
    """Return the words of one option: several are parted by commas."""
    words = [word.strip() for word in value.split(",")]
    if name != "year":
        return words
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise UserError("a year is a whole number", value=value, repair="write --year 2024,2025") from error
