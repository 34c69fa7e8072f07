"""The two sides of `cairn bench loop` get the same task; the other side itself is looked at where trl is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cairn.errors import UserError
from cairn.lab.episodes import answer
from cairn.lab.history import HistoryForm, tell
from cairn.lab.model import LanguageModel
from cairn.lab.protocol import read_protocol
from cairn.lab.speed_loop import FORMS, Spent, Workload, one_turn_worlds, race, run_ours
from cairn.lab.tasks import quest
from cairn.lab.windowed import WindowedForm
from cairn.lab.world import World, join


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [quest.build(quest.Knobs(horizon=12, forks=3), seed) for seed in range(4)]


def test_one_turn_has_the_same_rows_in_both_forms_and_pays_for_the_first_phrase(
    model: LanguageModel, worlds: list[World]
) -> None:
    turns = one_turn_worlds(worlds, model.tokenizer, 5)
    assert len({world.prompts[0] for world in turns}) == 5
    written = {(w.prompts[p], w.options[p]) for w in worlds for p in np.unique(w.state_prompt[w.bifurcations])}
    batch = join(turns)
    for number, world in enumerate(turns):
        assert (world.prompts[0], world.options[0]) in written
        start = np.repeat(batch.starts[number], 3)
        ends = answer(batch, start, np.array([0, 1, batch.n_options]), np.full(3, 0.5))
        assert batch.payoffs[ends].tolist() == [1, 0, 0]
    instance = np.repeat(np.arange(5), 4)
    history = HistoryForm(model.tokenizer, 2).player(model, turns)
    told = tell(history._script, history.play(instance, np.random.default_rng(0)))
    windowed = WindowedForm(model.tokenizer).player(model, turns)
    rollouts = windowed.rollouts(windowed.play(instance, np.random.default_rng(0)), draw_seed=0)
    for row, begun, ids, said in zip(told.rows, told.spoken, rollouts.token_ids, rollouts.action_mask, strict=True):
        assert row[: begun[0]] == ids[: int(said.nonzero()[0])].tolist()


def test_too_many_prompts_are_refused(model: LanguageModel, worlds: list[World]) -> None:
    with pytest.raises(UserError, match="too few different prompts"):
        one_turn_worlds(worlds, model.tokenizer, 10_000)


@pytest.mark.parametrize("form", FORMS)
def test_our_side_counts_the_tokens_of_the_timed_updates_alone(
    model: LanguageModel, worlds: list[World], form: Any
) -> None:
    work = Workload.of("one turn", one_turn_worlds(worlds, model.tokenizer, 3), 4, read_protocol())
    spent = run_ours(work, model, form, 2)
    assert spent.samples == 2 * 3 * 4
    assert 2 * spent.samples < spent.generated_tokens <= 3 * spent.samples
    assert spent.processor_s > 0


def test_sides_run_in_turn_on_one_thread_and_ratios_are_of_pairs() -> None:
    called: list[tuple[str, int]] = []

    def side(name: str, seconds: list[float]) -> Callable[[int], Spent]:
        def run(updates: int) -> Spent:
            called.append((name, torch.get_num_threads()))
            return Spent(seconds.pop(0), 0.0, 12 * updates, 36 * updates)

        return run

    torch.set_num_threads(2)
    found = race({"a": side("a", [1, 2, 4]), "b": side("b", [4, 4, 4])}, 2, 3, lambda: None)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert called == [("a", 1), ("b", 1)] * 3
    assert found.ratios("a", "b") == [4, 2, 1]
    assert found.samples_per_s("a") == 12
    assert found.tokens_per_sample("b") == 3


def test_the_other_side_plays_the_worlds_that_it_is_given(model: LanguageModel, worlds: list[World]) -> None:
    pytest.importorskip("trl")
    from cairn.lab.speed_trl import run_trl

    work = Workload.of("one turn", one_turn_worlds(worlds, model.tokenizer, 3), 4, read_protocol())
    spent = run_trl(work, model.source, 2)
    assert (spent.samples, spent.generated_tokens) == (24, 72)
    long = run_trl(Workload.of("episodes", worlds[:2], 4, read_protocol()), model.source, 1)
    assert long.samples == 8
    assert 8 * 3 * 3 < long.generated_tokens <= 8 * 12 * 3
