"""What has been done about an entry, computed from which files exist. Fast: nothing is imported, no record is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cairn
from cairn.errors import UserError
from cairn.evidence.base import load_json
from cairn.paths import data_root

STATUSES = ("listed", "implemented", "run", "judged")


@dataclass(frozen=True)
class Standing:
    """What there is about one entry. statuses: those of STATUSES that hold. verdicts: the labels, one for each test."""

    statuses: tuple[str, ...]
    verdicts: tuple[str, ...]


def statuses(entry_id: str, root: Path | None = None) -> tuple[str, ...]:
    """Return which of STATUSES hold, in their order.

    implemented: the method has a module and a golden example. run: there are records, or a report made from some.
    judged: such a report holds verdicts. Raises UserError for a report that cannot be read.
    """
    return standing(entry_id, root).statuses


def standing(entry_id: str, root: Path | None = None) -> Standing:
    """Return the statuses, and the verdicts of the report that rests on records. Raises UserError as `statuses`."""
    folder = (data_root() if root is None else root) / "reproductions" / entry_id
    ran, verdicts = _reported(folder / "report.json")
    implemented = module_path(entry_id).is_file() and (folder / "golden.yaml").is_file()
    found = (True, implemented, ran or any((folder / "results").glob("[!.]*.json")), bool(verdicts))
    return Standing(tuple(status for status, holds in zip(STATUSES, found, strict=True) if holds), verdicts)


def module_path(entry_id: str) -> Path:
    """Return where the module of a method lies, if it has one."""
    return Path(cairn.__file__).parent / "methods" / f"{entry_id.replace('-', '_')}.py"


def _reported(path: Path) -> tuple[bool, tuple[str, ...]]:
    """Return whether the report rests on records, and then the labels of its verdicts."""
    if not path.is_file():
        return False, ()
    try:
        report = load_json(path.read_text(encoding="utf-8"))
        ran = bool(report["records"])
        return ran, tuple(str(claim["verdict"]["label"]) for claim in report["claims"]) if ran else ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("the report cannot be read", file=path, repair="build it again with `cairn report`") from error
