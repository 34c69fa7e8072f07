"""What a model that learns has read last: asked once for the same rows, anew for others and when it has learnt."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from cairn.lab.action_critic import ActionCritic
from cairn.lab.critic import Critic
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.second import SecondModel
from cairn.lab.services import Models, TabularServices
from cairn.lab.windowed import WindowedForm
from cairn.method import ActionValues
from cairn.rollouts import Rollouts


@pytest.fixture
def batch(model: LanguageModel, panel: Panel) -> Rollouts:
    services = TabularServices(
        Models(model, model, None), WindowedForm(model.tokenizer), Ledger(), frozenset(),
        instances=panel.train, group_size=4, seed=(3, 0),
    )  # fmt: skip
    return services.rollouts().replace(needs=None)


def _fit_critic(model: LanguageModel, batch: Rollouts, asked: int) -> list[torch.Tensor]:
    """Ask so often and fit, three times over; return what was said before each fit, or after all of them."""
    critic, said = Critic(model, 1e-2, 1.0), []
    for number in range(3):
        said += [critic.values(batch) for _ in range(asked)]
        critic.fit(batch, 0.1 * (number + 1) * batch.action_mask)
    return [*said, critic.values(batch)]


def _fit_action_critic(model: LanguageModel, batch: Rollouts, asked: int) -> list[torch.Tensor]:
    critic, said = ActionCritic(model, 1e-2, 1.0), []
    shape = (*batch.turn_mask.shape, 2)
    for number in range(3):
        said += [critic.values(batch, False).states for _ in range(asked)]
        goals = ActionValues(torch.full(shape, 0.1 * number), torch.full(shape, -0.1 * number))
        critic.fit(batch, goals, torch.ones_like(batch.truncated), 0.5)
    return [*said, critic.values(batch, False).states]


def _fit_second(model: LanguageModel, batch: Rollouts, asked: int) -> list[torch.Tensor]:
    second, said = SecondModel(model, 1.0), []
    for _ in range(3):
        said += [second.logprobs(batch) for _ in range(asked)]
        second.fit(batch, lambda logprobs: logprobs.square().mean(), 1e-2)
    return [*said, second.logprobs(batch)]


@pytest.mark.parametrize("fit", [_fit_critic, _fit_action_critic, _fit_second])
def test_asking_before_a_fit_changes_nothing_that_is_learnt(
    fit: Callable[[LanguageModel, Rollouts, int], list[torch.Tensor]], model: LanguageModel, batch: Rollouts
) -> None:
    unasked, once, twice = (fit(model, batch, asked) for asked in (0, 1, 2))
    assert torch.equal(unasked[-1], once[-1])
    assert torch.equal(once[-1], twice[-1])
    assert not torch.equal(once[0], once[1]), "it has learnt between the first two answers"
    assert torch.equal(twice[0], twice[1]), "it has not between these"
    assert not any(said.requires_grad for said in twice)


def test_the_same_rows_pass_through_the_network_once(model: LanguageModel, batch: Rollouts) -> None:
    critic, passes = Critic(model, 1e-2, 1.0), []
    hook = critic._body.register_forward_hook(lambda *_: passes.append(1))
    before = critic.values(batch)
    first = len(passes)  # what a network can read is found out by trying, the first time
    critic.fit(batch, 0.5 * batch.action_mask)
    assert len(passes) == first, "values and fit share a pass"
    critic.values(batch)
    assert len(passes) == first + 1, "its weights have changed"
    other = batch.replace(token_ids=batch.token_ids.clone())
    critic.values(other)
    assert len(passes) == first + 2, "other rows, as far as it knows"
    critic.values(other.replace(values=before))
    assert len(passes) == first + 2, "the same rows with more said of them"
    hook.remove()
