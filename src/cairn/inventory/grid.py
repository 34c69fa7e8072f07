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
    held: dict[tuple[str, str], list[tuple[str, str]]] = {(row, column): [] for row in rows for column in columns}
    several: dict[str, Words] = {}
    ids: list[str] = []
    for entry in entries:  # each entry is looked at once: in a large inventory that is what takes the time
        labels, entry_id = entry.labels, entry.id
        granularity, named = labels.granularity, (labels.methodology, entry_id)
        ids.append(entry_id)
        if len(granularity) > 1:
            several[entry_id] = granularity
        for column in family_of(entry):
            for row in granularity:
                held[row, column].append(named)
    return Grid(rows, columns, {place: _cell(found) for place, found in held.items()}, several, tuple(ids))


def _cell(named: Sequence[tuple[str, str]]) -> Cell:
    """Return the cell of (methodology, id) pairs."""
    found: dict[str, list[str]] = {}
    for methodology, entry_id in named:
        found.setdefault(methodology, []).append(entry_id)
    return Cell(tuple(entry_id for _, entry_id in named), {word: tuple(found[word]) for word in sorted(found)})
