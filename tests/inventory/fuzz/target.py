"""What is fuzzed: any bytes in place of an entry, of a word list or of the decision tree.

The outcome is a clear finding or acceptance. Anything else (an exception, a line that is not in the file, a message of
two lines, an accepted file that cannot be used) is a fault of the loader.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from unittest.mock import patch

from tests.inventory.corpus import ALPHA, samples

from cairn.inventory import Finding, Inventory, Reading, bibtex, csl, decision, lint, read_all
from cairn.paths import data_root

TODAY = date(2026, 2, 1)
TREE = decision.FILE
LIST = "inventory/vocab/methodology.yaml"
FILES = (ALPHA, LIST, TREE)
SAMPLES = Path(__file__).parents[1] / "samples"
REGRESSIONS = Path(__file__).parent / "regressions"
EVERY = 8  # of the real entries, every eighth is a seed


class Target:
    """A data root of two entries, all word lists and a decision tree, in which one file at a time is replaced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lists = read_all(root, TODAY).vocabularies

    def execute(self, file: str, content: bytes) -> list[Finding]:
        """Check the tree with `content` in place of `file`, and put the file back. An AssertionError is a fault."""
        path = self.root / file
        before = path.read_bytes()
        path.write_bytes(content)
        # Reading the word lists takes most of the time; they are read again only where one of them is replaced.
        known = nullcontext() if file == LIST else patch.object(lint, "_vocabularies", return_value=self.lists)
        try:
            with known:
                reading = read_all(self.root, TODAY)
            for finding in reading.findings:
                self._is_clear(finding)
            if not reading.errors:
                self._is_usable(reading)
        finally:
            path.write_bytes(before)
        return list(reading.findings)

    def _is_clear(self, finding: Finding) -> None:
        path = self.root / finding.file
        lines = path.read_bytes().count(b"\n") + 1 if path.is_file() else 1
        assert 1 <= finding.line <= lines, finding
        assert str(finding).isprintable(), finding
        assert finding.message, finding
        assert finding.repair, finding

    def _is_usable(self, reading: Reading) -> None:
        for entry in reading.entries:
            json.dumps([entry.to_dict(), csl(entry)], allow_nan=False).encode()
            bibtex(entry).encode()
        inventory = Inventory(reading.entries, reading.vocabularies)
        inventory.grid()
        tree, _ = decision.read_tree(self.root, reading.vocabularies, inventory.ids)
        if tree is not None:
            assert tree.leaf({}) in tree.scenarios


def make(folder: Path) -> Target:
    """Make a target in an empty folder."""
    shutil.copytree(SAMPLES, folder / "inventory")
    shutil.copytree(data_root() / "inventory" / "vocab", folder / "inventory" / "vocab")
    return Target(folder)


def pack(file: str, content: bytes) -> bytes:
    """Return an input for a fuzzer, whose first byte says which file it stands for."""
    return str(FILES.index(file)).encode() + content


def unpack(data: bytes) -> tuple[str, bytes]:
    """Return (file, content) for any input of a fuzzer."""
    return FILES[data[0] % len(FILES)] if data else ALPHA, data[1:]


def seeds(folder: Path) -> Iterator[bytes]:
    """Yield inputs to start from: the samples, every broken one of the corpus, and real entries.

    folder: an empty one to work in.
    """
    root = make(folder).root
    for file in FILES:
        yield pack(file, (root / file).read_bytes())
    for sample in samples():
        if sample.file in FILES:
            before = (root / sample.file).read_bytes()
            sample.apply(root)
            yield pack(sample.file, (root / sample.file).read_bytes())
            (root / sample.file).write_bytes(before)
    for path in sorted((data_root() / "inventory" / "methods").glob("*.yaml"))[::EVERY]:
        yield pack(ALPHA, path.read_bytes())
    yield pack(TREE, (data_root() / TREE).read_bytes())
    yield from (path.read_bytes() for path in regressions())


def regressions() -> list[Path]:
    """Return the files with inputs that once broke the loader."""
    return sorted(path for path in REGRESSIONS.iterdir() if not path.name.startswith("."))
