"""HCAPO: what it becomes in its limits, where hindsight may speak, and what it asks of the policy."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, to_rollouts
from cairn.method import Given
from cairn.methods.grpo import GRPO
from cairn.methods.hcapo import HCAPO, hindsight_ratios, smoothed
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _collected(method: HCAPO, layout: Layout = "turn") -> Rollouts:
    return method.collect(Playback(to_rollouts(sample_rollouts(), layout), method.needs))


def _by_turn(method: HCAPO, rollouts: Rollouts) -> Tensor:
    return rollouts.mean_over_turns(method.credit(rollouts).advantages)


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_its_hindsight_part_it_is_grpo_bit_for_bit(layout: Layout, scale: bool) -> None:
    rollouts = _collected(HCAPO(), layout)
    plain = GRPO(scale_by_std=scale).credit(rollouts).advantages
    assert torch.equal(plain, HCAPO(hindsight_weight=0.0, scale_by_std=scale).credit(rollouts).advantages)
    assert not torch.equal(plain, HCAPO(scale_by_std=scale).credit(rollouts).advantages)


def test_the_ratios_of_a_rollout_average_to_one_before_the_clip() -> None:
    rollouts = _collected(HCAPO())
    spoken = rollouts.turn_mask & (rollouts.turn_tokens() > 0)
    assert rollouts.token_scores is not None
    ratios = hindsight_ratios(rollouts.mean_over_turns(rollouts.token_scores), spoken)
    means = (ratios * spoken).sum(1) / spoken.sum(1)
    torch.testing.assert_close(means, torch.ones_like(means))
    assert float((ratios - 1)[spoken].abs().max()) > 0.2
    assert (ratios[~spoken] == 1).all()


def test_the_most_unlikely_actions_leave_the_ratios_finite() -> None:
    scores = torch.tensor([[-1e4, -1e4, -2e4], [-1e4, -1e4, 0.0]])
    spoken = torch.tensor([[True, True, True], [False, False, False]])
    assert hindsight_ratios(scores, spoken).tolist() == [[1.5, 1.5, 0.0], [1.0, 1.0, 1.0]]


def test_a_rollout_that_failed_is_credited_alike_in_all_its_turns() -> None:
    """Q is 0 there, so hindsight moves credit inside successes only, and never below the outcome's credit."""
    rollouts = _collected(HCAPO())
    given, plain = _by_turn(HCAPO(), rollouts), _by_turn(HCAPO(hindsight_weight=0.0), rollouts)
    spoken = rollouts.turn_mask & (rollouts.turn_tokens() > 0)
    moved = 0
    for row, (won, said) in enumerate(zip(rollouts.returns > 0, spoken, strict=True)):
        if won:
            assert (given[row][said] >= plain[row][said] - 1e-12).all()
            moved += int(torch.unique(given[row][said]).numel() > 1)
        elif rollouts.returns[row] == 0:
            torch.testing.assert_close(given[row][said], given[row][said][:1].expand(int(said.sum())))
    assert moved > 2
    assert not torch.equal(given, _by_turn(HCAPO(spare_successes=False), rollouts))


def test_with_the_ratio_held_at_one_the_discount_alone_tells_turns_apart() -> None:
    held = HCAPO(lowest_ratio=1.0, highest_ratio=1.0, spare_successes=False)
    rollouts = _collected(held)
    other = rollouts.replace(token_scores=-rollouts.logprobs_behaviour)
    assert torch.equal(held.credit(rollouts).advantages, held.credit(other).advantages)
    flat = HCAPO(lowest_ratio=1.0, highest_ratio=1.0, spare_successes=False, gamma=1.0)
    given = _by_turn(flat, rollouts)
    for row in range(len(given)):
        said = (rollouts.turn_mask & (rollouts.turn_tokens() > 0))[row]
        torch.testing.assert_close(given[row][said], given[row][said][:1].expand(int(said.sum())))


def test_smoothing_lets_a_turn_share_what_follows_it() -> None:
    values, mask = torch.tensor([[1.0, 3.0, 7.0], [2.0, 4.0, 9.0]]), torch.tensor([[True] * 3, [True, True, False]])
    # 0.25 * 1 + 0.75 * 3;  0.25 * 3 + 0.75 * 7;  7.   0.25 * 2 + 0.75 * 4;  4
    assert (smoothed(values, mask, 0.25) * mask).tolist() == [[2.5, 6.0, 7.0], [3.5, 4.0, 0.0]]
    assert torch.equal(smoothed(values, mask, 1.0), values)


@pytest.mark.parametrize("told", ["success", "failure"])
def test_every_action_is_read_behind_the_outcome_that_is_told(told: Given) -> None:
    class Asked(Playback):
        def rescored_logprobs(self, rollouts: Rollouts, given: Given) -> Tensor:
            assert given == told
            return super().rescored_logprobs(rollouts, given) - 1

    method = HCAPO(told="success" if told == "success" else "failure")
    rollouts = to_rollouts(sample_rollouts())
    found = method.collect(Asked(rollouts, method.needs)).token_scores
    assert found is not None
    assert rollouts.logprobs_reference is not None
    assert torch.equal(found, rollouts.logprobs_reference - 1)
