"""What has been done about an entry, computed from which files exist. Fast: nothing is imported, no record is read."""

from __future__ import annotations

from pathlib import Path

import cairn
from cairn.errors import UserError
from cairn.evidence.base import load_json
from cairn.paths import data_root

LISTED = "listed"


def statuses(entry_id: str, root: Path | None = None) -> tuple[str, ...]:
    """Return which of listed, implemented, run, judged hold, in this order.

    implemented: the method has a module and a golden example. run: there are records, or a report made from some.
    judged: such a report holds verdicts. Raises UserError for a report that cannot be read.
    """
    folder = (data_root() if root is None else root) / "reproductions" / entry_id
    ran, judged = _reported(folder / "report.json")
    found = {
        LISTED: True,
        "implemented": _module(entry_id).is_file() and (folder / "golden.yaml").is_file(),
        "run": ran or any((folder / "results").glob("[!.]*.json")),
        "judged": judged,
    }
    return tuple(name for name, holds in found.items() if holds)


def _module(entry_id: str) -> Path:
    return Path(cairn.__file__).parent / "methods" / f"{entry_id.replace('-', '_')}.py"


def _reported(path: Path) -> tuple[bool, bool]:
    """Return whether the report rests on records, and whether it then judges a claim."""
    if not path.is_file():
        return False, False
    try:
        report = load_json(path.read_text(encoding="utf-8"))
        ran = bool(report["records"])
        return ran, ran and bool(report["claims"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError("the report cannot be read", file=path, repair="build it again with `cairn report`") from error
