"""StarPO-S: which groups stay, what it becomes when all of them do, and its clip."""

from __future__ import annotations

import pytest
import torch

from cairn.interchange import Layout, RolloutRow, to_rollouts
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.ragen import RAGEN, best_groups
from cairn.rollouts import Credit, Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")
EVERYTHING = RAGEN(keep_share=1.0, clip_high=0.2)


def _groups(returns: dict[str, list[float]]) -> Rollouts:
    turn = {"tokens": ["t"], "logprobs": [-1.0], "values": [0.0]}
    rows = [{"group": g, "reward": r, "turns": [turn]} for g, all_ in returns.items() for r in all_]
    return to_rollouts([RolloutRow.model_validate(row) for row in rows])


def _kept(method: RAGEN, rollouts: Rollouts) -> list[bool]:
    return method.filter(rollouts.declare(method.needs)).tolist()


# Unbiased std: `lone` 0.5 (one success in four), `half` 0.5774 (two in four), `never` and `always` 0.
RETURNS = {"never": [0.0] * 4, "lone": [1.0, 0.0, 0.0, 0.0], "always": [1.0] * 4, "half": [1.0, 0.0, 1.0, 0.0]}


@pytest.mark.parametrize(
    ("share", "names"),
    [(0.25, {"half"}), (0.5, {"half", "lone"}), (0.74, {"half", "lone"}), (0.1, {"half"}), (1.0, set(RETURNS))],
)
def test_the_groups_whose_returns_differ_most_stay_whole(share: float, names: set[str]) -> None:
    rollouts = _groups(RETURNS)
    assert _kept(RAGEN(keep_share=share), rollouts) == [name in names for name in RETURNS for _ in range(4)]


def test_the_choice_can_be_turned_round() -> None:
    kept = _kept(RAGEN(keep_share=0.5, kept="least_spread"), _groups(RETURNS))
    assert kept == [name in {"never", "always"} for name in RETURNS for _ in range(4)]


def test_a_random_choice_follows_the_draw_and_nothing_else() -> None:
    rollouts, method = _groups(RETURNS), RAGEN(kept="random")
    chosen = {tuple(_kept(method, rollouts.replace(draw_seed=seed))) for seed in range(40)}
    assert all(sum(kept) == 4 and all(len({*kept[i : i + 4]}) == 1 for i in range(0, 16, 4)) for kept in chosen)
    assert len(chosen) == 4
    other = rollouts.replace(terminal_rewards=1 - rollouts.terminal_rewards)
    assert all(
        _kept(method, batch.replace(draw_seed=5)) == _kept(method, rollouts.replace(draw_seed=5))
        for batch in (rollouts, other)
    )


def test_the_spread_is_that_of_the_returns_themselves() -> None:
    # Ranges 0.4 and 0.3: what grows faster than returns would turn the first case round, what levels off the second.
    for returns in ({"wide": [0.0, 0.4], "narrow": [5.0, 5.3]}, {"wide": [5.0, 5.4], "narrow": [0.0, 0.3]}):
        assert _kept(RAGEN(keep_share=0.5), _groups(returns)) == [True, True, False, False]


def test_of_equal_groups_the_one_with_the_lower_label_stays() -> None:
    kept = best_groups(torch.zeros(6), torch.tensor([9, 4, 9, 4, 7, 7]), 0.4)
    assert kept.tolist() == [False, True, False, True, False, False]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_all_groups_and_an_even_clip_it_is_ppo_without_kl(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    ours, ppo = EVERYTHING.credit(rollouts), PPOGAE(kl_coefficient=0.0).credit(rollouts)
    assert bool(EVERYTHING.filter(rollouts).all())
    assert torch.equal(ours.advantages, ppo.advantages)
    logprobs = rollouts.logprobs_behaviour * 0.5  # far enough for the clip to act
    assert torch.equal(
        EVERYTHING.loss(logprobs, rollouts, ours), PPOGAE(kl_coefficient=0.0).loss(logprobs, rollouts, ppo)
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_group_form_with_all_groups_is_grpo_bit_for_bit(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    ours = RAGEN(keep_share=1.0, baseline="group").credit(rollouts).advantages
    assert torch.equal(ours, GRPO().credit(rollouts).advantages)
    assert not torch.equal(ours, EVERYTHING.credit(rollouts).advantages)


def test_in_the_group_form_a_kept_group_has_the_credit_that_it_had_among_all() -> None:
    rollouts, method = to_rollouts(sample_rollouts()), RAGEN(baseline="group", keep_share=0.5)
    keep = method.filter(rollouts)
    alone, among = method.credit(rollouts.keep_rollouts(keep)), method.credit(rollouts)
    assert 0 < int(keep.sum()) < len(keep)
    assert torch.equal(alone.advantages, among.advantages[keep[rollouts.row_rollout]])


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.5, 1.0, -1.28), (1.25, 1.0, -1.25), (0.5, -1.0, 0.8), (0.9, -1.0, 0.9), (1.5, -1.0, 1.5), (0.5, 1.0, -0.5)],
)
def test_the_clip_leaves_more_room_upwards(ratio: float, advantage: float, expected: float) -> None:
    rollouts = _groups({"g": [1.0]})
    credit = Credit(torch.full_like(rollouts.logprobs_behaviour, advantage) * rollouts.action_mask)
    logprobs = rollouts.logprobs_behaviour + torch.tensor(ratio).double().log() * rollouts.action_mask
    assert RAGEN().loss(logprobs, rollouts, credit).item() == pytest.approx(expected)
