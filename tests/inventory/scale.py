"""How the checker and the queries grow: an inventory of N entries, made from the real ones under fresh names.

`python -m tests.inventory.scale` prints the table of `docs/scale.md`, with `--write` puts it there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cairn.inventory import check, load
from cairn.paths import data_root

MODULE = "tests.inventory.scale"
COMMAND = f"python -m {MODULE} --write"
PAGE = Path("docs") / "scale.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SIZES = (1_000, 3_000, 10_000)
REPEATS = 21
FIRST_FRESH_NUMBER = 40_000  # arXiv has not given out as many numbers in a month
_ARXIV = re.compile(r'^  arxiv: "?(?P<month>[0-9]{4})\.[0-9]{4,5}"?$', re.MULTILINE)
_URL = re.compile(r"^  url: .*$", re.MULTILINE)
_NAMED = re.compile(r"(?P<before>\bid: |^moved_to: )(?P<id>[a-z][a-z0-9-]*)", re.MULTILINE)


def make(root: Path, size: int, source: Path | None = None) -> Path:
    """Fill `root` with an inventory of `size` entries, made from those below `source`, and return it.

    The first generation is the real entries; each further one has a number behind the ids, arXiv ids of its own, and
    relations inside itself (inside the first generation where the last is not complete).
    """
    source = data_root() if source is None else source
    files = sorted((source / "inventory").glob("[mbd]*/*.yaml"))
    place = {path.stem: number for number, path in enumerate(files)}
    for name in ("vocab", "methods", "background", "diagnostics"):
        (root / "inventory" / name).mkdir(parents=True)
    shutil.copytree(source / "inventory" / "vocab", root / "inventory" / "vocab", dirs_exist_ok=True)
    shutil.copy(source / "inventory" / "decision-tree.yaml", root / "inventory")
    texts = {path.stem: path.read_text(encoding="utf-8") for path in files}
    for number in range(size):
        path = files[number % len(files)]
        generation = number // len(files)
        there = {one for one in place if generation * len(files) + place[one] < size}
        text = _renewed(texts[path.stem], generation, number, there) if generation else texts[path.stem]
        file = root / "inventory" / path.parent.name / f"{_named(path.stem, generation)}.yaml"
        file.write_text(text, encoding="utf-8")
    return root


def _named(entry_id: str, generation: int) -> str:
    return f"{entry_id}-{generation}" if generation else entry_id


def _renewed(text: str, generation: int, number: int, there: set[str]) -> str:
    def name(found: re.Match[str]) -> str:
        entry_id = found["id"]
        return found["before"] + (_named(entry_id, generation) if entry_id in there else entry_id)

    text = _NAMED.sub(name, text)
    found = _ARXIV.search(text)
    fresh = f"{found['month']}.{FIRST_FRESH_NUMBER + number}" if found else "none"
    text = re.sub(r"^  arxiv: .*$", f'  arxiv: "{fresh}"', text, count=1, flags=re.MULTILINE)
    return _URL.sub(f"  url: https://arxiv.org/abs/{fresh}" if found else "  url: unknown", text, count=1)


def main(arguments: Sequence[str]) -> int:
    """Measure each size in processes of its own, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[*SIZES])
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE}")
    asked = parser.parse_args(arguments)
    table = _table([_measure(size) for size in asked.sizes])
    if asked.write:
        _write(table)
    print(table)  # noqa: T201 (the result)
    return 0


def _measure(size: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        root = make(Path(folder), size)
        found: dict[str, float] = {"entries": size}
        for what in JOBS:
            run = [sys.executable, "-m", MODULE, what, str(root)]
            found |= json.loads(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    return found


def _lint(root: Path) -> dict[str, float]:
    start = time.process_time()
    found = check(root)
    lint_s = time.process_time() - start
    assert found == [], found[:3]
    return {"lint_s": lint_s}


def _queries(root: Path) -> dict[str, float]:
    start = time.process_time()
    inventory = load(root)
    measured = {"load_s": time.process_time() - start, "peak_mib": _peak_mib()}
    some = inventory.ids[len(inventory) // 2]
    queries: Mapping[str, Callable[[], object]] = {
        "filter": lambda: inventory.filter(
            setting="agentic", granularity=["turn", "step"], without_need="learned_critic"
        ),
        "getitem": lambda: inventory[some],
        "grid": inventory.grid,
    }
    for name, query in queries.items():
        times_ms = [_time_ms(query) for _ in range(REPEATS)]
        measured |= {f"{name}_first_ms": times_ms[0], f"{name}_ms": statistics.median(times_ms)}
    return measured


def _time_ms(query: Callable[[], object]) -> float:
    start = time.process_time()
    query()
    return 1000 * (time.process_time() - start)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB


QUERIES = ("filter", "getitem", "grid")
JOBS: Mapping[str, Callable[[Path], dict[str, float]]] = {"lint": _lint, "queries": _queries}


def _table(rows: Sequence[Mapping[str, float]]) -> str:
    lines = ["| entries | check | per entry | load | peak memory | filter by three | one id | grid |"]
    lines += ["| ---: " * 8 + "|"]
    for row in rows:
        per_entry_ms = 1000 * row["lint_s"] / row["entries"]
        times = " | ".join(f"{row[f'{name}_ms']:.3g} ms ({row[f'{name}_first_ms']:.3g})" for name in QUERIES)
        lines.append(
            f"| {row['entries']:,.0f} | {row['lint_s']:.1f} s | {per_entry_ms:.2f} ms | {row['load_s']:.1f} s "
            f"| {row['peak_mib']:,.0f} MiB | {times} |"
        )
    return "\n".join([*lines, "", _circumstances()])


def _circumstances() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("cairn-credit", "pydantic", "pyyaml"))
    day = datetime.now(UTC).date()
    machine = f"{_processor()}, {os.cpu_count()} cores visible, one used, load average {os.getloadavg()[2]:.1f}"
    return f"Measured on {day} by `{COMMAND}` with Python {platform.python_version()}, {packages}; {machine}."


def _processor() -> str:
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return names[0] if names else platform.machine()


def _write(table: str) -> None:
    path = data_root() / PAGE
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    match sys.argv[1:]:
        case [what, root] if what in JOBS:
            sys.stdout.write(json.dumps(JOBS[what](Path(root))))
        case asked:
            sys.exit(main(asked))
