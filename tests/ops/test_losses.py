"""Importance ratios by token, turn and rollout, their clipping, and the means that make one number of a loss."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from tests.layouts import by_action, random_rollouts, to_episodes
from torch import Tensor

from cairn.ops.losses import (
    LOG_RATIO_BOUND,
    clipped_surrogate,
    log_ratios,
    masked_mean,
    mean_over_units,
    surrogate,
    through_tokens,
    unit_log_ratios,
)
from cairn.rollouts import Rollouts

Reduce = Literal["mean", "sum"]
Level = Literal["turn", "rollout"]
# Two rollouts: the first in rows 0 and 1 (turns 0 and 1), the second in row 2. Column 0 is an observation.
MASK = torch.tensor([[False, True, True], [False, True, False], [False, True, True]])
TURNS = torch.tensor([[-9, 0, 0], [-9, 1, -9], [-9, 2, 2]])
ROLLOUTS = torch.tensor([[0, 0, 0], [0, 0, 0], [1, 1, 1]])
NEW = torch.tensor([[9.0, -0.5, -1.0], [9.0, -2.0, 9.0], [9.0, -1.0, -3.0]], dtype=torch.float64)
OLD = torch.tensor([[0.0, -1.0, -1.2], [0.0, -1.0, 0.0], [0.0, -1.5, -2.9]], dtype=torch.float64)
# log-ratios of the action tokens: 0.5, 0.2 | -1 || 0.5, -0.1


def _at_actions(per_token: Tensor) -> list[float]:
    return per_token[MASK].tolist()


@pytest.mark.parametrize(
    ("units", "reduce", "expected"),
    [
        (TURNS, "sum", [0.7, 0.7, -1.0, 0.4, 0.4]),
        (TURNS, "mean", [0.35, 0.35, -1.0, 0.2, 0.2]),
        (ROLLOUTS, "sum", [-0.3, -0.3, -0.3, 0.4, 0.4]),
        (ROLLOUTS, "mean", [-0.1, -0.1, -0.1, 0.2, 0.2]),
    ],
)
def test_ratios_of_turns_and_rollouts_by_hand(units: Tensor, reduce: Reduce, expected: list[float]) -> None:
    got = unit_log_ratios(NEW, OLD, MASK, units, reduce)
    assert _at_actions(got) == pytest.approx(expected)
    assert not got[~MASK].any()


def test_a_unit_is_counted_over_the_tokens_that_are_trained() -> None:
    mask = MASK.clone()
    mask[0, 1] = False
    assert unit_log_ratios(NEW, OLD, mask, TURNS, "mean")[0].tolist() == pytest.approx([0, 0, 0.2])
    assert unit_log_ratios(NEW, OLD, torch.zeros_like(mask), TURNS, "mean").tolist() == torch.zeros(3, 3).tolist()


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_units_of_one_token_have_the_token_ratios(reduce: Reduce) -> None:
    own = torch.arange(9).reshape(3, 3)
    torch.testing.assert_close(unit_log_ratios(NEW, OLD, MASK, own, reduce), log_ratios(NEW, OLD) * MASK)


def test_the_gradient_of_a_unit_ratio_reaches_its_tokens_by_hand() -> None:
    # d exp(l) / d log pi(t) = exp(l) / n for the mean of n tokens, exp(l) for the sum; both tokens are asked for once.
    for reduce, slope in (("mean", math.exp(0.2)), ("sum", 2 * math.exp(0.4))):
        logprobs = NEW.clone().requires_grad_()
        ratio = unit_log_ratios(logprobs, OLD, MASK, TURNS, "mean" if reduce == "mean" else "sum").exp()
        (gradient,) = torch.autograd.grad(ratio[2, 1:].sum(), logprobs)
        assert gradient[2].tolist() == pytest.approx([0, slope, slope])
        assert not gradient[:2].any()


def test_through_tokens_keeps_the_value_and_moves_each_token_alone() -> None:
    logprobs = NEW.clone().requires_grad_()
    plain = unit_log_ratios(logprobs, OLD, MASK, TURNS, "mean")
    through = through_tokens(plain, logprobs)
    assert _at_actions(through) == pytest.approx(_at_actions(plain))
    (gradient,) = torch.autograd.grad(through.exp()[2, 1], logprobs)
    assert gradient[2].tolist() == pytest.approx([0, math.exp(0.2), 0])


@pytest.mark.parametrize("seed", range(3))
def test_with_one_advantage_a_unit_both_gradients_are_one(seed: int) -> None:
    """GSPO and GSPO-token (arXiv 2507.18071, section 4.3): equal where all tokens of a response share an advantage."""
    rollouts = random_rollouts(seed)
    logprobs = (rollouts.logprobs_behaviour * 1.1).requires_grad_()
    mask, units = rollouts.action_mask, rollouts.units("rollout")
    advantages = rollouts.spread_rollouts(rollouts.returns)
    plain = unit_log_ratios(logprobs, rollouts.logprobs_behaviour, mask, units, "mean")
    gradients = [
        torch.autograd.grad(mean_over_units(surrogate(ratio.exp(), advantages, 0.1, 0.2), mask, units), logprobs)[0]
        for ratio in (plain, through_tokens(plain, logprobs))
    ]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert gradients[0].any()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # low 0.1, high 0.3, dual 2. Within the range: -r A
        (1.25, 2.0, -2.5, -2.0),
        (0.95, -2.0, 1.9, 2.0),
        # past the upper end 1.3 and the lower end 0.9
        (1.5, 2.0, -2.6, 0.0),
        (0.5, -2.0, 1.8, 0.0),
        # made worse: open, but for the dual bound of 2 where A < 0
        (0.5, 2.0, -1.0, -2.0),
        (1.9, -2.0, 3.8, 2.0),
        (3.0, -2.0, 4.0, 0.0),
        (3.0, 0.0, 0.0, 0.0),
    ],
)
def test_asymmetric_and_dual_clip_by_hand(ratio: float, advantage: float, loss: float, slope: float) -> None:
    r = torch.tensor(ratio, dtype=torch.float64, requires_grad=True)
    got = surrogate(r, torch.tensor(advantage, dtype=torch.float64), 0.1, 0.3, dual=2.0)
    (gradient,) = torch.autograd.grad(got, r)
    assert got.item() == pytest.approx(loss)
    assert gradient.item() == pytest.approx(slope, abs=1e-12)


def test_without_the_dual_bound_a_worse_token_costs_without_limit() -> None:
    assert surrogate(torch.tensor(3.0), torch.tensor(-2.0), 0.1, 0.3).item() == pytest.approx(6.0)


@pytest.mark.parametrize("distance", [-1000.0, -50.0, 50.0, 1000.0])
@pytest.mark.parametrize("advantage", [1e6, 1.0, 0.0, -1.0, -1e6])
def test_a_policy_that_is_far_away_gives_finite_losses_and_gradients(distance: float, advantage: float) -> None:
    behaviour = torch.full((1, 3), -1.0)
    mask, units = torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, 3, dtype=torch.long)
    advantages = torch.full((1, 3), advantage)
    logprobs = (behaviour + distance).requires_grad_()
    losses = [clipped_surrogate(logprobs, behaviour, advantages, 0.2)]
    for reduce in ("mean", "sum"):
        unit = unit_log_ratios(logprobs, behaviour, mask, units, "mean" if reduce == "mean" else "sum")
        losses += [surrogate(x.exp(), advantages, 0.2, 0.2) for x in (unit, through_tokens(unit, logprobs))]
    for loss in losses:
        (gradient,) = torch.autograd.grad(loss.mean(), logprobs, retain_graph=True)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()


def test_the_bound_changes_nothing_within_it() -> None:
    near = torch.tensor([[0.3, -7.0, LOG_RATIO_BOUND, 21.0]])
    assert log_ratios(near, torch.zeros(1, 4)).tolist() == [[pytest.approx(0.3), -7.0, LOG_RATIO_BOUND, 20.0]]


def test_means_by_hand() -> None:
    values = torch.tensor([[9.0, 1.0, 3.0], [9.0, 8.0, 9.0], [9.0, 5.0, 7.0]])
    assert masked_mean(values, MASK).item() == pytest.approx(24 / 5)
    # turns: 2, 8, 6; rollouts: 12 / 3 = 4 and 6
    assert mean_over_units(values, MASK, TURNS).item() == pytest.approx(16 / 3)
    assert mean_over_units(values, MASK, ROLLOUTS).item() == pytest.approx(5.0)
    own = torch.arange(9).reshape(3, 3)
    assert mean_over_units(values, MASK, own).item() == pytest.approx(24 / 5)


def test_a_unit_of_which_nothing_is_trained_does_not_count() -> None:
    values = torch.tensor([[9.0, 1.0, 3.0], [9.0, 8.0, 9.0], [9.0, 5.0, 7.0]])
    mask = MASK & (ROLLOUTS == 1)
    assert mean_over_units(values, mask, ROLLOUTS).item() == pytest.approx(6.0)
    nothing = mean_over_units(values.requires_grad_(), torch.zeros_like(MASK), ROLLOUTS)
    assert nothing.item() == 0.0
    nothing.backward()
    assert values.grad is not None
    assert not values.grad.any()


def _loss(rollouts: Rollouts, level: Level, reduce: Reduce, token_gradient: bool) -> tuple[float, Tensor]:
    """A turn- or rollout-level loss with unequal advantages, and its gradient by action token in the order of time."""
    behaviour, mask, units = rollouts.logprobs_behaviour, rollouts.action_mask, rollouts.units(level)
    logprobs = (behaviour * 1.3).requires_grad_()
    unit = unit_log_ratios(logprobs, behaviour, mask, units, reduce)
    ratio = (through_tokens(unit, logprobs) if token_gradient else unit).exp()
    loss = mean_over_units(surrogate(ratio, rollouts.require("values"), 0.1, 0.3, dual=1.5), mask, units)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    return loss.item(), by_action(rollouts, gradient)


@pytest.mark.parametrize("token_gradient", [False, True])
@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("level", ["turn", "rollout"])
@pytest.mark.parametrize("seed", range(3))
def test_both_layouts_have_one_loss_and_one_gradient(
    seed: int, level: Level, reduce: Reduce, token_gradient: bool
) -> None:
    rollouts = random_rollouts(seed)
    loss, gradient = _loss(rollouts, level, reduce, token_gradient)
    other_loss, other_gradient = _loss(to_episodes(rollouts), level, reduce, token_gradient)
    assert loss == pytest.approx(other_loss, abs=1e-12)
    torch.testing.assert_close(gradient, other_gradient, atol=1e-12, rtol=0)
    assert gradient.any()
