"""iStar: what it becomes in its limits, what its second model learns from, and what the released loss does not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, to_rollouts
from cairn.methods.grpo import GRPO
from cairn.methods.istar import IStar, against_first_turns
from cairn.methods.reinforce import less_baseline
from cairn.ops.groups import leave_one_out
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


class Fitted(Playback):
    """Keeps the loss that a method hands over, at the logged log-probs and with its gradient there."""

    def fit_second(self, rollouts: Rollouts, loss: Callable[[Tensor], Tensor], learning_rate: float) -> float:
        at = rollouts.require("logprobs_reference").clone().requires_grad_()
        value = loss(at)
        self.learning_rate, self.loss = learning_rate, float(value.detach())
        self.gradient = torch.autograd.grad(value, at)[0] if value.requires_grad else None
        return super().fit_second(rollouts, loss, learning_rate)


def _collected(method: IStar, layout: Layout = "turn") -> Rollouts:
    return method.collect(Playback(to_rollouts(sample_rollouts(), layout), method.needs))


def _fit(method: IStar, layout: Layout = "turn") -> tuple[Fitted, Rollouts]:
    rollouts = _collected(method, layout)
    services = Fitted(rollouts, method.needs)
    method.fit(rollouts, services)
    return services, rollouts


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_its_step_part_it_is_grpo_bit_for_bit(layout: Layout, scale: bool) -> None:
    rollouts = _collected(IStar(), layout)
    plain = GRPO(scale_by_std=scale).credit(rollouts).advantages
    assert torch.equal(plain, IStar(step_weight=0.0, scale_by_std=scale).credit(rollouts).advantages)
    assert not torch.equal(plain, IStar(scale_by_std=scale).credit(rollouts).advantages)


def test_without_its_step_part_the_released_comparison_is_rloo() -> None:
    rollouts = _collected(IStar())
    given = IStar(step_weight=0.0, comparison="leave_one_out").credit(rollouts).advantages
    rloo = less_baseline(rollouts.returns, rollouts.group_ids, "leave_one_out", 0.0)
    assert torch.equal(given, rollouts.spread_rollouts(rloo))


@pytest.mark.parametrize("comparison", ["standardised", "leave_one_out"])
def test_a_second_model_that_equals_the_policy_gives_no_step_part(
    comparison: Literal["standardised", "leave_one_out"],
) -> None:
    class Twin(Playback):
        def second_logprobs(self, rollouts: Rollouts) -> Tensor:
            return rollouts.logprobs_behaviour * (1 + 1e-7)  # as another pass in float32 would say it

    method = IStar(comparison=comparison)
    rollouts = method.collect(Twin(to_rollouts(sample_rollouts()), method.needs))
    without = IStar(comparison=comparison, step_weight=0.0).credit(rollouts).advantages
    assert torch.equal(method.credit(rollouts).advantages, without)


def test_with_one_turn_a_rollout_the_released_comparison_is_leave_one_out() -> None:
    scores, groups = torch.tensor([[1.0], [4.0], [-2.0], [7.0]]), torch.tensor([0, 0, 0, 3])
    given = against_first_turns(scores, torch.ones(4, 1, dtype=torch.bool), groups)[:, 0]
    torch.testing.assert_close(given, leave_one_out(scores[:, 0], groups))


def test_only_first_turns_enter_the_released_baseline() -> None:
    scores = torch.tensor([[1.0, 10.0], [9.0, 3.0], [5.0, 5.0]])
    spoken = torch.tensor([[True, True], [False, True], [False, False]])
    # first turns 1 and 3, mean 2, two rollouts that spoke: 2 (1 - 2), 2 (10 - 2);  2 (3 - 2)
    given = against_first_turns(scores, spoken, torch.zeros(3, dtype=torch.long))
    assert given.tolist() == [[-2.0, 16.0], [0.0, 2.0], [0.0, 0.0]]


def test_the_steps_of_a_group_sum_to_zero() -> None:
    rollouts = _collected(IStar())
    spoken = rollouts.turn_mask & (rollouts.turn_tokens() > 0)
    one, none = (
        rollouts.mean_over_turns(IStar(step_weight=w).credit(rollouts).advantages) * spoken for w in (1.0, 0.0)
    )
    for group in rollouts.group_ids.unique():
        assert float((one - none)[rollouts.group_ids == group].sum()) == pytest.approx(0.0, abs=1e-9)
    assert (one - none).abs().max() > 0.5


def test_successes_are_paired_with_failures_of_their_task() -> None:
    rollouts = _collected(IStar())
    pairs = rollouts.require("pairs")
    won, groups = rollouts.returns > 0, rollouts.group_ids
    assert won[pairs[:, 0]].all()
    assert not won[pairs[:, 1]].any()
    assert (groups[pairs[:, 0]] == groups[pairs[:, 1]]).all()
    expected = sum(int((won & (groups == g)).sum() * (~won & (groups == g)).sum()) for g in groups.unique())
    assert len(pairs) == expected > 3


@pytest.mark.parametrize("score", ["sum", "mean"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_pair_loss_is_that_of_a_plain_loop(layout: Layout, score: Literal["sum", "mean"]) -> None:
    services, rollouts = _fit(IStar(beta=0.5, trajectory_score=score), layout)
    assert rollouts.logprobs_reference is not None
    ratios = rollouts.sum_over_turns(rollouts.logprobs_reference - rollouts.logprobs_behaviour)
    turns = (rollouts.turn_tokens() > 0).sum(1)
    scores = [0.5 * float(row.sum()) / (int(n) if score == "mean" else 1) for row, n in zip(ratios, turns, strict=True)]
    losses = [-torch.tensor(scores[i] - scores[j]).sigmoid().log() for i, j in rollouts.require("pairs").tolist()]
    assert services.loss == pytest.approx(float(sum(losses)) / len(losses), rel=1e-6)


def test_a_step_of_the_second_model_raises_successes_and_lowers_failures() -> None:
    services, rollouts = _fit(IStar(reward_learning_rate=0.25))
    assert services.learning_rate == 0.25
    assert services.gradient is not None
    pulled = rollouts.sum_over_rollouts(services.gradient)
    better, worse = rollouts.require("pairs").T
    assert (pulled[better] < 0).all()
    assert (pulled[worse] > 0).all()
    alone = torch.ones_like(pulled, dtype=torch.bool)
    alone[torch.cat([better, worse])] = False
    assert not pulled[alone].any()


def test_the_released_loss_reaches_no_weight() -> None:
    assert _fit(IStar(trained=False))[0].gradient is None
    assert _fit(IStar(trained=False))[0].loss == _fit(IStar())[0].loss
