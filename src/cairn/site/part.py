"""What the generated pages are made from, and what each part of the site hands over to be written."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cairn.evidence.difficulty import DifficultyTable
from cairn.evidence.fidelity import FidelityTable
from cairn.evidence.literature import LiteratureAudit
from cairn.inventory import Inventory
from cairn.inventory.decision import DecisionTree
from cairn.inventory.survey import Survey
from cairn.site.subject import Study, Subject

VERSION = "v1"
_LEADING = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Whole:
    """Everything there is to show. inventory: with the facets `status` and `verdict`. subjects: in its order."""

    subjects: tuple[Subject, ...]
    inventory: Inventory
    survey: Survey
    audit: LiteratureAudit
    tree: DecisionTree
    studies: tuple[Study, ...] = ()
    fidelity: Mapping[str, FidelityTable] = field(default_factory=dict)  # by task
    difficulty: Mapping[str, DifficultyTable] = field(default_factory=dict)  # by task

    @cached_property
    def names(self) -> Mapping[str, str]:
        """How each entry is called, by id."""
        return {subject.id: subject.entry.bibliography.name for subject in self.subjects}


@dataclass(frozen=True)
class DataFile:
    """A file for programs. path: below `docs/data/`. what, holds: its name and its content, for the page of data."""

    path: str
    what: str
    holds: str
    text: str


@dataclass(frozen=True)
class Part:
    """Pages by their path below `docs/`, and the data files with the numbers on them."""

    pages: Mapping[str, str]
    data: tuple[DataFile, ...] = field(default=())


def as_json(content: object) -> str:
    """Return JSON with sorted keys, which refuses what is no number."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def as_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return rows as CSV; a text that a spreadsheet would take for a formula gets an apostrophe in front."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([[_cell(value) for value in row] for row in rows])
    return stream.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_LEADING) else value
