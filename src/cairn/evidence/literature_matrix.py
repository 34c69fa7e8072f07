"""The marks of the surveyed methods as one matrix: what was reported, who shows it, and where that was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from cairn.evidence.base import Evidence
from cairn.evidence.checklist import Item
from cairn.inventory import Entry, Inventory
from cairn.inventory.models import Mark
from cairn.inventory.survey import Survey

YES, PARTIAL, NO, UNKNOWN = "yes", "partial", "no", "unknown"
PAPER = "paper"
Standard = Literal["any", "with_paper", "paper_only"]
STANDARDS: Mapping[Standard, str] = {
    "any": "any account counts",
    "with_paper": "a mark counts when the paper is among its accounts",
    "paper_only": "a mark counts when the paper is its only account",
}
"""Standards of evidence. A status belongs to a mark and not to one observation of it, so what the paper shows by
itself lies between the last two."""


class SourceRead(Evidence):
    """A source behind an observation: its key in the entry, its kind and where it is."""

    key: str
    kind: str
    ref: str


class Observation(Evidence):
    """What one account shows of one item."""

    account: str
    text: str
    sources: tuple[SourceRead, ...]


class LiteratureMark(Evidence):
    """One item of the checklist for one method. Accounts stand once each, in the order of their word list."""

    entry: str
    item: str
    status: str
    readings: tuple[str, ...]
    accounts: tuple[str, ...]
    evidence: tuple[Observation, ...]

    def under(self, standard: Standard) -> str:
        """Return the status under a standard of evidence: unknown where its accounts do not count."""
        counts = {"any": True, "with_paper": PAPER in self.accounts, "paper_only": self.accounts == (PAPER,)}
        return self.status if counts[standard] else UNKNOWN


class MatrixRow(Evidence):
    """The marks of one method, in the order of the checklist; `type` is the survey's: core or enabler."""

    entry: str
    name: str
    type: str
    marks: tuple[LiteratureMark, ...] = Field(min_length=1)

    def mark(self, item: str) -> LiteratureMark:
        """Return the mark of one item. Raises KeyError when the checklist has no such item."""
        for mark in self.marks:
            if mark.item == item:
                return mark
        raise KeyError(item)


def matrix(inventory: Inventory, survey: Survey, items: Sequence[Item]) -> tuple[MatrixRow, ...]:
    """Return a row for each method that the survey counts, in its order.

    Raises UserError when the inventory lacks one of them.
    """
    accounts = tuple(inventory.vocabulary("accounts").words)
    return tuple(
        _row(inventory[method.entry], method.type, [item.key for item in items], accounts) for method in survey.surveyed
    )


def _row(entry: Entry, kind: str, items: Sequence[str], accounts: Sequence[str]) -> MatrixRow:
    marks = dict(entry.reporting.marks())
    found = tuple(_mark(entry, item, marks[item], accounts) for item in items)
    return MatrixRow(entry=entry.id, name=entry.bibliography.name, type=kind, marks=found)


def _mark(entry: Entry, item: str, mark: Mark, accounts: Sequence[str]) -> LiteratureMark:
    observations = tuple(
        Observation(
            account=one.account,
            text=one.text,
            sources=tuple(
                SourceRead(key=key, kind=entry.sources[key].kind, ref=entry.sources[key].ref) for key in one.from_
            ),
        )
        for one in mark.evidence
    )
    shown = {one.account for one in observations}
    return LiteratureMark(
        entry=entry.id,
        item=item,
        status=mark.status,
        readings=mark.readings,
        accounts=tuple(one for one in accounts if one in shown),
        evidence=observations,
    )
