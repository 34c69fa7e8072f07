"""Files generated from this package and committed: two JSON Schemas and the blank checklists, held equal by a test."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from cairn.evidence import checklist
from cairn.evidence.base import write_atomically
from cairn.evidence.records import Record
from cairn.evidence.report import Report

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, type[BaseModel]] = {"schemas/record.schema.json": Record, "schemas/report.schema.json": Report}


def render() -> dict[str, str]:
    """Return the text of each generated file by its path below the data root."""
    return {path: _text(model) for path, model in MODELS.items()} | checklist.render()


def write(root: Path) -> list[Path]:
    """Write the generated files below a root and return their paths. Raises UserError when that is not possible."""
    texts = render()
    for path, text in texts.items():
        write_atomically(root / path, text)
    return [root / path for path in texts]


def _text(model: type[BaseModel]) -> str:
    content = {"$schema": DIALECT, **model.model_json_schema(mode="serialization")}
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
