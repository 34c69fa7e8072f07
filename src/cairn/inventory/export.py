"""The inventory as files that other programs read: JSON, CSV, BibTeX, a LaTeX table, Parquet, a data set's folder.

Every file is a function of the entries: no date, no path, and no order but that of the ids. Each carries a mark by
which a later export knows that it may be replaced.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import Field

from cairn import __version__
from cairn.inventory.cite import bibtex
from cairn.inventory.collection import Inventory
from cairn.inventory.models import Block, Entry
from cairn.inventory.tables import TABLES
from cairn.inventory.tex import escape
from cairn.inventory.vocabulary import Vocabulary

LICENCE = "CC-BY-4.0"
MARK = "Made by `cairn export`"
JOINT = "; "
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class ExportedEntry(Entry):
    """An entry with the words that were computed about it."""

    computed: Mapping[str, tuple[str, ...]] = Field(description="criterion to words that no file states: the facets")


class SurveyedMethods(Block):
    """The methods that the survey labels, by the survey's type."""

    entries: int
    type: Mapping[str, int]


class Totals(Block):
    """How many entries the file holds, computed when it was made."""

    entries: int
    kind: Mapping[str, int]
    surveyed_methods: SurveyedMethods


class InventoryFile(Block):
    """The inventory, or a part of it, as one JSON file."""

    schema_version: Literal[1]
    made_by: str = Field(description="what wrote the file, with its version")
    licence: str = Field(description="of the facts below, as an SPDX identifier")
    totals: Totals
    word_lists: Mapping[str, Vocabulary] = Field(description="every list that a label's words come from")
    entries: tuple[ExportedEntry, ...] = Field(description="in the order of their ids")


def full(inventory: Inventory) -> list[dict[str, Any]]:
    """Return each entry as nested plain data: the fields of its file, `id`, `kind`, `file`, and `computed`."""
    return [{**entry.to_dict(), "computed": _computed(inventory, entry)} for entry in inventory]


def _computed(inventory: Inventory, entry: Entry) -> dict[str, list[str]]:
    return {name: list(inventory.words_of(entry, name)) for name in inventory.facets}


def json_file(inventory: Inventory) -> bytes:
    """Return the whole as JSON; `schemas/inventory.schema.json` says what is in it."""
    content = {
        "schema_version": 1,
        "made_by": _made_by(),
        "licence": LICENCE,
        "totals": inventory.totals(),
        "word_lists": {name: one.model_dump(mode="json") for name, one in inventory.vocabularies.items()},
        "entries": full(inventory),
    }
    return (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def csv_file(inventory: Inventory) -> bytes:
    """Return the table `entries` as CSV; the last column holds the whole entry as JSON, so that nothing is lost.

    Lists are joined by "; ", true and false are written so, and a missing value is an empty cell. A cell that a
    spreadsheet would take for a formula begins with an apostrophe that the entry has not.
    """
    table = TABLES["entries"]
    names = [column.name for column in table.columns(inventory)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in table.rows(inventory))
    return stream.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    text = JOINT.join(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(_FORMULA) else text


def bibtex_file(inventory: Inventory) -> bytes:
    """Return one BibTeX record for each entry, keyed by its id."""
    return "\n".join([f"% {_made_by()}\n", *(bibtex(entry) for entry in inventory)]).encode()


_LATEX_HEAD = r"""% {made_by}
% Facts under {licence}. To be read with \input; needs \usepackage{{array,longtable}} and \usepackage[T1]{{fontenc}}.
% The keys are those of `cairn export --format bibtex`; for a table without citations, say first:
% \newcommand{{\cairncite}}[1]{{}}
\providecommand{{\cairncite}}[1]{{~\cite{{#1}}}}
\begingroup\footnotesize
\begin{{longtable}}{{@{{}}{columns}@{{}}}}
{head} \\
\hline
\endhead
"""
_LATEX_FOOT = "\\end{longtable}\n\\endgroup\n"
# Heading -> (column of the table `entries`, its part of the width of the line); the gaps take the rest.
_LATEX_COLUMNS: Mapping[str, tuple[str, float]] = {
    "Method": ("name", 0.23),
    "Year": ("year", 0.06),
    "Setting": ("setting", 0.11),
    "Credit to": ("granularity", 0.11),
    "Computed by": ("methodology", 0.17),
    "Auxiliary model": ("aux_model", 0.13),
}


def latex_file(inventory: Inventory) -> bytes:
    """Return a table of the methods and their labels, a `longtable` for a document to input."""
    ragged = r">{{\raggedright\arraybackslash}}p{{{width}\linewidth}}"
    columns = "".join(ragged.format(width=width) for _, width in _LATEX_COLUMNS.values())
    head = _LATEX_HEAD.format(made_by=_made_by(), licence=LICENCE, columns=columns, head=" & ".join(_LATEX_COLUMNS))
    rows = [_latex_row(row) for row in TABLES["entries"].rows(inventory)]
    return (head + "".join(rows) + _LATEX_FOOT).encode()


def _latex_row(row: Mapping[str, Any]) -> str:
    cells = [(name, row[name]) for name, _ in _LATEX_COLUMNS.values()]
    shown = {name: escape(", ".join(cell) if isinstance(cell, list) else str(cell)) for name, cell in cells}
    shown["name"] += rf"\cairncite{{{row['id']}}}"
    return " & ".join(shown.values()) + " \\\\\n"


def _parquet_file(inventory: Inventory) -> bytes:
    from cairn.inventory import frames

    return frames.parquet(inventory, "entries", _made_by())


def dataset_folder(inventory: Inventory) -> dict[str, bytes]:
    """Return the files of a folder that `datasets.load_dataset` reads: a Parquet file for each table, and the card.

    The card comes last, so that a folder with a card is whole. Raises UserError without the extra `export`.
    """
    from cairn.inventory import card, frames

    data = {card.data_path(name): frames.parquet(inventory, name, _made_by()) for name in TABLES}
    return {**data, card.NAME: card.text(inventory, _made_by(), LICENCE).encode()}


def _made_by() -> str:
    return f"{MARK}, Cairn {__version__}"


FILES: Mapping[str, Callable[[Inventory], bytes]] = {
    "json": json_file,
    "csv": csv_file,
    "bibtex": bibtex_file,
    "latex": latex_file,
    "parquet": _parquet_file,
}
"""Formats that are one file."""

FOLDERS: Mapping[str, Callable[[Inventory], Mapping[str, bytes]]] = {"datasets": dataset_folder}
"""Formats that are a folder: the files in it by their path, in the order to write them."""

_CSV_MARK = b"id,kind,file,name,title,authors,"


def recognises(content: bytes) -> bool:
    """Say whether a file was written by an export, so that another may take its place. CSV shows it by its columns."""
    return MARK.encode() in content or content.startswith(_CSV_MARK)
