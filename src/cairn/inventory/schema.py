"""The JSON Schemas, generated from the models and the word lists, for editors and for other languages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from cairn.inventory.models import EntryFile, vocabulary_of
from cairn.inventory.vocabulary import Vocabularies, Vocabulary

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def render(vocabularies: Vocabularies) -> dict[str, str]:
    """Return the text of each schema by its file name below `schemas/`."""
    entry = EntryFile.model_json_schema(by_alias=True)
    words = Vocabulary.model_json_schema(by_alias=True)
    return {
        "entry.schema.json": _text(_with_words(entry, vocabularies), "One entry of the Cairn inventory"),
        "vocabulary.schema.json": _text(words, "One closed word list of the Cairn inventory"),
    }


def write(root: Path, vocabularies: Vocabularies) -> list[Path]:
    """Write the schemas below `root`/schemas and return their paths."""
    written = []
    for name, text in render(vocabularies).items():
        path = root / "schemas" / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def vocabularies_named(model: type[BaseModel]) -> set[str]:
    """Return the names of all word lists that `model` and the models inside it refer to."""
    fields = [info for inner in _models(model, set()) for info in inner.model_fields.values()]
    return {name for info in fields if (name := vocabulary_of(info.json_schema_extra))}


def _models(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        yield annotation
        for info in annotation.model_fields.values():
            yield from _models(info.annotation, seen)
    for argument in get_args(annotation):
        yield from _models(argument, seen)


def _with_words(node: Any, vocabularies: Vocabularies) -> Any:
    """Return the schema with the words of a list in place of its name."""
    if isinstance(node, list):
        return [_with_words(item, vocabularies) for item in node]
    if not isinstance(node, dict):
        return node
    done = {key: _with_words(item, vocabularies) for key, item in node.items() if key != "vocabulary"}
    if isinstance(node.get("vocabulary"), str):
        words = sorted(vocabularies[node["vocabulary"]].words)
        target = done["items"] if done.get("type") == "array" else done
        target["enum"] = words
    return done


def _text(schema: dict[str, Any], title: str) -> str:
    return json.dumps({"$schema": DIALECT, **schema, "title": title}, indent=1, ensure_ascii=False) + "\n"
