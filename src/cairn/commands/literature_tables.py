"""How `cairn audit literature` prints: matrix in letters, gaps, and what the survey says beside our marks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding

from cairn.commands.terminal import add, folded, heading, printable, table
from cairn.evidence.literature import READINGS_NOTE, LiteratureAudit, Tally
from cairn.evidence.literature_matrix import LiteratureMark
from cairn.evidence.literature_survey import Contradiction

_SIGNS = {"yes": "✓", "partial": "~", "no": "✕", "unknown": "?"}
_NAME_CHARACTERS = 20
_CELL_CHARACTERS = 5


def print_literature(console: Console, audit: LiteratureAudit) -> None:
    """Print the five parts of the audit, the matrix first."""
    _print_matrix(console, audit)
    _print_gaps(console, audit)
    _print_readings(console, audit)
    _print_table_12(console, audit)
    _print_coarse(console, audit)
    _print_contradictions(console, audit.contradictions)
    _line(console, "\nEvidence and sources of every mark: --json, --csv FILE, or cairn show ID.")


def _line(console: Console, text: str) -> None:
    console.print(printable(text))


def _sign(mark: LiteratureMark) -> str:
    return _SIGNS.get(mark.status, "–") + "".join(account[0] for account in mark.accounts)


def _print_matrix(console: Console, audit: LiteratureAudit) -> None:
    heading(console, f"{audit.methods} methods, {audit.core} of them core, by {len(audit.items)} items")
    signs = ", ".join(f"{_SIGNS[status]} {status}" for status in audit.statuses if status in _SIGNS)
    letters = ", ".join(f"{account[0]} {account.replace('_', ' ')}" for account in audit.accounts)
    _line(console, f"{signs}; shown by {letters} (of an unknown mark: where we looked)")
    for number, item in enumerate(audit.items, 1):
        _line(console, f"{number:>4}  {item.text} ({item.priority})")
    tables = math.ceil(len(audit.items) * _CELL_CHARACTERS / max(1, console.width - _NAME_CHARACTERS))
    room = math.ceil(len(audit.items) / tables)
    for start in range(0, len(audit.items), room):
        numbers = [str(number) for number in range(1, len(audit.items) + 1)][start : start + room]
        rows = table("method", *numbers, whole=["method", *numbers])
        for row in audit.rows:
            add(rows, row.entry, *(_sign(mark) for mark in row.marks[start : start + room]))
        console.print(rows)


def _print_gaps(console: Console, audit: LiteratureAudit) -> None:
    heading(console, "Gaps: what fewest core methods report comes first")
    for standard, text in audit.standards.items():
        _line(console, f"  {standard.replace('_', ' ')}: {text}")
    for scope, methods in (("core", audit.core), ("all", audit.methods)):
        _line(console, f"\n{scope}, {methods} methods")
        columns = [standard.replace("_", " ") for standard in audit.standards]
        rows = table("rank", "item", "priority", *columns, right=["rank"], whole=["priority", *columns])
        for gap in audit.gaps:
            counts = [_counts(tally, audit) for tally in gap.tallies if tally.scope == scope]
            add(rows, str(gap.rank), _wrapped(gap.item.key, console), gap.item.priority, *counts)
        console.print(rows)


def _print_readings(console: Console, audit: LiteratureAudit) -> None:
    """Print the counts of an item under each of its readings."""
    for item in dict.fromkeys(one.item for one in audit.reading_tallies):
        heading(console, f"{item.replace('_', ' ')}, each reading by itself")
        for reading, text in audit.readings.items():
            _line(console, f"  {reading}: {' '.join(text.split())}")
        columns = [standard.replace("_", " ") for standard in audit.standards]
        rows = table("reading", "methods", *columns, whole=["reading", "methods", *columns])
        found = [one for one in audit.reading_tallies if one.item == item]
        for reading, scope in dict.fromkeys((one.reading, one.scope) for one in found):
            tallies = [one for one in found if (one.reading, one.scope) == (reading, scope)]
            add(rows, reading, f"{scope} {tallies[0].methods}", *(_counts(one, audit) for one in tallies))
        console.print(rows)
        _line(console, READINGS_NOTE)


def _wrapped(item: str, console: Console) -> str:
    return folded(item.replace("_", "-"), console, 12).replace("-", " ")


def _counts(tally: Tally, audit: LiteratureAudit) -> str:
    # Among surveyed methods other statuses do not occur; one that does is not hidden.
    shown = [status for status in audit.statuses if status in _SIGNS or tally.counts[status]]
    return " ".join(f"{_SIGNS.get(status, status)}{tally.counts[status]:<2}" for status in shown).rstrip()


def _print_table_12(console: Console, audit: LiteratureAudit) -> None:
    found = Counter[str](cell.agreement for cell in audit.cells)
    told = ", ".join(f"{found[word]} {meaning}" for word, meaning in _AGREEMENTS.items())
    heading(console, f"The survey's Table 12, {len(audit.cells)} cells: {told}")
    methods = list(dict.fromkeys(cell.mark.entry for cell in audit.cells))
    rows = table("row", *methods)
    for row in dict.fromkeys(cell.row for cell in audit.cells):
        cells = [cell for cell in audit.cells if cell.row == row]
        add(rows, row, *(f"{_SURVEY[cell.survey]}: {_sign(cell.mark)} {cell.agreement}" for cell in cells))
    console.print(rows)
    _line(console, "Before the colon the survey's mark (¬✓: any other; lost: a ✓ whose column is lost), then ours.")
    for lost in audit.lost_rows:
        verdict = "possible" if lost.possible else "contradicts it"
        ours = f"{lost.least}" if lost.least == lost.most else f"{lost.least} to {lost.most}"
        _line(console, f"{lost.row}: {lost.ticks} ✓ somewhere in the row; ours {ours}: {verdict}")
    _print_marks(console, (cell.mark for cell in audit.cells if cell.agreement == "differs"))


_SURVEY = {"yes": "✓", "not-yes": "¬✓", "lost": "lost"}
_AGREEMENTS = {
    "agrees": "agree",
    "compatible": "are compatible (neither says yes)",
    "differs": "differ",
    "open": "are unknown to us",
    "lost": "did not survive",
}


def _print_coarse(console: Console, audit: LiteratureAudit) -> None:
    texts = {item.key: item.text for item in audit.items}
    for one in audit.coarse:
        heading(console, f"Coarse audit: the survey has {one.count.reported} of {one.count.of} for {one.count.item}")
        _line(console, texts[one.count.item])
        yes = ", ".join(f"{count} ({standard.replace('_', ' ')})" for standard, count in one.reported.items())
        rest = f"{len(one.in_part)} in part, {one.most - one.least} unknown, of {one.methods}"
        _line(console, f"Ours: reported {yes}; {rest}")
        _print_marks(console, (*one.contradicting, *one.in_part))


def _print_marks(console: Console, marks: Iterable[LiteratureMark]) -> None:
    """Print marks with the text, account and sources of each observation."""
    for mark in marks:
        _line(console, f"\n{mark.entry}, {mark.item}: {mark.status}")
        for one in mark.evidence:
            read = "; ".join(f"{source.kind} {source.ref}" for source in one.sources)
            text = f"{one.account.replace('_', ' ')}: {one.text} [{read}]"
            console.print(Padding(printable(text), (0, 0, 0, 2)))


def _print_contradictions(console: Console, found: Sequence[Contradiction]) -> None:
    degrees = Counter[str](one.statements[0].degree for one in found)
    told = ", ".join(f"{degrees[degree]} {meaning}" for degree, meaning in _DEGREES.items())
    heading(console, f"{len(found)} marks whose evidence contradicts the survey: {told}")
    rows = table("method", "item", "ours", "shown by", "the survey", whole=["ours"])
    for one in found:
        says = "\n".join(f"{said.where}: {said.says} ({_DEGREES[said.degree]})" for said in one.statements)
        accounts = ", ".join(account.replace("_", " ") for account in one.mark.accounts)
        add(rows, one.mark.entry, _wrapped(one.mark.item, console), one.mark.status, accounts, says)
    console.print(rows)
    paper = sum(one.mark.under("with_paper") == one.mark.status for one in found)
    told = f"The paper is among the accounts of {paper} of them; the others contradict the survey only if what a "
    _line(console, told + "repository or a third party shows counts as reported.")


_DEGREES = {"full": "in full", "part": "in part", "count": "as a count"}
