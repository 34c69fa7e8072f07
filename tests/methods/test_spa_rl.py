"""SPA-RL: contributions that are trained on their sum, grounding, and what telescopes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.methods.spa_rl import SPARL, grounding_signal, remaining, sum_targets
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


class Recorder(Playback):
    """Keeps the targets that the critic is asked to learn."""

    targets: Tensor

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        self.targets = targets
        return super().fit_critic(rollouts, targets)


def _logged(layout: Layout = "turn") -> Rollouts:
    """Two rollouts of two turns, as in the golden example; the first turn of the second one moved nothing."""

    def turn(seen: str, *values: float) -> dict[str, Any]:
        return {"observation": seen, "tokens": ["t"] * len(values), "values": values}

    rows = [
        {"group": "g", "reward": 1.0, "turns": [turn("a", 0.5, 9.0, 0.25), turn("b", 0.75, 0.5)]},
        {"group": "g", "reward": 0.0, "turns": [turn("a", 0.5, 0.125), turn("a", 0.25, -0.125)]},
    ]
    return to_rollouts([RolloutRow.model_validate(row) for row in rows], layout)


def _turns(method: SPARL, rollouts: Rollouts) -> Tensor:
    return rollouts.mean_over_turns(method.credit(rollouts).advantages)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_the_estimator_fits_the_advantages_of_a_rollout_telescope(layout: Layout) -> None:
    """With lambda 0, gamma 1 and no grounding they sum to R - V_0, whatever the single contributions are."""
    plain = _logged(layout)
    read = plain.turn_ends() & ~plain.turn_starts()
    missing = plain.returns - plain.sum_over_rollouts(plain.require("values") * read)
    fitted = plain.replace(values=plain.require("values") + missing[plain.row_rollout][:, None] / 2 * read)
    method = SPARL(lambda_=0.0, grounding=0.0, whiten=False)
    assert _turns(method, fitted).sum(1).tolist() == pytest.approx([1.0 - 0.5, 0.0 - 0.5])
    assert _turns(method, plain).sum(1).tolist() == pytest.approx([0.75 - 0.5, 0.0 - 0.5])


def test_the_estimators_step_is_down_the_gradient_of_the_squared_error_of_the_sum() -> None:
    contributions = torch.tensor([[0.25, 0.5, -1.0], [0.125, 3.0, 0.0]], requires_grad=True)
    outcomes = torch.tensor([1.0, 0.0])
    (wanted,) = torch.autograd.grad(((contributions.sum(1) - outcomes) ** 2).sum(), contributions)
    goal = sum_targets(contributions, outcomes).detach()
    (found,) = torch.autograd.grad(((contributions - goal) ** 2).sum(), contributions)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fitting_again_and_again_makes_the_contributions_sum_to_the_outcome(layout: Layout) -> None:
    rollouts, method = _logged(layout), SPARL()
    for _ in range(60):
        services = Recorder(rollouts, method.needs)
        method.fit(rollouts.declare(method.needs), services)
        values = rollouts.require("values")
        rollouts = rollouts.replace(values=values + 0.2 * (services.targets - values) * rollouts.action_mask)
    assert method._estimated(rollouts).sum(1).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)
    unread = rollouts.action_mask & ~rollouts.turn_ends() & ~rollouts.turn_starts()
    assert rollouts.require("values")[unread].tolist() == [9.0], "what is neither read nor a value stays as it was"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_first_tokens_are_fitted_to_the_lambda_return(layout: Layout) -> None:
    rollouts, method = _logged(layout), SPARL(lambda_=0.5)
    services = Recorder(rollouts, method.needs)
    method.fit(rollouts.declare(method.needs), services)
    # The advantages by hand (golden example: 1.125, 0.25; -0.0625, 0.125) plus the values 0.5, 0.75; 0.5, 0.25
    firsts = rollouts.first_of_turns(services.targets)
    assert firsts.tolist() == [pytest.approx([1.625, 1.0]), pytest.approx([0.4375, 0.375])]


def test_grounding_asks_whether_the_observation_changed_and_gives_it_to_the_last_turn() -> None:
    seen = torch.tensor([[3, 3, 4, 4], [1, 1, 1, 1]])
    mask = torch.tensor([[True, True, True, True], [True, True, False, False]])
    assert grounding_signal(seen, mask, 0.5).tolist() == [[0.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.0, 0.0]]
    assert remaining(mask).tolist() == [[3, 2, 1, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_contributions_and_grounding_nothing_is_left_but_the_critic(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    method = SPARL(contributions="none", grounding=0.0, whiten=False)
    assert not method.step_rewards(rollouts).any()
    silent = rollouts.replace(values=torch.zeros_like(rollouts.require("values")))
    assert not method.credit(silent).advantages.any()


def test_the_released_script_hides_the_last_turns_reward() -> None:
    rollouts = _logged()
    released = SPARL(contributions="leave_one_out", times_remaining=True)
    assert released.step_rewards(rollouts).tolist() == [[1.5, 0.0], [-1.0, 0.0]]
    louder = rollouts.replace(values=rollouts.require("values") + rollouts.turn_ends() * 7.0)
    assert torch.equal(_turns(released, louder), _turns(released, rollouts)), "the estimator is not asked"
