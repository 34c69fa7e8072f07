"""Files generated from this package and committed: the JSON Schemas and the blank checklists, held equal by a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from cairn.evidence import checklist_forms
from cairn.evidence.base import write_atomically
from cairn.evidence.golden import Golden
from cairn.evidence.literature import LiteratureAudit
from cairn.evidence.records import Record
from cairn.evidence.report import Report
from cairn.evidence.rollout_format import RolloutRow

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MODELS: dict[str, tuple[type[BaseModel], Literal["validation", "serialization"]]] = {
    # Written by the machine: every field is there. Written by people: a field with a default may be left out.
    "schemas/record.schema.json": (Record, "serialization"),
    "schemas/report.schema.json": (Report, "serialization"),
    "schemas/literature-audit.schema.json": (LiteratureAudit, "serialization"),
    "schemas/rollouts.schema.json": (RolloutRow, "validation"),
    "schemas/golden.schema.json": (Golden, "validation"),
}


def render() -> dict[str, str]:
    """Return the text of each generated file by its path below the data root."""
    return {path: _text(*model) for path, model in MODELS.items()} | checklist_forms.render()


def write(root: Path) -> list[Path]:
    """Write the generated files below a root and return their paths. Raises UserError when that is not possible."""
    texts = render()
    for path, text in texts.items():
        write_atomically(root / path, text)
    return [root / path for path in texts]


def _text(model: type[BaseModel], mode: Literal["validation", "serialization"]) -> str:
    content = {"$schema": DIALECT, **model.model_json_schema(mode=mode)}
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
