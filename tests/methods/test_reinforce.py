"""REINFORCE, RLOO and REINFORCE++: what they become without KL, and plain loops over rollouts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.interchange import Layout, RolloutRow, to_rollouts
from cairn.methods.grpo import GRPO
from cairn.methods.reinforce import (
    REINFORCE,
    REINFORCE_PLUS_PLUS,
    REINFORCE_PLUS_PLUS_BASELINE,
    RLOO,
    Past,
    Reinforce,
)
from cairn.ops.whiten import whiten
from cairn.rollouts import Rollouts
from cairn.testing import Check, contract, sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")
CONFIGURATIONS = (REINFORCE, RLOO, REINFORCE_PLUS_PLUS, REINFORCE_PLUS_PLUS_BASELINE)


def _credit(method: Reinforce, rollouts: Rollouts) -> Tensor:
    return method.credit(method.reward(rollouts)).advantages


def _without_kl(method: Reinforce) -> Reinforce:
    return dataclasses.replace(method, kl_coefficient=0.0)


def _sparse(rows: list[RolloutRow]) -> list[RolloutRow]:
    """The same rollouts, paid at their end alone."""
    return [
        row.model_copy(update={"turns": tuple(turn.model_copy(update={"reward": 0.0}) for turn in row.turns)})
        for row in rows
    ]


@pytest.mark.parametrize("check", [c for m in CONFIGURATIONS for c in contract(m)], ids=str)
def test_every_configuration_keeps_the_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rloo_without_kl_is_centred_grpo_times_n_over_n_minus_one(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    sizes = (rollouts.group_ids[:, None] == rollouts.group_ids).sum(1).double()
    factors = rollouts.spread_rollouts(sizes / (sizes - 1).clamp_min(1))
    centred = GRPO(scale_by_std=False).credit(rollouts).advantages
    torch.testing.assert_close(_credit(_without_kl(RLOO), rollouts), centred * factors)
    torch.testing.assert_close(_credit(Reinforce(baseline="group_mean", kl_coefficient=0.0), rollouts), centred)


def test_rloo_sums_to_zero_in_a_group_with_kl_too() -> None:
    rollouts = to_rollouts(sample_rollouts(1))
    credit = rollouts.sum_over_rollouts(_credit(RLOO, rollouts)) / rollouts.sum_over_rollouts(
        rollouts.action_mask.double()
    )
    for group in rollouts.group_ids.unique():
        assert float(credit[rollouts.group_ids == group].sum()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_reinforce_plus_plus_without_kl_is_the_whitened_outcome(layout: Layout) -> None:
    rollouts = to_rollouts(_sparse(sample_rollouts()), layout)
    outcome = whiten(rollouts.spread_rollouts(rollouts.returns), rollouts.action_mask)
    torch.testing.assert_close(_credit(_without_kl(REINFORCE_PLUS_PLUS), rollouts), outcome)


def _numbers(row: RolloutRow, beta: float) -> tuple[list[float], list[float]]:
    """Reward of each token less beta times its log-ratio, and the log-ratios, read from the log."""
    rewards, ratios = [], []
    for turn in row.turns:
        given = [a - b for a, b in zip(turn.logprobs or (), turn.reference_logprobs or (), strict=True)]
        rewards += [-beta * ratio for ratio in given]
        ratios += given
        if turn.reward:
            assert given, "the rows of this test pay in turns with tokens"
            rewards[-1] += turn.reward
    rewards[-1] += row.reward
    return rewards, ratios


def _loop(rows: list[RolloutRow], method: Reinforce) -> list[NDArray[np.float64]]:
    """The credit of every token of each rollout, as the formulas say it, in float64."""
    beta = method.kl_coefficient if method.kl_place == "reward" else 0.0
    rewards = [_numbers(row, beta)[0] for row in rows]
    totals = [sum(r) for r in rewards]
    credits_ = []
    for i, row in enumerate(rows):
        same = [j for j, other in enumerate(rows) if other.group == row.group]
        others = [totals[j] for j in same if j != i]
        lone = totals[i] if method.baseline != "none" else 0.0
        baseline = {
            "none": 0.0,
            "past_mean": 0.0,
            "group_mean": sum(totals[j] for j in same) / len(same),
            "leave_one_out": sum(others) / len(others) if others else lone,
        }[method.baseline]
        ahead = [
            sum(method.gamma**u * reward for u, reward in enumerate(rewards[i][t:])) for t in range(len(rewards[i]))
        ]
        given = ahead if method.returns == "to_go" else [totals[i]] * len(rewards[i])
        credits_.append(np.array(given) - baseline)
    every = np.concatenate(credits_)
    return [(c - every.mean()) / every.std(ddof=1) for c in credits_] if method.whiten else credits_


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "method",
    [*CONFIGURATIONS, Reinforce(baseline="none", returns="to_go", gamma=0.9), Reinforce(whiten=True)],
    ids=lambda m: f"{m.baseline}-{m.returns}-{m.kl_place}",
)
def test_the_credit_is_that_of_a_plain_loop(method: Reinforce, layout: Layout) -> None:
    rows = [
        row.model_copy(update={"turns": tuple(turn for turn in row.turns if turn.tokens)}) for row in sample_rollouts(2)
    ]
    rollouts = to_rollouts(rows, layout)
    index = rollouts.action_index()
    found = _credit(method, rollouts).flatten()[index.flat]
    for row, mask, wanted in zip(found, index.mask, _loop(rows, method), strict=True):
        np.testing.assert_allclose(row[mask].numpy(), wanted, atol=1e-6 if method.whiten else 1e-12)


def test_only_the_kl_tells_the_tokens_of_a_response_apart() -> None:
    rollouts = to_rollouts(_sparse(sample_rollouts()), "episode")
    for method, uniform in ((_without_kl(REINFORCE_PLUS_PLUS), True), (REINFORCE_PLUS_PLUS, False), (RLOO, True)):
        credit = _credit(method, rollouts)
        means = rollouts.sum_over_rollouts(credit) / rollouts.sum_over_rollouts(rollouts.action_mask.double())
        assert torch.allclose(credit, rollouts.spread_rollouts(means)) is uniform


def test_the_baseline_of_the_past_is_the_mean_of_all_earlier_returns() -> None:
    rollouts = to_rollouts(_sparse(sample_rollouts()))
    method = _without_kl(REINFORCE)
    assert method.remember(rollouts) == Past(6.75, 11)
    assert method.remember(rollouts.replace(memory=Past(3.25, 9))) == Past(10.0, 20)
    later = rollouts.replace(memory=Past(3.0, 12))
    torch.testing.assert_close(_credit(method, later), rollouts.spread_rollouts(rollouts.returns - 0.25))
    torch.testing.assert_close(_credit(RLOO, later), _credit(RLOO, rollouts))


@pytest.mark.parametrize("method", CONFIGURATIONS, ids=lambda m: f"{m.baseline}-{m.kl_place}")
def test_the_kl_stands_in_the_reward_or_in_the_loss_and_never_in_both(method: Reinforce) -> None:
    rollouts, plain = to_rollouts(sample_rollouts()), _without_kl(method)
    assert plain.reward(rollouts) is rollouts
    credit = plain.credit(rollouts)
    losses = [float(m.loss(rollouts.logprobs_behaviour, rollouts, credit)) for m in (method, plain)]
    in_reward = not torch.equal(_credit(method, rollouts), _credit(plain, rollouts))
    assert in_reward is (losses[0] == losses[1])
    assert in_reward is (method.kl_place == "reward")
