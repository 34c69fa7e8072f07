"""`cairn audit`: what the checklist finds reported, by a run of our own or by the surveyed literature."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cairn.commands.reporting import Folder
from cairn.commands.terminal import AsJson, add, folded, heading, output, print_json, printable, say, table
from cairn.errors import UserError
from cairn.inventory import load
from cairn.paths import data_root

if TYPE_CHECKING:
    from cairn.evidence.audit import Mark
    from cairn.evidence.checklist import Item
    from cairn.evidence.checklist_forms import PaperChecklist

audit = typer.Typer(no_args_is_help=True, help="Apply the reporting checklist.")


@audit.command()
def run(
    id: Annotated[str, typer.Argument(metavar="ID", help="A method that has been run.")],
    out: Folder = None,
    as_json: AsJson = False,
    paragraph: Annotated[bool, typer.Option("--paragraph", help="Print the methods paragraph alone.")] = False,
) -> None:
    """Apply the reporting checklist to our own run, and write the methods paragraph that a paper could paste."""
    from cairn.evidence.audit import audit_run, labels_of
    from cairn.evidence.paragraph import methods_paragraph
    from cairn.evidence.report import read_report

    entry = load()[id]
    path = (data_root() / "reproductions" / entry.id if out is None else out) / "report.json"
    if not path.is_file():
        raise UserError(
            "there is no report here", file=path, repair=f"run it, cairn run {entry.id}, and name its --out"
        )
    found = read_report(path)
    if found.id != entry.id:
        raise UserError(
            "this is the report of another method", file=path, value=found.id, repair=f"cairn audit run {found.id}"
        )
    marks, text = audit_run(found, labels_of(entry)), methods_paragraph(found, labels_of(entry))
    if as_json:
        print_json({"id": entry.id, "marks": [_plain(mark) for mark in marks], "paragraph": text})
    elif paragraph:
        sys.stdout.write(printable(text) + "\n")
    else:
        _print_audit(output(), entry.id, marks, text)


def _plain(mark: Mark) -> dict[str, str]:
    item = mark.item
    return {"item": item.key, "text": item.text, "priority": item.priority, "status": mark.status,
            "evidence": mark.evidence, "field": mark.field}  # fmt: skip


def _print_audit(console: Console, entry_id: str, marks: Sequence[Mark], text: str) -> None:
    reported = sum(mark.status == "yes" for mark in marks)
    heading(console, f"{entry_id}: our run reports {reported} of {len(marks)} items")
    rows = table("item", "priority", "mark", "evidence", whole=["priority", "mark"])
    for mark in marks:
        add(rows, folded(mark.item.text, console, 24), mark.item.priority, mark.status, mark.evidence)
    console.print(rows)
    heading(console, "Methods paragraph")
    console.print(printable(text))


@audit.command()
def literature(
    as_json: AsJson = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the matrix to FILE as CSV.", show_default=False)
    ] = None,
) -> None:
    """Apply the reporting checklist to the surveyed papers, and set the marks beside what the survey says of them.

    Each mark is the inventory's, with who shows it: the paper, its repository or a third party.
    """
    from cairn.evidence.base import write_atomically
    from cairn.evidence.literature import literature_audit, matrix_csv
    from cairn.inventory.survey import load_survey

    found = literature_audit(load(), load_survey())
    if csv_file is not None:
        write_atomically(csv_file, matrix_csv(found))
        say(f"Wrote {csv_file}")
    if as_json:
        print_json(found.model_dump(mode="json"))
    elif csv_file is None:
        from cairn.commands.literature_tables import print_literature

        print_literature(output(), found)


class Format(StrEnum):
    """How a filled checklist is printed."""

    TABLE = "table"
    LATEX = "latex"
    MARKDOWN = "markdown"
    JSON = "json"


@audit.command()
def paper(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="A copy of checklist/template.yaml, filled in.")],
    form: Annotated[Format, typer.Option("--format", help="LaTeX and Markdown are for an appendix.")] = Format.TABLE,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there.", show_default=False)] = None,
) -> None:
    """Check an author's filled checklist, score it, and render it for an appendix.

    Prints each fault with its line and exits with 2 when there is one.
    """
    from cairn.evidence.base import write_atomically
    from cairn.evidence.checklist import load_items
    from cairn.evidence.paper_audit import read_paper

    items = load_items()
    filled, faults = read_paper(file, items)
    if filled is None:
        for fault in faults:
            output().print(printable(f"error: {fault}"), soft_wrap=True)
        raise typer.Exit(2)
    if out is None and form is Format.TABLE:
        _print_paper(output(), filled, items)
        return
    text = _paper_text(filled, items, form)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text)
        say(f"Wrote {out}")


def _paper_text(filled: PaperChecklist, items: Sequence[Item], form: Format) -> str:
    from cairn.evidence.checklist_forms import latex, markdown, scores

    if form is Format.TABLE:
        raise UserError("a table is for the terminal", value=form.value, repair="add --format latex, markdown or json")
    if form is Format.JSON:
        found = [score.model_dump() for score in scores(filled, items)]
        return json.dumps({**filled.model_dump(), "scores": found}, indent=2, ensure_ascii=False) + "\n"
    return latex(items, filled) if form is Format.LATEX else markdown(items, filled)


def _print_paper(console: Console, filled: PaperChecklist, items: Sequence[Item]) -> None:
    from cairn.evidence.checklist_forms import describe, scores

    heading(console, filled.paper)
    rows = table("item", "priority", "reported", "where", whole=["priority", "reported"])
    for item in items:
        answer = filled.items[item.key]
        add(rows, folded(item.text, console, 24), item.priority, answer.status, answer.where)
    console.print(rows)
    for score in scores(filled, items):
        console.print(describe(score))
