"""The critic of actions: what its heads see, that they learn, and that its copy lags behind."""

from __future__ import annotations

from statistics import fmean
from typing import Literal

import pytest
import torch

from cairn.lab.action_critic import ActionCritic
from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.services import Models, TabularServices
from cairn.method import ActionValues
from cairn.rollouts import Rollouts, UndeclaredNeedError

NEEDS = frozenset({"action_critic", "turn_boundaries"})
Opened = tuple[TabularServices, Ledger, Rollouts]


@pytest.fixture(params=["windowed", "history"])
def opened(request: pytest.FixtureRequest, model: LanguageModel, panel: Panel) -> Opened:
    form: Literal["windowed", "history"] = request.param
    ledger = Ledger()
    services = TabularServices(
        Models(model, model, None, critic_learning_rate=1e-2), prompt_form(form, model.tokenizer, 2), ledger, NEEDS,
        instances=panel.train[:2], group_size=3, seed=(3, 0),
    )  # fmt: skip
    return services, ledger, services.rollouts()


def _targets(batch: Rollouts, actions: float, states: float) -> ActionValues:
    shape = (*batch.turn_mask.shape, 2)
    return ActionValues(torch.full(shape, actions), torch.full(shape, states))


def test_the_heads_differ_and_are_the_same_in_every_run(model: LanguageModel, opened: Opened) -> None:
    services, _, batch = opened
    found, again = services.action_values(batch), ActionCritic(model, 1e-2, 1.0).values(batch, lagging=True)
    for one, other in zip(found, again, strict=True):
        assert torch.equal(one, other)
        assert (one[..., 0] - one[..., 1])[batch.turn_mask].abs().min() > 1e-5
        assert not one[~batch.turn_mask].any()


def test_an_action_is_seen_in_its_own_value_and_in_no_earlier_one(opened: Opened) -> None:
    services, _, batch = opened
    rollout, turn = 1, 2
    last = batch.turn_ends() & (batch.turn_ids == turn) & (batch.row_rollout == rollout)[:, None]
    tokens = torch.where(last, (batch.token_ids + 7) % 90 + 2, batch.token_ids)
    before, after = services.action_values(batch), services.action_values(batch.replace(token_ids=tokens))
    moved = (after.actions - before.actions).abs().amax(-1)
    assert moved[rollout, turn] > 1e-5
    moved[rollout, turn:] = 0
    assert moved.max() < 1e-6
    states = (after.states - before.states).abs().amax(-1)
    states[rollout, turn + 1 :] = 0  # where the prompt holds the history, later ones may know
    assert states.max() < 1e-6


def test_it_learns_and_states_only_where_they_are_taught(opened: Opened) -> None:
    services, _, batch = opened
    taught = torch.zeros(len(batch.group_ids), dtype=torch.bool)
    start = services.action_values(batch)
    first = services.fit_action_values(batch, _targets(batch, 0.5, 99.0), taught, 0.1)
    mask = batch.turn_mask
    assert first == pytest.approx(float((start.actions - 0.5)[mask].square().sum(-1).mean()), rel=1e-4)
    errors = [services.fit_action_values(batch, _targets(batch, 0.5, 99.0), taught, 0.1) for _ in range(60)]
    assert fmean(errors[-10:]) < first / 10, "at this rate they swing, and rounding decides any one of them"
    assert services.action_values(batch).states[mask].abs().max() < 5, "nobody taught them 99"
    taught[:] = True
    errors = [services.fit_action_values(batch, _targets(batch, 0.5, 0.25), taught, 0.1) for _ in range(60)]
    assert errors[-1] < 0.05
    assert services.action_values(batch).states[mask].mean() == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("follow", [0.0, 0.3, 1.0])
def test_the_copy_follows_by_so_much(opened: Opened, follow: float) -> None:
    services, _, batch = opened
    critic = services._models.action_critic
    start = [weight.detach().clone() for weight in critic._lagging.parameters()]
    taught = torch.ones(len(batch.group_ids), dtype=torch.bool)
    services.fit_action_values(batch, _targets(batch, 0.5, 0.5), taught, follow)
    for before, slow, fast in zip(start, critic._lagging.parameters(), critic._network.parameters(), strict=True):
        torch.testing.assert_close(slow, before + follow * (fast - before))
    now, copy = services.action_values(batch), services.action_values(batch, lagging=True)
    assert torch.equal(now.actions, copy.actions) is (follow == 1.0)


def test_each_call_is_billed_and_asks_for_the_need(opened: Opened) -> None:
    services, ledger, batch = opened
    tokens = int(batch.attention_mask.sum())
    services.door.action_values(batch)
    assert (ledger.scored_tokens, ledger.trained_tokens) == (tokens, 0)
    taught = torch.ones(len(batch.group_ids), dtype=torch.bool)
    services.door.fit_action_values(batch, _targets(batch, 0, 0), taught, 0.1)
    assert (ledger.scored_tokens, ledger.trained_tokens) == (tokens, tokens)
    services._needs = frozenset()
    for call in (
        lambda: services.door.action_values(batch),
        lambda: services.door.fit_action_values(batch, _targets(batch, 0, 0), taught, 0.1),
    ):
        with pytest.raises(UndeclaredNeedError, match="action_critic"):
            call()
