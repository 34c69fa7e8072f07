"""What the survey says of reporting, beside our marks: its Table 12, its coarse audit, and where evidence contradicts.

The survey marks an item as reported or not; only a `yes` of ours contradicts a "not reported" in full, a `partial`
contradicts it in part. An `unknown` of ours contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from cairn.evidence.base import Evidence
from cairn.evidence.literature_matrix import NO, PARTIAL, STANDARDS, UNKNOWN, YES, LiteratureMark, MatrixRow, Standard
from cairn.inventory.survey import CoarseCount, Survey, SurveyMarks

CORE = "core"
TABLE = "Table 12"

SurveyMark = Literal["yes", "not-yes", "lost"]
Agreement = Literal["agrees", "compatible", "differs", "open", "lost"]
Degree = Literal["full", "part", "count"]


class Cell(Evidence):
    """One cell of Table 12 beside our mark.

    survey: `yes` where ✓ survived, `not-yes` in a row without any ✓, `lost` where the column of a ✓ is lost.
    agreement: `agrees` on yes; `compatible` when neither says yes (which mark the survey gave is lost); `differs`;
    `open` where ours is unknown; `lost` where the survey's is.
    """

    row: str
    survey: SurveyMark
    agreement: Agreement
    mark: LiteratureMark


class LostRow(Evidence):
    """A row of Table 12 of which only the number of ✓ survived, beside the least and most `yes` that ours can be."""

    row: str
    item: str
    ticks: int
    least: int
    most: int

    @property
    def possible(self) -> bool:
        """Say whether some assignment of the ✓ to columns agrees with our marks."""
        return self.least <= self.ticks <= self.most


class CoarseComparison(Evidence):
    """One count of the survey's coarse audit beside our marks of its core methods.

    reported: our `yes` under each standard of evidence; least, most: our `yes` by any account, without and with our
    `unknown`. `contradicting` holds our `yes`, `in_part` our `partial`. Where the survey counts some, only more of
    them than it counts contradict it.
    """

    count: CoarseCount
    methods: int
    reported: Mapping[Standard, int]
    least: int
    most: int
    contradicting: tuple[LiteratureMark, ...]
    in_part: tuple[LiteratureMark, ...]


class Statement(Evidence):
    """What the survey says that a mark contradicts: `full`, in `part`, or only as a `count` over all methods."""

    where: str
    says: str
    degree: Degree


class Contradiction(Evidence):
    """A mark of ours with every statement of the survey that its evidence contradicts, the strongest first."""

    mark: LiteratureMark
    statements: tuple[Statement, ...]


def cells(rows: Sequence[MatrixRow], survey: Survey) -> tuple[Cell, ...]:
    """Return the cells of Table 12, row by row. Raises KeyError when a method of it is not among `rows`."""
    by_entry = {row.entry: row for row in rows}
    return tuple(_cell(line, entry, by_entry[entry].mark(line.item)) for line in survey.marks for entry in line.marks)


def _cell(line: SurveyMarks, entry: str, mark: LiteratureMark) -> Cell:
    survey: SurveyMark = "not-yes" if line.ticks == 0 else line.marks[entry]
    return Cell(row=line.row, survey=survey, agreement=_agreement(survey, mark.status), mark=mark)


def _agreement(survey: SurveyMark, ours: str) -> Agreement:
    if survey == "lost":
        return "lost"
    if ours not in (YES, PARTIAL, NO):
        return "open"
    if (survey == "yes") is not (ours == YES):
        return "differs"
    return "agrees" if survey == "yes" else "compatible"


def lost_rows(found: Sequence[Cell], survey: Survey) -> tuple[LostRow, ...]:
    """Return the rows of Table 12 whose ✓ have no column, each with the range that our marks allow."""
    return tuple(_lost_row(line, found) for line in survey.marks if _columns_lost(line))


def _columns_lost(line: SurveyMarks) -> bool:
    return line.ticks > 0 and "lost" in line.marks.values()


def _lost_row(line: SurveyMarks, found: Sequence[Cell]) -> LostRow:
    least, most = _range([cell.mark for cell in found if cell.row == line.row])
    return LostRow(row=line.row, item=line.item, ticks=line.ticks, least=least, most=most)


def _range(marks: Sequence[LiteratureMark]) -> tuple[int, int]:
    """Return how many marks are `yes`, and how many can be once the unknown ones are established."""
    yes = sum(mark.status == YES for mark in marks)
    return yes, yes + sum(mark.status == UNKNOWN for mark in marks)


def coarse(rows: Sequence[MatrixRow], survey: Survey) -> tuple[CoarseComparison, ...]:
    """Return the survey's coarse counts beside our marks of the methods that it calls core."""
    return tuple(
        _coarse(count, [row.mark(count.item) for row in rows if row.type == CORE]) for count in survey.coarse_audit
    )


