"""M-GRPO: groups by role, calls that count alike for each rollout, and what becomes of it without calls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.methods.grpo import GRPO
from cairn.methods.m_grpo import MGRPO, calls_of, weighted_standardise
from cairn.ops.groups import group_mean, standardise
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")
OUTCOME = MGRPO(outcome_weight=1.0, expert_weight=0.0)


def _team(*rollouts: tuple[float, str], group: str = "g") -> list[RolloutRow]:
    """Rollouts from their reward and, in one letter for each turn, who acted."""
    rows = [
        {"group": group, "reward": reward, "turns": [{"agent": agent, "tokens": ["t"]} for agent in agents]}
        for reward, agents in rollouts
    ]
    return [RolloutRow.model_validate(row) for row in rows]


def _turns(method: MGRPO, rollouts: Rollouts) -> Tensor:
    return rollouts.mean_over_turns(method.credit(rollouts).advantages)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_team_in_which_nobody_is_called_has_grpos_credit_bit_for_bit(layout: Layout) -> None:
    rows = [
        row.model_copy(update={"turns": tuple(turn.model_copy(update={"agent": "one"}) for turn in row.turns)})
        for row in sample_rollouts()
    ]
    rollouts = to_rollouts(rows, layout)
    assert torch.equal(OUTCOME.credit(rollouts).advantages, GRPO().credit(rollouts).advantages)
    called = to_rollouts(sample_rollouts(), layout)
    assert not torch.equal(OUTCOME.credit(called).advantages, GRPO().credit(called).advantages)


def test_with_equally_many_calls_and_the_outcome_alone_every_turn_has_centred_grpo() -> None:
    rollouts = to_rollouts(_team((1.0, "mabma"), (0.25, "mamba"), (0.0, "mbmab")))
    plain = GRPO(scale_by_std=False).credit(rollouts).advantages
    ours = MGRPO(outcome_weight=1.0, expert_weight=0.0, scale_by_std=False).credit(rollouts).advantages
    torch.testing.assert_close(ours, plain, rtol=0, atol=1e-12)


def test_calls_are_turns_of_another_agent_in_a_row() -> None:
    rollouts = to_rollouts(_team((1.0, "maabmb"), (0.0, "bbm"), (0.0, "m")))
    calls = calls_of(rollouts.require("agent_ids"), rollouts.turn_mask)
    # First rollout: aa, b and, behind the main agent, b again; second, whose main agent is b: m.
    assert calls.turns.int().tolist() == [[0, 1, 1, 1, 0, 1], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0]]
    assert calls.of.tolist() == [0, 0, 1, 2, 3]
    assert calls.rollout.tolist() == [0, 0, 0, 1]


def test_a_call_counts_as_if_each_rollout_had_been_filled_up_with_copies() -> None:
    """The paper's own alignment to d = 2 calls, where the single call of the second rollout is taken twice."""
    rollouts = to_rollouts(_team((1.0, "mamb"), (0.0, "mam"), (0.0, "mamb"), (0.75, "mamb")))
    filled = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.75, 0.75], dtype=torch.float64)
    copies = standardise(filled, torch.zeros(8, dtype=torch.long), False, 0.0)
    calls = calls_of(rollouts.require("agent_ids"), rollouts.turn_mask)
    plain = MGRPO(outcome_weight=1.0, expert_weight=0.0, scale_by_std=False)
    once = torch.cat([copies[:3], copies[4:]])
    times = torch.tensor([2, 2, 1, 2, 2, 2, 2], dtype=torch.float64)  # calls of the rollout of each
    torch.testing.assert_close(_turns(plain, rollouts)[calls.turns], once * 1.75 / times)  # 7 calls of 4 rollouts
    scaled = _turns(OUTCOME, rollouts)[calls.turns] / (once * 1.75 / times)
    deviation = float((filled.var(unbiased=False) * 7 / 6).sqrt())  # of the copies, as an unbiased one of 7 calls
    assert scaled.tolist() == pytest.approx([1 / (deviation + 1e-6)] * 7)


def test_with_weights_of_one_the_weighted_comparison_is_the_plain_one() -> None:
    values, groups = torch.sin(torch.arange(40.0, dtype=torch.float64)), torch.arange(40) % 7
    for scale in (True, False):
        ours = weighted_standardise(values, torch.ones_like(values), groups, scale, 1e-6)
        torch.testing.assert_close(ours, standardise(values, groups, scale, 1e-6), rtol=0, atol=1e-12)
    lone = weighted_standardise(torch.tensor([3.0, 0.1, 0.1]), torch.ones(3), torch.tensor([0, 1, 1]), True, 1e-6)
    assert lone.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_credits_of_each_role_sum_to_zero_in_each_task(layout: Layout) -> None:
    logged = to_rollouts(sample_rollouts(), layout)
    method = MGRPO()
    rollouts = method.collect(Playback(logged, method.needs))
    calls = calls_of(rollouts.require("agent_ids"), rollouts.turn_mask)
    credit = method._of_calls(rollouts, calls)
    groups = rollouts.group_ids[calls.rollout]
    torch.testing.assert_close(group_mean(credit, groups), torch.zeros_like(credit), rtol=0, atol=1e-12)
    assert credit.abs().max() > 0.1


def test_the_queue_takes_eight_calls_in_a_row_whatever_the_task() -> None:
    rows = _team((1.0, "mamamama"), (0.0, "ma")) + _team((1.0, "ma"), (0.0, "mamamamama"), group="h")
    rollouts = to_rollouts(rows)
    released = MGRPO(groups="queue", outcome_weight=1.0, expert_weight=0.0)
    calls = calls_of(rollouts.require("agent_ids"), rollouts.turn_mask)
    rewards = torch.tensor([1.0] * 4 + [0.0] + [1.0] + [0.0] * 5, dtype=torch.float64)
    wanted = torch.cat(
        [standardise(part, torch.zeros(len(part)).long(), True, 1e-6) for part in (rewards[:8], rewards[8:])]
    )
    assert torch.equal(released._of_calls(rollouts, calls), wanted)
    assert not wanted[8:].any(), "three failures next to each other have nothing to compare"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frozen_sub_agents_are_left_out_of_the_loss(layout: Layout) -> None:
    rollouts = to_rollouts(_team((1.0, "mab"), (0.0, "mm")), layout)
    credit = MGRPO(expert_weight=0.0, trained="main").credit(rollouts)
    kept = rollouts.mean_over_turns(credit.trained(rollouts.action_mask).double())
    assert kept.tolist() == [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    assert MGRPO(expert_weight=0.0).credit(rollouts).loss_mask is None


def test_the_expert_is_not_asked_where_its_mark_counts_nothing() -> None:
    services = Playback(to_rollouts(sample_rollouts()), frozenset())
    assert OUTCOME.collect(services).turn_scores is None


def test_better_work_in_a_lost_rollout_is_worth_more_than_worse_work_in_a_lost_one() -> None:
    rollouts = to_rollouts(_team((1.0, "mab"), (0.0, "mab")))
    marked = rollouts.replace(turn_scores=torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64))
    (_, right, _), (_, good, bad) = _turns(MGRPO(), marked).tolist()
    assert right > good > bad
