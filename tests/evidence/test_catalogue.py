"""The inventory with its evidence: status and verdict as criteria."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cairn.errors import UserError
from cairn.evidence.catalogue import load
from cairn.paths import data_root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the real word lists, two methods, and a report on one of them."""
    shutil.copytree(data_root() / "inventory" / "vocab", tmp_path / "inventory" / "vocab")
    shutil.copytree(Path(__file__).parents[1] / "inventory" / "samples", tmp_path / "inventory", dirs_exist_ok=True)
    folder = tmp_path / "reproductions" / "alpha"
    folder.mkdir(parents=True)
    verdicts = ["inconclusive", "supported", "inconclusive"]
    claims = [{"verdict": {"label": label}} for label in verdicts]
    (folder / "report.json").write_text(json.dumps({"records": {"a.json": "b"}, "claims": claims}))
    return tmp_path


def test_status_and_verdict_are_criteria(root: Path) -> None:
    inventory = load(root)
    assert inventory.filter(status="judged").ids == ("alpha",)
    assert inventory.filter(without_status="judged").ids == ("base",)
    assert inventory.filter(verdict="supported").ids == ("alpha",)
    assert inventory.filter(verdict=["contradicted", "inconclusive"]).ids == ("alpha",)
    assert inventory.filter(verdict="contradicted").ids == ()
    assert inventory.counts("verdict") == {"supported": 1, "inconclusive": 1}
    row = inventory.to_dicts("entries")[0]
    assert (row["status"], row["verdict"]) == (["listed", "run", "judged"], ["supported", "inconclusive"])


def test_a_report_without_records_judges_nothing(root: Path) -> None:
    path = root / "reproductions" / "alpha" / "report.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "records": {}}))
    assert load(root).filter(status="judged").ids == ()
    assert load(root).counts("verdict") == {}


def test_a_wrong_verdict_is_answered_with_near_words(root: Path) -> None:
    with pytest.raises(UserError, match="did you mean supported"):
        load(root).filter(verdict="suported")
