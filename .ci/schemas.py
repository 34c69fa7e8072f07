"""Check that the committed files that are generated from models are what the models say; with `--write`, renew them.

They are the JSON Schemas in `schemas/` and the blank checklists in `checklist/`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cairn.evidence import schema as evidence
from cairn.inventory import schema as inventory

ROOT = Path(__file__).resolve().parents[1]


def rendered() -> dict[str, str]:
    """Return the text of each generated file by its path below the root."""
    return {f"schemas/{name}": text for name, text in inventory.render(ROOT).items()} | evidence.render()


def stale() -> list[str]:
    """Return the paths whose file is missing or differs from what the models say, and of schemas nobody generates."""
    texts = rendered()
    differing = [name for name, text in texts.items() if _read(ROOT / name) != text]
    return differing + [name for name in _schemas() if name not in texts]


def _schemas() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "schemas").glob("*.json"))


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def main() -> int:
    """Return 0 when nothing is stale, else 1."""
    if sys.argv[1:] == ["--write"]:
        for name, text in rendered().items():
            (ROOT / name).write_text(text, encoding="utf-8")
    names = stale()
    for name in names:
        print(f"{name} is not what the models say. Repair: nox -s schemas -- --write, or delete it if nothing makes it")
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
