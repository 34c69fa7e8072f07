"""The exact gradient of the expected return against finite differences, and against updates on sampled batches."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from tests.lab_history.tiny import tiny_world

from cairn.lab.controls import ExactCredit as ExactCreditArm
from cairn.lab.exact import ExactCredit, solve
from cairn.lab.fidelity import Batch, CreditSource, Rule
from cairn.lab.ledger import Ledger
from cairn.lab.loop import TrainSettings
from cairn.lab.model import LanguageModel
from cairn.lab.policy import PolicyReader
from cairn.lab.policy_gradient import cosine, option_weights, return_gradient, update_direction, visits
from cairn.lab.windowed import WindowedForm
from cairn.lab.world import join
from cairn.rollouts import Credit

WORLDS = (tiny_world(0.0), tiny_world(0.3))
SETTINGS = TrainSettings(
    updates=1, tasks_per_update=1, group_size=4, learning_rate=1e-3, clip_norm=1.0, evaluate_every=1,
    critic_learning_rate=1e-3,
)  # fmt: skip


def _solved(model: LanguageModel) -> ExactCredit:
    return solve(PolicyReader(model.tokenizer).read(model, join(WORLDS)))


def test_visits_by_hand(model64: LanguageModel) -> None:
    """The second room is entered with the chance of the exit that leads there; nobody stands anywhere twice."""
    exact = _solved(model64)
    left, right, stay = exact.table.option_probs[exact.table.worlds.starts[1]]
    chance = visits(exact)
    np.testing.assert_allclose(chance[0], np.eye(10)[[0, 5]].sum(0))
    np.testing.assert_allclose(chance[1, 5:], [stay, 0.7 * left + 0.3 * right, 0.3 * left + 0.7 * right, 0, 0])


def test_weights_add_up_to_nothing_under_the_policy(model64: LanguageModel) -> None:
    """Advantages have mean zero in each state, so that their weighted sums have it in each prompt."""
    exact = _solved(model64)
    probs = np.zeros_like(option_weights(exact))
    probs[exact.table.worlds.prompt] = exact.table.option_probs
    np.testing.assert_allclose((option_weights(exact) * probs).sum(1), 0, atol=1e-15)
    assert np.abs(option_weights(exact)).max() > 1e-3


def test_the_gradient_is_that_of_finite_differences(model64: LanguageModel) -> None:
    """Golden: central differences of the solved success along random directions in weight space."""
    mine = dataclasses.replace(model64, network=copy.deepcopy(model64.network))
    gradient, weights, step = return_gradient(mine, _solved(mine)), list(mine.network.parameters()), 2e-5
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in weights]
        solved = []
        for size in (step, -2 * step):
            with torch.no_grad():
                for weight, move in zip(weights, direction, strict=True):
                    weight.add_(move, alpha=size)
            solved.append(float(_solved(mine).success().mean()))
        with torch.no_grad():
            for weight, move in zip(weights, direction, strict=True):
                weight.add_(move, alpha=step)
        expected = (solved[0] - solved[1]) / (2 * step)
        assert abs(expected) > 1e-3
        slope = float(gradient @ torch.cat([move.flatten() for move in direction]))
        assert slope == pytest.approx(expected, rel=3e-3)  # norms stay in float32


def test_updates_with_exact_credit_go_along_the_gradient(model: LanguageModel) -> None:
    source = CreditSource(model, Rule(ExactCreditArm()), SETTINGS)
    batch = Batch(WindowedForm(model.tokenizer), WORLDS, 400, (0, 0))
    given = source.ask(source.open(batch, Ledger()))
    direction = update_direction(model, source.rule.method, given.rollouts, given.credit)
    true = return_gradient(model, _solved(model))
    along = cosine(direction, true)
    assert along is not None
    assert along > 0.98
    against = update_direction(model, source.rule.method, given.rollouts, Credit(-given.credit.advantages))
    assert cosine(against, true) == pytest.approx(-along)
    nothing = update_direction(model, source.rule.method, given.rollouts, Credit(0 * given.credit.advantages))
    assert cosine(nothing, true) is None


def test_tokens_outside_the_loss_mask_move_nothing(model: LanguageModel) -> None:
    source = CreditSource(model, Rule(ExactCreditArm()), SETTINGS)
    given = source.ask(source.open(Batch(WindowedForm(model.tokenizer), WORLDS, 4, (0, 0)), Ledger()))
    none = torch.zeros_like(given.rollouts.action_mask)
    assert not update_direction(model, source.rule.method, given.rollouts, Credit(given.credit.advantages, none)).any()
