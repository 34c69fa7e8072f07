"""The rules that compare within groups, and what becomes of them in their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cairn.interchange import Layout, RolloutRow, to_rollouts, turn_credit
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.ops.groups import pair_groups
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _unseen(rows: list[RolloutRow]) -> list[RolloutRow]:
    """The same rollouts, where no observation recurs."""
    return [
        row.model_copy(
            update={
                "turns": tuple(turn.model_copy(update={"observation": f"{r}.{k}"}) for k, turn in enumerate(row.turns))
            }
        )
        for r, row in enumerate(rows)
    ]


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gigpo_without_its_step_part_is_grpo_bit_for_bit(layout: Layout, scale: bool) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    plain = GRPO(scale_by_std=scale).credit(rollouts).advantages
    limit = GiGPO(step_weight=0.0, scale_by_std=scale).credit(rollouts).advantages
    assert torch.equal(plain, limit)
    assert not torch.equal(plain, GiGPO(scale_by_std=scale).credit(rollouts).advantages)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gigpo_where_no_observation_recurs_is_grpo_bit_for_bit(layout: Layout) -> None:
    rollouts = to_rollouts(_unseen(sample_rollouts()), layout)
    assert torch.equal(GRPO().credit(rollouts).advantages, GiGPO().credit(rollouts).advantages)


def test_the_step_part_of_gigpo_sums_to_zero_in_each_anchor_group() -> None:
    rollouts = to_rollouts(sample_rollouts())
    step = GiGPO()._step(rollouts)
    assert rollouts.observation_keys is not None
    anchors = pair_groups(rollouts.group_ids, rollouts.observation_keys)
    for anchor in anchors[rollouts.turn_mask].unique():
        assert float(step[rollouts.turn_mask & (anchors == anchor)].sum()) == pytest.approx(0.0, abs=1e-9)
    assert step[rollouts.turn_mask].abs().max() > 0.1


def test_grpo_without_std_times_its_group_correction_is_leave_one_out() -> None:
    rewards = {"a": [1.0, 0.0, 0.5, 0.25], "b": [0.0, 3.0]}
    rows = [
        RolloutRow.model_validate({"group": group, "reward": reward, "turns": [{"tokens": ["t"]}]})
        for group, all_ in rewards.items()
        for reward in all_
    ]
    got = [credits_[0] for credits_ in turn_credit(GRPO(scale_by_std=False), rows)]
    expected = [
        (reward - (sum(all_) - reward) / (len(all_) - 1)) * (len(all_) - 1) / len(all_)
        for all_ in rewards.values()
        for reward in all_
    ]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("method", [GRPO(), GRPO(scale_by_std=False)])
def test_grpo_gives_nothing_to_equal_rewards_and_to_a_group_of_one(method: GRPO) -> None:
    rows = sample_rollouts()
    for row, credits_ in zip(rows, turn_credit(method, rows), strict=True):
        silent = row.group in {"equal", "alone"}
        assert all(credit is None or (credit == 0.0) == silent for credit in credits_ if row.group != "turns")


def test_the_loss_by_hand() -> None:
    # One rollout of two tokens, ratio 1 and advantage 0.5 each, and KL terms 1 - log 2 and 0:
    # mean of -0.5 + 0.1 (1 - log 2) and -0.5
    turn = {"tokens": ["a", "b"], "logprobs": [-1, -2], "reference_logprobs": [-1 + float(np.log(2)), -2]}
    rows = [RolloutRow.model_validate({"group": "g", "reward": r, "turns": [turn]}) for r in (1, 0)]
    rollouts = to_rollouts(rows)
    method = GRPO(scale_by_std=False, kl_coefficient=0.1)
    credit = method.credit(rollouts)
    # The other rollout has advantage -0.5: the surrogates cancel and the KL term is left.
    loss = method.loss(rollouts.logprobs_behaviour, rollouts, credit)
    assert loss.item() == pytest.approx(0.1 * (1 - np.log(2)) / 2)
    half = type(credit)(credit.advantages, rollouts.row_rollout[:, None].expand(rollouts.token_ids.shape) == 0)
    assert method.loss(rollouts.logprobs_behaviour, rollouts, half).item() == pytest.approx(
        -0.5 + 0.1 * (1 - np.log(2)) / 2
    )
