"""The blank of a new entry, made from the models: every field with what it asks for, and a mark where a person writes.

A mark that is left fails validation with its line, so the messages lead through the entry.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cairn.errors import UserError
from cairn.inventory.collection import Inventory
from cairn.inventory.entry_rules import TYPES_OF_KIND
from cairn.inventory.findings import near
from cairn.inventory.models import ARXIV_PATTERN, NONE, SLUG_PATTERN, EntryFile, Mark, Source, vocabulary_of
from cairn.inventory.text_rules import EDITOR_COMMENT
from cairn.inventory.tree_rules import FOLDERS
from cairn.inventory.vocabulary import Vocabularies

TODO = "TODO"
SOURCE = "s1"
HEAD = "# Write over each mark; `unknown` is a legal value, also for a reporting item: then say where you looked."
LISTED_WORDS = 14
WIDTH_CHARACTERS = 116

Place = tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """What is known of a new entry before a person opens its file. Texts are data, whatever they hold."""

    id: str
    arxiv: str
    kind: str = "method"
    name: str | None = None
    title: str | None = None
    authors: tuple[str, ...] = ()
    year: int | None = None
    code_url: str | None = None
    credited: str | None = None

    @property
    def file(self) -> str:
        """The file of the entry, relative to the data root."""
        return f"inventory/{next(folder for folder, kind in FOLDERS.items() if kind == self.kind)}/{self.id}.yaml"


def blank(known: Known, inventory: Inventory, today: date) -> str:
    """Return the text of a new entry's file.

    Raises UserError for an id or arXiv id that has the wrong form or is taken, and for a kind that does not exist.
    """
    _require_form(known)
    _require_free(known, inventory)
    writer = _Writer(_answers(known, today), inventory.vocabularies)
    lines = [EDITOR_COMMENT, HEAD]
    for name, info in EntryFile.model_fields.items():
        if info.is_required():
            lines += ["", *writer.field((name,), info)]
    return "\n".join(lines) + "\n"


def _require_form(known: Known) -> None:
    if known.kind not in TYPES_OF_KIND:
        raise UserError("no such kind of entry", value=known.kind, repair=near(known.kind, TYPES_OF_KIND))
    if not re.fullmatch(SLUG_PATTERN, known.id) or known.id == NONE:
        repair = "small letters and digits, joined by single hyphens, such as group-in-group"
        raise UserError("this cannot be the id of an entry", value=known.id, repair=repair)
    if not re.fullmatch(ARXIV_PATTERN, known.arxiv):
        repair = "write it without version, such as 2505.10978, or none"
        raise UserError("this is not an arXiv id", value=known.arxiv, repair=repair)


def _require_free(known: Known, inventory: Inventory) -> None:
    for entry in inventory:
        if entry.id == known.id:
            repair = "correct that entry, or choose another id for another paper"
            raise UserError("an entry has this id", file=entry.file, value=known.id, repair=repair)
        if known.arxiv != NONE and entry.bibliography.arxiv == known.arxiv:
            repair = f"correct {entry.id}; another name of the same paper is a relation of kind alias there"
            raise UserError("an entry has this arXiv id", file=entry.file, value=known.arxiv, repair=repair)


def _answers(known: Known, today: date) -> dict[Place, object]:
    """Return what is known by the place of its field; lists and mappings are written on one line."""
    paper: dict[str, object | None] = {
        "name": known.name,
        "title": known.title,
        "authors": [*known.authors] or None,
        "arxiv": known.arxiv,
        "url": None if known.arxiv == NONE else f"https://arxiv.org/abs/{known.arxiv}",
        "year": known.year,
        "code_url": known.code_url,
        "authors_complete": True,
    }
    types = TYPES_OF_KIND[known.kind]
    found: dict[Place, object | None] = {("bibliography", name): value for name, value in paper.items()}
    found |= {
        ("labels", "type"): types[0] if len(types) == 1 else None,
        ("labels", "why"): {},
        ("rule", "credited"): known.credited,
        ("checked",): today,
        ("survey",): "null",
        ("survey_discrepancy",): "null",
    }
    return {place: value for place, value in found.items() if value is not None}


@dataclass(frozen=True)
class _Writer:
    """Writes fields with their descriptions as comments."""

    answers: Mapping[Place, object]
    vocabularies: Vocabularies

    def field(self, place: Place, info: FieldInfo) -> Iterator[str]:
        """Yield the lines of one field and of what lies below it."""
        indent = "  " * (len(place) - 1)
        key = f"{indent}{info.alias or place[-1]}:"
        comment = self._comment(info)
        if place in self.answers:
            yield from _line(key, _scalar(self.answers[place]), "")
        elif (model := _only_model(info.annotation)) is Mark:
            yield from _line(key, _MARK, "")
        elif model is not None and not _is_many(info.annotation):
            yield key
            yield from self._inside(place, model)
        elif model is Source:
            yield key
            yield f"{indent}  {SOURCE}: {{kind: {TODO}, ref: {TODO}, seen: {TODO}}}  # {self._source_kinds()}"
        elif model is not None:
            yield from _line(key, "[]", f"each {{{', '.join(_names(model))}}}")
        else:
            yield from _line(key, self._empty(place, info), comment)

    def _inside(self, place: Place, model: type[BaseModel]) -> Iterator[str]:
        # `from` last, as in all entries: first the facts, then what they rest on.
        for name, info in sorted(model.model_fields.items(), key=lambda field: field[0] == "from_"):
            if info.is_required():
                yield from self.field((*place, name), info)

    def _empty(self, place: Place, info: FieldInfo) -> str:
        if place[-1] == "from_":
            return f"[{SOURCE}]"
        return f"[{TODO}]" if _is_many(info.annotation) else TODO

    def _comment(self, info: FieldInfo) -> str:
        name = vocabulary_of(info.json_schema_extra)
        about = "" if info.alias == "from" else info.description or ""
        if not name:
            return about
        words = self.vocabularies[name].words if name in self.vocabularies else {}
        listed = ", ".join(words) if len(words) <= LISTED_WORDS else f"see inventory/vocab/{name}.yaml"
        empty = "; [] when there is none" if _is_many(info.annotation) and not info.metadata else ""
        return f"{about}: {listed}{empty}"

    def _source_kinds(self) -> str:
        return "kind: " + ", ".join(self.vocabularies["source-kinds"].words)


_MARK = f"{{status: unknown, evidence: [{{account: paper, text: {TODO}, from: [{SOURCE}]}}]}}"


def _line(key: str, value: str, comment: str) -> Iterator[str]:
    """Yield a field on one line, its comment behind it or, when that is too long, above it."""
    whole = f"{key} {value}" + (f"  # {comment}" if comment else "")
    if len(whole) <= WIDTH_CHARACTERS or not comment:
        yield whole
        return
    indent = " " * (len(key) - len(key.lstrip()))
    yield from textwrap.wrap(comment, WIDTH_CHARACTERS, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   ")
    yield f"{key} {value}"


def _scalar(value: object) -> str:
    """Return a value on one line of YAML that our reader takes back as it was; text is quoted."""
    if value == "null" or isinstance(value, (bool, int, date)):
        return {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    style = '"' if isinstance(value, (str, list)) else None
    text = yaml.safe_dump(value, allow_unicode=True, default_style=style, default_flow_style=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


def _only_model(annotation: Any) -> type[BaseModel] | None:
    """Return the model that the annotation holds, directly, in a list, in a mapping or optionally."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _only_model(part))), None)


def _is_many(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) in (tuple, Mapping)


def _names(model: type[BaseModel]) -> list[str]:
    names = [info.alias or name for name, info in model.model_fields.items()]
    return sorted(names, key=lambda name: name == "from")
