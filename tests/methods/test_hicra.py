"""HICRA: what it becomes, which tokens it amplifies, and that nothing else moves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, to_rollouts
from cairn.lab.controls import ShuffledCredit
from cairn.methods.grpo import GRPO
from cairn.methods.hicra import HICRA, inside_grams
from cairn.rollouts import Rollouts
from cairn.testing import contract, sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _grams(rollouts: Rollouts) -> tuple[tuple[int, ...], ...]:
    """What the first two tokens of two steps say, and one token alone."""
    index = rollouts.action_index()
    tokens, steps = index.pack(rollouts.token_ids), index.pack(rollouts.turn_ids)
    paired = [r for r in range(len(tokens)) if index.mask[r, 1] and steps[r, 0] == steps[r, 1]]
    return (*(tuple(tokens[r, :2].tolist()) for r in paired[:2]), (int(tokens[0, 0]),))


def _planning(method: HICRA, rollouts: Rollouts) -> Tensor:
    index = rollouts.action_index()
    tokens, steps = index.pack(rollouts.token_ids), index.pack(rollouts.turn_ids)
    return index.unpack(inside_grams(tokens, steps, index.mask, method.strategic_grams))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_alpha_or_without_a_match_it_is_grpo_without_std_bit_for_bit(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    plain = GRPO(scale_by_std=False).credit(rollouts).advantages
    grams = _grams(rollouts)
    assert torch.equal(plain, HICRA(alpha=0.0, strategic_grams=grams).credit(rollouts).advantages)
    assert torch.equal(plain, HICRA(strategic_grams=((10**6, 10**6),)).credit(rollouts).advantages)
    assert not torch.equal(plain, HICRA(strategic_grams=grams).credit(rollouts).advantages)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_successes_count_more_and_failures_less_on_planning_tokens_alone(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    plain = GRPO(scale_by_std=False).credit(rollouts).advantages
    method = HICRA(alpha=0.25, strategic_grams=_grams(rollouts))
    got, planning = method.credit(rollouts).advantages, _planning(method, rollouts)
    assert planning[rollouts.action_mask].any()
    assert not planning[rollouts.action_mask].all()
    assert torch.equal(got[~planning], plain[~planning])
    torch.testing.assert_close(got[planning & (plain > 0)], 1.25 * plain[planning & (plain > 0)])
    torch.testing.assert_close(got[planning & (plain < 0)], 0.75 * plain[planning & (plain < 0)])
    both = HICRA(alpha=0.25, strategic_grams=method.strategic_grams, symmetric=True).credit(rollouts).advantages
    torch.testing.assert_close(both, torch.where(planning, 1.25, 1.0) * plain)


def test_credits_of_a_group_no_longer_sum_to_zero() -> None:
    rollouts = to_rollouts(sample_rollouts())
    grams = tuple((token,) for token in range(int(rollouts.token_ids.max()) + 1))
    got = HICRA(strategic_grams=grams).credit(rollouts).advantages  # amplified everywhere
    plain = GRPO(scale_by_std=False).credit(rollouts).advantages
    torch.testing.assert_close(got - plain, 0.2 * plain.abs())
    first = rollouts.group_ids == rollouts.group_ids[0]
    assert float((rollouts.sum_over_rollouts(got) / rollouts.turn_tokens().sum(1))[first].sum()) > 0.1


def test_a_match_lies_in_one_step_and_among_the_tokens_that_were_said() -> None:
    tokens = torch.tensor([[1, 2, 3, 1, 2], [1, 2, 3, 0, 0], [2, 1, 2, 3, 3]])
    steps = torch.tensor([[0, 0, 0, 0, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 5])
    marked = inside_grams(tokens, steps, mask, [(1, 2), (2, 3), (3, 0), (3, 3), (), (1, 2, 3, 1, 2, 9)])
    assert marked.tolist() == [
        [True, True, True, False, False],  # the last `1 2` spans two steps
        [True, True, False, False, False],  # `2 3` does too, and the 0 of `3 0` was not said
        [False, True, True, True, True],  # overlapping matches
    ]


def test_amplifying_random_tokens_is_the_shuffled_control() -> None:
    """As many tokens of each rollout as before are amplified, others than before: the placebo of the paper."""
    rollouts = to_rollouts(sample_rollouts()).replace(draw_seed=3)
    method = HICRA(strategic_grams=_grams(rollouts))
    own = method.credit(rollouts)
    moved = ShuffledCredit("token").credit(own, rollouts).advantages
    plain = GRPO(scale_by_std=False).credit(rollouts).advantages
    assert not torch.equal(moved, own.advantages)
    for credit in (own.advantages, moved):
        extra = rollouts.sum_over_rollouts((credit != plain).double())
        torch.testing.assert_close(extra, rollouts.sum_over_rollouts((own.advantages != plain).double()))


def test_the_contract_holds_with_grams_too() -> None:
    """But for the order of rollouts, which numbers the texts anew, so that the grams would name other words."""
    grams = _grams(to_rollouts(sample_rollouts()))
    for check in contract(HICRA(strategic_grams=grams)):
        if "order" not in str(check):
            check()
