"""What has been done about an entry, computed from which files exist. Fast: nothing is imported, no record is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cairn
from cairn.errors import UserError
from cairn.evidence.base import load_json
from cairn.paths import data_root

STATUSES = ("listed", "implemented", "run", "judged")


def statuses(entry_id: str, root: Path | None = None) -> tuple[str, ...]:
    """Return which of STATUSES hold, in their order.

    implemented: the method has a module and a golden example. run: there are records, or a report made from some.
    judged: such a report holds verdicts. Raises UserError for a report that cannot be read.
    """
    folder = (data_root() if root is None else root) / "reproductions" / entry_id
    ran, judged = _reported(folder / "report.json")
    implemented = module_path(entry_id).is_file() and (folder / "golden.yaml").is_file()
    found = (True, implemented, ran or any((folder / "results").glob("[!.]*.json")), judged)
    return tuple(status for status, holds in zip(STATUSES, found, strict=True) if holds)


def verdicts(entry_id: str, root: Path | None = None) -> dict[str, str]:
    """Return our verdict on each claim of the entry's reproduction, by the claim's id; empty when nothing was judged.

    Raises UserError for a report that cannot be read.
    """
    path = (data_root() if root is None else root) / "reproductions" / entry_id / "report.json"
    report = _read(path)
    if not report.get("records"):
        return {}
    try:
        return {claim["claim"]["id"]: claim["verdict"]["label"] for claim in report["claims"]}
    except (KeyError, TypeError) as error:
        raise _unreadable(path) from error


def module_path(entry_id: str) -> Path:
    """Return where the module of a method lies, if it has one."""
    return Path(cairn.__file__).parent / "methods" / f"{entry_id.replace('-', '_')}.py"


def _reported(path: Path) -> tuple[bool, bool]:
    """Return whether the report rests on records, and whether it then judges a claim."""
    report = _read(path)
    try:
        ran = bool(report and report["records"])
        return ran, ran and bool(report["claims"])
    except KeyError as error:
        raise _unreadable(path) from error


def _read(path: Path) -> dict[str, Any]:
    """Return the report as plain data, empty when there is none."""
    if not path.is_file():
        return {}
    try:
        report = load_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error
    if not isinstance(report, dict):
        raise _unreadable(path)
    return report


def _unreadable(path: Path) -> UserError:
    return UserError("the report cannot be read", file=path, repair="build it again with `cairn report`")
