"""The 14 items of the reporting checklist, read from their one source, and the templates rendered from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from cairn.errors import UserError
from cairn.evidence.base import Evidence, describe
from cairn.paths import data_root

SOURCE = "checklist/items.yaml"


class Item(Evidence):
    """One item: its key, what it asks for, and the fields of a run that answer it."""

    key: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    category: str
    priority: Literal["required", "recommended"]
    text: str
    fields: Annotated[tuple[str, ...], Field(min_length=1)]


def load_items(root: Path | None = None) -> tuple[Item, ...]:
    """Return the items below a root (default: the data root). Raises UserError when the file cannot be used."""
    path = (root or data_root()) / SOURCE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(tuple[Item, ...]).validate_python(content)
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror or error}", file=path, repair="install again") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError("not valid YAML", file=path, repair="restore the file") from error
    except ValidationError as error:
        raise UserError(describe(error), file=path, repair="restore the file") from error


def render() -> dict[str, str]:
    """Return the blank templates that an author fills in, by path below the data root."""
    items = load_items()
    return {
        "checklist/template.md": _markdown(items),
        "checklist/template.yaml": _yaml(items),
        "checklist/template.tex": _latex(items),
    }


def _markdown(items: tuple[Item, ...]) -> str:
    rows = [f"| {item.category} | {item.priority} | {item.text} | | |" for item in items]
    head = ["| Category | Priority | Item | Reported (yes / partial / no) | Where |", "|---|---|---|---|---|"]
    return "\n".join(["# Reporting checklist for credit assignment", "", *head, *rows]) + "\n"


def _yaml(items: tuple[Item, ...]) -> str:
    head = ["# Reporting checklist for credit assignment. status: yes, partial or no; evidence: where and what."]
    rows = [f'# {item.text} ({item.priority})\n{item.key}: {{status: "", evidence: ""}}' for item in items]
    return "\n".join([*head, *rows]) + "\n"


def _latex(items: tuple[Item, ...]) -> str:
    rows = [f"{item.category} & {item.priority} & {item.text} & & \\\\" for item in items]
    head = [
        "% Reporting checklist for credit assignment; needs booktabs and tabularx.",
        r"\begin{tabularx}{\linewidth}{@{}llXll@{}}",
        r"\toprule",
        r"Category & Priority & Item & Reported & Where \\",
        r"\midrule",
    ]
    return "\n".join([*head, *rows, r"\bottomrule", r"\end{tabularx}"]) + "\n"
