"""The survey's tables as transcribed in `inventory/survey-2026-04/`: frozen, typed, joined to entries by id.

What the files hold, and what did not survive in the text they were read from, is said in their README.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from cairn.errors import UserError
from cairn.inventory.models import Block, Slug, Text
from cairn.paths import data_root

FOLDER = "inventory/survey-2026-04"
TICK = "✓"
_REPAIR = "restore the file: the transcription is frozen"

Row = Mapping[str, str]
_Codes = Mapping[tuple[str, str], tuple[str, ...]]  # (field, code) -> our words
BlockType = TypeVar("BlockType", bound=Block)


class SurveyMethod(Block):
    """One row of Table 10 with its row of Table 5, in the words of `inventory/vocab/`.

    `methodology` and `benchmarks` stay in the survey's words. Without a row in Table 5 (background), `aux_model` and
    `compute` are `unknown`, `venue` is empty and `year` is null.
    """

    entry: Slug
    name: Text
    number: int | None
    section: Text
    type: str
    setting: tuple[str, ...]
    granularity: tuple[str, ...]
    methodology: Text
    baseline_family: str
    evidence: str
    aux_model: str
    compute: str
    benchmarks: tuple[Text, ...]
    venue: str
    year: int | None


class Scenario(Block):
    """One row of Table 8, its candidates as entry ids in the survey's order."""

    scenario: Text
    characteristics: Text
    candidates: tuple[Slug, ...]
    consideration: Text


class SurveyMarks(Block):
    """One row of Table 12: `yes` where the mark survived, else `lost`; `ticks` of the row's marks are `yes`."""

    item: Text = Field(description="key of the checklist item")
    row: Text
    ticks: int
    marks: Mapping[Slug, Literal["yes", "lost"]]


class CoarseCount(Block):
    """One count of the survey's informal audit of its core methods."""

    item: str
    reported: Annotated[int, Field(ge=0)]
    of: Annotated[int, Field(ge=1)]
    words: Text
    where: Text
    paragraph: Text


class Pair(Block):
    """A task and the method that the survey's decision tree is said to lead to."""

    task: Text
    method: Slug


class Contradiction(Block):
    """A place where the survey contradicts itself."""

    found_by: Literal["program", "reading"]
    kind: Slug
    subject: tuple[str, ...] = Field(description="entry ids or checklist items; empty when neither is meant")
    where: Text
    says: Text
    against: Text
    says_against: Text
    remark: str


class Lost(Block):
    """A cell or mark that did not survive in the text."""

    table: int
    row: Text
    column: str
    read: str
    why: Text


class Survey(Block):
    """All that the transcription says of methods, by entry id."""

    methods: tuple[SurveyMethod, ...]
    scenarios: tuple[Scenario, ...]
    marks: tuple[SurveyMarks, ...]
    coarse_audit: tuple[CoarseCount, ...]
    pairs: tuple[Pair, ...]
    contradictions: tuple[Contradiction, ...]
    lost: tuple[Lost, ...]
    items: Mapping[str, Text] = Field(description="wording of each checklist item in Table 11")

    def method(self, entry_id: str) -> SurveyMethod | None:
        """Return the rows of one entry, or None when the survey does not label it."""
        return next((method for method in self.methods if method.entry == entry_id), None)

    @property
    def surveyed(self) -> tuple[SurveyMethod, ...]:
        """Return the methods that the survey counts: core methods and enablers, without the background."""
        return tuple(method for method in self.methods if method.number is not None)


def load_survey(root: Path | None = None) -> Survey:
    """Return the survey's tables below a data root, by default that of the installation.

    Raises UserError with file and line when a file is missing, broken, or does not fit the others.
    """
    return _Reader((data_root() if root is None else root) / FOLDER).survey()


