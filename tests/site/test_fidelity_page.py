"""The pages of fidelity, from a table made up here: figures, frontier, x-ray, and text of strangers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from tests.site.conftest import HOSTILE

from cairn.errors import UserError
from cairn.evidence.fidelity import (
    FIGURES,
    Cost,
    FidelityRow,
    FidelityTable,
    PanelRecord,
    Xray,
    XrayTurn,
    read_table,
    read_tables,
    shade,
    write_panel,
    write_row,
)
from cairn.evidence.records import Provenance
from cairn.site import frontier, xray
from cairn.site.fidelity_page import index, render

PANEL_HASH, MODEL_HASH = "a" * 64, "b" * 64


def _panel(**changes: object) -> PanelRecord:
    turns = (
        XrayTurn(sees="a fork . act", said="go left .", fork=True, exact=0.4),
        XrayTurn(sees="a hall . act", said="go on .", fork=False, exact=-0.1),
    )
    facts: dict[str, object] = {
        "task": "maze", "preset": "cpu", "prompt": "windowed", "hash": PANEL_HASH, "model_hash": MODEL_HASH,
        "model_parameters": 1000, "instances": 2, "trajectories": 4, "turns": 8, "fork_turns": 2, "mean_return": 0.5,
        "group_size": 2, "draws": 2, "seed": 1, "reference": "exact", "baseline": "grpo",
        "xray": Xray(trajectory=3, reward=1.0, turns=turns, unit=0.2),
    }  # fmt: skip
    return PanelRecord.model_validate({**facts, **changes})


def _row(rule: str, value: float, ratio: float, kind: str = "method", **changes: object) -> FidelityRow:
    facts: dict[str, object] = {
        "rule": rule, "kind": kind, "spec": {},
        "provenance": Provenance(
            protocol_version="1", protocol_hash="0" * 64, python="3", panel_hash=PANEL_HASH, model_hash=MODEL_HASH
        ),
        "figures": {**dict.fromkeys(FIGURES), "rank_correlation": value}, "errors": {"rank_correlation": 0.05},
        "cost": Cost(flops=1e9 * ratio, flops_ratio=ratio, tokens_ratio=1.0, steps_ratio=1.0),
        "xray": (1.0, -0.5), "unit": 1.0,
    }  # fmt: skip
    return FidelityRow.model_validate({**facts, **changes})


TABLE = FidelityTable(
    panel=_panel(),
    rows=(
        _row("gigpo", 0.3, 1.0),
        _row("grpo", 0.1, 1.0),
        _row("vineppo", 0.8, 9.0),
        _row("exact", 1.0, 1.0, "anchor", xray=(0.4, -0.1), unit=0.2),
    ),
)


def test_the_page_says_what_was_measured_and_links_what_is_known() -> None:
    page = render(TABLE, {"gigpo": "GiGPO"})
    assert '<a href="../methods/gigpo.html">GiGPO</a>' in page
    assert "4 trajectories of 2 instances" in page
    assert "0.30\u00a0±\u00a00.05" in page
    assert "<em>exact</em>" in page
    assert "cairn fidelity --task maze --preset cpu --out reproductions/fidelity" in page
    assert "would have 0.250" in page  # two of eight turns


def test_nothing_is_below_zero_by_rounding() -> None:
    page = render(FidelityTable(panel=_panel(), rows=(_row("grpo", -0.001, 1.0),)), {})
    assert "0.00\u00a0±\u00a00.05" in page
    assert "−0.00" not in page


def test_colours_of_the_x_ray_by_hand() -> None:
    """Full colour stands at two units: 1.0 of unit 1 is half, 0.4 of unit 0.2 is full, -0.1 of it a quarter."""
    assert [shade(one, 1.0) for one in (1.0, -0.5, 0.0, 7.0)] == [0.5, 0.25, 0.0, 1.0]
    drawn = xray.draw(TABLE, {})
    strengths = [(kind, float(opacity)) for kind, opacity in re.findall(
        r'class="cairn-(plus|minus)"[^>]*fill-opacity="([0-9.]+)"', drawn)]  # fmt: skip
    rule, exact = [("plus", 0.42), ("minus", 0.21)], [("plus", 0.85), ("minus", 0.21)]
    assert strengths == [*rule * 3, *exact], "exact credit stands once, at the bottom"
    assert drawn.count('class="cairn-fork"') == 1
    assert "turn 1, a fork: go left . after: a fork . act" in drawn
    assert "gigpo, turn 2: −0.500" in drawn
    assert "<title>Credit x-ray on the task maze</title>" in drawn
    assert "<desc>" in drawn
    assert drawn.count("<tr>") == 3


def test_the_frontier_is_what_no_other_beats_at_equal_or_lower_cost() -> None:
    dots = [frontier.Dot(*values, None, None) for values in
            (("a", 1.0, 0.1), ("b", 1.0, 0.3), ("c", 3.0, 0.2), ("d", 9.0, 0.8), ("e", 5.0, 0.3))]  # fmt: skip
    assert [dot.name for dot in frontier.frontier(dots)] == ["b", "d"]
    drawn = frontier.draw(dots, "label")
    assert drawn.count("<circle") == 5
    assert frontier.draw([], "label") == ""


def test_names_in_the_frontier_do_not_lie_on_each_other() -> None:
    dots = [frontier.Dot(f"rule {place}", 3.0, 0.1 + place / 1000, 0.01, None) for place in range(15)]
    found = re.findall(r'<text x="([0-9.]+)" y="([0-9.]+)" text-anchor="start">', frontier.draw(dots, "label"))
    assert len(found) == 15
    wide = frontier.LETTER * len("rule 1")
    for (left, upper), (other, lower) in itertools.combinations([(float(x), float(y)) for x, y in found], 2):
        assert abs(upper - lower) >= frontier.LINE - 0.11 or abs(left - other) >= wide - 0.11
    (across,) = {float(x) for x in re.findall(r'<circle [^>]*cx="([0-9.]+)"', frontier.draw(dots, "label"))}
    assert {float(x) > across for x, _ in found} == {True, False}, "on both sides"


def test_a_row_of_another_panel_is_called_stale_and_one_without_figures_says_why() -> None:
    old = _row("gigpo", 0.3, 1.0).model_copy(
        update={"provenance": Provenance(protocol_version="1", protocol_hash="0" * 64, python="3")}
    )
    failed = FidelityRow(rule="carl", kind="method", spec={}, provenance=old.provenance, reason="it rearranges")
    page = render(FidelityTable(panel=_panel(), rows=(old, failed)), {"new": "New"}, ["gigpo", "new"])
    assert "stale" in page
    assert "New: nobody has run it yet" in page
    assert "carl: it rearranges" in page


def test_an_estimated_reference_is_told() -> None:
    panel = _panel(reference="monte_carlo", continuations=64, reliability=0.81)
    page = render(FidelityTable(panel=panel, rows=(_row("grpo", 0.1, 1.0),)), {})
    assert "64 continuations" in page
    assert "0.81" in page


def test_text_of_strangers_stays_text() -> None:
    turn = XrayTurn(sees=HOSTILE, said=HOSTILE, fork=True, exact=0.1)
    panel = _panel(xray=Xray(trajectory=0, reward=0.0, turns=(turn,), unit=0.1))
    bad = FidelityRow(rule="grpo", kind="method", spec={}, provenance=_row("x", 0, 1).provenance, reason=HOSTILE)
    page = render(FidelityTable(panel=panel, rows=(_row("gigpo", 0.1, 1.0, xray=(0.2,)), bad)), {"gigpo": HOSTILE})
    assert "<script>alert" not in page
    assert "<img" not in page


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_tables(tmp_path) == {}
    assert "Nothing has been measured yet" in index({})
    write_panel(tmp_path, TABLE.panel)
    for row in TABLE.rows:
        write_row(tmp_path, "maze", row)
    assert read_tables(tmp_path) == {"maze": TABLE}
    assert ">maze</a>" in index({"maze": TABLE})


def test_a_row_out_of_its_place_is_refused(tmp_path: Path) -> None:
    write_panel(tmp_path, TABLE.panel)
    write_row(tmp_path, "maze", _row("grpo", 0.1, 1.0, xray=(0.1,)))
    with pytest.raises(UserError, match="does not belong here"):
        read_table(tmp_path, "maze")
    (tmp_path / "maze" / "grpo.json").rename(tmp_path / "maze" / "other.json")
    with pytest.raises(UserError, match="does not belong here"):
        read_table(tmp_path, "maze")
