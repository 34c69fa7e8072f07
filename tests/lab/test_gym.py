"""`gym`: questions and marks are reasoning-gym's own; a full mark alone pays. Skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from cairn.errors import UserError
from cairn.lab.free import FreeForm, FreePlayer
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel, load
from cairn.lab.pretrain import embedded_model, own_tokenizer
from cairn.lab.protocol import panel_digest, read_protocol, task_knobs, task_prompt
from cairn.lab.tasks import gym

needs_gym = pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is None, reason="needs the extra `tasks`")
SETS = sorted(gym.SETS)


@pytest.fixture(scope="module")
def small() -> LanguageModel:
    return load(embedded_model("gym"))


def test_the_task_is_asked_in_free_text_and_no_other_way() -> None:
    protocol = read_protocol()
    assert task_prompt(protocol, "gym-set=gcd") == "free"
    assert task_knobs(protocol, "cpu", "gym-set=gcd-steps=tokens2") == gym.Knobs(set="gcd", steps="tokens2")
    with pytest.raises(UserError, match="prompt form"):
        task_prompt(protocol, "gym-prompt=windowed")


@pytest.mark.parametrize("wrong", [{"set": "riddles"}, {"terms": 1}, {"digits": 0}, {"limit": 1}, {"steps": "none"}])
def test_wrong_knobs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        gym.TASK.make_knobs(wrong)
    assert caught.value.repair


def test_the_package_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cairn.lab.task.importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="reasoning_gym") as caught:
        gym.reasoning_gym()
    assert "cairn-credit[tasks]" in str(caught.value)


@needs_gym
@pytest.mark.parametrize("name", SETS)
def test_questions_and_marks_are_those_of_the_data_set(name: str) -> None:
    knobs = gym.Knobs(set=name, terms=3, digits=1)
    theirs = gym.reasoning_gym().create_dataset(name, seed=7, size=3, **gym.SETS[name](knobs))
    for index, entry in enumerate(theirs):
        question = gym.build(knobs, 7 + index)
        assert (question.prompt, question.answer) == (entry["question"], entry["answer"])
        assert question.score(question.answer) == theirs.score_answer(entry["answer"], entry) == 1
        assert question.score(f" {question.answer}\n") == 1
        for wrong in ("", "x", f"{question.answer} or so", question.answer[:-1]):
            assert theirs.score_answer(wrong, entry) < 1
            assert question.score(wrong) == 0


@needs_gym
def test_one_seed_gives_one_question_and_mixed_asks_all_sets_in_turn() -> None:
    knobs = gym.Knobs(set=gym.MIXED)
    questions = [gym.build(knobs, seed) for seed in range(8)]
    assert questions == [gym.build(knobs, seed) for seed in range(8)]
    assert [json.loads(q.key)["set"] for q in questions] == [*gym.SETS] * 2
    digests = {panel_digest(Panel((q,), ())) for q in questions}
    assert len(digests) == 8


@needs_gym
def test_every_text_is_made_of_what_the_small_model_knows() -> None:
    tokenizer = own_tokenizer(gym.TASK)
    for seed in range(40):
        question = gym.build(gym.Knobs(set=gym.MIXED, terms=4, digits=5), seed)
        for text in (question.prompt, question.answer):
            tokens = tokenizer(text)["input_ids"]
            assert tokenizer.unk_token_id not in tokens
            assert tokenizer.decode(tokens) == text
        # The fixed phrases are one token each, so that rows stay short.
        assert len(tokenizer(question.prompt)["input_ids"]) < 40


@needs_gym
def test_the_teacher_errs_at_its_rate() -> None:
    rng, noisy = np.random.default_rng(0), gym.Pupil(right=0.7)
    questions = [gym.build(gym.Knobs(), seed) for seed in range(50)]
    right = np.mean([question.score(noisy.answer(question, rng)) for question in questions for _ in range(20)])
    assert right == pytest.approx(0.7, abs=3 * (0.21 / 1000) ** 0.5)
    assert {question.score(gym.TASK.clean.answer(question, rng)) for question in questions} == {1.0}


def _player(small: LanguageModel, knobs: gym.Knobs) -> FreePlayer:
    return FreeForm(small.tokenizer, 4).player(small, [gym.build(knobs, seed) for seed in range(16)])


@needs_gym
@pytest.mark.parametrize("name", SETS)
def test_the_shipped_model_knows_something_of_each_set_and_not_all(small: LanguageModel, name: str) -> None:
    success = _player(small, gym.Knobs(set=name, digits=1)).success(np.random.default_rng(0))
    assert 0.05 < success.mean < 0.8
