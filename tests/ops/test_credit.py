"""The shared credit maths against definitions in plain Python and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cairn.ops.groups import leave_one_out, standardise
from cairn.ops.packing import Packing
from cairn.ops.returns import discounted_suffix_sum, kl_penalised_rewards, last_steps
from cairn.ops.values import generalized_advantages, lambda_returns
from cairn.ops.whiten import whiten

DECAYS = [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0), (0.0, 0.7)]


def _tensor(numbers: object) -> Tensor:
    return torch.as_tensor(np.asarray(numbers, dtype=np.float64))


def _logged(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards, values, mask (R, L) and values after the last step (R,), with numbers off the mask too."""
    rng = np.random.default_rng(seed)
    mask = np.arange(9) < rng.integers(0, 10, size=5)[:, None]
    numbers = (rng.normal(size=mask.shape), rng.normal(size=mask.shape), mask, rng.normal(size=5))
    rewards, values, steps, after = (torch.from_numpy(array) for array in numbers)
    return rewards, values, steps, after


def test_leave_one_out_by_hand() -> None:
    # Group 2: 1, 3, 8: less the mean of the others 5.5, 4.5, 2. Group 0: 4 and 0.
    got = leave_one_out(_tensor([1, 4, 3, 0, 8]), torch.tensor([2, 0, 2, 0, 2]))
    assert got.tolist() == pytest.approx([-4.5, 4.0, -1.5, -4.0, 6.0])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-100, 100, allow_subnormal=False), st.integers(0, 3)), min_size=1, max_size=12))
def test_leave_one_out_is_the_definition_and_centred_comparison_times_n_over_n_less_one(
    pairs: list[tuple[float, int]],
) -> None:
    values, groups = _tensor([v for v, _ in pairs]), torch.tensor([g for _, g in pairs])
    got = leave_one_out(values, groups).tolist()
    centred = standardise(values, groups, scale_by_std=False, epsilon=0.0).tolist()
    for i, (value, group) in enumerate(pairs):
        others = [v for j, (v, g) in enumerate(pairs) if g == group and j != i]
        assert got[i] == pytest.approx(value - sum(others) / len(others) if others else 0.0, abs=1e-9)
        assert got[i] == pytest.approx(centred[i] * (len(others) + 1) / max(len(others), 1), abs=1e-9)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_leave_one_out_gives_equal_values_exactly_zero(size: int) -> None:
    assert leave_one_out(torch.full((size,), 0.1), torch.zeros(size, dtype=torch.long)).tolist() == [0.0] * size


@pytest.mark.parametrize("decay", [0.0, 0.37, 0.95, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_suffix_sum_in_place_has_the_bits_of_the_sum_of_copies(decay: float, dtype: torch.dtype) -> None:
    values = torch.from_numpy(np.random.default_rng(1).normal(size=(4, 67))).to(dtype)
    total, reach = values.clone(), 1
    while reach < values.shape[-1]:
        shifted = torch.nn.functional.pad(total[..., reach:], (0, reach))
        total, reach = total + decay**reach * shifted, reach * 2
    assert torch.equal(discounted_suffix_sum(values, decay), total)


def test_last_steps_by_hand() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False], [True, True, True]])
    assert last_steps(mask).tolist() == [[False, True, False], [False] * 3, [False, False, True]]


def test_the_kl_penalty_by_hand() -> None:
    # 1 - 0.5 (-1 + 3) = 0;  0 - 0.5 (-2 + 1) = 0.5;  off the mask 0, whatever stands there
    logprobs, reference = _tensor([[-1, -2, math.nan]]), _tensor([[-3, -1, math.nan]])
    mask = torch.tensor([[True, True, False]])
    rewards = kl_penalised_rewards(_tensor([[1, 0, 9]]), logprobs.nan_to_num(), reference.nan_to_num(), mask, 0.5)
    assert rewards.tolist() == [[0.0, 0.5, 0.0]]


def test_packing_by_hand() -> None:
    mask = torch.tensor([[False, True, False, True], [True, True, True, False], [False] * 4])
    values = _tensor([[9, 1, 9, 2], [3, 4, 5, 9], [9, 9, 9, 9]])
    packing = Packing.of(mask)
    assert packing.mask.tolist() == [[True, True, False], [True, True, True], [False] * 3]
    assert packing.pack(values).tolist() == [[1, 2, 0], [3, 4, 5], [0, 0, 0]]
    assert packing.unpack(_tensor([[1, 2, 7], [3, 4, 5], [7, 7, 7]])).tolist() == [
        [0, 1, 0, 2],
        [3, 4, 5, 0],
        [0, 0, 0, 0],
    ]


