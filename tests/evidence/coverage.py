"""How often the interval behind the verdicts holds the true difference: the table of `docs/statistics.md`.

Print it with `python -m tests.evidence.coverage`; `--write` puts it into the page. It takes about a minute.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from cairn.evidence import stats
from cairn.evidence.simulated import SHAPES, Coverage, coverage, standard_bounds
from cairn.evidence.summary import generator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statistics.md"
SEEDS = (5, 10, 20)
TRIALS = 10_000
SEED = 0
BEGIN, END = "<!-- written by: python -m tests.evidence.coverage --write -->\n", "<!-- end of what was written -->"
HEAD = ("differences", "seeds", "interval holds the truth", "lies above it", "lies below it")


def measure(shape: str, seeds: int, trials: int = TRIALS, replicates: int = stats.REPLICATES) -> Coverage:
    """Return the coverage of the interval, with as many replicates as a report takes."""
    rng = generator(SEED, "coverage", shape, str(seeds))
    return coverage(standard_bounds(seeds, rng, shape=shape, trials=trials, replicates=replicates))


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table, slowly."""
    for shape in SHAPES:
        for seeds in SEEDS:
            yield shape, str(seeds), *(f"{100 * share:.1f} %" for share in measure(shape, seeds))


def table() -> str:
    """Return the table as Markdown, and how it was made."""
    made = (
        f"{TRIALS:,} simulated experiments for each row, {stats.REPLICATES:,} bootstrap replicates in each, as in a "
        f"report. The standard error of a share is at most {100 * 0.5 / TRIALS**0.5:.1f} points."
    )
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *rows())]
    return "\n".join([*lines, "", made]) + "\n"


def main() -> None:
    """Print the table, or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table into docs/statistics.md")
    found = table()
    if parser.parse_args().write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(before + BEGIN + "\n" + found + "\n" + END + rest.split(END)[1], encoding="utf-8")
    else:
        sys.stdout.write(found)


if __name__ == "__main__":
    main()
