"""`gsm8k`: numbers read by hand-worked rules, rows of folders alone, and a cell that runs on such rows."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
from decimal import Decimal
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from cairn.errors import UserError
from cairn.lab.cell import Setup, attempt, specify
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.model import weights_digest
from cairn.lab.pretrain import own_tokenizer, rebuild
from cairn.lab.protocol import build_panel, read_protocol, task_knobs
from cairn.lab.task import Recipe
from cairn.lab.tasks import gsm8k
from cairn.methods.grpo import GRPO

needs_datasets = pytest.mark.skipif(importlib.util.find_spec("datasets") is None, reason="needs the extra `tasks`")
SAMPLE = Path(gsm8k.__file__).parent.parent / "samples" / "gsm8k"
ROWS = [
    {"question": f"What is {n} and {n}?", "answer": f"{n}+{n}=<<{n}+{n}={2 * n}>>{2 * n}\n#### {2 * n}"}
    for n in range(6)
]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 18", "18"),
        ("16-3-4=9 eggs\n#### 18", "18"),
        ("####18", "18"),
        ("#### $18.00", "18"),
        ("#### 1,234,567", "1234567"),
        ("#### -4", "-4"),
        ("#### \N{MINUS SIGN}4", "-4"),
        ("#### -$5.50", "-5.5"),
        ("#### 12 dollars, not 13", "12"),  # behind the mark the first one counts
        ("#### 4\n5", "4"),
        ("#### 3 no, #### 7", "7"),  # of several marks the last one
        ("12 and 13 #### none", None),  # a mark without a number states none
        ("#### ", None),
        ("It is 5. So 5 and 7", "7"),  # without a mark, the last one
        ("The answer is 42.", "42"),
        ("50%", "50"),
        ("7.50 km", "7.5"),
        (".5", "0.5"),
        ("0018", "18"),
        ("20-12", "12"),  # a minus between two numbers is no sign
        ("(3)-5", "5"),
        ("x = -5", "-5"),
        ("1,23", "23"),  # not a group of three: two numbers
        ("1,2345", "2345"),
        ("12,345 km", "12345"),
        ("1/2", "2"),  # fractions are not understood
        ("seven", None),
        ("", None),
    ],
)
def test_the_number_that_a_text_states(text: str, number: str | None) -> None:
    assert gsm8k.number_in(text) == (None if number is None else Decimal(number))


def test_numbers_are_compared_exactly() -> None:
    assert [gsm8k.verify(text, "18") for text in ("#### 18.00", "$18", "18.01", "#### 81", "")] == [1, 1, 0, 0, 0]
    assert gsm8k.verify("so 1200", "1,200") == 1
    assert gsm8k.verify("3.3", "3.33") == 0


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    gsm8k.read_rows.cache_clear()
    build_panel.cache_clear()


def write(folder: Path, suffix: str = "jsonl", train: int = 6) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", ROWS[:train]), ("test", ROWS[4:])):
        path = folder / f"{split}-00000-of-00001.{suffix}"
        if suffix == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            import pandas as pd

            pd.DataFrame(rows).to_parquet(path)
    return folder


@needs_datasets
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.usefixtures("offline")
def test_a_folder_is_read_without_the_network(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "my-data" / "main", suffix)
    knobs = gsm8k.Knobs(data="my-data")
    assert gsm8k.count_rows(knobs) == (6, 2)
    question = gsm8k.build(knobs, 1007)  # round and round: 1007 = 167 * 6 + 5
    assert question.prompt == "What is 5 and 5?" + gsm8k.INSTRUCTION
    assert (question.answer, question.key) == ("5+5=10\n#### 10", "10")
    assert gsm8k.build_evaluation(knobs, 0).key == "8"


@needs_datasets
@pytest.mark.usefixtures("offline")
def test_the_questions_that_come_along_are_right() -> None:
    knobs = gsm8k.Knobs(data="sample")
    train, test = gsm8k.count_rows(knobs)
    questions = [gsm8k.build(knobs, i) for i in range(train)] + [gsm8k.build_evaluation(knobs, i) for i in range(test)]
    tokenizer = own_tokenizer(gsm8k.TASK)
    rng = np.random.default_rng(0)
    for question in questions:
        assert question.score(question.answer) == 1
        assert question.score("") == 0
        assert tokenizer.unk_token_id not in tokenizer(question.prompt + question.answer)["input_ids"]
        assert gsm8k.Solver(right=0.0).answer(question, rng) != question.answer
        assert question.score(gsm8k.Solver(right=0.0).answer(question, rng)) == 0
    assert len({question.prompt for question in questions}) == train + test


@needs_datasets
@pytest.mark.usefixtures("offline")
def test_what_is_missing_is_told_with_the_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for data, reason in (("empty", "no file train"), ("nowhere", "no such folder")):
        with pytest.raises(UserError, match=reason) as caught:
            gsm8k.read_rows(data, "train")
        assert caught.value.repair

    def unreachable(**_: object) -> NoReturn:
        raise ConnectionError("Couldn't reach the hub (offline)\nmore lines")

    import datasets

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match=r"could not be loaded: Couldn't reach the hub \(offline\)") as caught:
        gsm8k.read_rows("openai/gsm8k", "train")
    assert "train.jsonl" in str(caught.value.repair)
    assert "more lines" not in str(caught.value)


@needs_datasets
@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("answer", "reason"), [("7", "no number behind"), ("#### x", "no number behind"), (None, "lacks the text")]
)
def test_rows_in_another_format_are_refused(tmp_path: Path, answer: str | None, reason: str) -> None:
    row = {"question": "What?"} | ({} if answer is None else {"answer": answer})
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=reason):
        gsm8k.read_rows("odd", "train")


@pytest.mark.parametrize("wrong", [{"limit": 1}, {"steps": "words"}, {"data": "/data/mine"}, {"data": "Mine"}])
def test_wrong_knobs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        gsm8k.TASK.make_knobs(wrong)


def test_a_task_s_name_may_hold_a_folder_with_a_dash() -> None:
    knobs = task_knobs(read_protocol(), "cpu", "gsm8k-data=my-set-2-limit=64-steps=doubt0.9")
    assert knobs == gsm8k.Knobs(data="my-set-2", limit=64, steps="doubt0.9")
    with pytest.raises(UserError, match="turns knobs"):
        task_knobs(read_protocol(), "cpu", "gsm8k-limit-steps=lines")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A local model folder with a tokenizer that has an end token; it knows nothing."""
    recipe = Recipe(width=16, layers=1, heads=2, inner=16, clean_steps=1, noisy_steps=1, text_rows=2, instances=4)
    folder = tmp_path_factory.mktemp("toy") / "model"
    rebuild(folder, gsm8k.TASK, recipe, gsm8k.Knobs(data="sample"), lambda: None)
    return folder


