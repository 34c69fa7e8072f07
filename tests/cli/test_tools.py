"""`cairn tasks`, `credit`, `site`, `model rebuild`."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command, contents

from cairn import inventory
from cairn.evidence.golden import Golden, golden_path, read_golden
from cairn.lab.model import load
from cairn.lab.task import Recipe
from cairn.lab.tasks import find, names, quest
from cairn.method import overridden_stages
from cairn.methods import find as find_method
from cairn.methods import implemented_ids
from cairn.paths import data_root


def test_tasks_explains_every_task_and_knob(cairn: Command) -> None:
    found = json.loads(cairn("tasks", "--json").out)
    assert [*found] == names()
    told = " ".join(cairn("tasks").out.split())
    for name, task in found.items():
        assert {knob["name"]: knob["default"] for knob in task["knobs"]} == dataclasses.asdict(find(name).knobs())
        assert all(knob["meaning"] for knob in task["knobs"])
        assert all(f" {knob['name']} " in told for knob in task["knobs"])
        for text in (*task["about"], task["horizon"], task["exact"], task["estimated"]):
            assert text in told


def _logged(golden: Golden, path: Path) -> Path:
    rows = [row.model_dump(mode="json", exclude_none=True) for row in golden.batch]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("method", implemented_ids())
def test_credit_gives_the_golden_numbers(method: str, cairn: Command, tmp_path: Path) -> None:
    # The numbers are those of golden.yaml, which says who calculated them; the case at the defaults is asked for here.
    golden = read_golden(golden_path(method))
    cases = [case for case in golden.cases if not case.method]
    if not cases:
        pytest.skip("no golden case at the defaults")
    outcome = cairn("credit", method, _logged(golden, tmp_path / "log.jsonl"), "--json")
    if "the file format has no field for it" in outcome.err:  # bought or formed in `collect`, and so in no log
        assert outcome.code == 2
        assert "collect" in overridden_stages(find_method(method))
        return
    assert outcome.code == 0, outcome.err
    found = [json.loads(line)["credit"] for line in outcome.out.splitlines()]
    assert len(found) == len(golden.batch)
    for numbers, expected in zip(found, cases[0].expected, strict=True):
        assert numbers == [None if one is None else pytest.approx(one, abs=golden.tolerance) for one in expected]


def test_credit_prints_a_row_for_each_turn(cairn: Command, tmp_path: Path) -> None:
    golden = read_golden(golden_path("gigpo"))
    outcome = cairn("credit", "gigpo", _logged(golden, tmp_path / "log.jsonl"))
    assert len(outcome.out.splitlines()) == 2 + sum(len(row.turns) for row in golden.batch)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"group": "a", "reward": NaN, "turns": [{"tokens": ["x"]}]}', "log.jsonl:2"),
        ('{"group": "a", "reward": 1.0, "turns": [{"tokens": ["x", "y"], "logprobs": [-1.0]}]}', "2 tokens"),
        ('{"group": "a"', "log.jsonl:2"),
    ],
)
def test_credit_refuses_a_bad_line(line: str, told: str, refused: Callable[..., str], tmp_path: Path) -> None:
    good = '{"group": "a", "reward": 1.0, "turns": [{"tokens": ["x"]}]}'
    path = tmp_path / "log.jsonl"
    path.write_text(f"{good}\n{line}\n")
    assert told in refused("credit", "grpo", path)


def test_credit_refuses(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "did you mean gigpo" in refused("credit", "gigp", tmp_path / "log.jsonl")
    listed = next(entry.id for entry in inventory.load() if entry.id not in implemented_ids())
    assert "no implementation" in refused("credit", listed, tmp_path / "log.jsonl")
    assert "nowhere.jsonl" in refused("credit", "gigpo", tmp_path / "nowhere.jsonl")
    path = tmp_path / "log.jsonl"
    path.write_text('{"group": "a", "reward": 1.0, "turns": [{"tokens": ["x"]}]}\n')
    assert "observation" in refused("credit", "gigpo", path)


def test_site_writes_the_generated_pages(cairn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("inventory", "reproductions", "checklist"):
        shutil.copytree(data_root() / folder, tmp_path / folder)
    (tmp_path / "docs").mkdir()
    monkeypatch.setattr("cairn.commands.tools.data_root", lambda: tmp_path)
    outcome = cairn("site")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "docs" / "methods" / "gigpo.md").is_file()
    assert str(tmp_path / "docs") in outcome.out


def test_site_refuses(refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "file" in refused("site", "--out", tmp_path / "file")
    monkeypatch.setattr("cairn.commands.tools.in_checkout", lambda: False)
    assert "checkout" in refused("site")
    assert contents(tmp_path) == {"file": b"in the way"}


def test_rebuild_makes_a_model_that_loads(cairn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Recipe(
        width=8, layers=1, heads=1, inner=8, clean_steps=1, noisy_steps=1, instances=2,
        window_rows=4, history_rows=1,
    )  # fmt: skip
    monkeypatch.setattr(quest, "TASK", dataclasses.replace(quest.TASK, recipe=small))
    outcome = cairn("model", "rebuild", "quest", tmp_path / "new")
    assert outcome.code == 0, outcome.err
    assert load(tmp_path / "new").network.config.hidden_size == 8
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_rebuild_refuses_what_exists(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "new folder" in refused("model", "rebuild", "quest", tmp_path / "file")
    assert "new folder" in refused("model", "rebuild", "quest", tmp_path)
    assert "cannot write" in refused("model", "rebuild", "quest", tmp_path / "file" / "deeper")
    assert "Choose one of: " in refused("model", "rebuild", "maze", tmp_path / "new")
