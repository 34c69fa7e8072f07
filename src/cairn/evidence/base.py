"""What every file of evidence shares: strict models, canonical JSON, hashes, atomic writing, reading with a repair."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from cairn.errors import UserError

SLUG = r"^[a-z0-9]+(?:[-_.=][a-z0-9]+)*$"
"""Names of methods, tasks and arms. A separator never doubles, so `--` can part the names in a file name."""


class Evidence(BaseModel):
    """Base of all models here: immutable, no unknown field, no NaN and no infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)


def canonical_json(value: object) -> str:
    """Return the one spelling of a JSON value: sorted keys, no spaces, UTF-8 letters as they are.

    Raises ValueError for NaN and infinity, TypeError for what JSON cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_of(value: object) -> str:
    """Return the hex SHA-256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def pretty_json(model: BaseModel) -> str:
    """Return the text of a model as it is stored: sorted keys, one field a line, so that diffs can be read."""
    content = model.model_dump(mode="json")
    return json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new one and nothing between.

    Text is written as UTF-8. Raises UserError when the folder cannot be made or written; then no temporary file stays
    behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise UserError(
            f"cannot write: {error.strerror or error}",
            file=path,
            repair="choose a folder that you may write and that has space left",
        ) from error


def _replace(path: Path, content: bytes) -> None:
    # The temporary file lies in the same folder: replacing is atomic only within one file system.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_json(text: str) -> Any:
    """Parse JSON strictly: NaN, infinity and a key given twice are refused. Raises ValueError."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)


def read_model(path: Path, model: type[Model], repair: str) -> Model:
    """Read one JSON file into a model, strictly: no coercion, no NaN, no key given twice.

    Raises UserError with the file, and the line where JSON itself breaks.
    """
    try:
        text = path.read_text(encoding="utf-8")
        load_json(text)
        return model.model_validate_json(text, strict=True)
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror or error}", file=path, repair=repair) from error
    except json.JSONDecodeError as error:
        raise UserError(f"not valid JSON: {error.msg}", file=path, line=error.lineno, repair=repair) from error
    except ValidationError as error:
        raise UserError(describe(error), file=path, repair=repair) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"not valid JSON: {error}", file=path, repair=repair) from error


def describe(error: ValidationError) -> str:
    """Return the first fault that pydantic found, as `place: what`, with the number of the others."""
    faults = error.errors(include_url=False)
    place = ".".join(str(part) for part in faults[0]["loc"]) or "file"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{place}: {faults[0]['msg']}{more}"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key given twice: {next(key for key in keys if keys.count(key) > 1)}")
    return content
