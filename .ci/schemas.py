"""Check that the committed JSON Schemas are those of the models; with `--write`, renew them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from cairn.evidence import schema as evidence
from cairn.inventory import read_all
from cairn.inventory import schema as inventory

ROOT = Path(__file__).resolve().parents[1]


def write(root: Path) -> None:
    """Write every schema that is generated from a model below `root`/schemas."""
    (root / "schemas").mkdir(exist_ok=True)
    inventory.write(root, read_all(ROOT).vocabularies)
    evidence.write(root)


def stale(fresh: Path) -> list[str]:
    """Return the names of the schemas that differ from, or are missing in, the fresh ones."""
    committed = {path.name: path.read_bytes() for path in (ROOT / "schemas").glob("*.json")}
    return sorted(
        path.name for path in (fresh / "schemas").glob("*.json") if committed.get(path.name) != path.read_bytes()
    )


def main() -> int:
    """Return 0 when nothing is stale, else 1."""
    if sys.argv[1:] == ["--write"]:
        write(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        names = stale(Path(folder))
    for name in names:
        print(f"schemas/{name} is not what the models say. Repair: nox -s schemas -- --write")
    return int(bool(names))


if __name__ == "__main__":
    sys.exit(main())
