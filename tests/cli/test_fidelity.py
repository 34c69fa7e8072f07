"""`cairn fidelity` and `cairn xray`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from tests.cli.conftest import Command, contents

from cairn.commands.fidelity_tables import print_table
from cairn.evidence.fidelity import FIGURES, FidelityRow, read_table
from cairn.lab.fidelity import Rule
from cairn.lab.fidelity_table import Gauge

SMALL = ("--task", "quest", "--preset", "smoke", "--method", "grpo", "--method", "exact")


@pytest.fixture(scope="module")
def measured(cairn: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished measurement."""
    folder = tmp_path_factory.mktemp("fidelity")
    outcome = cairn("fidelity", *SMALL, "--out", folder)
    assert outcome.code == 0, outcome.err
    for figure in FIGURES.values():
        assert f"{figure.short}: {figure.meaning}" in " ".join(outcome.out.split())
    return folder


def test_it_writes_a_panel_and_a_row_for_each_rule(measured: Path) -> None:
    assert sorted(contents(measured)) == ["quest/exact.json", "quest/grpo.json", "quest/panel.json"]
    row, panel = (json.loads((measured / "quest" / f"{name}.json").read_text()) for name in ("exact", "panel"))
    assert row["figures"]["sign_accuracy"] == 1
    assert row["provenance"]["panel_hash"] == panel["hash"]
    assert panel["baseline"] == "grpo"


def test_nothing_is_below_zero_by_rounding(measured: Path) -> None:
    table = read_table(measured, "quest")
    (row,) = (row for row in table.rows if row.rule == "grpo")
    figures, errors = row.figures | {"rank_correlation": -0.001}, row.errors | {"rank_correlation": 0.05}
    below = row.model_copy(update={"figures": figures, "errors": errors})
    printed = io.StringIO()
    print_table(Console(file=printed, width=120), table.model_copy(update={"rows": (below,)}))
    assert " 0.00±0.05" in printed.getvalue()


def test_what_is_finished_is_kept_and_the_rest_is_measured(
    measured: Path, cairn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(measured)
    asked: list[str] = []
    measure = Gauge.measure

    def noted(self: Gauge, name: str, rule: Rule, advance: Callable[[], None]) -> FidelityRow:
        asked.append(name)
        return measure(self, name, rule, advance)

    monkeypatch.setattr(Gauge, "measure", noted)
    (measured / "quest" / "grpo.json").unlink()
    outcome = cairn("fidelity", *SMALL, "--out", measured, "--resume", "--json")
    assert asked == ["grpo"]
    assert contents(measured) == before, "the same figures, to the last bit"
    assert [row["rule"] for row in json.loads(outcome.out)["quest"]["rows"]] == ["grpo", "exact"]


def test_an_interrupted_measurement_keeps_what_is_finished(
    cairn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Gauge.measure

    def stopped(self: Gauge, name: str, rule: Rule, advance: Callable[[], None]) -> FidelityRow:
        if name == "exact":
            raise KeyboardInterrupt
        return measure(self, name, rule, advance)

    monkeypatch.setattr(Gauge, "measure", stopped)
    outcome = cairn("fidelity", *SMALL, "--out", tmp_path)
    assert outcome.code == 130
    assert "--resume" in outcome.err
    assert sorted(contents(tmp_path)) == ["quest/grpo.json", "quest/panel.json"]


def test_the_x_ray_shows_each_rule_above_the_exact_one(cairn: Command) -> None:
    arguments = ("xray", "quest", "--preset", "smoke", "--method", "grpo", "--method", "random")
    told = cairn(*arguments).out
    lines = [line.split("  ")[0].strip() for line in told.splitlines() if line.strip()]
    assert lines.index("grpo") < lines.index("random") < lines.index("exact advantage")
    assert "◆" in told
    found = json.loads(cairn(*arguments, "--json", "--trajectory", "1").out)
    assert found["xray"]["trajectory"] == 1
    assert len(found["rules"]["grpo"]["credit"]) == len(found["xray"]["turns"])


def test_wrong_names_are_refused_before_anything_is_played(refused: Callable[..., str]) -> None:
    assert "grpoo" in refused("fidelity", "--method", "grpoo")
    assert "unknown task" in refused("xray", "questt")
    assert "unknown preset" in refused("xray", "quest", "--preset", "tiny")
