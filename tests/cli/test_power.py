"""`cairn power`, and what `cairn run` says of the same before it starts."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from tests.cli.conftest import NOT_REPRODUCED, Command

from cairn.commands import planning
from cairn.commands.report_tables import print_reports
from cairn.evidence.multiplicity import p_value
from cairn.evidence.report import read_report
from cairn.paths import data_root

PUBLISHED = data_root() / "reproductions" / "gigpo" / "report.json"
SMOKE = ("--preset", "smoke", "--device", "cpu", "--workers", "1")


def test_the_spread_is_that_of_the_published_records(cairn: Command) -> None:
    report = read_report(PUBLISHED)
    found = json.loads(cairn("power", "gigpo", "--json").out)
    assert [one["claim"]["id"] for one in found["claims"]] == [
        one.claim.id for one in (*report.claims, *report.checks) if one.claim.not_testable is None
    ]
    first = report.claims[0].comparisons[0]
    assert (found["claims"][0]["known_from"], found["claims"][0]["seeds"]) == (len(first.seeds), len(report.seeds))
    assert found["claims"][0]["effect"] == pytest.approx(first.difference.estimate)


def test_the_table_names_every_claim_and_what_it_rests_on(cairn: Command) -> None:
    outcome = cairn("power", "gigpo", "--seeds", "3", "--effect", "0.4")
    assert outcome.code == 0
    for part in ("3 paired seeds", "over-grpo", "w0-is-grpo", "+0.400", "none would do", "A verdict needs 5 seeds"):
        assert part in outcome.out


def test_without_published_records_a_spread_must_be_given(cairn: Command) -> None:
    unknown = cairn("power", "gigpo", "--preset", "smoke")
    assert "No spread is known for any claim" in unknown.out
    assert "supported" not in unknown.out
    given = json.loads(cairn("power", "gigpo", "--preset", "smoke", "--spread", "0.1", "--seeds", "9", "--json").out)
    assert {one["deviation"] for one in given["claims"]} == {0.1}
    assert given["claims"][0]["seeds"] == 9
    assert given["claims"][0]["effect"] is None


def test_published_spreads_need_no_package_of_a_run() -> None:
    code = "import sys\nfrom cairn.cli import main\ntry: main(['power', 'gigpo'])\nexcept SystemExit: pass\n"
    outcome = subprocess.run([sys.executable, "-c", f"{code}assert 'torch' not in sys.modules"], check=False)
    assert outcome.returncode == 0


def test_power_refuses(refused: Callable[..., str]) -> None:
    assert "did you mean gigpo" in refused("power", "gigp")
    assert "no reproduction of this entry" in refused("power", NOT_REPRODUCED)
    assert "smoke, cpu, gpu" in refused("power", "gigpo", "--preset", "smok")


def test_a_run_says_it_once_before_its_first_cell(cairn: Command, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    arguments = ("run", "gigpo", *SMOKE, "--seeds", "2", "--out", tmp_path / "out", "--resume")
    assert "spread" not in cairn(*arguments).err  # nothing left to run
    (tmp_path / "out" / "results" / "quest--exact--s102.json").unlink()
    told = cairn(*arguments).err
    assert told.index("No spread is known") < told.index("cells,")
    assert "A verdict needs 5 seeds; with 2" in told


def test_an_unreadable_report_stops_no_run(
    cairn: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    (tmp_path / "out" / "results" / "quest--exact--s102.json").unlink()
    (tmp_path / "reproductions" / "gigpo").mkdir(parents=True)
    (tmp_path / "reproductions" / "gigpo" / "report.json").write_text("{")
    monkeypatch.setattr(planning, "home", lambda one: tmp_path / "reproductions" / one)
    outcome = cairn("run", "gigpo", *SMOKE, "--seeds", "2", "--out", tmp_path / "out", "--resume")
    assert outcome.code == 0, outcome.err
    assert "No spread is known" in outcome.err


def test_reports_show_adjusted_values_of_all_their_claims() -> None:
    # By hand: among m claims the smallest p-value is multiplied by m.
    report = read_report(PUBLISHED)
    values = [p_value(found) for found in report.claims]
    smallest = min(value for value in values if value is not None)
    for reports, count in (([report], len(values)), ([report, report], 2 * len(values))):
        console = Console(file=io.StringIO(), width=120)
        print_reports(console, reports)
        assert isinstance(console.file, io.StringIO)
        told = console.file.getvalue().split("Beside the verdicts")[1]
        assert f"{smallest:.4f}" in told
        assert f"{min(1.0, smallest * count):.4f}" in told
    assert "adjusted" not in PUBLISHED.read_text(encoding="utf-8")
