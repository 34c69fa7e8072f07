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
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


class Learner(Playback):
    """An estimator and critic whose opinion of each turn is a number of its own, which moves by gradient descent."""

    def __init__(self, rollouts: Rollouts, needs: frozenset[str], rate: float = 0.1) -> None:
        super().__init__(rollouts, needs)
        self.opinions, self.rate = super().action_values(rollouts), rate
        self.targets = self.opinions

    def action_values(self, rollouts: Rollouts, *, lagging: bool = False) -> ActionValues:  # noqa: ARG002
        return self.opinions

    def fit_action_values(
        self, rollouts: Rollouts, targets: ActionValues, teaches_states: Tensor, follow: float
    ) -> float:
        assert teaches_states.tolist() == [True] * len(rollouts.group_ids)
        assert follow == 0
        self.targets = targets
        pairs = zip(self.opinions, targets, strict=True)
        self.opinions = ActionValues(*(old + self.rate * (new - old) for old, new in pairs))
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


def _collected(method: SPARL, rollouts: Rollouts) -> Rollouts:
    return method.collect(Playback(rollouts, method.needs))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_the_estimator_fits_the_advantages_of_a_rollout_telescope(layout: Layout) -> None:
    """With lambda 0, gamma 1 and no grounding they sum to R - V_0, whatever the single contributions are."""
    logged, method = _logged(layout), SPARL(lambda_=0.0, grounding=0.0, whiten=False)
    said = method.collect(Playback(logged, method.needs))
    shares = said.require("turn_scores")
    fitted = shares + (logged.returns - shares.sum(1))[:, None] / 2
    for contributions, outcomes in ((fitted, [1.0, 0.0]), (shares, [0.75, 0.0])):
        told = said.replace(turn_scores=contributions)
        total = told.sum_over_rollouts(method.credit(told).advantages)
        assert total.tolist() == pytest.approx([outcome - 0.5 for outcome in outcomes])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_the_outcome_in_the_last_turn_and_no_grounding_it_is_ppo(layout: Layout) -> None:
    method = SPARL(contributions="outcome", grounding=0.0)
    rollouts = _collected(method, to_rollouts(sample_rollouts(), layout))
    assert torch.equal(method.credit(rollouts).advantages, PPOGAE(lambda_=0.95).credit(rollouts).advantages)
    assert not torch.equal(method.credit(rollouts).advantages, SPARL().credit(rollouts).advantages)


def test_the_estimators_step_is_down_the_gradient_of_the_squared_error_of_the_sum() -> None:
    heads = torch.tensor([[[0.25, 0.5], [-1.0, 0.0]], [[0.125, 3.0], [0.0, 2.0]]], requires_grad=True)
    outcomes = torch.tensor([1.0, 0.0])
    (wanted,) = torch.autograd.grad(((heads.mean(-1).sum(1) - outcomes) ** 2).sum(), heads)
    goal = sum_targets(heads, outcomes).detach()
    (found,) = torch.autograd.grad(((heads - goal) ** 2).sum(), heads)
    torch.testing.assert_close(found, 2 * wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fitting_again_and_again_makes_the_contributions_sum_to_the_outcome(layout: Layout) -> None:
    rollouts, method = _logged(layout), SPARL()
    services = Learner(rollouts, method.needs)
    for _ in range(60):
        method.fit(method.collect(services).declare(method.needs), services)
    shares = method.collect(services).require("turn_scores")
    assert shares.sum(1).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    assert (shares[0, 1] - shares[0, 0]).item() == pytest.approx(0.25), "what is missing is shared by all turns alike"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_critic_is_fitted_to_the_lambda_return_from_the_start_of_each_turn(layout: Layout) -> None:
    method = SPARL(lambda_=0.5)
    services = Learner(_logged(layout), method.needs)
    method.fit(method.collect(services).declare(method.needs), services)
    # By hand: the advantages of the first tokens plus the values 0.5, 0.75; 0.5, 0.25. In the golden example the first
    # turn has two tokens, which gives 0.53125; a third one halves that again.
    wanted = [pytest.approx([0.265625 + 0.5, 0.125 + 0.75]), pytest.approx([-0.046875 + 0.5, 0.0625 + 0.25])]
    for head in (0, 1):
        assert services.targets.states[..., head].tolist() == wanted


@pytest.mark.parametrize("contributions", ["none", "outcome", "leave_one_out"])
def test_where_the_estimator_is_not_asked_it_does_not_learn(contributions: Any) -> None:
    method = SPARL(contributions=contributions)
    services = Learner(_logged(), method.needs)
    before = services.opinions.actions
    method.fit(method.collect(services).declare(method.needs), services)
    assert torch.equal(services.opinions.actions, before)
    assert not torch.equal(services.opinions.states, services.targets.states)


def test_grounding_asks_whether_the_observation_changed_and_gives_it_to_the_last_turn() -> None:
    seen = torch.tensor([[3, 3, 4, 4], [1, 1, 1, 1]])
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    assert grounding_signal(seen, mask, 0.5).tolist() == [[0.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.0, 0.0]]
    assert remaining(mask).tolist() == [[3, 2, 1, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_outcome_reaches_the_credit_through_the_estimator_alone(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    nothing = SPARL(contributions="none", grounding=0.0)
    assert not nothing.paid(_collected(nothing, rollouts)).returns.any()
    other = rollouts.replace(terminal_rewards=1 - rollouts.terminal_rewards)
    ours, theirs = (SPARL().credit(_collected(SPARL(), batch)).advantages for batch in (rollouts, other))
    assert torch.equal(ours, theirs)


def test_the_released_script_hides_the_last_turns_reward() -> None:
    released = SPARL(contributions="leave_one_out", times_remaining=True)
    assert released.step_rewards(_logged()).tolist() == [[1.5, 0.0], [-1.0, 0.0]]
    assert released.paid(_logged()).returns.tolist() == [1.5, -1.0]
