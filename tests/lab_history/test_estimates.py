from __future__ import annotations

import dataclasses
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import chi2_contingency
from tests.lab_history.tiny import BEHIND_LEFT, BEHIND_RIGHT, EXITS, FIRST, HEADER, SECOND, START, tiny_world

from cairn.errors import UserError
from cairn.lab import montecarlo
from cairn.lab.episodes import Branch, Episodes
from cairn.lab.forms import prompt_form
from cairn.lab.history import HistoryForm, HistoryPlayer, scene
from cairn.lab.model import LanguageModel, token_logprobs
from cairn.lab.players import Player
from cairn.lab.task import Prompt
from cairn.lab.windowed import WindowedForm
from cairn.lab.world import WorldBatch, join

SLIP = 0.2


def history_player(model: LanguageModel, worlds: WorldBatch, evaluation_episodes: int = 2) -> HistoryPlayer:
    return HistoryForm(model.tokenizer, evaluation_episodes).player(model, worlds.worlds)


@pytest.fixture(scope="module")
def unsure(model: LanguageModel) -> LanguageModel:
    """The embedded model at a higher temperature, so that it also says what no world understands."""
    hot = dataclasses.replace(model, network=type(model.network)(model.network.config))
    hot.network.load_state_dict(model.network.state_dict())
    hot.network.model.norm.weight.data *= 0.4  # scales the logits of the tied head
    hot.network.eval()
    return hot


def enumerate_tiny(model: LanguageModel) -> tuple[dict[str, float], float]:
    """Q of each exit and V at the start of the tiny world, over all that can be said in two turns."""
    vocabulary = model.tokenizer.get_vocab()
    words = sorted(vocabulary, key=lambda word: vocabulary[word])

    def chance(prompt: str, phrases: list[str]) -> list[float]:
        rows = [model.tokenizer(f"{prompt} {phrase}")["input_ids"] for phrase in phrases]
        said = len(model.tokenizer(prompt)["input_ids"])
        chances = []
        for row in rows:
            with torch.no_grad():
                scored, _ = token_logprobs(model.network, torch.tensor([row]), torch.ones(1, len(row)).bool())
            chances.append(float(scored[0, said:].double().sum().exp()))
        return chances

    def won(said: str, room: str, right: str, wrong: str) -> float:
        taken = chance(f"{HEADER} {scene(FIRST)} {said} {scene(room)}", [right, wrong])
        return taken[0] * (1 - SLIP) + taken[1] * SLIP

    left, right = EXITS
    behind = {phrase: (won(phrase, SECOND, right, left), won(phrase, SECOND, left, right)) for phrase in EXITS}
    # The phrase that was said stays in the history, whichever way the world then took.
    values = {
        left: (1 - SLIP) * behind[left][0] + SLIP * behind[left][1],
        right: (1 - SLIP) * behind[right][1] + SLIP * behind[right][0],
    }
    known = {"": ["go"], "go": ["left", "right"], "go left": ["."], "go right": ["."]}
    stray = [f"{said} {word}".strip() for said, nexts in known.items() for word in words if word not in nexts]
    # A stray word costs the turn; the last turn then cannot win from the first room.
    total = chance(f"{HEADER} {scene(FIRST)}", [*EXITS, *stray])
    assert sum(total) == pytest.approx(1, abs=1e-6)
    return values, total[0] * values[left] + total[1] * values[right]


def test_estimates_agree_with_all_histories_enumerated(unsure: LanguageModel) -> None:
    values, start = enumerate_tiny(unsure)
    player = history_player(unsure, join([tiny_world(SLIP)]), evaluation_episodes=2500)
    success = player.success(np.random.default_rng(0))
    assert success.standard_error is not None
    assert 0.005 < success.standard_error < 0.012
    assert abs(success.mean - start) < 3 * success.standard_error
    episodes = player.play(np.zeros(16, dtype=np.int64), np.random.default_rng(1))
    estimate = montecarlo.advantages(player, episodes, 250, np.random.default_rng(2))
    expected = np.array([[*values.values(), 0.0][option] for option in episodes.options[:, 0]]) - start
    z = (estimate.value[:, 0] - expected) / estimate.standard_error[:, 0]
    assert set(episodes.options[:, 0]) >= {0, 1}
    assert np.abs(z).max() < 4
    assert np.mean(np.abs(z) < 2) > 0.85


def test_a_fork_continues_as_fresh_rollouts_do_that_came_to_the_same_history(
    model: LanguageModel, short_worlds: WorldBatch
) -> None:
    player = history_player(model, short_worlds)
    # In this world the commonest history holds a note that the fork of the next turn but one asks for.
    fresh = player.play(np.full(1500, 1), np.random.default_rng(3))
    turn = 5
    numbers = player.situations(fresh)[:, turn]
    commonest = Counter(numbers[numbers >= 0].tolist()).most_common(1)[0][0]
    same = np.flatnonzero(numbers == commonest)
    assert same.size > 200
    branch = Branch(np.full(1000, same[0]), np.full(1000, turn))
    forks = player.fork(fresh, branch, np.random.default_rng(4))
    ways = [_ways(fresh, same, turn), _ways(forks, np.arange(1000), 0)]
    common = [way for way, n in (ways[0] + ways[1]).most_common() if n >= 20]
    assert len(common) >= 4
    table = np.array([[w[way] for way in common] + [w.total() - sum(w[way] for way in common)] for w in ways])
    assert chi2_contingency(table[:, table.sum(0) > 0]).pvalue > 0.01


