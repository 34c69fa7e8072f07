"""`cairn audit`: the checklist over a run of our own, and over the surveyed literature."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from tests.cli.conftest import Command

from cairn.evidence.checklist import load_items
from cairn.evidence.literature import CSV_COLUMNS
from cairn.inventory import load
from cairn.inventory.survey import load_survey
from cairn.paths import data_root


def test_audit_marks_every_item_of_the_checklist(cairn: Command, finished: Path) -> None:
    found = json.loads(cairn("audit", "run", "gigpo", "--out", finished, "--json").out)
    assert [mark["item"] for mark in found["marks"]] == [item.key for item in load_items()]
    table = " ".join(cairn("audit", "run", "gigpo", "--out", finished).out.split())
    assert found["paragraph"] in table


def test_audit_prints_the_paragraph_alone(cairn: Command, finished: Path) -> None:
    text = cairn("audit", "run", "gigpo", "--out", finished, "--paragraph").out
    assert text.startswith("We trained ")
    assert text.count("\n") == 1


def test_audit_refuses(refused: Callable[..., str], tmp_path: Path, finished: Path) -> None:
    assert "did you mean gigpo" in refused("audit", "run", "gigp")
    assert "another method" in refused("audit", "run", "carl", "--out", finished)
    assert "no report" in refused("audit", "run", "gigpo", "--out", tmp_path)
    (tmp_path / "report.json").write_text('{"torn')
    assert "report.json" in refused("audit", "run", "gigpo", "--out", tmp_path)


@pytest.fixture(scope="module")
def literature(cairn: Command) -> dict[str, Any]:
    """What `--json` prints."""
    outcome = cairn("audit", "literature", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_the_audit_of_the_literature_follows_its_schema(literature: dict[str, Any]) -> None:
    schema = json.loads((data_root() / "schemas/literature-audit.schema.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(literature)] == []


def test_the_matrix_as_csv_is_the_inventory(cairn: Command, tmp_path: Path) -> None:
    path = tmp_path / "matrix.csv"
    outcome = cairn("audit", "literature", "--csv", path)
    assert (outcome.code, outcome.out) == (0, "")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == CSV_COLUMNS
    inventory = load()
    marks = [
        (method.entry, item, mark.status, sorted({one.account for one in mark.evidence}))
        for method in load_survey().surveyed
        for item, mark in inventory[method.entry].reporting.marks()
    ]
    assert [(row["entry"], row["item"], row["status"], sorted(row["accounts"].split())) for row in rows] == marks
    assert all(row["evidence"] and row["sources"] for row in rows)


@pytest.mark.parametrize("width", [80, 120])
def test_the_printed_audit_fits_and_names_every_method(
    width: int, cairn: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = cairn("audit", "literature").out
    assert max(len(line) for line in text.splitlines()) <= width
    first = text.partition("Gaps")[0]
    assert [method.entry for method in load_survey().surveyed if f"\n{method.entry} " not in first] == []
    for words in ("Table 12", "Coarse audit", "marks whose evidence contradicts the survey"):
        assert words in text


def test_the_survey_is_contradicted_where_a_paper_prints_spreads(literature: dict[str, Any]) -> None:
    # Traced by hand: GiGPO's Table 1 prints means and spreads over 3 seeds; the survey's row on variance has no ✓.
    found = {(one["mark"]["entry"], one["mark"]["item"]): one for one in literature["contradictions"]}
    statements = found["gigpo", "variance"]["statements"]
    assert {"where": "Table 12", "says": "not ✓", "degree": "full"} in statements


def test_the_literature_refuses_a_place_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused("audit", "literature", "--csv", tmp_path / "file" / "matrix.csv")
