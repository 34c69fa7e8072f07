"""Null controls corrupt one thing and leave the rest alone."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from cairn.interchange import Layout, to_rollouts
from cairn.lab.controls import (
    CreditShuffledInGroup,
    ExactCredit,
    NullControl,
    ShuffledAgents,
    ShuffledCredit,
    ShuffledObservations,
    ShuffledPreferences,
    ShuffledTurnScores,
    ShuffledTurnValues,
    ShuffledValues,
    permute_rows,
)
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.ops.groups import pair_groups
from cairn.ops.preferences import preference_pairs
from cairn.rollouts import Credit, Rollouts
from cairn.testing import Check, contract, sample_rollouts
from cairn.testing.samples import cut

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _distinct(rollouts: Rollouts) -> Credit:
    """A credit of its own for each turn."""
    numbers = torch.arange(1.0, rollouts.turn_mask.numel() + 1, dtype=torch.float64)
    return Credit(rollouts.spread_turns(numbers.reshape(rollouts.turn_mask.shape)))


def _turn_multisets(rollouts: Rollouts, credit: Credit) -> list[list[float]]:
    spoken = rollouts.mean_over_turns(rollouts.action_mask.double()) > 0
    means = rollouts.mean_over_turns(credit.advantages)
    return [sorted(row[mask].tolist()) for row, mask in zip(means, spoken, strict=True)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shuffled_credit_keeps_each_rollouts_turn_credits(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout).replace(draw_seed=3)
    credit = _distinct(rollouts)
    shuffled = ShuffledCredit().credit(credit, rollouts)
    assert _turn_multisets(rollouts, shuffled) == _turn_multisets(rollouts, credit)
    assert not torch.equal(shuffled.advantages, credit.advantages)
    assert not shuffled.advantages[~rollouts.action_mask].any()
    inside = rollouts.spread_turns(rollouts.mean_over_turns(shuffled.advantages))
    torch.testing.assert_close(inside, shuffled.advantages)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shuffled_tokens_keep_each_rollouts_token_credits(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    credit = PPOGAE().credit(rollouts)
    shuffled = ShuffledCredit(unit="token").credit(credit, rollouts)
    index = rollouts.action_index()
    before, after = (c.advantages.flatten()[index.flat] for c in (credit, shuffled))
    for was, now, mask in zip(before, after, index.mask, strict=True):
        assert sorted(was[mask].tolist()) == sorted(now[mask].tolist())
    assert not torch.equal(shuffled.advantages, credit.advantages)
    assert not shuffled.advantages[~rollouts.action_mask].any()


@pytest.mark.parametrize("unit", ["turn", "token"])
def test_the_shuffle_follows_the_draw_of_the_batch(unit: str) -> None:
    rollouts = to_rollouts(sample_rollouts())
    credit, control = _distinct(rollouts), ShuffledCredit(unit="turn" if unit == "turn" else "token")
    again = control.credit(credit, rollouts).advantages
    assert torch.equal(control.credit(credit, rollouts).advantages, again)
    assert not torch.equal(control.credit(credit, rollouts.replace(draw_seed=1)).advantages, again)


def test_shuffled_credit_keeps_the_loss_mask() -> None:
    rollouts = to_rollouts(sample_rollouts())
    credit = Credit(_distinct(rollouts).advantages, rollouts.action_mask)
    assert ShuffledCredit().credit(credit, rollouts).loss_mask is rollouts.action_mask


def test_the_shuffle_puts_every_turn_everywhere_equally_often() -> None:
    mask = torch.tensor([[True, True, False, True]]).expand(6000, 4)
    values = torch.tensor([[1.0, 2.0, 9.0, 3.0]]).expand(6000, 4)
    moved = permute_rows(values, mask, torch.Generator().manual_seed(0))
    assert (moved[:, 2] == 9).all()
    for place in (0, 1, 3):
        shares = torch.bincount(moved[:, place].long(), minlength=4)[1:] / 6000
        assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=0.03)  # 0.03 is five standard errors


def test_shuffled_observations_keep_the_sizes_of_anchor_groups() -> None:
    rollouts = to_rollouts(sample_rollouts())
    shuffled = ShuffledObservations().rollouts(rollouts)
    assert rollouts.observation_keys is not None
    assert shuffled.observation_keys is not None
    assert not torch.equal(rollouts.observation_keys, shuffled.observation_keys)
    before, after = (
        pair_groups(rollouts.group_ids, keys)[rollouts.turn_mask]
        for keys in (rollouts.observation_keys, shuffled.observation_keys)
    )
    assert before.bincount().tolist() == after.bincount().tolist()
    assert torch.equal(rollouts.observation_keys[~rollouts.turn_mask], shuffled.observation_keys[~rollouts.turn_mask])
    assert not torch.equal(GiGPO().credit(rollouts).advantages, GiGPO().credit(shuffled).advantages)


def test_shuffled_agents_keep_their_numbers_of_turns() -> None:
    rollouts = to_rollouts(sample_rollouts())
    before, after = (one.require("agent_ids") for one in (rollouts, ShuffledAgents().rollouts(rollouts)))
    assert not torch.equal(before, after)
    assert torch.equal(before[~rollouts.turn_mask], after[~rollouts.turn_mask])
    counts = (pair_groups(rollouts.group_ids, one)[rollouts.turn_mask].bincount().tolist() for one in (before, after))
    assert next(counts) == next(counts)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_credit_that_is_shuffled_in_its_group_stays_there_and_on_trained_turns(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout).replace(draw_seed=3)
    trained = rollouts.action_mask & (rollouts.turn_ids == 1)
    credit = Credit(_distinct(rollouts).advantages * trained, trained)
    shuffled = CreditShuffledInGroup().credit(credit, rollouts)
    assert shuffled.loss_mask is credit.loss_mask
    assert not shuffled.advantages[~trained].any()
    assert not torch.equal(shuffled.advantages, credit.advantages)
    before, after = (rollouts.mean_over_turns(one.advantages) for one in (credit, shuffled))
    for group in rollouts.group_ids.unique():
        mine = rollouts.group_ids == group
        assert torch.equal(before[mine].flatten().sort().values, after[mine].flatten().sort().values)


def test_shuffled_turn_values_stay_in_their_rollout() -> None:
    rollouts = to_rollouts(sample_rollouts())
    shuffled = ShuffledTurnValues().rollouts(rollouts)
    assert rollouts.turn_values is not None
    assert shuffled.turn_values is not None
    assert torch.equal(rollouts.turn_values.sort(1).values, shuffled.turn_values.sort(1).values)
    assert not torch.equal(rollouts.turn_values, shuffled.turn_values)


@pytest.mark.parametrize("within", ["rollout", "group"])
def test_shuffled_turn_scores_stay_in_their_rollout_or_group(within: Literal["rollout", "group"]) -> None:
    rollouts = to_rollouts(sample_rollouts())
    scores = torch.arange(1.0, rollouts.turn_mask.numel() + 1).reshape(rollouts.turn_mask.shape)
    shuffled = ShuffledTurnScores(within).rollouts(rollouts.replace(turn_scores=scores)).turn_scores
    assert shuffled is not None
    assert torch.equal(shuffled[~rollouts.turn_mask], scores[~rollouts.turn_mask])
    for member in (
        rollouts.turn_mask & (labels == label)[:, None]
        for labels in (torch.arange(len(scores)) if within == "rollout" else rollouts.group_ids,)
        for label in labels.unique()
    ):
        assert torch.equal(shuffled[member].sort().values, scores[member].sort().values)
    strays = (shuffled.sort(1).values != scores.sort(1).values).any()
    assert bool(strays) == (within == "group")
    assert not torch.equal(shuffled, scores)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_shuffled_values_stay_on_the_tokens_of_their_rollout(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    shuffled, index = ShuffledValues().rollouts(rollouts), rollouts.action_index()
    before, after = (batch.require("values").flatten()[index.flat] for batch in (rollouts, shuffled))
    for was, now, mask in zip(before, after, index.mask, strict=True):
        assert sorted(was[mask].tolist()) == sorted(now[mask].tolist())
    assert not torch.equal(before, after)


def test_shuffled_preferences_stay_in_their_group_and_keep_their_shape() -> None:
    rollouts = to_rollouts(sample_rollouts())
    rollouts = rollouts.replace(pairs=preference_pairs(rollouts.returns, rollouts.group_ids, "all"))
    pairs, moved = rollouts.require("pairs"), ShuffledPreferences().rollouts(rollouts).require("pairs")
    assert torch.equal(rollouts.group_ids[moved], rollouts.group_ids[pairs])
    assert not torch.equal(moved, pairs)
    for side in (0, 1):
        wins, now = (chosen[:, side].bincount(minlength=len(rollouts.group_ids)) for chosen in (pairs, moved))
        assert sorted(wins.tolist()) == sorted(now.tolist())
    again = ShuffledPreferences().rollouts(rollouts.replace(draw_seed=1)).require("pairs")
    assert not torch.equal(again, moved)


@pytest.mark.parametrize(
    "null",
    [
        ShuffledCredit(),
        ShuffledCredit(unit="token"),
        CreditShuffledInGroup(),
        ShuffledObservations(),
        ShuffledAgents(),
        ShuffledTurnValues(),
        ShuffledValues(),
    ],
    ids=lambda null: type(null).__name__,
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_null_controls_are_defined_wherever_rollouts_are_cut(layout: Layout, null: NullControl) -> None:
    for tokens in range(6):  # with none at all to begin with
        rollouts = null.rollouts(to_rollouts([cut(row, tokens) for row in sample_rollouts()], layout))
        credit = null.credit(GRPO().credit(rollouts), rollouts)
        assert credit.advantages.isfinite().all()
        assert not credit.advantages[~rollouts.action_mask].any()


@pytest.mark.parametrize("check", contract(ExactCredit()), ids=str)
def test_exact_credit_keeps_the_contract(check: Check) -> None:
    check()


def test_the_empty_control_changes_nothing() -> None:
    rollouts = to_rollouts(sample_rollouts())
    credit = _distinct(rollouts)
    assert NullControl().rollouts(rollouts) is rollouts
    assert NullControl().credit(credit, rollouts) is credit


def test_exact_credit_is_scaled_to_unit_size_and_not_centred() -> None:
    rollouts = to_rollouts(sample_rollouts())
    exact = torch.arange(1.0, rollouts.turn_mask.numel() + 1, dtype=torch.float64).reshape(rollouts.turn_mask.shape)
    advantages = ExactCredit().credit(rollouts.replace(exact_advantages=exact)).advantages
    chosen, given = advantages[rollouts.action_mask], rollouts.spread_turns(exact)[rollouts.action_mask]
    assert float(chosen.square().mean()) == pytest.approx(1.0)
    torch.testing.assert_close(chosen / chosen[0], given / given[0])
    nothing = ExactCredit().credit(rollouts.replace(exact_advantages=exact * 0)).advantages
    assert not nothing.any()
