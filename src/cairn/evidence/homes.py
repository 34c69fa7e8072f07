"""Where experiments lie: one folder each, with the script that declares it, its records and its report.

A reproduction tests the claims of a paper, so that its id is that of an entry. A study asks a question of our own, of
the protocol or of several methods at once, and belongs to no entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cairn.paths import data_root

REPRODUCTIONS, STUDIES = "reproductions", "studies"
SCRIPTS = {REPRODUCTIONS: "reproduce.py", STUDIES: "study.py"}


def scripts(root: Path | None = None) -> dict[str, Path]:
    """Return the script of every experiment by id, the reproductions before the studies, each sorted."""
    return {path.parent.name: path for kind in SCRIPTS for path in _of(kind, root)}


def ids(kind: str, root: Path | None = None) -> list[str]:
    """Return the ids of all reproductions, or of all studies, sorted."""
    return [path.parent.name for path in _of(kind, root)]


def home(experiment_id: str, root: Path | None = None) -> Path:
    """Return the folder of an experiment; that of a reproduction which is not there yet, for an id that has none."""
    found = scripts(root).get(experiment_id)
    return found.parent if found else (root or data_root()) / REPRODUCTIONS / experiment_id


def _of(kind: str, root: Path | None) -> Iterator[Path]:
    return iter(sorted(((root or data_root()) / kind).glob(f"*/{SCRIPTS[kind]}")))
