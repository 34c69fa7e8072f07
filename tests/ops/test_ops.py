"""The shared maths against numpy, plain loops and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.layouts import random_rollouts
from torch import Tensor

from cairn.ops.batches import parent_places
from cairn.ops.groups import group_mean, group_std, standardise
from cairn.ops.losses import clipped_surrogate, low_variance_kl, masked_mean
from cairn.ops.returns import discounted_suffix_sum, returns_to_go, rewards_at_turns
from cairn.ops.whiten import whiten

VALUES = st.lists(st.tuples(st.floats(-100, 100, allow_subnormal=False), st.integers(-3, 3)), min_size=1, max_size=12)


def _tensor(numbers: object) -> Tensor:
    return torch.as_tensor(np.asarray(numbers, dtype=np.float64))


def _by_group(values: NDArray[np.float64], groups: NDArray[np.int64], ddof: int | None) -> NDArray[np.float64]:
    """numpy's mean (ddof None) or standard deviation of each element's group; 0 deviation in a group of one."""
    result = np.zeros_like(values)
    for group in np.unique(groups):
        member = values[groups == group]
        if ddof is None:
            result[groups == group] = member.mean()
        elif member.size > ddof:
            result[groups == group] = member.std(ddof=ddof)
    return result


@settings(deadline=None)
@given(VALUES)
def test_group_statistics_are_those_of_numpy(pairs: list[tuple[float, int]]) -> None:
    values, groups = np.array([v for v, _ in pairs]), np.array([g for _, g in pairs])
    x, g = _tensor(values), torch.from_numpy(groups)
    np.testing.assert_allclose(group_mean(x, g).numpy(), _by_group(values, groups, None), atol=1e-10)
    np.testing.assert_allclose(group_std(x, g).numpy(), _by_group(values, groups, 1), atol=1e-6)


def test_standardise_by_hand() -> None:
    # Group 5: values 1, 3 have mean 2 and unbiased deviation sqrt(2); group -1: 0, 0, 3 have mean 1, deviation sqrt(3).
    values, groups = _tensor([1, 0, 3, 0, 3]), torch.tensor([5, -1, 5, -1, -1])
    scaled = standardise(values, groups, scale_by_std=True, epsilon=0.0)
    expected = [-1 / math.sqrt(2), -1 / math.sqrt(3), 1 / math.sqrt(2), -1 / math.sqrt(3), 2 / math.sqrt(3)]
    assert scaled.tolist() == pytest.approx(expected)
    assert standardise(values, groups, scale_by_std=False, epsilon=9.0).tolist() == [-1, -1, 1, -1, 2]
    assert standardise(values[:3:2], groups[:3:2], True, 1.0).tolist() == pytest.approx(
        [-1 / (math.sqrt(2) + 1), 1 / (math.sqrt(2) + 1)]
    )


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_equal_values_get_exactly_zero(scale: bool, size: int) -> None:
    # In float32, the mean of 0.1 thrice and of 0.1 seven times is not 0.1.
    values = torch.full((size,), 0.1)
    assert standardise(values, torch.zeros(size, dtype=torch.long), scale, 1e-6).tolist() == [0.0] * size


def test_standardise_of_nothing_is_nothing() -> None:
    assert standardise(torch.zeros(0), torch.zeros(0, dtype=torch.long), True, 1e-6).shape == (0,)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 9, 33])
def test_the_suffix_sum_is_that_of_a_plain_loop(length: int, decay: float) -> None:
    values = np.random.default_rng(length).normal(size=(3, length))
    expected = np.zeros((3, length + 1))
    for t in reversed(range(length)):
        expected[:, t] = values[:, t] + decay * expected[:, t + 1]
    before = _tensor(values)
    np.testing.assert_allclose(discounted_suffix_sum(before, decay).numpy(), expected[:, :-1], atol=1e-12)
    np.testing.assert_array_equal(before.numpy(), values)


def test_returns_to_go_by_hand() -> None:
    turn_mask = torch.tensor([[True, True, False], [True, True, True]])
    turn_rewards, terminal = _tensor([[1, 2, 99], [0, 4, 0]]), _tensor([8, -4])
    assert rewards_at_turns(turn_rewards, terminal, turn_mask).tolist() == [[1, 10, 0], [0, 4, -4]]
    # 1 + 0.5 * 10 = 6 and 10; -4, 4 - 2 = 2, 0 + 1 = 1
    assert returns_to_go(turn_rewards, terminal, turn_mask, 0.5).tolist() == [[6, 10, 0], [1, 2, -4]]


def test_whiten_is_numpys_standard_score_over_the_mask() -> None:
    rng = np.random.default_rng(0)
    values, mask = rng.normal(3.0, 5.0, size=(4, 6)), rng.random((4, 6)) < 0.6
    chosen = values[mask]
    white = whiten(_tensor(values), torch.from_numpy(mask), epsilon=0.0).numpy()
    np.testing.assert_allclose(white[mask], (chosen - chosen.mean()) / chosen.std(ddof=1), atol=1e-12)
    assert not white[~mask].any()


def test_whiten_adds_epsilon_to_the_variance() -> None:
    # -1, 1: mean 0, unbiased variance 2; 1 / sqrt(2 + 2) = 0.5
    assert whiten(_tensor([-1, 1]), torch.tensor([True, True]), epsilon=2.0).tolist() == [-0.5, 0.5]


@pytest.mark.parametrize("values", [[0.1] * 7, [3.0], []])
def test_whiten_gives_zero_where_there_is_no_signal(values: list[float]) -> None:
    chosen = torch.tensor(values)
    assert whiten(chosen, torch.ones_like(chosen, dtype=torch.bool)).tolist() == [0.0] * len(values)


def test_whiten_ignores_what_is_not_masked() -> None:
    mask = torch.tensor([True, False, True])
    assert whiten(_tensor([-1, math.nan, 1]), mask, 0.0).tolist() == pytest.approx([-(2**-0.5), 0, 2**-0.5])


def test_the_low_variance_kl_by_hand() -> None:
    # d = log 2: 2 - log 2 - 1;  d = -log 2: 0.5 + log 2 - 1;  d = 0: 0
    logprobs, reference = _tensor([-1.0, -1.0, -1.0]), _tensor([-1 + math.log(2), -1 - math.log(2), -1.0])
    expected = [1 - math.log(2), math.log(2) - 0.5, 0.0]
    assert low_variance_kl(logprobs, reference).tolist() == pytest.approx(expected)


def test_the_low_variance_kl_has_the_expectation_of_the_kl() -> None:
    # Under p, the mean over tokens of exp(d) - d - 1 is sum q - sum p log(q / p) - 1 = KL(p, q), term by term exact.
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    estimate = low_variance_kl(_tensor(np.log(p)), _tensor(np.log(q))).numpy()
    assert float((p * estimate).sum()) == pytest.approx(float((p * np.log(p / q)).sum()))
    assert (estimate >= 0).all()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # ratio within 0.8 .. 1.2: -r A, gradient by the log-prob -r A
        (1.1, 2.0, -2.2, -2.2),
        (0.9, -2.0, 1.8, 1.8),
        # better than allowed: clipped, no gradient
        (1.5, 2.0, -2.4, 0.0),
        (0.5, -2.0, 1.6, 0.0),
        # worse than allowed: not clipped
        (0.5, 2.0, -1.0, -1.0),
        (1.5, -2.0, 3.0, 3.0),
    ],
)
def test_the_clipped_surrogate_by_hand(ratio: float, advantage: float, loss: float, slope: float) -> None:
    behaviour = _tensor([[-2.0]])
    logprobs = (behaviour + math.log(ratio)).requires_grad_()
    got = clipped_surrogate(logprobs, behaviour, _tensor([[advantage]]), 0.2)
    (gradient,) = torch.autograd.grad(got.sum(), logprobs)
    assert got.item() == pytest.approx(loss)
    assert gradient.item() == pytest.approx(slope)


def test_the_masked_mean_divides_by_the_mask() -> None:
    assert masked_mean(_tensor([1, 2, 4]), torch.tensor([True, False, True])).item() == 2.5
    nothing = masked_mean(_tensor([1, 2]).requires_grad_(), torch.zeros(2, dtype=torch.bool))
    assert nothing.item() == 0.0
    nothing.backward()


def test_the_places_of_parents_are_found_whatever_the_order_and_one_that_is_not_here_is_the_childs_own() -> None:
    parents = torch.tensor([7, -1, 40, 7, 99])
    batch = random_rollouts(0, groups=(5,)).replace(rollout_ids=torch.tensor([12, 7, 3, 40, 5]), parent_ids=parents)
    assert parent_places(batch).tolist() == [1, 1, 3, 1, 4]
