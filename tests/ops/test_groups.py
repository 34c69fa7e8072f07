"""Who is compared with whom: trajectories, step rows, and turns by observation, agent or index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.layouts import random_rollouts
from torch import Tensor

from cairn.methods.grpo import GRPO
from cairn.ops.groups import group_std, pair_groups, standardise, standardise_by_rows, standardise_turns


def _tensor(numbers: object) -> Tensor:
    return torch.as_tensor(np.asarray(numbers, dtype=np.float64))


def test_pairs_of_task_and_key() -> None:
    labels = pair_groups(torch.tensor([1, 1, 2]), torch.tensor([[4, 4], [4, 7], [4, 9]])).tolist()
    assert labels[0][0] == labels[0][1] == labels[1][0]
    assert len({labels[0][0], labels[1][1], labels[2][0], labels[2][1]}) == 4


@pytest.mark.parametrize("scale", [True, False])
def test_step_rows_count_a_trajectory_once_for_each_turn(scale: bool) -> None:
    returns, turns = np.array([1.0, 0.0, 0.25]), np.array([3, 1, 2])
    rows = np.repeat(returns, turns)
    spread = rows.std(ddof=1) + 1e-6 if scale else 1.0
    mask = torch.arange(3) < torch.from_numpy(turns)[:, None]
    got = standardise_by_rows(torch.from_numpy(returns), torch.zeros(3, dtype=torch.long), mask, scale, 1e-6)
    np.testing.assert_allclose(got.numpy(), (returns - rows.mean()) / spread, atol=1e-12)


@pytest.mark.parametrize("correction", [0, 1])
def test_the_deviation_may_be_that_of_the_population(correction: int) -> None:
    values, groups = np.array([1.0, 0.0, 0.25, 3.0, 5.0, 7.0]), torch.tensor([0, 0, 0, 1, 1, 2])
    parts = np.split(values, [3, 5])[:2]
    expected = [(one - one.mean()) / (one.std(ddof=correction) + 1e-6) for one in parts]
    got = standardise(_tensor(values), groups, True, 1e-6, correction)
    np.testing.assert_allclose(got.numpy(), [*np.concatenate(expected), 0.0], atol=1e-12)
    spread = group_std(_tensor(values), groups, correction).numpy()
    np.testing.assert_allclose(spread[[0, 3, 5]], [*(one.std(ddof=correction) for one in parts), 0.0], atol=1e-12)


def test_step_rows_of_equal_numbers_of_turns_are_trajectories() -> None:
    returns, groups = _tensor([1, 0, 0.25, 3, 5]), torch.tensor([0, 0, 0, 1, 1])
    mask = torch.ones(5, 4, dtype=torch.bool)
    got = standardise_by_rows(returns, groups, mask, False, 0.0)
    torch.testing.assert_close(got, standardise(returns, groups, False, 0.0))


@pytest.mark.parametrize("scale", [True, False])
def test_equal_rewards_get_exactly_zero_by_rows_and_by_turns(scale: bool) -> None:
    # In float32, the mean of seven times 0.1 is not 0.1, and rounding over epsilon would be a credit of 0.007.
    returns, groups = torch.full((3,), 0.1), torch.zeros(3, dtype=torch.long)
    mask = torch.arange(4) < torch.tensor([4, 1, 2])[:, None]
    assert standardise_by_rows(returns, groups, mask, scale, 1e-6).tolist() == [0.0] * 3
    labels = torch.zeros(3, 4, dtype=torch.long)
    assert not standardise_turns(returns[:, None].expand(3, 4), labels, mask, scale, 1e-6).any()


def test_turns_by_agent_by_hand() -> None:
    # Agent 0 has the values 1, 3 (first rollout) and 5: mean 3; agent 1 has 2 and 8: mean 5; the rest did not happen.
    values = _tensor([[1, 2, 3], [5, 8, 99]])
    agents = torch.tensor([[0, 1, 0], [0, 1, 1]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    got = standardise_turns(values, pair_groups(torch.tensor([7, 7]), agents), mask, False, 0.0)
    assert got.tolist() == [[-2, -3, 0], [2, 3, 0]]
    apart = standardise_turns(values, pair_groups(torch.tensor([7, 8]), agents), mask, False, 0.0)
    assert apart.tolist() == [[-1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("scale", [True, False])
def test_agents_that_act_once_each_are_compared_as_trajectories_are(scale: bool) -> None:
    """The limit of agent-wise statistics that the fact sheets name."""
    returns, groups = _tensor([1, 0, 0.25, 3, 5]), torch.tensor([0, 0, 0, 1, 1])
    orders = torch.tensor([[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1], [2, 0, 1]])
    mask = torch.ones(5, 3, dtype=torch.bool)
    got = standardise_turns(returns[:, None].expand(5, 3), pair_groups(groups, orders), mask, scale, 1e-6)
    torch.testing.assert_close(got, standardise(returns, groups, scale, 1e-6)[:, None].expand(5, 3))


def test_one_turn_each_makes_every_way_of_comparing_the_same() -> None:
    rollouts = random_rollouts(0, turns=1)
    returns, groups, mask = rollouts.returns, rollouts.group_ids, rollouts.turn_mask
    plain = GRPO().credit(rollouts).advantages
    index = torch.arange(1).expand(mask.shape)
    by_turn = standardise_turns(returns[:, None], pair_groups(groups, index), mask, True, 1e-6)
    torch.testing.assert_close(rollouts.spread_turns(by_turn), plain)
    torch.testing.assert_close(rollouts.spread_rollouts(standardise_by_rows(returns, groups, mask, True, 1e-6)), plain)


def test_statistics_by_turn_index_take_off_what_going_on_earns() -> None:
    """The bias, worked out by hand: of four rollouts two stop after the first turn, two go on and earn 6 for it.

    Return less the mean return is -3 for those who stop and 3 for those who go on. By turn index, the second turn is
    compared among those who took it only: all four sum to 0, and the choice to go on has earned nothing. (The turns'
    own rewards are compared, and a rollout's credit is their sum.)
    """
    rewards = _tensor([[1, 0], [1, 0], [1, 6], [1, 6]])
    mask = torch.tensor([[True, False], [True, False], [True, True], [True, True]])
    group = torch.zeros(4, dtype=torch.long)
    index = torch.arange(2).expand(4, 2)
    by_index = standardise_turns(rewards, pair_groups(group, index), mask, False, 0.0)
    assert by_index.sum(1).tolist() == [0, 0, 0, 0]
    assert standardise(rewards.sum(1), group, False, 0.0).tolist() == [-3, -3, 3, 3]