def _setup(toy: Path) -> tuple[Setup, Arm]:
    arm = Arm("grpo", "method", "Plain GRPO.", GRPO())
    reproduction = Reproduction("grpo", "A run.", ("gsm8k",), (arm,), ())
    return Setup(reproduction, read_protocol(), "smoke", str(toy), weights_digest(toy), "cpu"), arm


@needs_datasets
@pytest.mark.usefixtures("offline")
def test_a_cell_runs_on_a_folder_and_its_rows_are_in_the_specification(tmp_path: Path, toy: Path) -> None:
    setup, arm = _setup(toy)
    specs = []
    for folder, train in (("a", 6), ("b", 5)):
        cell = specify(setup, arm, f"gsm8k-data={write(tmp_path / folder, train=train).name}-limit=6", seed=1)
        specs.append(cell.spec)
    assert [spec["train"][1] for spec in specs] == [4, 4]
    assert len(specs[0]["data"]) == 64
    *points, record = attempt(cell)
    assert points
    assert record.status == "ok", record.reason  # type: ignore[union-attr]
    assert record.setting.evaluation.startswith("estimated")  # type: ignore[union-attr]
    # Other rows, another cell: a run on changed data is not taken for the old one.
    shutil.copy(SAMPLE / "train.jsonl", tmp_path / "b" / "train-00000-of-00001.jsonl")
    gsm8k.read_rows.cache_clear()
    build_panel.cache_clear()
    again = specify(setup, arm, cell.task, seed=1)
    assert again.spec_hash != cell.spec_hash


@needs_datasets
@pytest.mark.usefixtures("offline")
def test_too_few_rows_are_refused(tmp_path: Path, toy: Path) -> None:
    setup, arm = _setup(toy)
    with pytest.raises(UserError, match="fewer rows than an update takes"):
        specify(setup, arm, f"gsm8k-data={write(tmp_path / 'few', train=1).name}", seed=1)
