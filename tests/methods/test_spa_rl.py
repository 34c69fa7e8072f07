"""SPA-RL: contributions that are trained on their sum, grounding, and what telescopes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.method import ActionValues
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.spa_rl import SPARL, grounding_signal, remaining, sum_targets
from cairn.ops.returns import rewards_at_turns
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


class Learner(Playback):
    """An estimator whose opinion of each turn is a number of its own, which moves by gradient descent."""

    def __init__(self, rollouts: Rollouts, needs: frozenset[str], rate: float = 0.1) -> None:
        super().__init__(rollouts, needs)
        self.opinions, self.rate, self.steps = super().action_values(rollouts), rate, 0

    def action_values(self, rollouts: Rollouts, *, lagging: bool = False) -> ActionValues:  # noqa: ARG002
        return self.opinions

    def fit_action_values(
        self, rollouts: Rollouts, targets: ActionValues, teaches_states: Tensor, follow: float
    ) -> float:
        assert not teaches_states.any()
        assert follow == 0
        assert len(rollouts.group_ids) == len(targets.actions)
        self.steps += 1
        old = self.opinions.actions
        self.opinions = ActionValues(old + self.rate * (targets.actions - old), self.opinions.states)
        return 0.0


def _logged(layout: Layout = "turn") -> Rollouts:
    """Two rollouts of two turns, as in the golden example; the first turn of the second one moved nothing."""

    def turn(seen: str, *values: float) -> dict[str, Any]:
        return {"observation": seen, "tokens": ["t"] * len(values), "values": values}

    rows = [
        {"group": "g", "reward": 1.0, "turns": [turn("a", 0.5, 9.0, 0.25), turn("b", 0.75, 0.5)]},
        {"group": "g", "reward": 0.0, "turns": [turn("a", 0.5, 0.125), turn("a", 0.25, -0.125)]},
    ]
    return to_rollouts([RolloutRow.model_validate(row) for row in rows], layout)


def _prepared(method: SPARL, rollouts: Rollouts) -> Rollouts:
    collected = method.collect(Playback(rollouts, method.needs))
    return method.reward(collected.declare(method.needs)).replace(needs=None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_the_estimator_fits_the_advantages_of_a_rollout_telescope(layout: Layout) -> None:
    """With lambda 0, gamma 1 and no grounding they sum to R - V_0, whatever the single contributions are."""
    logged, method = _logged(layout), SPARL(lambda_=0.0, grounding=0.0, whiten=False)
    said = method.collect(Playback(logged, method.needs))
    shares = said.require("turn_scores")
    fitted = shares + (logged.returns - shares.sum(1))[:, None] / 2
    for contributions, outcomes in ((fitted, [1.0, 0.0]), (shares, [0.75, 0.0])):
        paid = method.reward(said.replace(turn_scores=contributions))
        total = paid.sum_over_rollouts(method.credit(paid).advantages)
        assert total.tolist() == pytest.approx([outcome - 0.5 for outcome in outcomes])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_the_outcome_in_the_last_turn_and_nothing_else_it_is_ppo(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    whole = rollouts.replace(turn_rewards=torch.zeros_like(rollouts.turn_rewards))
    last = rewards_at_turns(whole.turn_rewards, whole.terminal_rewards, whole.turn_mask)
    method = SPARL(grounding=0.0, lambda_=1.0)
    ours = method.credit(method.reward(whole.replace(turn_scores=last))).advantages
    assert torch.equal(ours, PPOGAE().credit(whole).advantages)
    assert not torch.equal(ours, PPOGAE(lambda_=0.95).credit(whole).advantages)


def test_the_estimators_step_is_down_the_gradient_of_the_squared_error_of_the_sum() -> None:
    heads = torch.tensor([[[0.25, 0.5], [-1.0, 0.0]], [[0.125, 3.0], [0.0, 2.0]]], requires_grad=True)
    outcomes = torch.tensor([1.0, 0.0])
    (wanted,) = torch.autograd.grad(((heads.mean(-1).sum(1) - outcomes) ** 2).sum(), heads)
    goal = sum_targets(heads, outcomes).detach()
    (found,) = torch.autograd.grad(((heads - goal) ** 2).sum(), heads)
    torch.testing.assert_close(found, 2 * wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_estimator_learns_before_it_is_asked_and_its_contributions_come_to_sum_to_the_outcome(
    layout: Layout,
) -> None:
    rollouts = _logged(layout)
    shares = torch.empty(0)
    for steps, slack in ((0, 0.3), (1, 0.25), (60, 1e-6)):
        method = SPARL(estimator_steps=steps)
        services = Learner(rollouts, method.needs)
        shares = method.collect(services).require("turn_scores")
        assert services.steps == steps
        assert shares.sum(1).tolist() == pytest.approx([1.0, 0.0], abs=slack)
    assert (shares[0, 1] - shares[0, 0]).item() == pytest.approx(0.25), "what is missing is shared by all turns alike"


def test_only_the_paper_s_arm_pays_for_the_estimator() -> None:
    for method in (SPARL(contributions="none"), SPARL(contributions="leave_one_out")):
        services = Learner(_logged(), method.needs)
        assert method.collect(services).turn_scores is None
        assert services.steps == 0


def test_grounding_asks_whether_the_observation_changed_and_gives_it_to_the_last_turn() -> None:
    seen = torch.tensor([[3, 3, 4, 4], [1, 1, 1, 1]])
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    assert grounding_signal(seen, mask, 0.5).tolist() == [[0.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.0, 0.0]]
    assert remaining(mask).tolist() == [[3, 2, 1, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_outcome_reaches_the_credit_through_the_estimator_alone(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    paid = _prepared(SPARL(contributions="none", grounding=0.0), rollouts)
    assert not paid.returns.any()
    other = rollouts.replace(terminal_rewards=1 - rollouts.terminal_rewards)
    ours, theirs = (SPARL().credit(_prepared(SPARL(), batch)).advantages for batch in (rollouts, other))
    assert torch.equal(ours, theirs)


def test_the_released_script_hides_the_last_turns_reward() -> None:
    released = SPARL(contributions="leave_one_out", times_remaining=True)
    assert released.step_rewards(_logged()).tolist() == [[1.5, 0.0], [-1.0, 0.0]]
    assert _prepared(released, _logged()).returns.tolist() == [1.5, -1.0]
