"""Pairs within groups, the loss on pairs and the choice of what to imitate, against numbers worked by hand."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.layouts import random_rollouts, to_episodes
from torch import Tensor

from cairn.ops.batches import concatenate, select
from cairn.ops.preferences import best_of_groups, pair_weights, preference_loss, preference_pairs
from cairn.rollouts import Rollouts

RETURNS = torch.tensor([1.0, 0.0, 0.5, 2.0, 2.0, 7.0, 3.0, 3.0, 0.0])
GROUPS = torch.tensor([4, 4, 4, 0, 0, 9, 5, 5, 5])


def test_pairs_by_hand() -> None:
    # Group 4: 1 > 0.5 > 0. Group 0: a tie. Group 9: alone. Group 5: two share the best.
    every = preference_pairs(RETURNS, GROUPS, "all").tolist()
    assert every == [[0, 1], [0, 2], [2, 1], [6, 8], [7, 8]]
    assert preference_pairs(RETURNS, GROUPS).tolist() == [[0, 1], [6, 8], [7, 8]]
    assert preference_pairs(RETURNS[:0], GROUPS[:0]).shape == (0, 2)


def test_each_group_with_pairs_counts_once() -> None:
    weights = pair_weights(preference_pairs(RETURNS, GROUPS), GROUPS)
    assert weights.tolist() == [0.5, 0.25, 0.25]
    assert pair_weights(torch.zeros(0, 2, dtype=torch.long), GROUPS).shape == (0,)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=10), st.randoms())
def test_the_order_of_rollouts_decides_no_pair(numbers: list[tuple[int, int]], rng: object) -> None:
    assert hasattr(rng, "sample")
    order = rng.sample(range(len(numbers)), len(numbers))
    returns, groups = (torch.tensor([n[i] for n in numbers]).float() for i in (0, 1))
    for which in ("extremes", "all"):
        choice: Literal["extremes", "all"] = "all" if which == "all" else "extremes"
        pairs = {tuple(pair) for pair in preference_pairs(returns, groups, choice).tolist()}
        moved = preference_pairs(returns[order], groups[order], choice).tolist()
        assert {(order[a], order[b]) for a, b in moved} == pairs
        by_loop = {
            (i, j)
            for i, (r, g) in enumerate(numbers)
            for j, (s, h) in enumerate(numbers)
            if g == h and r > s and (choice == "all" or (r, s) == _ends(numbers, g))
        }
        assert pairs == by_loop


def _ends(numbers: list[tuple[int, int]], group: int) -> tuple[int, int]:
    inside = [r for r, g in numbers if g == group]
    return max(inside), min(inside)


def test_the_loss_on_pairs_by_hand() -> None:
    # z = 0.5 (2 - 1) = 0.5 and 0.5 (0 - 1) = -0.5: the mean of log(1 + e^-0.5) and log(1 + e^0.5)
    ratios, pairs = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64), torch.tensor([[0, 1], [2, 1]])
    one, other = math.log(1 + math.exp(-0.5)), math.log(1 + math.exp(0.5))
    assert preference_loss(ratios, pairs, 0.5).item() == pytest.approx((one + other) / 2)
    weighted = preference_loss(ratios, pairs, 0.5, weights=torch.tensor([0.75, 0.25]))
    assert weighted.item() == pytest.approx(0.75 * one + 0.25 * other)
    # smoothing 0.1: the second pair's term turned round is the first one's, and the other way
    smooth = preference_loss(ratios, pairs[:1], 0.5, smoothing=0.1)
    assert smooth.item() == pytest.approx(0.9 * one + 0.1 * other)


def test_the_gradient_on_pairs_by_hand() -> None:
    # -beta sigmoid(-z) on the better one and as much on the worse one, z = 0: half of beta each
    ratios = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(preference_loss(ratios, torch.tensor([[1, 0]]), 0.3), ratios)
    assert gradient.tolist() == pytest.approx([0.15, -0.15])


def test_no_pair_is_no_loss_and_far_ratios_have_finite_gradients() -> None:
    nobody = torch.zeros(0, 2, dtype=torch.long)
    for weights in (None, torch.zeros(0)):
        ratios = torch.ones(3, requires_grad=True)
        loss = preference_loss(ratios, nobody, 0.1, weights=weights)
        (gradient,) = torch.autograd.grad(loss, ratios)
        assert loss.item() == 0.0
        assert not gradient.any()
    far = torch.tensor([1e6, -1e6], requires_grad=True)
    for pairs in ([[0, 1]], [[1, 0]]):
        loss = preference_loss(far, torch.tensor(pairs), 1.0)
        (gradient,) = torch.autograd.grad(loss, far)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_what_to_imitate_by_hand() -> None:
    assert best_of_groups(RETURNS, GROUPS).tolist() == [True] + [False] * 5 + [True, True, False]


def _dpo(rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    ratios = rollouts.sum_over_rollouts(rollouts.logprobs_behaviour - rollouts.require("logprobs_reference"))
    pairs = preference_pairs(rollouts.returns, rollouts.group_ids)
    return ratios, preference_loss(ratios, pairs, 0.1, weights=pair_weights(pairs, rollouts.group_ids))


@pytest.mark.parametrize("seed", range(3))
def test_both_layouts_have_one_loss_on_pairs(seed: int) -> None:
    rollouts = random_rollouts(seed)
    ratios, loss = _dpo(rollouts)
    other_ratios, other_loss = _dpo(to_episodes(rollouts))
    torch.testing.assert_close(ratios, other_ratios)
    torch.testing.assert_close(loss, other_loss)
    assert loss.item() > 0


def test_pairs_follow_their_rollouts_and_go_with_them() -> None:
    rollouts = random_rollouts(0, groups=(3, 2)).replace(
        pairs=torch.tensor([[0, 1], [2, 0], [4, 3]]), imitated=torch.tensor([True, False, False, True, False])
    )
    kept = rollouts.keep_rollouts(torch.tensor([True, False, True, True, True]))
    assert kept.pairs is not None
    assert kept.pairs.tolist() == [[1, 0], [3, 2]]
    assert kept.imitated is not None
    assert kept.imitated.tolist() == [True, False, True, False]


def test_pairs_are_renumbered_when_batches_are_joined() -> None:
    one = random_rollouts(0, groups=(3,)).replace(pairs=torch.tensor([[0, 2]]))
    other = random_rollouts(1, groups=(2,)).replace(pairs=torch.tensor([[1, 0]]))
    joined = concatenate([one, other])
    assert joined.require("pairs").tolist() == [[0, 2], [4, 3]]
    assert select(joined, torch.tensor([4, 3])).pairs is None
    assert concatenate([one, other.replace(pairs=None)]).pairs is None
