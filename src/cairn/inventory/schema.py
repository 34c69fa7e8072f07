"""The JSON Schemas, generated from the models and the word lists, for editors and for other languages.

`python -m cairn.inventory.schema` writes them anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cairn.inventory.decision import DecisionTree
from cairn.inventory.export import InventoryFile
from cairn.inventory.lint import read_all
from cairn.inventory.models import EntryFile
from cairn.inventory.vocabulary import Vocabularies, Vocabulary
from cairn.paths import data_root

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def render(root: Path | None = None) -> dict[str, str]:
    """Return the text of each schema by its file name below `schemas/`; `root` has the word lists."""
    vocabularies = read_all(root).vocabularies
    entry = _with_words(EntryFile.model_json_schema(by_alias=True), vocabularies)
    # Written by the machine: every field is there. Written by people: a field with a default may be left out.
    whole = _with_words(InventoryFile.model_json_schema(by_alias=True, mode="serialization"), vocabularies)
    words = Vocabulary.model_json_schema(by_alias=True)
    tree = DecisionTree.model_json_schema(by_alias=True)
    return {
        "entry.schema.json": _text(entry, "One entry of the Cairn inventory"),
        "decision-tree.schema.json": _text(tree, "The decision tree of the Cairn inventory"),
        "inventory.schema.json": _text(whole, "The Cairn inventory, or a part of it, as `cairn export` writes it"),
        "vocabulary.schema.json": _text(words, "One closed word list of the Cairn inventory"),
    }


def write(root: Path | None = None) -> list[Path]:
    """Write the schemas below `root`/schemas, by default those of this checkout, and return their paths."""
    root = data_root() if root is None else root
    written = []
    for name, text in render(root).items():
        path = root / "schemas" / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


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


if __name__ == "__main__":
    write()