def _ways(episodes: Episodes, rollouts: NDArray[np.int64], turn: int) -> Counter[tuple[int, ...]]:
    """How often the next options and the end came out in which way."""
    ends = episodes.states[:, -1]
    return Counter((*episodes.options[r, turn : turn + 4].tolist(), int(ends[r])) for r in rollouts)


@pytest.fixture(scope="module")
def compared(
    model: LanguageModel, short_worlds: WorldBatch
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Estimates, standard errors and exact advantages of the turns that are not all but decided; windowed policy."""
    player = WindowedForm(model.tokenizer).player(model, short_worlds.worlds)
    episodes = player.play(np.repeat(np.arange(4), 12), np.random.default_rng(5))
    estimate = montecarlo.advantages(player, episodes, 200, np.random.default_rng(6))
    exact = player.exact()
    rollout, turn = np.nonzero(episodes.alive)
    state, option = episodes.states[rollout, turn], episodes.options[rollout, turn]
    before = exact.values[turn, state]
    after = exact.action_values(turn, state)[np.arange(rollout.size), option]
    open_ = (np.abs(before - 0.5) < 0.4) & (np.abs(after - 0.5) < 0.4)  # chosen by what is exact, not by the estimate
    picked = rollout[open_], turn[open_]
    return estimate.value[picked], estimate.standard_error[picked], exact.advantages(episodes)[picked]


def test_estimates_agree_with_exact_advantages_of_the_windowed_policy(
    compared: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    value, error, exact = compared
    z = (value - exact) / error
    assert z.size > 150
    assert np.ptp(exact) > 0.3
    assert np.mean(np.abs(z) < 3) > 0.98
    assert abs(z.mean()) < 3 / np.sqrt(z.size)


def test_standard_errors_are_calibrated(
    compared: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    value, error, exact = compared
    assert 0.75 < np.var((value - exact) / error) < 1.3


def test_no_turn_no_estimate(model: LanguageModel, short_worlds: WorldBatch) -> None:
    player = history_player(model, short_worlds)
    episodes = player.play(np.array([0, 1]), np.random.default_rng(7))
    estimate = montecarlo.advantages(player, episodes, 2, np.random.default_rng(8))
    assert (~episodes.alive).any()
    assert (estimate.value[~episodes.alive] == 0).all()
    assert (estimate.standard_error[~episodes.alive] == 0).all()


def test_the_error_of_success_leaves_the_draw_of_worlds_out(model: LanguageModel) -> None:
    # Two worlds, one always won, one always lost: nothing is uncertain about their mean.
    won, lost = (dataclasses.replace(tiny_world(), payoffs=np.array([0.0, 0, 0, pay, pay])) for pay in (1.0, 0.0))
    success = history_player(model, join([won, lost]), evaluation_episodes=4).success(np.random.default_rng(9))
    assert success.mean == pytest.approx(0.5)
    assert success.standard_error == pytest.approx(0.0)


def test_the_error_of_success_is_as_worked_by_hand() -> None:
    # Sample variances 1/3 and 1/4, 4 episodes in each of 2 worlds: sqrt((1/3 + 1/4) / 4) / 2.
    rewards = np.array([1.0, 0, 1, 0, 1, 1, 1, 0])
    player = SimpleNamespace(
        n_instances=2, play=lambda instance, _: SimpleNamespace(instance=instance, rewards=rewards)
    )
    success = montecarlo.success(cast("Player[Any]", player), 4, np.random.default_rng(0))
    assert success.mean == pytest.approx(0.625)
    assert success.standard_error == pytest.approx(0.190941, abs=1e-6)


@pytest.mark.parametrize("prompt", ["windowed", "history"])
def test_behind_a_taken_action_the_world_answers_anew(model: LanguageModel, prompt: Prompt) -> None:
    player = prompt_form(prompt, model.tokenizer, 2).player(model, [tiny_world(SLIP)])
    episodes = player.play(np.zeros(30, dtype=np.int64), np.random.default_rng(0))
    for side, room in enumerate((BEHIND_LEFT, BEHIND_RIGHT)):
        said = np.flatnonzero(episodes.options[:, 0] == side)[0]
        branch = Branch(np.full(400, said), np.zeros(400, dtype=np.int64), after=True)
        forks = player.fork(episodes, branch, np.random.default_rng(1))
        # Within 3 standard errors, whatever the world had answered in the episode itself.
        assert np.mean(forks.states[:, 0] == room) == pytest.approx(1 - SLIP, abs=0.06)


def test_one_sample_has_no_standard_error(model: LanguageModel, short_worlds: WorldBatch) -> None:
    player = history_player(model, short_worlds)
    episodes = player.play(np.array([0]), np.random.default_rng(0))
    with pytest.raises(UserError, match="at least 2 continuations"):
        montecarlo.advantages(player, episodes, 1, np.random.default_rng(0))
    with pytest.raises(UserError, match="at least 2 episodes"):
        montecarlo.success(player, 1, np.random.default_rng(0))


def test_there_is_no_exact_credit(model: LanguageModel, short_worlds: WorldBatch) -> None:
    with pytest.raises(UserError, match="not Markov"):
        history_player(model, short_worlds).exact()
    assert short_worlds.starts[0] == START