def _coarse(count: CoarseCount, marks: Sequence[LiteratureMark]) -> CoarseComparison:
    least, most = _range(marks)
    return CoarseComparison(
        count=count,
        methods=len(marks),
        reported={standard: sum(mark.under(standard) == YES for mark in marks) for standard in STANDARDS},
        least=least,
        most=most,
        contradicting=tuple(mark for mark in marks if mark.status == YES),
        in_part=tuple(mark for mark in marks if mark.status == PARTIAL),
    )


def contradictions(
    found: Sequence[Cell], lost: Sequence[LostRow], counts: Sequence[CoarseComparison]
) -> tuple[Contradiction, ...]:
    """Return every mark whose evidence contradicts a statement of the survey, each once, full contradictions first."""
    marks: dict[tuple[str, str], LiteratureMark] = {}
    statements: dict[tuple[str, str], list[Statement]] = {}
    for mark, statement in [*_by_cell(found), *_by_row(found, lost), *_by_count(counts)]:
        key = (mark.item, mark.entry)
        marks[key] = mark
        statements.setdefault(key, []).append(statement)
    listed = [
        Contradiction(mark=marks[key], statements=tuple(sorted(said, key=lambda one: _ORDER[one.degree])))
        for key, said in statements.items()
    ]
    return tuple(sorted(listed, key=lambda one: _ORDER[one.statements[0].degree]))


_ORDER: Mapping[Degree, int] = {"full": 0, "part": 1, "count": 2}


def _by_cell(found: Sequence[Cell]) -> Iterator[tuple[LiteratureMark, Statement]]:
    for cell in found:
        if cell.agreement == "differs":
            degree: Degree = "part" if cell.mark.status == PARTIAL else "full"
            yield cell.mark, Statement(where=TABLE, says="✓" if cell.survey == "yes" else "not ✓", degree=degree)


def _by_row(found: Sequence[Cell], lost: Sequence[LostRow]) -> Iterator[tuple[LiteratureMark, Statement]]:
    """Yield the marks of a row that cannot all hold: `yes` where the row has fewer ✓, the others where it has more."""
    for row in lost:
        said = Statement(where=TABLE, says=f"{row.ticks} ✓ in the row", degree="count")
        for cell in found:
            odd = (row.ticks < row.least and cell.mark.status == YES) or (
                row.ticks > row.most and cell.mark.status in (PARTIAL, NO)
            )
            if cell.row == row.row and odd:
                yield cell.mark, said


def _by_count(counts: Sequence[CoarseComparison]) -> Iterator[tuple[LiteratureMark, Statement]]:
    """Yield what contradicts a count: each mark where the survey counts none, else the `yes` that are too many."""
    for one in counts:
        says, where = f"{one.count.reported} of {one.count.of}", one.count.where
        if one.count.reported == 0:
            yield from ((mark, Statement(where=where, says=says, degree="full")) for mark in one.contradicting)
            yield from ((mark, Statement(where=where, says=says, degree="part")) for mark in one.in_part)
        elif one.least > one.count.reported:
            yield from ((mark, Statement(where=where, says=says, degree="count")) for mark in one.contradicting)
