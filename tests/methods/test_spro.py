"""SPRO: what it becomes, and what its masked comparison keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, RolloutRow, to_rollouts
from cairn.methods.grpo import GRPO
from cairn.methods.spro import SPRO, masked_step_advantages
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _logged(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards with numbers off the mask too, groups and mask of seven rollouts of up to five steps."""
    rng = np.random.default_rng(seed)
    mask = np.arange(5) < np.array([5, 3, 0, 4, 4, 1, 2])[:, None]
    groups = torch.tensor([4, 4, 4, 4, 9, 9, 1])
    return torch.from_numpy(rng.normal(size=mask.shape)), groups, torch.from_numpy(mask)


def _process(method: SPRO, rollouts: Rollouts) -> Tensor:
    """(R, K) what the method adds to the comparison of outcomes."""
    added = method.credit(rollouts).advantages - GRPO().credit(rollouts).advantages
    return rollouts.mean_over_turns(added)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_beta_it_is_grpo_bit_for_bit(layout: Layout, scale: bool) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    plain = GRPO(scale_by_std=scale).credit(rollouts).advantages
    assert torch.equal(plain, SPRO(beta=0.0, scale_by_std=scale).credit(rollouts).advantages)
    assert not torch.equal(plain, SPRO(scale_by_std=scale).credit(rollouts).advantages)


@pytest.mark.parametrize("method", [SPRO(), SPRO(unit="token"), SPRO(pooled=True)])
def test_a_policy_that_has_not_left_its_reference_learns_as_with_grpo(method: SPRO) -> None:
    rollouts = to_rollouts(sample_rollouts())
    fresh = rollouts.replace(logprobs_reference=rollouts.logprobs_behaviour)
    assert torch.equal(GRPO().credit(fresh).advantages, method.credit(fresh).advantages)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_comparison_is_that_of_a_plain_loop(seed: int, pooled: bool) -> None:
    rewards, groups, mask = _logged(seed)
    sums = [[float(rewards[i, : k + 1].sum()) for k in range(int(mask[i].sum()))] for i in range(len(groups))]
    expected = torch.zeros_like(rewards)
    for i, own in enumerate(sums):
        family = [sums[j] for j in range(len(groups)) if groups[j] == groups[i]]
        for k, mine in enumerate(own):
            others = [c for one in family for c in one] if pooled else [one[k] for one in family if len(one) > k]
            expected[i, k] = mine - float(np.mean(others))
    got = masked_step_advantages(rewards, groups, mask, pooled)
    torch.testing.assert_close(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_at_each_step_the_process_part_sums_to_zero_over_those_that_run(layout: Layout) -> None:
    # Every step says something here, so that each shows its credit.
    rows = [row.model_copy(update={"turns": tuple(t for t in row.turns if t.tokens)}) for row in sample_rollouts()]
    rollouts = to_rollouts(rows, layout)
    process = _process(SPRO(), rollouts)
    for group in rollouts.group_ids.unique():
        torch.testing.assert_close(process[rollouts.group_ids == group].sum(0), torch.zeros(process.shape[1]).double())
    assert process.abs().max() > 0.01


def test_who_runs_alone_gets_nothing_for_the_process() -> None:
    rewards, groups, mask = _logged(0)
    got = masked_step_advantages(rewards, groups, mask)
    assert got[0, 4] == 0.0  # the fifth step, which no other response of the group has
    assert not got[4, 1:].any()
    assert not got[6].any()  # a group of one
    assert (got[0, :4] != 0).all()


def test_what_a_whole_group_gains_at_a_step_changes_nothing() -> None:
    """The value of the prompt, which the cumulative reward of the paper holds, drops out."""
    rewards, groups, mask = _logged(1)
    raised = rewards + torch.where(groups == 4, 3.0, -2.0)[:, None] * (torch.arange(5) == 0)
    torch.testing.assert_close(
        masked_step_advantages(raised, groups, mask), masked_step_advantages(rewards, groups, mask)
    )


def test_steps_of_one_token_are_tokens() -> None:
    rows = [
        RolloutRow.model_validate(
            {
                "group": "g",
                "reward": reward,
                "turns": [{"tokens": ["t"], "logprobs": [-p], "reference_logprobs": [-1]} for p in chances],
            }
        )
        for reward, chances in ((1, (0.5, 0.25, 2.0)), (0, (1.5, 0.125)), (0, (0.75,)))
    ]
    rollouts = to_rollouts(rows)
    torch.testing.assert_close(SPRO().credit(rollouts).advantages, SPRO(unit="token").credit(rollouts).advantages)
