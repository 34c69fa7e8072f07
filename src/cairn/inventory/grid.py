"""The taxonomy as a grid: the unit that receives credit, by how the credit is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cairn.inventory.models import Entry

Words = tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """The ids at one granularity and in one family of methodologies, all together and by methodology."""

    ids: Words
    by_methodology: Mapping[str, Words]


@dataclass(frozen=True)
class Grid:
    """Granularities (rows) by families of methodologies (columns); every cell is there, the empty ones too.

    An entry has one methodology, hence one column, but may have several granularities: it then stands in several rows.
    several: id to these granularities. So the cells of a row add up, and the cells of a column may exceed its total.
    ids: all entries of the grid, each once.
    """

    rows: Words
    columns: Words
    cells: Mapping[tuple[str, str], Cell]
    several: Mapping[str, Words]
    ids: Words

    def row(self, granularity: str) -> Words:
        """Return the ids at one granularity. Raises KeyError for a word that is no row."""
        return tuple(sorted(one for column in self.columns for one in self.cells[granularity, column].ids))

    def column(self, family: str) -> Words:
        """Return the ids in one family, each once. Raises KeyError for a word that is no column."""
        return tuple(sorted({one for row in self.rows for one in self.cells[row, family].ids}))

    def to_dict(self) -> dict[str, Any]:
        """Return the grid as plain data; totals count each entry once."""
        cells = [
            {
                "granularity": row,
                "family": column,
                "ids": list(cell.ids),
                "methodologies": {word: list(ids) for word, ids in cell.by_methodology.items()},
            }
            for (row, column), cell in self.cells.items()
        ]
        totals = {
            "granularity": {row: len(self.row(row)) for row in self.rows},
            "family": {column: len(self.column(column)) for column in self.columns},
            "entries": len(self.ids),
        }
        several = {one: list(rows) for one, rows in self.several.items()}
        return {"cells": cells, "in_several_rows": several, "totals": totals}


def arrange(entries: Sequence[Entry], rows: Words, columns: Words, family_of: Callable[[Entry], Words]) -> Grid:
    """Return the grid of entries. rows, columns: all granularities and families, in the order to show them."""
    held: dict[tuple[str, str], list[Entry]] = {(row, column): [] for row in rows for column in columns}
    for entry in entries:
        for row in entry.labels.granularity:
            for column in family_of(entry):
                held[row, column].append(entry)
    several = {entry.id: entry.labels.granularity for entry in entries if len(entry.labels.granularity) > 1}
    cells = {place: _cell(found) for place, found in held.items()}
    return Grid(rows, columns, cells, several, tuple(entry.id for entry in entries))


def _cell(entries: Sequence[Entry]) -> Cell:
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(entry.labels.methodology, []).append(entry.id)
    by_methodology = {word: tuple(found[word]) for word in sorted(found)}
    return Cell(tuple(entry.id for entry in entries), by_methodology)
