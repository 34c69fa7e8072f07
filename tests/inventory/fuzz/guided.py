"""Coverage-guided fuzzing of the loader with atheris (libFuzzer): `nox -s fuzz -- --seconds 120`.

An input that breaks the loader is left in `regressions/`, where it is a failing test until the loader is repaired.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.inventory.fuzz.target import REGRESSIONS, make, seeds, unpack

LONGEST_BYTES = 60_000
SLOWEST_S = 10
HERE = "tests.inventory.fuzz"
REPLAY = "replay"  # what this module is asked to do in a process of its own
CHECKER = ("reader", "shape", "lint", "decision", "findings", "inspection", "*_rules")


def main(arguments: Sequence[str]) -> int:
    """Fuzz for a while, print what was reached, and return 0, or 1 when an input broke the loader."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="how long to run (default: %(default)s)")
    parser.add_argument("--corpus", type=Path, help="folder that keeps the inputs found, for the next run")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default: %(default)s)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = asked.corpus or Path(scratch) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(seeds(Path(scratch) / "seeds")):
            (corpus / f"seed-{number:03}").write_bytes(seed)
        code = _in_child(corpus, asked.seconds, asked.seed)
        print(f"{len([*corpus.iterdir()])} inputs in the corpus; the lines of the checker that they reach:")  # noqa: T201
        _print_coverage(corpus, Path(scratch))
    return int(code != 0)


def _in_child(corpus: Path, seconds: int, seed: int) -> int:
    """Run libFuzzer, which ends its process, in a process of its own; return its exit code."""
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST_BYTES}", f"-timeout={SLOWEST_S}",
               f"-artifact_prefix={REGRESSIONS}{os.sep}", "-print_final_stats=1", "-rss_limit_mb=4096"]  # fmt: skip
    return subprocess.run([sys.executable, "-m", f"{HERE}.libfuzzer", *options, str(corpus)], check=False).returncode


def _print_coverage(corpus: Path, scratch: Path) -> None:
    data = f"--data-file={scratch / 'coverage'}"
    only = "--include=" + ",".join(f"*/cairn/inventory/{name}.py" for name in CHECKER)
    run = [sys.executable, "-m", "coverage"]
    subprocess.run([*run, "run", data, only, "-m", f"{HERE}.guided", REPLAY, str(corpus)], check=True)
    subprocess.run([*run, "report", data, "--show-missing"], check=True)


def replay(corpus: Path) -> None:
    """Execute every input of a corpus once."""
    with tempfile.TemporaryDirectory() as folder:
        target = make(Path(folder) / "tree")
        for path in sorted(corpus.iterdir()):
            target.execute(*unpack(path.read_bytes()))


if __name__ == "__main__":
    match sys.argv[1:]:
        case [word, folder] if word == REPLAY:
            replay(Path(folder))
        case asked:
            sys.exit(main(asked))
