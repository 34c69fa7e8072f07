"""PURE: what its forms become in their limits, and why a sum of scores can be bought."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tests.layouts import random_rollouts
from torch import Tensor

from cairn.interchange import Layout, to_rollouts
from cairn.methods.pure import PURE, least_to_come, min_form_rewards, others_mean_per_token
from cairn.ops.groups import leave_one_out
from cairn.ops.whiten import whiten
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _processes(count: int, steps: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Process rewards in [-1, 1] that are distinct in each row, and a mask of rows of all lengths."""
    rng = torch.Generator().manual_seed(seed)
    mask = torch.arange(steps) < torch.randint(1, steps + 1, (count, 1), generator=rng)
    grid = torch.linspace(-1, 1, steps, dtype=torch.float64)
    return grid[torch.rand(count, steps, generator=rng).argsort(1)], mask


def _least(process: Tensor, mask: Tensor) -> Tensor:
    return process.masked_fill(~mask, torch.inf).min(1).values


def _scored(rollouts: Rollouts, scores: Tensor, method: PURE) -> Rollouts:
    return method.reward(rollouts.replace(turn_scores=scores))


def _first_return(scores: list[float], form: str) -> float:
    """Return what the first token of a response with these scores returns, before the baseline."""
    process = 2 * torch.tensor([scores], dtype=torch.float64) - 1
    paid = min_form_rewards(process, torch.ones_like(process, dtype=torch.bool), 0.1) if form == "min" else process
    return float(paid.sum())


def test_at_a_low_temperature_the_rewards_of_the_steps_sum_to_the_least_score() -> None:
    process, mask = _processes(50, 7)
    paid = min_form_rewards(process, mask, 0.01)
    torch.testing.assert_close(paid.sum(1), _least(process, mask), rtol=0, atol=1e-9)
    far = (min_form_rewards(process, mask, 1.0).sum(1) - _least(process, mask)).abs().max()
    assert float(far) > 0.1
    assert not paid[~mask].any()


def test_up_to_the_worst_step_the_return_is_its_score_and_behind_it_nothing() -> None:
    process, mask = _processes(50, 7, seed=1)
    to_go = min_form_rewards(process, mask, 0.01).flip(1).cumsum(1).flip(1)
    worst = process.masked_fill(~mask, torch.inf).argmin(1, keepdim=True)
    wanted = torch.where(torch.arange(7) <= worst, _least(process, mask)[:, None], 0.0)
    torch.testing.assert_close(to_go, wanted, rtol=0, atol=1e-9)


def test_each_step_that_is_not_wrong_is_worth_as_much_as_any_other_in_a_sum_and_nothing_in_the_min_form() -> None:
    mistaken = [1.0, 0.0, 1.0]
    sums = [_first_return([*mistaken, *[1.0] * filler], "sum") for filler in range(5)]
    assert sums == [1.0, 2.0, 3.0, 4.0, 5.0]  # more than a right answer in three steps is worth: 3
    for filler in range(5):
        assert _first_return([*mistaken, *[1.0] * filler], "min") == pytest.approx(-1, abs=1e-6)


def test_errors_of_the_scores_move_the_least_by_no_more_than_one_and_the_sum_by_their_number() -> None:
    process, mask = _processes(50, 7, seed=2)
    error = 0.05
    for wrong in (process - error, process - error * torch.linspace(-1, 1, 7, dtype=torch.float64)):
        value, misled = (min_form_rewards(scores, mask, 0.001).sum(1) for scores in (process, wrong))
        assert float((value - misled).abs().max()) <= error + 1e-9
    apart = ((process - (process - error)) * mask).sum(1)
    torch.testing.assert_close(apart, error * mask.sum(1).double())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_one_step_the_min_form_is_the_sum(layout: Layout) -> None:
    short = [row.model_copy(update={"turns": row.turns[-1:]}) for row in sample_rollouts()]
    rollouts = to_rollouts(short, layout)
    scores = torch.rand(rollouts.turn_mask.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    least, total = (m.credit(_scored(rollouts, scores, m)).advantages for m in (PURE(form="min"), PURE(form="sum")))
    assert torch.equal(least, total)
    long = to_rollouts(sample_rollouts(), layout)
    scores = torch.rand(long.turn_mask.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    least, total = (m.credit(_scored(long, scores, m)).advantages for m in (PURE(form="min"), PURE(form="sum")))
    assert not torch.allclose(least, total)


@pytest.mark.parametrize("scale", [True, False])
def test_an_outcome_alone_on_responses_of_one_length_is_leave_one_out(scale: bool) -> None:
    rows = [row.model_copy(update={"turns": row.turns[-1:]}) for row in sample_rollouts()]  # two tokens each
    rollouts = to_rollouts(rows)
    indifferent = torch.full(rollouts.turn_mask.shape, 0.5, dtype=torch.float64)
    method = PURE(outcome_weight=1.0, whiten=scale)
    got = method.credit(_scored(rollouts, indifferent, method)).advantages
    counts = rollouts.group_ids.bincount()[rollouts.group_ids]
    # A group of one has no others: nothing is taken off its return.
    wanted = torch.where(counts > 1, leave_one_out(rollouts.returns, rollouts.group_ids), rollouts.returns)
    plain = rollouts.spread_rollouts(wanted)
    torch.testing.assert_close(got, whiten(plain, rollouts.action_mask) if scale else plain)


def test_the_baseline_is_what_the_others_return_on_each_token_that_could_have_been_said() -> None:
    totals, groups = torch.tensor([6.0, 2.0, 4.0, 5.0], dtype=torch.float64), torch.tensor([7, 7, 7, 1])
    assert others_mean_per_token(totals, groups, 3).tolist() == [1.0, 5 / 3, 4 / 3, 0.0]
    assert others_mean_per_token(totals, groups, 6).tolist() == [0.5, 5 / 6, 2 / 3, 0.0]


def test_the_padded_length_of_the_code_is_a_smaller_baseline() -> None:
    rollouts = random_rollouts(0)
    scores = torch.rand(rollouts.turn_mask.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    longest = rollouts.action_index().mask.shape[1]
    given = [
        m.credit(_scored(rollouts, scores, m)).advantages
        for m in (PURE(whiten=False, longest_tokens=n) for n in (None, longest, 4 * longest, 10**9))
    ]
    assert torch.equal(given[0], given[1])
    method = PURE(whiten=False)
    index = rollouts.action_index()
    bare = index.pack(_scored(rollouts, scores, method).token_rewards()).flip(1).cumsum(1).flip(1) * index.mask
    torch.testing.assert_close(given[3], index.unpack(bare), rtol=0, atol=1e-6)
    away = [float((one - given[3]).abs().max()) for one in given[1:3]]
    assert away[0] == pytest.approx(4 * away[1], rel=1e-5)


def test_the_strict_form_never_promises_more_than_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    rewards = torch.randn(20, 9, generator=rng, dtype=torch.float64)
    found = least_to_come(rewards)
    for row, least in zip(rewards.tolist(), found.tolist(), strict=True):
        assert least == [min(0.0, *row[t:]) for t in range(len(row))]
        assert all(one <= other for one, other in pairwise(least))
    assert float(found.max()) == 0.0
    assert least_to_come(rewards[:, :0]).shape == (20, 0)
