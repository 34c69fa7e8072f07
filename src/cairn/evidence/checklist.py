"""The items of the reporting checklist, read from their one source."""

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