@pytest.mark.parametrize("shape", [(0, 4), (2, 0), (3, 5)])
def test_packing_of_nothing(shape: tuple[int, int]) -> None:
    packing = Packing.of(torch.zeros(shape, dtype=torch.bool))
    assert packing.pack(torch.ones(shape)).shape == (shape[0], 0)
    assert packing.unpack(torch.ones(shape[0], 0)).tolist() == torch.zeros(shape).tolist()


@pytest.mark.parametrize(("gamma", "lambda_"), DECAYS)
@pytest.mark.parametrize("cut", [False, True])
def test_lambda_returns_are_the_weighted_mean_of_n_step_returns(gamma: float, lambda_: float, cut: bool) -> None:
    rewards, values, mask, after = _logged(2)
    got = lambda_returns(rewards, values, mask, gamma, lambda_, after if cut else None)
    for i, length in enumerate(mask.sum(1).tolist()):
        r, end = rewards[i].tolist(), float(after[i]) if cut else 0.0
        v = [*values[i, :length].tolist(), end]
        for t in range(length):
            n_step = [
                sum(gamma**k * r[t + k] for k in range(n)) + gamma**n * v[t + n] for n in range(1, length - t + 1)
            ]
            # What no longer return can have falls to the longest one.
            weights = [(1 - lambda_) * lambda_**n for n in range(len(n_step) - 1)]
            expected = sum(w * g for w, g in zip(weights, n_step, strict=False)) + (1 - sum(weights)) * n_step[-1]
            assert float(got[i, t]) == pytest.approx(expected, abs=1e-10)
        assert not got[i, length:].any()


@pytest.mark.parametrize(("gamma", "lambda_"), DECAYS)
@pytest.mark.parametrize("cut", [False, True])
def test_the_lambda_return_less_the_value_is_the_generalised_advantage(gamma: float, lambda_: float, cut: bool) -> None:
    rewards, values, mask, after = _logged(3)
    targets = lambda_returns(rewards, values, mask, gamma, lambda_, after if cut else None)
    advantages = generalized_advantages(rewards, values, mask, gamma, lambda_, after if cut else None)
    torch.testing.assert_close((targets - values) * mask, advantages)


def test_the_value_after_a_cut_enters_discounted() -> None:
    # One step, V 0.25, reward 1; cut at a state worth 0.5, gamma 0.5: 1 + 0.25 - 0.25 = 1; ended: 1 - 0.25.
    one = (_tensor([[1]]), _tensor([[0.25]]), torch.tensor([[True]]))
    for lambda_ in (0.0, 0.5, 1.0):
        assert generalized_advantages(*one, 0.5, lambda_, _tensor([0.5])).tolist() == [[1.0]]
        assert generalized_advantages(*one, 0.5, lambda_).tolist() == [[0.75]]
        assert lambda_returns(*one, 0.5, lambda_, _tensor([0.5])).tolist() == [[1.25]]


def test_gae_limits_hold_with_a_value_after_the_cut() -> None:
    rewards, values, mask, after = _logged(5)
    paid = rewards * mask + 0.9 * after[:, None] * last_steps(mask)
    one = generalized_advantages(rewards, values, mask, 0.9, 1.0, after)
    torch.testing.assert_close(one, (discounted_suffix_sum(paid, 0.9) - values) * mask)
    zero = generalized_advantages(rewards, values, mask, 0.9, 0.0, after)
    nexts = torch.nn.functional.pad(values * mask, (0, 1))[:, 1:]
    torch.testing.assert_close(zero, (paid + 0.9 * nexts - values) * mask)


def test_reinforce_with_whitened_returns_by_hand() -> None:
    # Mask 1 1 0 0 1 1, KL 0.5 on the first token only, coefficient 1, reward 1 at the end: returns 0.5 1 . . 1 1,
    # mean 0.875, unbiased variance 0.0625: (0.5 - 0.875) / 0.25 = -1.5, 0.5.
    mask = torch.tensor([[True, True, False, False, True, True]])
    logprobs = _tensor([[0.5, 0, 0, 0, 0, 0]])
    rewards = kl_penalised_rewards(_tensor([[0, 0, 0, 0, 0, 1]]), logprobs, torch.zeros_like(logprobs), mask, 1.0)
    packing = Packing.of(mask)
    returns = packing.unpack(discounted_suffix_sum(packing.pack(rewards), 1.0))
    assert returns.tolist() == [[0.5, 1, 0, 0, 1, 1]]
    assert whiten(returns, mask, 0.0)[0].tolist() == pytest.approx([-1.5, 0.5, 0, 0, 0.5, 0.5])
