"""PPO with GAE as a method: what lambda makes of the critic. The recursion itself is tested in test_values.py."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.lab.controls import ShuffledValues
from cairn.methods.ppo_gae import PPOGAE
from cairn.rollouts import Rollouts
from cairn.testing import Check, contract, sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")
PLAIN = PPOGAE(whiten=False)
PAPER = PPOGAE(gamma=0.99, lambda_=0.95, whiten=False)


@pytest.mark.parametrize("check", contract(PAPER), ids=str)
def test_the_settings_of_the_paper_keep_the_contract(check: Check) -> None:
    check()


def _rows() -> list[RolloutRow]:
    """Sample rollouts in which every turn says something, so that each reward stands at its own turn."""
    return [
        row.model_copy(update={"turns": tuple(turn for turn in row.turns if turn.tokens)}) for row in sample_rollouts(1)
    ]


def _tokens(row: RolloutRow) -> tuple[list[float], list[float]]:
    """Reward and value of each token of a rollout, read from the log."""
    rewards: list[float] = []
    for turn in row.turns:
        rewards += [0.0] * (len(turn.tokens) - 1) + [turn.reward]
    rewards[-1] += row.reward
    return rewards, [value for turn in row.turns for value in turn.values or ()]


def _given(rollouts: Rollouts, per_token: Tensor) -> list[list[float]]:
    index = rollouts.action_index()
    return [row[mask].tolist() for row, mask in zip(per_token.flatten()[index.flat], index.mask, strict=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_lambda_one_the_critic_is_a_baseline_and_nothing_else(layout: Layout) -> None:
    rollouts = to_rollouts(_rows(), layout)
    for row, credit in zip(_rows(), _given(rollouts, PLAIN.credit(rollouts).advantages), strict=True):
        rewards, values = _tokens(row)
        assert credit == pytest.approx((np.cumsum(rewards[::-1])[::-1] - values).tolist())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_lambda_zero_a_token_gets_its_own_error_across_turns_too(layout: Layout) -> None:
    rollouts, method = to_rollouts(_rows(), layout), dataclasses.replace(PLAIN, lambda_=0.0, gamma=0.9)
    for row, credit in zip(_rows(), _given(rollouts, method.credit(rollouts).advantages), strict=True):
        rewards, values = _tokens(row)
        assert credit == pytest.approx((np.array(rewards) + 0.9 * np.array([*values[1:], 0.0]) - values).tolist())


def test_errors_without_discount_telescope_to_the_return_less_the_first_value() -> None:
    rollouts, method = to_rollouts(_rows()), dataclasses.replace(PLAIN, lambda_=0.0)
    for row, credit in zip(_rows(), _given(rollouts, method.credit(rollouts).advantages), strict=True):
        rewards, values = _tokens(row)
        assert sum(credit) == pytest.approx(sum(rewards) - values[0])


def _targets(method: PPOGAE, rollouts: Rollouts) -> Tensor:
    class Recorder(Playback):
        def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
            self.targets = targets
            return super().fit_critic(rollouts, targets)

    recorder = Recorder(rollouts, method.needs)
    method.fit(rollouts, recorder)
    return recorder.targets


def test_permuted_values_spoil_the_targets_of_the_critic_only_where_these_bootstrap() -> None:
    rollouts = to_rollouts(_rows())
    permuted = ShuffledValues().rollouts(rollouts)
    torch.testing.assert_close(_targets(PPOGAE(), permuted), _targets(PPOGAE(), rollouts))
    assert not torch.allclose(_targets(PAPER, permuted), _targets(PAPER, rollouts))
    assert not torch.allclose(PAPER.credit(permuted).advantages, PAPER.credit(rollouts).advantages)
