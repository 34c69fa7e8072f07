"""The corpus of broken entries in `broken/`: each sample says what is changed, and what must be said about it.

`change` replaces texts of `file` (by default the sample entry alpha), each where it first stands; rule `rule` must then
be broken on the line that holds `at`, with the value `got` and a repair that contains `repair`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

ALPHA = "inventory/methods/alpha.yaml"
FOLDER = Path(__file__).parent / "broken"


@dataclass(frozen=True)
class Sample:
    """One broken file."""

    rule: str
    name: str
    change: tuple[tuple[str, str], ...]
    at: str
    repair: str
    got: str = ""
    file: str = ALPHA

    def apply(self, root: Path) -> None:
        """Break the file below `root`."""
        path = root / self.file
        text = path.read_bytes().decode()
        for old, new in self.change:
            assert old in text, old
            text = text.replace(old, new, 1)
        path.write_bytes(text.encode())

    def line(self, root: Path) -> int:
        """Return the line that a finding must name."""
        lines = (root / self.file).read_bytes().decode().split("\n")
        return next(number for number, line in enumerate(lines, start=1) if self.at in line)


def samples() -> list[Sample]:
    """Return the samples of all files of the corpus."""
    rows = [row for path in sorted(FOLDER.glob("*.yaml")) for row in yaml.safe_load(path.read_text(encoding="utf-8"))]
    return [Sample(**{**row, "change": tuple((old, new) for old, new in row["change"])}) for row in rows]
