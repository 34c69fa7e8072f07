"""CAPO: which GRPO it becomes, what its votes flag, and the order that it puts tokens in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, RolloutRow, to_rollouts
from cairn.methods.capo import CAPO, Vote, flagged
from cairn.methods.grpo import GRPO
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _one_length() -> list[RolloutRow]:
    """The last turn alone, which has two tokens in every rollout, said in two turns."""
    rows = [row.model_copy(update={"turns": row.turns[-1:] * 2}) for row in sample_rollouts()]
    return [row.model_copy(update={"reward": row.reward + 0.25 * i}) for i, row in enumerate(rows)]


def _credit(rollouts: Rollouts, flags: Tensor, method: CAPO) -> Tensor:
    return method.credit(rollouts.replace(turn_scores=flags)).advantages


def _flags(rollouts: Rollouts, rate: float) -> Tensor:
    draw = torch.rand(rollouts.turn_mask.shape, generator=torch.Generator().manual_seed(0))
    return ((draw < rate) & rollouts.turn_mask).double()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("switched_off", ["penalty", "flags"])
def test_without_a_penalty_and_with_one_length_it_is_grpo(layout: Layout, switched_off: str) -> None:
    rollouts = to_rollouts(_one_length(), layout)
    penalty, rate = (0.0, 0.5) if switched_off == "penalty" else (1.0, 0.0)
    method = CAPO(penalty=penalty, scale_by_std=False)
    plain = GRPO(scale_by_std=False).credit(rollouts).advantages
    torch.testing.assert_close(_credit(rollouts, _flags(rollouts, rate), method), 2 * plain)
    assert not torch.allclose(_credit(rollouts, _flags(rollouts, 0.5), CAPO(scale_by_std=False)), 2 * plain)


def test_the_scale_by_the_std_over_tokens_is_that_of_more_draws() -> None:
    """Four tokens of each of n rollouts have the squares of n rollouts four times over, and 4 n - 1 in the divisor."""
    rollouts = to_rollouts(_one_length())
    got = _credit(rollouts, _flags(rollouts, 0.0), CAPO(epsilon=1e-12))
    plain = GRPO(epsilon=1e-12).credit(rollouts).advantages
    sizes = rollouts.group_ids.bincount()[rollouts.group_ids].double()
    factor = ((4 * sizes - 1) / (4 * (sizes - 1).clamp_min(1))).sqrt()
    torch.testing.assert_close(got, plain * rollouts.spread_rollouts(factor))


def test_long_responses_weigh_more_than_in_grpo() -> None:
    rollouts = to_rollouts(sample_rollouts())
    got = _credit(rollouts, _flags(rollouts, 0.0), CAPO(penalty=0.0, scale_by_std=False))
    assert not torch.allclose(got, 2 * GRPO(scale_by_std=False).credit(rollouts).advantages)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", [True, False])
def test_the_credit_sums_to_zero_over_the_tokens_of_a_group(layout: Layout, scale: bool) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    credit = _credit(rollouts, _flags(rollouts, 0.4), CAPO(scale_by_std=scale))
    assert credit.any()
    totals = credit.new_zeros(4).index_add(0, rollouts.group_ids[rollouts.row_rollout], credit.sum(1))
    torch.testing.assert_close(totals, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_flagged_token_of_a_right_answer_stands_between() -> None:
    sample = sample_rollouts()[0]
    turns = sample.turns[-1:] * 2
    rows = [sample.model_copy(update={"turns": turns, "reward": reward}) for reward in (1.0, 0.0)]
    rollouts = to_rollouts(rows)
    credit = rollouts.mean_over_turns(_credit(rollouts, torch.tensor([[0.0, 1.0], [0.0, 1.0]]).double(), CAPO()))
    (clean_right, flagged_right), (clean_wrong, flagged_wrong) = credit.tolist()
    assert clean_right > flagged_right > clean_wrong > flagged_wrong


VOTES: list[tuple[Vote, list[float]]] = [
    ("intersection", [0, 0, 0, 0, 1]),
    ("majority", [0, 0, 1, 1, 1]),
    ("union", [0, 1, 1, 1, 1]),
    ("average", [0, 0.25, 0.5, 0.75, 1]),
]


@pytest.mark.parametrize(("vote", "wanted"), VOTES)
def test_what_a_vote_flags_when_none_to_all_of_four_critiques_call_a_step_wrong(
    vote: Vote, wanted: list[float]
) -> None:
    marks = torch.tensor([[1.0] * (4 - wrong) + [0.0] * wrong for wrong in range(5)])
    assert flagged(marks, vote).tolist() == wanted
    assert flagged(marks[:, -1:], vote).tolist() == [0, 1, 1, 1, 1]  # a single critique decides in every vote
