"""`cairn list`, `cairn validate`: the inventory as a whole, in the base install."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cairn.commands.grid import print_grid
from cairn.commands.selection import select, with_criteria
from cairn.commands.terminal import AsJson, add, output, print_json, printable, table, words
from cairn.errors import UserError
from cairn.evidence.catalogue import STATUS
from cairn.inventory import Entry, Finding, Inventory, Reading, read_all
from cairn.inventory.findings import near
from cairn.inventory.tree_rules import IDS
from cairn.paths import data_root


@with_criteria
def list_entries(
    *,
    count: Annotated[bool, typer.Option("--count", help="Print only how many there are.")] = False,
    ids: Annotated[
        bool, typer.Option("--ids", help="Print only the ids, one a line; with --grid, in each cell.")
    ] = False,
    grid: Annotated[bool, typer.Option("--grid", help="Print granularity by family of methodologies.")] = False,
    as_json: AsJson = False,
    **criteria: object,
) -> None:
    """List the entries of the inventory that meet all criteria, by our labels, with what has been done about them.

    A wrong word is answered with the words that there are. Options compose: each one leaves fewer entries.
    """
    if count and (ids or grid or as_json):
        raise UserError("--count stands alone", repair="leave out the other option; --json has the totals too")
    found = select(criteria)
    if count:
        sys.stdout.write(f"{len(found)}\n")
    elif as_json:
        print_json(found.grid().to_dict() if grid else _listing(found, ids=ids))
    elif grid:
        print_grid(output(), found.grid(), with_ids=ids)
    elif ids:
        sys.stdout.writelines(f"{one}\n" for one in found.ids)
    else:
        _print_list(found)


def _listing(found: Inventory, *, ids: bool) -> Any:
    """Return the entries, short, under the totals that are computed from them; or their ids alone."""
    return list(found.ids) if ids else {"totals": found.totals(), "entries": [_summary(found, one) for one in found]}


def _summary(found: Inventory, entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "name": entry.bibliography.name,
        "title": entry.bibliography.title,
        "year": entry.bibliography.year,
        "labels": entry.labels.model_dump(mode="json", exclude={"why", "from_"}),
        "survey_type": None if entry.survey is None else entry.survey.type,
        "needs": list(entry.needs),
        "hooks": list(entry.hooks),
        **{name: list(found.words_of(entry, name)) for name in ("family", "standing", *found.facets)},
    }


def _print_list(found: Inventory) -> None:
    console = output()
    if not found.entries:
        console.print("No entry meets all criteria.")
        return
    columns = ("id", "year", "setting", "credit to", "computed by", "needs", "status")
    rows = table(*columns, right=["year"], whole=["id", "computed by", "status"])
    for entry in found:
        labels = entry.labels
        add(rows, entry.id, str(entry.bibliography.year), words(labels.setting), words(labels.granularity),
            labels.methodology, words(entry.needs), found.words_of(entry, STATUS)[-1])  # fmt: skip
    console.print(rows)
    console.print(f"{_counts(found.entries)}. Labels are ours; `cairn show ID` has the survey's beside them.")


def validate(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID|FILE|FOLDER", help="What to report on; everything unless given.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the inventory as data: each breach of a rule in one line, with file, line, value and repair.

    FOLDER is one that holds `inventory/`. Exits with 2 when there is an error; a warning is only shown.
    """
    root, files = _resolve(targets or [])
    reading = read_all(root)
    shown = [one for one in reading.findings if not files or one.file in files]
    errors = sum(one.rule.severity == "error" for one in shown)
    counts = {"entries": len(reading.entries), "word_lists": len(reading.vocabularies),
              "errors": errors, "warnings": len(shown) - errors}  # fmt: skip
    if as_json:
        print_json({"findings": [one.to_dict() for one in shown], "counts": counts})
    else:
        _print_findings(shown, reading, counts)
    if errors:
        raise typer.Exit(2)


def _print_findings(shown: Sequence[Finding], reading: Reading, counts: dict[str, int]) -> None:
    console = output()
    for finding in shown:
        console.print(printable(f"{finding.rule.severity}: {finding}"), soft_wrap=True)
    lists, errors, warnings = (counts[name] for name in ("word_lists", "errors", "warnings"))
    console.print(f"{_counts(reading.entries)} read, {lists} word lists: {errors} errors, {warnings} warnings.")


def _counts(entries: Sequence[Entry]) -> str:
    kinds = [entry.kind for entry in entries]
    parts = ", ".join(f"{kinds.count(kind)} of kind {kind}" for kind in sorted(set(kinds), reverse=True))
    return f"{len(kinds)} {'entry' if len(kinds) == 1 else 'entries'}" + (f" ({parts})" if parts else "")


def _resolve(targets: Sequence[str]) -> tuple[Path, set[str]]:
    """Return the data root that the targets lie in, and the files asked for, relative to it; none means all."""
    root, files = data_root(), set[str]()
    found = [_place(target, root) for target in targets]
    roots = {place[0] for place in found} or {root}
    if len(roots) > 1:
        raise UserError("the targets lie in several data roots", value=list(targets), repair="check one root at a time")
    for _, names in found:
        files |= names
    return roots.pop(), files


def _place(target: str, root: Path) -> tuple[Path, set[str]]:
    path = Path(target)
    if (path / "inventory").is_dir():
        return path.resolve(), set()
    inventory = path.resolve().parent.parent
    if path.is_file() and inventory.name == "inventory":
        return inventory.parent, {path.resolve().relative_to(inventory.parent).as_posix()}
    if path.exists():
        raise UserError("not a file of an inventory", file=path, repair="put it under inventory/methods/ and name that")
    return root, _files_of(target, root)


def _files_of(entry_id: str, root: Path) -> set[str]:
    files = {path.stem: path.relative_to(root).as_posix() for path in (root / "inventory").glob("*/*.yaml")}
    entries = {stem: file for stem, file in files.items() if "/vocab/" not in file}
    if entry_id not in entries:
        raise UserError("no file and no entry has this name", value=entry_id, repair=near(entry_id, entries, IDS))
    return {entries[entry_id]}
