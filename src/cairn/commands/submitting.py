"""`cairn new`, `cairn diff`: the way in for a new entry, and what a change of the inventory does."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cairn.commands.terminal import AsJson, output, print_json, printable
from cairn.errors import UserError
from cairn.inventory import Inventory, read_all
from cairn.inventory.difference import Change, Difference, compare
from cairn.inventory.issue_form import read_answers
from cairn.inventory.revision import tree
from cairn.inventory.scaffold import Known, blank
from cairn.paths import data_root

Root = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The folder that holds inventory/; by default that of the checkout.",
                 show_default=False),
]  # fmt: skip


def new(
    id: Annotated[str | None, typer.Argument(metavar="ID", help="The slug of the method.", show_default=False)] = None,
    arxiv: Annotated[str | None, typer.Option(metavar="ID", help="Its arXiv id without version, or none.")] = None,
    kind: Annotated[str, typer.Option(metavar="KIND", help="method, background or diagnostic.")] = "method",
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="The paper's title.")] = None,
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The text of an issue made with the form, in place of the rest.")
    ] = None,
    root: Root = None,
) -> None:
    """Write the blank of a new entry, with a mark where you are to write; `cairn validate ID` then leads through it."""
    root = data_root() if root is None else root
    known = _known(id, arxiv, kind, title, answers)
    reading = read_all(root)
    text = blank(known, Inventory(reading.entries, reading.vocabularies), datetime.now(UTC).date())
    target = root / known.file
    _write_new(target, text)
    marks = sum("TODO" in line for line in text.split("\n"))
    output().print(f"{target}: {marks} lines to fill in. Then: cairn validate {known.id}", soft_wrap=True)


def _known(id: str | None, arxiv: str | None, kind: str, title: str | None, answers: Path | None) -> Known:
    if answers is not None:
        if id or arxiv or title:
            raise UserError("the answers of an issue take the place of ID and options", repair="give --answers alone")
        return read_answers(answers)
    if id is None or arxiv is None:
        raise UserError("a new entry needs an id and an arXiv id", repair="cairn new my-method --arxiv 2511.12345")
    return Known(id=id, arxiv=arxiv, kind=kind, title=title)


def _write_new(target: Path, text: str) -> None:
    """Write a file that must not be there yet, whole or not at all."""
    if target.exists() or target.is_symlink():
        raise UserError("this file is there already", file=target, repair="edit it, or choose another id")
    try:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=target.parent, prefix=".", delete=False) as file:
            file.write(text)
        os.link(file.name, target)  # unlike a rename, this fails where a file has appeared meanwhile
        Path(file.name).unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write: {reason}", file=target, repair="see the folder and its permissions") from error


def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help="A folder with inventory/, or a revision.")],
    head: Annotated[str, typer.Argument(metavar="HEAD", help="The same, after the change.")],
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a summary page.")] = False,
    as_json: AsJson = False,
    repository: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the revisions are; by default, here.")
    ] = None,
) -> None:
    """Show what a change of the inventory does: entries, labels, counts and findings that come and go.

    Both sides are read as data. Exits with 2 when an id vanishes or an error comes in.
    """
    if as_markdown and as_json:
        raise UserError("two formats are asked for", value="--markdown --json", repair="give one of them")
    here = Path.cwd() if repository is None else repository
    with tree(base, here) as before, tree(head, here) as after:
        found = compare(read_all(before), read_all(after))
    if as_json:
        print_json({**found.model_dump(mode="json"), "acceptable": found.acceptable})
    else:
        lines = _markdown(found) if as_markdown else _plain(found)
        for line in lines:
            output().print(printable(line), soft_wrap=True)
    if not found.acceptable:
        raise typer.Exit(2)


def _plain(found: Difference) -> Iterator[str]:
    """Yield the lines of a report for a terminal."""
    for title, lines in _parts(found):
        yield f"{title}: {len(lines)}" if lines else f"{title}: none"
        yield from (f"  {line}" for line in lines)
    yield "Acceptable." if found.acceptable else "Not acceptable: an id vanishes or an error comes in."


def _markdown(found: Difference) -> Iterator[str]:
    """Yield the same as Markdown; what the files say stands in code spans, where nothing in it is read as markup."""
    yield "## What this change does to the inventory"
    for title, lines in _parts(found):
        yield f"\n**{title}**: {len(lines) or 'none'}"
        yield from (f"- {_code(line)}" for line in lines)
    yield "\nAcceptable." if found.acceptable else "\n**Not acceptable**: an id vanishes or an error comes in."


def _code(text: str) -> str:
    return f"`` {text.replace('`', chr(0x2019))} ``"


def _parts(found: Difference) -> Iterator[tuple[str, list[str]]]:
    yield "Entries added", [*found.added]
    yield "Ids that vanish (an id is moved or withdrawn, never deleted)", [*found.vanished]
    yield "Entries changed", [line for one in found.changed for line in _changed_lines(one.id, one)]
    yield "Word lists changed", [*found.word_lists]
    yield "Counts that change", [f"{count.name}: {count.before} -> {count.after}" for count in found.counts]
    yield "Findings that come in", [_finding_line(one) for one in found.new_findings]
    yield "Findings that go", [_finding_line(one) for one in found.gone_findings]


def _changed_lines(entry_id: str, changed: Any) -> Iterator[str]:
    for change in changed.counted:
        yield f"{entry_id}: {_change_line(change)}"
    if changed.other_blocks:
        yield f"{entry_id}: text of {', '.join(changed.other_blocks)}"


def _change_line(change: Change) -> str:
    return f"{change.field}: {_value(change.before)} -> {_value(change.after)}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _finding_line(found: dict[str, str | int]) -> str:
    value = f" (got {found['value']!r})" if found["value"] else ""
    place = f"{found['file']}:{found['line']}: {found['rule']}"
    return f"{found['severity']}: {place} {found['message']}{value}. Repair: {found['repair']}"
