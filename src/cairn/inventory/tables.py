"""The entries as flat tables, for programs that think in rows: CSV, data frames, Parquet, data sets.

`entries` has one row for each entry; each other table has one row for each element of a list inside entries, under the
entry's id. Columns follow from the models, so a field added there is in the tables too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_origin

from pydantic import BaseModel

from cairn.errors import UserError
from cairn.inventory.collection import Inventory
from cairn.inventory.criteria import FAMILY
from cairn.inventory.findings import near
from cairn.inventory.models import (
    Bibliography,
    Claim,
    Entry,
    Hyperparameter,
    Labels,
    Relation,
    Reporting,
    Source,
    SurveyLabels,
    Variant,
)

Kind = Literal["text", "list", "integer", "boolean"]
Row = dict[str, Any]
ENTRY = "entry"


@dataclass(frozen=True)
class Column:
    """One column. kind: text, list (of texts), integer or boolean; a missing value is None. about: what it holds."""

    name: str
    kind: Kind
    about: str


@dataclass(frozen=True)
class Table:
    """One flat table: the columns in order, and the rows, of an inventory; each row has every column."""

    name: str
    about: str
    columns: Callable[[Inventory], tuple[Column, ...]]
    rows: Callable[[Inventory], Iterator[Row]]


def table(name: str) -> Table:
    """Return the table named `name`. Raises UserError with near matches when there is none."""
    if name in TABLES:
        return TABLES[name]
    raise UserError("no table has this name", value=name, repair=near(name, TABLES))


_KEY = Column(ENTRY, "text", "id of the entry")
_LABELS = ("why", "from_")
_SURVEY = "survey_"
_REPORTED = "reported_"


def _columns(model: type[BaseModel], prefix: str = "", skip: Sequence[str] = ("from_",)) -> Iterator[Column]:
    for name, info in model.model_fields.items():
        if name not in skip:
            yield Column(prefix + (info.alias or name), _kind(info.annotation), info.description or "as in the file")


def _kind(annotation: object) -> Kind:
    if get_origin(annotation) is tuple:
        return "list"
    return "boolean" if annotation is bool else "integer" if annotation is int else "text"


def _values(model: type[BaseModel], block: BaseModel | None, prefix: str = "", skip: Sequence[str] = ("from_",)) -> Row:
    names = {name: prefix + (info.alias or name) for name, info in model.model_fields.items() if name not in skip}
    return {shown: None if block is None else _plain(getattr(block, name)) for name, shown in names.items()}


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value.isoformat() if isinstance(value, date) else value


def _entry_columns(inventory: Inventory) -> tuple[Column, ...]:
    return (
        Column("id", "text", "the entry's id, which is its file name and its key in BibTeX"),
        Column("kind", "text", "method, background or diagnostic"),
        Column("file", "text", "where the entry lies in the repository"),
        *_columns(Bibliography),
        *_columns(Labels, skip=_LABELS),
        Column(FAMILY, "text", "family of the methodology; the assignment is ours"),
        *(Column(one.name, one.kind, f"by the survey: {one.about}") for one in _columns(SurveyLabels, _SURVEY)),
        Column("needs", "list", "data and services beyond rewards and log-probabilities"),
        Column("hooks", "list", "stages of the training loop that the method overrides"),
        Column("invariants", "list", "what holds for every batch"),
        Column("reduces_to", "list", "ids of the entries that it becomes in a limit"),
        Column("claims", "list", "keys of the paper's claims; the table `claims` has their texts"),
        *(
            Column(f"{_REPORTED}{item}", "text", f"mark of the reporting item {item}, a word of the list marks")
            for item in Reporting.model_fields
        ),
        Column("confidence", "text", "how well the rule is known"),
        Column("checked", "text", "day on which the entry was last compared with its sources, YYYY-MM-DD"),
        Column("moved_to", "text", "the id that took its place, or none"),
        Column("withdrawn", "text", "why the entry no longer counts, or none"),
        *(Column(name, "list", f"computed: any of {', '.join(one.words)}") for name, one in inventory.facets.items()),
        Column(ENTRY, "text", "the whole entry as JSON, with every field that the other columns leave out"),
    )


def _entry_rows(inventory: Inventory) -> Iterator[Row]:
    for entry in inventory:
        yield {
            **{name: getattr(entry, name) for name in ("id", "kind", "file")},
            **_values(Bibliography, entry.bibliography),
            **_values(Labels, entry.labels, skip=_LABELS),
            FAMILY: inventory.words_of(entry, FAMILY)[0],
            **_values(SurveyLabels, entry.survey, _SURVEY),
            "needs": list(entry.needs),
            "hooks": list(entry.hooks),
            "invariants": list(entry.properties.invariants),
            "reduces_to": list(dict.fromkeys(limit.id for limit in entry.properties.reduces_to)),
            "claims": [claim.key for claim in entry.claims],
            **{f"{_REPORTED}{item}": mark.status for item, mark in entry.reporting.marks()},
            **{name: _plain(getattr(entry, name)) for name in ("confidence", "checked", "moved_to", "withdrawn")},
            **{name: list(inventory.words_of(entry, name)) for name in inventory.facets},
            ENTRY: json.dumps(entry.to_dict(), ensure_ascii=False),
        }


def _listed(name: str, about: str, model: type[BaseModel], blocks: Callable[[Entry], Sequence[BaseModel]]) -> Table:
    """Return a table with one row for each of the entry's blocks of one kind."""
    return Table(
        name,
        about,
        lambda _: (_KEY, *_columns(model, skip=())),
        lambda inventory: (
            {ENTRY: entry.id, **_values(model, block, skip=())} for entry in inventory for block in blocks(entry)
        ),
    )


def _reporting_rows(inventory: Inventory) -> Iterator[Row]:
    for entry in inventory:
        for item, mark in entry.reporting.marks():
            for one in mark.evidence:
                head = {ENTRY: entry.id, "item": item, "status": mark.status}
                yield {**head, "account": one.account, "text": one.text, "from": list(one.from_)}


def _source_rows(inventory: Inventory) -> Iterator[Row]:
    for entry in inventory:
        for key, source in entry.sources.items():
            yield {ENTRY: entry.id, "key": key, **_values(Source, source)}


_REPORTING_COLUMNS = (
    _KEY,
    Column("item", "text", "item of the reporting checklist"),
    Column("status", "text", "its mark"),
    Column("account", "text", "whether the paper, a repository or a third party shows it"),
    Column("text", "text", "what was seen"),
    Column("from", "list", "keys into the entry's sources"),
)
_SOURCE_COLUMNS = (_KEY, Column("key", "text", "key of the source, as `from` names it"), *_columns(Source))
_ALL = (
    Table("entries", "one row for each entry", _entry_columns, _entry_rows),
    _listed("claims", "one row for each claim of a paper", Claim, lambda entry: entry.claims),
    Table("reporting", "one row for each piece of evidence behind a mark of the reporting checklist",
          lambda _: _REPORTING_COLUMNS, _reporting_rows),
    _listed("hyperparameters", "one row for each setting", Hyperparameter, lambda entry: entry.rule.hyperparameters),
    _listed("variants", "one row for each variant of a rule", Variant, lambda entry: entry.rule.variants),
    _listed("relations", "one row for each relation to another paper", Relation, lambda entry: entry.relations),
    Table("sources", "one row for each source", lambda _: _SOURCE_COLUMNS, _source_rows),
)  # fmt: skip
TABLES: Mapping[str, Table] = {one.name: one for one in _ALL}
