"""`cairn report`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command, contents


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A finished run that may be changed."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_a_report_built_again_is_the_same(cairn: Command, copied: Path, finished: Path) -> None:
    (copied / "report.json").write_text((finished / "report.json").read_text().replace('"title": "', '"title": "Old: '))
    assert cairn("report", "gigpo", "--out", copied).code == 0
    built, first = (json.loads((folder / "report.json").read_text()) for folder in (copied, finished))
    assert built.pop("stale") is False
    first.pop("stale")
    assert built == first


def test_check_finds_an_edited_report_and_changes_nothing(cairn: Command, copied: Path) -> None:
    assert cairn("report", "gigpo", "--out", copied).code == 0
    assert cairn("report", "gigpo", "--out", copied, "--check").code == 0
    path = copied / "report.json"
    path.write_text(path.read_text().replace('"inconclusive"', '"supported"'))
    before = contents(copied)
    outcome = cairn("report", "gigpo", "--out", copied, "--check")
    assert outcome.code == 2
    assert "report.json" in outcome.out
    assert contents(copied) == before


def test_a_report_without_records_is_shown_as_it_is(cairn: Command, copied: Path) -> None:
    shutil.rmtree(copied / "results")
    before = contents(copied)
    outcome = cairn("report", "gigpo", "--out", copied, "--json")
    assert json.loads(outcome.out)["id"] == "gigpo"
    assert contents(copied) == before


def test_report_refuses(refused: Callable[..., str], tmp_path: Path, finished: Path) -> None:
    assert "did you mean gigpo" in refused("report", "gigp")
    assert "ID --out DIR" in refused("report", "--out", finished)
    assert "cairn run gigpo" in refused("report", "gigpo", "--out", tmp_path)
