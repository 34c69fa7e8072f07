"""The process in which libFuzzer runs: started by `guided`, with libFuzzer's own options. It never returns."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris
from tests.inventory.fuzz.mutations import change

# Only our own code is instrumented: its branches guide the search, those of pydantic and yaml do not.
with atheris.instrument_imports(include=["cairn"]):
    from tests.inventory.fuzz.target import make, pack, unpack


def mutate(data: bytes, most_bytes: int, seed: int) -> bytes:
    """Return a neighbour of an input: one time in three libFuzzer's, else changes of its lines and values."""
    choose = random.Random(seed)
    if choose.random() < 1 / 3 or not data:
        return bytes(atheris.Mutate(data, most_bytes))
    file, content = unpack(data)
    for _ in range(1 + choose.randrange(3)):
        content = change(content, [choose.randrange(100_000) for _ in range(4)])
    return pack(file, content)[:most_bytes]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        target = make(Path(folder) / "tree")
        atheris.Setup(sys.argv, lambda data: target.execute(*unpack(data)), custom_mutator=mutate)
        atheris.Fuzz()