def read_table(number: int, root: Path | None = None) -> tuple[Row, ...]:
    """Return the rows of Table `number`, 2 to 12, verbatim: column name to cell. Raises UserError."""
    path = (data_root() if root is None else root) / FOLDER / f"table-{number:02d}.csv"
    return tuple(row for _, row in _rows(path, ()))


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, Row]]:
    """Yield (line, row) of a CSV file with unique column names, `columns` among them, and as many cells in each row."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            head = next(reader, [])
            lacking = [name for name in columns if name not in head]
            if lacking or not head or len(set(head)) < len(head):
                message = f"column {lacking[0]} is missing" if lacking else "the first line does not name the columns"
                raise UserError(message, file=path, line=1, value=head, repair=_REPAIR)
            for cells in reader:
                if len(cells) != len(head):
                    message = f"this row has {len(cells)} cells, not {len(head)}"
                    raise UserError(message, file=path, line=reader.line_num, value=cells, repair=_REPAIR)
                yield reader.line_num, dict(zip(head, cells, strict=True))
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror or error}", file=path, repair=_REPAIR) from error
    except UnicodeDecodeError as error:
        raise UserError("the text is not UTF-8", file=path, repair=_REPAIR) from error
    except csv.Error as error:
        raise UserError(f"not valid CSV: {error}", file=path, line=reader.line_num, repair=_REPAIR) from error


_TABLE_5 = ("Method", "Aux. Model?", "Compute", "Venue", "Year")
_TABLE_8 = ("Scenario", "Characteristics", "Promising Candidates", "Key Consideration")
_TABLE_10 = (
    "section", "#", "Method", "Type", "Setting", "Gran.", "Methodology", "BL", "Ev.", "Primary Benchmarks",
)  # fmt: skip


@dataclass(frozen=True)
class _Reader:
    """One reading of the folder; every fault is raised with the line it stands on."""

    folder: Path

    def survey(self) -> Survey:
        names = self._names()
        return Survey(
            methods=tuple(self._methods(names)),
            scenarios=tuple(self._scenarios(names)),
            marks=tuple(self._marks(names)),
            coarse_audit=tuple(self._blocks("coarse-audit.csv", CoarseCount)),
            pairs=tuple(self._pairs(names)),
            contradictions=tuple(self._blocks("contradictions.csv", Contradiction)),
            lost=tuple(self._blocks("lost.csv", Lost)),
            items={row["item"]: row["table_11"] for _, row in self._rows("items.csv", "item", "table_11")},
        )

    def _rows(self, name: str, *columns: str) -> Iterator[tuple[int, Row]]:
        return _rows(self.folder / name, columns)

    def _blocks(self, name: str, model: type[BlockType]) -> Iterator[BlockType]:
        """Yield each row of a file whose columns are the fields of a model; a tuple's parts stand apart by spaces."""
        for line, row in self._rows(name, *model.model_fields):
            values: dict[str, Any] = dict(row)
            if "subject" in values:
                values["subject"] = tuple(row["subject"].split())
            yield self._block(name, line, model, values)

    def _block(self, name: str, line: int, model: type[BlockType], values: Mapping[str, object]) -> BlockType:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            message = f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            raise UserError(
                message, file=self.folder / name, line=line, value=fault["input"], repair=_REPAIR
            ) from error

    def _names(self) -> dict[str, tuple[str, ...]]:
        """Return the entry ids that each spelling of a name in the tables means."""
        names: dict[str, tuple[str, ...]] = {}
        for _, row in self._rows("names.csv", "name", "entry"):
            names[row["name"]] = (*names.get(row["name"], ()), row["entry"])
        return names

    def _entries(self, names: Mapping[str, tuple[str, ...]], name: str, file: str, line: int) -> tuple[str, ...]:
        if name not in names:
            path = self.folder / file
            raise UserError(
                "names.csv does not say which entry this is", file=path, line=line, value=name, repair=_REPAIR
            )
        return names[name]

    def _codes(self) -> _Codes:
        rows = self._rows("codes.csv", "field", "code", "words")
        return {(row["field"], row["code"]): tuple(row["words"].split()) for _, row in rows}

    def _methods(self, names: Mapping[str, tuple[str, ...]]) -> Iterator[SurveyMethod]:
        codes = self._codes()
        compared = self._compared(names, codes)
        # A background method has no row in Table 5; codes.csv says what an empty cell means.
        absent = self._coded(codes, "codes.csv", 1, aux_model="", compute="") | {"venue": "", "year": None}
        for line, row in self._rows("table-10.csv", *_TABLE_10):
            entry = self._entries(names, row["Method"], "table-10.csv", line)[0]
            words = self._coded(
                codes,
                "table-10.csv",
                line,
                type=row["Type"],
                setting=row["Setting"],
                granularity=row["Gran."],
                baseline_family=row["BL"],
                evidence=row["Ev."],
            )
            plain = {
                "entry": entry,
                "name": row["Method"],
                "number": row["#"] or None,
                "section": row["section"],
                "methodology": row["Methodology"],
                "benchmarks": tuple(part.strip() for part in row["Primary Benchmarks"].split(",")),
            }
            yield self._block("table-10.csv", line, SurveyMethod, words | plain | compared.get(entry, absent))

    def _compared(self, names: Mapping[str, tuple[str, ...]], codes: _Codes) -> dict[str, dict[str, object]]:
        """Return what only Table 5 says of each entry."""
        found = {}
        for line, row in self._rows("table-05.csv", *_TABLE_5):
            entry = self._entries(names, row["Method"], "table-05.csv", line)[0]
            words = self._coded(codes, "table-05.csv", line, aux_model=row["Aux. Model?"], compute=row["Compute"])
            found[entry] = words | {"venue": row["Venue"], "year": row["Year"]}
        return found

    def _coded(self, codes: _Codes, file: str, line: int, **cells: str) -> dict[str, object]:
        """Return our words for the codes of some fields: a tuple where an entry has several, else the one word."""
        found: dict[str, object] = {}
        for field, code in cells.items():
            words = codes.get((field, code), ())
            several = field in ("setting", "granularity")
            if not words or (len(words) > 1 and not several):
                message = f"codes.csv does not say what this means as {field}"
                raise UserError(message, file=self.folder / file, line=line, value=code, repair=_REPAIR)
            found[field] = words if several else words[0]
        return found

    def _scenarios(self, names: Mapping[str, tuple[str, ...]]) -> Iterator[Scenario]:
        for line, row in self._rows("table-08.csv", *_TABLE_8):
            cells = [part.strip() for part in row["Promising Candidates"].split(",")]
            found = [entry for cell in cells for entry in self._entries(names, cell, "table-08.csv", line)]
            values = dict(zip(Scenario.model_fields, (row[column] for column in _TABLE_8), strict=True))
            yield self._block("table-08.csv", line, Scenario, {**values, "candidates": tuple(found)})

    def _marks(self, names: Mapping[str, tuple[str, ...]]) -> Iterator[SurveyMarks]:
        """Yield the rows of Table 12; where the columns of its marks are lost, `ticks.csv` has their number."""
        items = {
            row["table_12"]: row["item"] for _, row in self._rows("items.csv", "item", "table_12") if row["table_12"]
        }
        counts = {
            row["row"]: row["ticks"]
            for _, row in self._rows("ticks.csv", "table", "row", "ticks")
            if row["table"] == "12"
        }
        for line, row in self._rows("table-12.csv", "Category", "Item"):
            cells = {name: cell for name, cell in row.items() if name not in ("Category", "Item")}
            marks = {
                self._entries(names, name, "table-12.csv", 1)[0]: "yes" if cell == TICK else "lost"
                for name, cell in cells.items()
            }
            values = {
                "item": items.get(row["Item"], ""),
                "row": row["Item"],
                "ticks": counts.get(row["Item"], sum(cell == TICK for cell in cells.values())),
                "marks": marks,
            }
            yield self._block("table-12.csv", line, SurveyMarks, values)

    def _pairs(self, names: Mapping[str, tuple[str, ...]]) -> Iterator[Pair]:
        for line, row in self._rows("pairs.csv", "task", "method"):
            entry = self._entries(names, row["method"], "pairs.csv", line)[0]
            yield self._block("pairs.csv", line, Pair, {"task": row["task"], "method": entry})
