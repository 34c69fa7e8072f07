"""`cairn new` and `cairn diff`, as a newcomer and a reviewer use them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command

from cairn.paths import data_root

ID = "method-48"
FILE = f"inventory/methods/{ID}.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data root of its own with the inventory of this checkout."""
    shutil.copytree(data_root() / "inventory", tmp_path / "inventory")
    return tmp_path


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_new_writes_one_file_and_touches_none(cairn: Command, folder: Path) -> None:
    before = _files(folder)
    outcome = cairn("new", ID, "--arxiv", "2601.00048", "--root", folder)
    assert outcome.code == 0, outcome.err
    after = _files(folder)
    assert {name for name in after if after[name] != before.get(name)} == {FILE}
    assert f"cairn validate {ID}" in outcome.out
    found = cairn("validate", folder / FILE)
    assert found.code == 2
    assert f"{FILE}:5: CA090" in found.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gigpo", "--arxiv", "2601.00048"), "an entry has this id"),
        ((ID, "--arxiv", "2505.10978"), "gigpo.yaml: an entry has this arXiv id"),
        ((ID, "--arxiv", "2505.10978v3"), "not an arXiv id"),
        ((ID,), "needs an id and an arXiv id"),
        (("Method_48", "--arxiv", "none"), "cannot be the id"),
    ],
)
def test_new_refuses_and_writes_nothing(
    arguments: tuple[str, ...], message: str, refused: Callable[..., str], folder: Path
) -> None:
    before = _files(folder)
    assert message in refused("new", *arguments, "--root", folder)
    assert _files(folder) == before


def test_new_keeps_a_file_that_is_there_though_it_cannot_be_read(refused: Callable[..., str], folder: Path) -> None:
    (folder / FILE).write_text("a: [")
    assert "this file is there already" in refused("new", ID, "--arxiv", "2601.00048", "--root", folder)
    assert (folder / FILE).read_text() == "a: ["


def test_the_answers_of_an_issue_go_the_same_way(cairn: Command, refused: Callable[..., str], folder: Path) -> None:
    issue = folder / "issue.md"
    issue.write_text(f"### Id\n\n{ID}\n\n### arXiv id\n\n2601.00048\n\n### Title\n\n`$(id)` <b>\n")
    assert "give --answers alone" in refused("new", ID, "--answers", issue, "--root", folder)
    assert cairn("new", "--answers", issue, "--root", folder).code == 0
    assert 'title: "`$(id)` <b>"' in (folder / FILE).read_text()


def test_diff_shows_the_consequence_three_ways(cairn: Command, folder: Path) -> None:
    path = folder / "inventory/methods/gigpo.yaml"
    path.write_text(
        path.read_text().replace("  compute: low\n  benchmarks: [alf", "  compute: high\n  benchmarks: [alf")
    )
    outcome = cairn("diff", data_root(), folder)
    assert outcome.code == 2  # the label now differs from the survey's without a reason
    assert "gigpo: labels.compute: low -> high" in outcome.out
    assert "CA060" in outcome.out
    found = json.loads(cairn("diff", data_root(), folder, "--json").out)
    assert found["acceptable"] is False
    assert found["changed"][0]["counted"] == [{"field": "labels.compute", "before": "low", "after": "high"}]
    assert "- `` gigpo: labels.compute: low -> high ``" in cairn("diff", data_root(), folder, "--markdown").out


def test_diff_keeps_markup_of_a_stranger_in_code_spans(cairn: Command, folder: Path) -> None:
    path = folder / "inventory/methods/gigpo.yaml"
    path.write_text(path.read_text().replace("  granularity: [turn]", '  granularity: ["`` <script> ``"]'))
    (line,) = [line for line in cairn("diff", data_root(), folder, "--markdown").out.split("\n") if "CA030" in line]
    assert line.startswith("- `` ")
    assert line.endswith(" ``")
    assert line.count("`") == 4


def test_diff_says_what_it_cannot_find(refused: Callable[..., str], folder: Path) -> None:
    assert "neither a folder" in refused("diff", "no-such-revision", folder)
