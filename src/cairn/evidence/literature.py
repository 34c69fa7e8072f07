"""The reporting checklist over the surveyed literature: matrix, gaps, and where it parts from the survey.

Everything is computed from the inventory and from the frozen tables of the survey; nothing here is a judgement of its
own. A mark rests on observations, each with an account (paper, repository, third party). An item that asks for one of
two things (the same compute budget, or an explicit comparison) is counted as the checklist words it, where either will
do, and once more under each of its readings.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from cairn.evidence.base import Evidence
from cairn.evidence.checklist import Item, load_items
from cairn.evidence.literature_matrix import PARTIAL, STANDARDS, YES, LiteratureMark, MatrixRow, Standard, matrix
from cairn.evidence.literature_survey import (
    CORE,
    Cell,
    CoarseComparison,
    Contradiction,
    LostRow,
    cells,
    coarse,
    contradictions,
    lost_rows,
)
from cairn.inventory import Inventory
from cairn.inventory.survey import Survey

Scope = Literal["core", "all"]
READINGS_NOTE = (
    "A mark that shows only the other reading is left out, so a row may not add up to the methods. The status is the "
    "mark's: under one reading alone it could be lower."
)
OTHER = "other"  # reported, but only under another reading of the item
SCOPES: tuple[Scope, ...] = ("core", "all")


class Tally(Evidence):
    """How many methods of a scope have each status of one item; what a standard does not admit is unknown."""

    scope: Scope
    standard: Standard
    methods: int
    counts: Mapping[str, int]


class Gap(Evidence):
    """One item with its counts. Rank 1 is what fewest core methods report; items with equal counts share a rank."""

    rank: int
    item: Item
    tallies: tuple[Tally, ...]

    def tally(self, scope: Scope, standard: Standard) -> Tally:
        """Return the counts in one scope under one standard."""
        return next(one for one in self.tallies if (one.scope, one.standard) == (scope, standard))


class ReadingTally(Tally):
    """The same under one reading of an item: a mark that shows only the other reading counts as `other`."""

    item: str
    reading: str


class LiteratureAudit(Evidence):
    """The whole audit as data."""

    methods: int
    core: int
    items: tuple[Item, ...]
    accounts: Mapping[str, str]
    statuses: Mapping[str, str]
    standards: Mapping[Standard, str]
    rows: tuple[MatrixRow, ...]
    gaps: tuple[Gap, ...]
    readings: Mapping[str, str]
    reading_tallies: tuple[ReadingTally, ...]
    cells: tuple[Cell, ...]
    lost_rows: tuple[LostRow, ...]
    coarse: tuple[CoarseComparison, ...]
    contradictions: tuple[Contradiction, ...]


def literature_audit(inventory: Inventory, survey: Survey, items: Sequence[Item] | None = None) -> LiteratureAudit:
    """Return the audit of the methods that the survey counts.

    items: the checklist, by default the installed one. Raises UserError when the inventory lacks a surveyed method.
    """
    listed = tuple(load_items() if items is None else items)
    rows = matrix(inventory, survey, listed)
    statuses = _definitions(inventory, "marks")
    readings = _definitions(inventory, "readings")
    compared, counts = cells(rows, survey), coarse(rows, survey)
    lost = lost_rows(compared, survey)
    return LiteratureAudit(
        methods=len(rows),
        core=sum(row.type == CORE for row in rows),
        items=listed,
        accounts=_definitions(inventory, "accounts"),
        statuses=statuses,
        standards=STANDARDS,
        rows=rows,
        gaps=_gaps(rows, listed, tuple(statuses)),
        readings=readings,
        reading_tallies=tuple(_reading_tallies(rows, tuple(readings), tuple(statuses))),
        cells=compared,
        lost_rows=lost,
        coarse=counts,
        contradictions=contradictions(compared, lost, counts),
    )


def _gaps(rows: Sequence[MatrixRow], items: Sequence[Item], statuses: Sequence[str]) -> tuple[Gap, ...]:
    tallies = {item.key: _tallies([row.mark(item.key) for row in rows], rows, statuses) for item in items}
    keys = {item.key: _key(tallies[item.key]) for item in items}
    order = sorted(keys.values())
    gaps = [Gap(rank=order.index(keys[item.key]) + 1, item=item, tallies=tallies[item.key]) for item in items]
    return tuple(sorted(gaps, key=lambda gap: gap.rank))


def _key(tallies: Sequence[Tally]) -> tuple[int, int]:
    """Return what the ranking compares: reported and partly reported among the core methods, by any account."""
    counts = next(one.counts for one in tallies if (one.scope, one.standard) == (CORE, "any"))
    return counts[YES], counts[PARTIAL]


def _tallies(marks: Sequence[LiteratureMark], rows: Sequence[MatrixRow], statuses: Sequence[str]) -> tuple[Tally, ...]:
    core = [mark for mark, row in zip(marks, rows, strict=True) if row.type == CORE]
    scopes = {"core": core, "all": list(marks)}
    return tuple(_tally(scope, standard, scopes[scope], statuses) for scope in SCOPES for standard in STANDARDS)


def _tally(scope: Scope, standard: Standard, marks: Sequence[LiteratureMark], statuses: Sequence[str]) -> Tally:
    found = [mark.under(standard) for mark in marks]
    return Tally(scope=scope, standard=standard, methods=len(marks), counts={one: found.count(one) for one in statuses})


def _definitions(inventory: Inventory, name: str) -> dict[str, str]:
    return {word: one.definition for word, one in inventory.vocabulary(name).words.items()}


def _reading_tallies(
    rows: Sequence[MatrixRow], readings: Sequence[str], statuses: Sequence[str]
) -> Iterator[ReadingTally]:
    """Yield the counts under each reading, of the items of which a mark has one."""
    items = dict.fromkeys(mark.item for row in rows for mark in row.marks if mark.readings)
    for item in items:
        for reading in readings:
            for scope in SCOPES:
                marks = [row.mark(item) for row in rows if scope == "all" or row.type == CORE]
                for standard in STANDARDS:
                    found = [_read(mark, reading, standard) for mark in marks]
                    counts = {one: found.count(one) for one in (*statuses, OTHER)}
                    yield ReadingTally(item=item, reading=reading, scope=scope, standard=standard,
                                       methods=len(marks), counts=counts)  # fmt: skip


def _read(mark: LiteratureMark, reading: str, standard: Standard) -> str:
    status = mark.under(standard)
    return OTHER if status in (YES, PARTIAL) and reading not in mark.readings else status


CSV_COLUMNS = ("entry", "name", "type", "item", "status", "accounts", "evidence", "sources")


def matrix_csv(audit: LiteratureAudit) -> str:
    """Return the matrix as CSV, one mark a row, in the columns CSV_COLUMNS; several accounts stand apart by spaces."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(_csv_row(row, mark) for row in audit.rows for mark in row.marks)
    return stream.getvalue()


def _csv_row(row: MatrixRow, mark: LiteratureMark) -> tuple[str, ...]:
    evidence = " | ".join(f"{one.account}: {one.text}" for one in mark.evidence)
    sources = {source.key: source.ref for one in mark.evidence for source in one.sources}
    read = " | ".join(sources.values())
    return (row.entry, row.name, row.type, mark.item, mark.status, " ".join(mark.accounts), evidence, read)
