"""The learned critic: where it reads a value, where it starts, and that it learns."""

from __future__ import annotations

import pytest
import torch

from cairn.lab.critic import Critic
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.services import Models, TabularServices
from cairn.lab.windowed import WindowedForm
from cairn.rollouts import Rollouts


@pytest.fixture
def batch(model: LanguageModel, panel: Panel) -> Rollouts:
    services = TabularServices(
        Models(model, model, None), WindowedForm(model.tokenizer), Ledger(), frozenset(),
        instances=panel.train, group_size=4, seed=(3, 0),
    )  # fmt: skip
    return services.rollouts()


def test_it_starts_at_zero_and_is_zero_off_actions(model: LanguageModel, batch: Rollouts) -> None:
    critic = Critic(model, 1e-2, 1.0)
    assert not critic.values(batch).any()
    critic.fit(batch, torch.ones(batch.token_ids.shape))
    values = critic.values(batch)
    assert values[batch.action_mask].abs().min() > 0
    assert not values[~batch.action_mask].any()


def test_it_learns_its_targets_and_reports_the_error_before_the_step(model: LanguageModel, batch: Rollouts) -> None:
    critic = Critic(model, 1e-2, 1.0)
    targets = 0.5 * batch.action_mask
    errors = [critic.fit(batch, targets) for _ in range(20)]
    assert errors[0] == pytest.approx(0.25), "all values are 0 and all targets 0.5"
    assert errors[-1] < 0.01


def test_the_value_before_a_token_does_not_know_the_token(model: LanguageModel, batch: Rollouts) -> None:
    """Exchanging the last token of a row moves no value of the row; exchanging the one before moves the last value."""
    critic = Critic(model, 1e-2, 1.0)
    critic.fit(batch, torch.rand(batch.token_ids.shape, generator=torch.Generator().manual_seed(0)))
    long = batch.action_mask.sum(1) >= 2
    rows, last = long.nonzero().flatten(), batch.attention_mask.sum(1)[long] - 1
    before = critic.values(batch)
    moved = []
    for place in (last, last - 1):
        tokens = batch.token_ids.clone()
        tokens[rows, place] = (tokens[rows, place] + 7) % 90 + 2
        moved.append((critic.values(batch.replace(token_ids=tokens)) - before)[rows].abs())
    assert moved[0].max() < 1e-6
    assert moved[1].gather(1, last[:, None]).min() > 1e-6
    assert moved[1].scatter(1, last[:, None], 0).max() < 1e-6


def test_equal_rows_get_equal_values(model: LanguageModel, batch: Rollouts) -> None:
    critic = Critic(model, 1e-2, 1.0)
    critic.fit(batch, torch.ones(batch.token_ids.shape))
    order = torch.randperm(batch.token_ids.shape[0], generator=torch.Generator().manual_seed(0))
    names = ("token_ids", "action_mask", "attention_mask")
    turned = batch.replace(**{name: getattr(batch, name)[order] for name in names})
    torch.testing.assert_close(critic.values(turned), critic.values(batch)[order], atol=1e-6, rtol=0)
