"""What is read once: by a model that learns, the rows that came last; by one that stays as it is, every row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import pad

from cairn.lab.action_critic import ActionCritic
from cairn.lab.critic import Critic
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.reading import KeptReading, action_logprobs
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


def test_a_network_that_stays_as_it_is_reads_each_row_once(model: LanguageModel, batch: Rollouts) -> None:
    reading, passes = KeptReading(model.network), []
    plain = action_logprobs(model.network, batch).detach()
    half = batch.keep_rows(torch.arange(len(batch.token_ids)) % 2 == 0)
    wider = half.replace(
        token_ids=pad(half.token_ids, (0, 3)),
        attention_mask=pad(half.attention_mask, (0, 3)),
        action_mask=pad(half.action_mask, (0, 3)),
    )
    nothing = batch.keep_rows(torch.zeros(len(batch.token_ids), dtype=torch.bool))
    hook = model.network.register_forward_hook(lambda *_: passes.append(1))
    torch.testing.assert_close(reading.action_logprobs(half), plain[::2], rtol=0, atol=1e-5)
    assert len(passes) == 1
    assert torch.equal(reading.action_logprobs(wider), pad(reading.action_logprobs(half), (0, 3)))
    assert reading.action_logprobs(nothing).shape == (0, plain.shape[1])
    assert len(passes) == 1, "it knew all of these"
    torch.testing.assert_close(reading.action_logprobs(batch), plain, rtol=0, atol=1e-5)
    assert len(passes) == 2, "it did not know every one of these"
    reading.action_logprobs(batch)
    assert len(passes) == 2
    hook.remove()


def test_rows_of_the_same_tokens_are_told_apart_by_what_is_wanted(model: LanguageModel, batch: Rollouts) -> None:
    reading = KeptReading(model.network)
    before = reading.action_logprobs(batch)
    last = batch.action_mask & ~pad(batch.action_mask, (0, 1))[:, 1:]
    other = batch.replace(action_mask=batch.action_mask & ~last)
    assert before[last].all()
    torch.testing.assert_close(reading.action_logprobs(other), before * other.action_mask, rtol=0, atol=1e-5)
