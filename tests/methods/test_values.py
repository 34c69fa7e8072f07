"""The rules that subtract values: GAE with a critic, and Monte Carlo values at turn boundaries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts, turn_credit
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.vineppo import VinePPO
from cairn.ops.returns import discounted_suffix_sum
from cairn.ops.values import generalized_advantages
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _logged(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards, values and mask (R, L), with numbers off the mask too."""
    rng = np.random.default_rng(seed)
    mask = np.arange(9) < rng.integers(0, 10, size=5)[:, None]
    rewards = np.where(mask, rng.normal(size=mask.shape), 0.0)
    return torch.from_numpy(rewards), torch.from_numpy(rng.normal(size=mask.shape)), torch.from_numpy(mask)


@pytest.mark.parametrize(("gamma", "lambda_"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_gae_is_that_of_a_plain_loop(seed: int, gamma: float, lambda_: float) -> None:
    rewards, values, mask = _logged(seed)
    expected = np.zeros(rewards.shape)
    for i, length in enumerate(mask.sum(1).tolist()):
        carried, after = 0.0, 0.0
        for t in reversed(range(length)):
            value = float(values[i, t])
            carried = float(rewards[i, t]) + gamma * after - value + gamma * lambda_ * carried
            expected[i, t], after = carried, value
    np.testing.assert_allclose(generalized_advantages(rewards, values, mask, gamma, lambda_), expected, atol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_gae_with_lambda_one_is_return_minus_baseline(gamma: float) -> None:
    rewards, values, mask = _logged(4)
    returns = discounted_suffix_sum(rewards, gamma)
    torch.testing.assert_close(generalized_advantages(rewards, values, mask, gamma, 1.0), (returns - values) * mask)


def test_gae_with_lambda_zero_is_the_one_step_error() -> None:
    rewards, values, mask = torch.tensor([[1.0, 2, 4]]), torch.tensor([[0.5, 0.25, 0.75]]), torch.ones(1, 3).bool()
    # 1 + 0.5 * 0.25 - 0.5 = 0.625;  2 + 0.5 * 0.75 - 0.25 = 2.125;  4 - 0.75 = 3.25
    assert generalized_advantages(rewards, values, mask, 0.5, 0.0).tolist() == [[0.625, 2.125, 3.25]]


def _on_tokens(rollouts: Rollouts, per_token: Tensor) -> list[list[float]]:
    index = rollouts.action_index()
    return [row[mask].tolist() for row, mask in zip(per_token.flatten()[index.flat], index.mask, strict=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gae_steps_over_observations(layout: Layout) -> None:
    """Four tokens in two turns, V = 0.5, reward 1 at the end, lambda 0.95: independent numbers.

    They come from a numpy recurrence of verl 0.9.1's semantics. Libraries that zero the values on observation tokens
    give the first turn 0.2998, 0.3156, those that step through observations 0.3675, 0.3869.
    """
    turn = {"tokens": ["a", "b"], "values": [0.5, 0.5]}
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 1, "turns": [turn, turn]})], layout)
    advantages = PPOGAE(lambda_=0.95, whiten=False).credit(rollouts).advantages
    assert _on_tokens(rollouts, advantages) == [pytest.approx([0.4287, 0.4512, 0.475, 0.5], abs=6e-5)]
    assert not advantages[~rollouts.action_mask].any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_critic_is_fitted_to_the_lambda_return(layout: Layout) -> None:
    class Recorder(Playback):
        def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
            self.targets = _on_tokens(rollouts, targets)
            return super().fit_critic(rollouts, targets)

    turns = [{"tokens": ["a"], "values": [0.5], "reward": 2}, {"tokens": ["b", "c"], "values": [0.25, 7.0]}]
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 1, "turns": turns})], layout)
    recorder = Recorder(rollouts, PPOGAE.needs)
    PPOGAE().fit(rollouts, recorder)  # lambda 1: the return from the token, whatever the values
    assert recorder.targets == [pytest.approx([3, 1, 1])]
    PPOGAE(lambda_=0.0, gamma=0.5).fit(rollouts, recorder)  # r + gamma V': 2 + 0.125, 0 + 3.5, 1
    assert recorder.targets == [pytest.approx([2.125, 3.5, 1.0])]


def test_whitened_gae_has_mean_zero_and_variance_one_over_the_action_tokens() -> None:
    rollouts = to_rollouts(sample_rollouts())
    chosen = PPOGAE().credit(rollouts).advantages[rollouts.action_mask].numpy()
    assert chosen.mean() == pytest.approx(0.0, abs=1e-12)
    assert chosen.var(ddof=1) == pytest.approx(1.0, abs=1e-6)


def _spoken(rows: list[RolloutRow]) -> list[RolloutRow]:
    return [row.model_copy(update={"turns": tuple(turn for turn in row.turns if turn.tokens)}) for row in rows]


@pytest.mark.parametrize("cap", [None, 1, 2, 3])
def test_vineppo_telescopes_with_and_without_the_cap(cap: int | None) -> None:
    rows = _spoken(sample_rollouts(3))
    for row, credits_ in zip(rows, turn_credit(VinePPO(whiten=False, max_valued_steps=cap), rows), strict=True):
        first = row.turns[0].value
        assert first is not None
        gained = row.reward + sum(turn.reward for turn in row.turns)
        assert sum(c for c in credits_ if c is not None) == pytest.approx(gained - first)


def test_vineppo_gives_nothing_past_the_step_that_leaves_the_last_valued_state() -> None:
    rows = _spoken(sample_rollouts(3))
    assert max(len(row.turns) for row in rows) > 3
    for row, credits_ in zip(rows, turn_credit(VinePPO(whiten=False, max_valued_steps=1), rows), strict=True):
        assert credits_[2:] == pytest.approx([0.0] * (len(credits_) - 2))
        if len(row.turns) > 2:  # the return that is still to come, less the value of the state after one step
            left = row.reward + sum(turn.reward for turn in row.turns[1:])
            assert credits_[1] == pytest.approx(left - (row.turns[1].value or 0))


def test_vineppo_discounts_once_a_turn() -> None:
    turns = [{"tokens": ["a"] * 5, "value": 0.5}, {"tokens": ["b"], "value": 0.75}]
    rows = [RolloutRow.model_validate({"group": "g", "reward": 1, "turns": turns})]
    # 0.5 * 0.75 - 0.5 = -0.125;  1 - 0.75 = 0.25
    assert turn_credit(VinePPO(whiten=False, gamma=0.5), rows) == [[-0.125, 0.25]]


def test_vineppo_values_a_turn_by_the_mean_of_its_continuations() -> None:
    class TwoEnds(Playback):
        def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
            outcomes = super().continuations(rollouts, count).clone()
            outcomes[..., 0] += count  # one continuation of `count` pays more: the mean rises by 1
            return outcomes

    rollouts = to_rollouts(sample_rollouts())
    collected = VinePPO(continuations=4).collect(TwoEnds(rollouts, VinePPO.needs))
    assert rollouts.turn_values is not None
    assert collected.turn_values is not None
    torch.testing.assert_close(collected.turn_values, rollouts.turn_values + 1)
