"""Measures how much two workers get done in the time of one. Run it by hand on an idle machine with two cores:

python -m tests.lab.throughput

It prints the seconds and the ratio, and fails below 1.6. Starting the workers is part of the time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from cairn.evidence.records import Record
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.protocol import read_protocol
from cairn.lab.runner import Plan, run
from cairn.methods.grpo import GRPO

LEAST = 1.6
SEEDS = tuple(range(900, 908))


class Silence:
    """Watches a run and says nothing."""

    def planned(self, cells: int, finished: int) -> None:
        """Say nothing."""

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None:
        """Say nothing."""

    def done(self, record: Record) -> None:
        """Stop at a failure."""
        if record.status != "ok":
            raise RuntimeError(record.reason)


def measure(workers: int) -> float:
    """Return the seconds that the cells take."""
    arm = Arm("grpo", "control", "The control.", GRPO())
    with tempfile.TemporaryDirectory() as out:
        reproduction = Reproduction("throughput", "Throughput", ("quest",), (arm,), ())
        plan = Plan(reproduction, read_protocol(), "cpu", SEEDS, "cpu", Path(out), resume=False, workers=workers)
        started = time.perf_counter()
        run(plan, Silence())
        return time.perf_counter() - started


if __name__ == "__main__":
    one, two = measure(1), measure(2)
    print(f"1 worker {one:.1f} s, 2 workers {two:.1f} s, ratio {one / two:.2f}")  # noqa: T201 - a script prints
    sys.exit(one / two < LEAST)
