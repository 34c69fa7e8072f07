"""The generated inventory is a valid one, and the work of checking it grows with the number of entries."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.inventory import scale
from tests.inventory.conftest import TODAY

from cairn.inventory import check
from cairn.inventory.findings import MOST_ERRORS_A_FILE
from cairn.inventory.reader import MAX_BYTES, MAX_DEPTH, MAX_NODES
from cairn.paths import data_root

MOST_QUERY_MS = 50


@pytest.mark.parametrize("more", [0, 1, 40])
def test_a_made_inventory_has_its_size_and_no_finding(more: int, tmp_path: Path) -> None:
    real = len([*(data_root() / "inventory").glob("[mbd]*/*.yaml")])
    root = scale.make(tmp_path, real + more)
    assert check(root) == []
    files = [*(root / "inventory").glob("[mbd]*/*.yaml")]
    assert len(files) == len({path.stem for path in files}) == real + more


def _calls(root: Path) -> int:
    """Return how many functions the check calls, those written in C included; unlike seconds, it is always the same."""
    count = 0

    def step(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(step)
    try:
        assert check(root, TODAY) == []
    finally:
        sys.setprofile(None)
    return count


def test_the_work_of_a_check_grows_linearly(tree: Path, tmp_path: Path) -> None:
    sizes = (20, 60, 140)
    _calls(scale.make(tmp_path / "warm", 2, tree))  # what is computed once for all
    first, second, third = (_calls(scale.make(tmp_path / str(size), size, tree)) for size in sizes)
    per_entry, later = (second - first) / (60 - 20), (third - second) / (140 - 60)
    assert later == pytest.approx(per_entry, rel=0.02)


def test_the_table_is_put_between_its_marks_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    page = tmp_path / scale.PAGE
    page.write_text(f"before\n{scale.BEGIN}\nold\n{scale.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(scale, "data_root", lambda: tmp_path)
    scale._write("| new |")
    assert page.read_text(encoding="utf-8") == f"before\n{scale.BEGIN}\n| new |\n{scale.END}\nafter\n"


def test_the_page_holds_what_is_promised_of_ten_thousand_entries() -> None:
    page = (data_root() / scale.PAGE).read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| 10,000 \|.*$", page, flags=re.MULTILINE)
    queries_ms = [float(time) for time in re.findall(r"([0-9.e+-]+) ms \(", row)]
    assert len(queries_ms) == len(scale.QUERIES)
    assert max(queries_ms) < MOST_QUERY_MS
    assert scale.COMMAND in page


def test_the_page_states_the_bounds_of_the_reader() -> None:
    page = (data_root() / scale.PAGE).read_text(encoding="utf-8")
    for words in (
        f"{MAX_BYTES // 1024**2} MiB",
        f"{MAX_DEPTH} levels",
        f"{MAX_NODES:,}\nvalues",
        f"{MOST_ERRORS_A_FILE} errors",
    ):
        assert words in page or words.replace("\n", " ") in page, words
