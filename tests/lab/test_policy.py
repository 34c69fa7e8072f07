"""The policy table, sampling from it, and the log-probs of the batch, against plain forward passes."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tests.lab import retold
from tests.lab.conftest import NOTED
from torch import Tensor

from cairn.lab.episodes import Episodes, play
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel, token_logprobs
from cairn.lab.policy import PolicyReader, PolicyTable
from cairn.lab.prefixes import ability
from cairn.lab.reading import action_logprobs
from cairn.lab.services import Models, TabularServices
from cairn.lab.tasks import quest
from cairn.lab.windowed import WindowedForm
from cairn.lab.world import join
from cairn.rollouts import Rollouts


@pytest.fixture
def table(model: LanguageModel, panel: Panel) -> PolicyTable:
    return PolicyReader(model.tokenizer).read(model, join(panel.train))


def _play(table: PolicyTable, each: int, rng: np.random.Generator) -> Episodes:
    world = np.repeat(np.arange(len(table.worlds.worlds)), each)
    return play(table, table.worlds.starts[world], world, np.zeros_like(world), rng)


def _batch(model: LanguageModel, panel: Panel, each: int = 8) -> Rollouts:
    services = TabularServices(
        Models(model, model, None), WindowedForm(model.tokenizer), Ledger(), frozenset(),
        instances=panel.train, group_size=each, seed=(3, 0),
    )  # fmt: skip
    return services.rollouts()


def test_option_chances_are_those_of_one_text_at_a_time(model: LanguageModel, panel: Panel, table: PolicyTable) -> None:
    narrator, worlds = retold.Narrator(model), table.worlds
    for number, world in enumerate(panel.train):
        for state in np.flatnonzero(~world.terminal)[::5]:
            text, said = world.prompts[world.state_prompt[state]], world.options[world.state_prompt[state]]
            row = table.option_probs[worlds.offsets[number] + state]
            chances = [narrator.chance(text, phrase) for phrase in said]
            assert row[: len(said)] == pytest.approx(chances, abs=1e-6)
            assert row[-1] == pytest.approx(1 - sum(chances), abs=1e-6)
            assert row.sum() == pytest.approx(1, abs=1e-9)


def test_a_batch_read_in_parts_is_the_batch(
    model64: LanguageModel, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = PolicyReader(model64.tokenizer).read(model64, join(panel.train))
    monkeypatch.setattr("cairn.lab.policy.PLACES_AT_ONCE", 200)
    parts = PolicyReader(model64.tokenizer).read(model64, join(panel.train))
    np.testing.assert_allclose(parts.log_probs, whole.log_probs, rtol=0, atol=1e-12)


def test_what_worlds_share_is_read_once(model: LanguageModel, panel: Panel) -> None:
    """However many worlds hold a row, what goes through the model is the same."""
    read: list[Tensor] = []
    reader, world = PolicyReader(model.tokenizer), panel.train[0]
    ability(model.network)  # found out beforehand
    hook = model.network.register_forward_pre_hook(
        lambda _, __, given: read.append(given["input_ids"]), with_kwargs=True
    )
    once = reader.read(model, join([world]))
    twice = reader.read(model, join([world, world]))
    hook.remove()
    first, second = read
    assert torch.equal(first, second)
    np.testing.assert_array_equal(twice.log_probs, np.concatenate([once.log_probs] * 2))


def test_options_are_sampled_as_often_as_the_table_says(table: PolicyTable, rng: np.random.Generator) -> None:
    episodes = _play(table, 4000, rng)
    states, options = episodes.states[:, :-1][episodes.alive], episodes.options[episodes.alive]
    tested = 0
    for state in np.argsort(-np.bincount(states))[:60]:
        counts = np.bincount(options[states == state], minlength=table.option_probs.shape[1])
        expected = table.option_probs[state] * counts.sum()
        common = expected >= 5
        assert counts[expected < 1e-9].sum() == 0
        rest = ~common
        pooled = np.append(counts[common], counts[rest].sum()), np.append(expected[common], expected[rest].sum())
        keep = pooled[1] > 0
        if keep.sum() > 1 and pooled[1][keep].min() > 1:
            tested += 1
            assert chisquare(pooled[0][keep], pooled[1][keep]).pvalue > 1e-6
    assert tested > 20


def test_tokens_are_sampled_as_often_as_the_model_says(table: PolicyTable, rng: np.random.Generator) -> None:
    """The first token of the first turn, over the whole vocabulary."""
    episodes = _play(table, 20_000, rng)
    for number, start in enumerate(table.worlds.starts):
        chances = np.exp(table.log_probs[table.roots[table.worlds.prompt[start]]])
        counts = np.bincount(episodes.tokens[episodes.instance == number, 0, 0], minlength=chances.size)
        common = chances * 20_000 >= 5
        pooled = np.append(counts[common], counts[~common].sum()), np.append(chances[common], chances[~common].sum())
        assert chisquare(pooled[0], pooled[1] / pooled[1].sum() * 20_000).pvalue > 1e-6


def test_the_world_answers_as_often_as_its_tables_say(model: LanguageModel, rng: np.random.Generator) -> None:
    world = quest.build(dataclasses.replace(NOTED, slip=0.5), 1)
    table = PolicyReader(model.tokenizer).read(model, join([world]))
    episodes = _play(table, 20_000, rng)
    for option in range(2):
        chosen = episodes.options[:, 0] == option
        counts = np.bincount(episodes.states[chosen, 1], minlength=world.n_states)
        chances = np.zeros(world.n_states)
        np.add.at(chances, world.successors[0, option], world.probabilities[0, option])
        assert counts[chances == 0].sum() == 0
        if chosen.sum() > 100:
            assert chisquare(counts[chances > 0], chances[chances > 0] * chosen.sum()).pvalue > 1e-6


def test_a_turn_ends_with_the_first_token_that_fits_no_phrase(
    model: LanguageModel, table: PolicyTable, rng: np.random.Generator
) -> None:
    episodes, phrases, stays = _play(table, 200, rng), _phrases(model, table), 0
    for rollout, turn in np.argwhere(episodes.alive):
        said = episodes.tokens[rollout, turn, : episodes.lengths[rollout, turn]].tolist()
        known = phrases[table.worlds.prompt[episodes.states[rollout, turn]]]
        option = int(episodes.options[rollout, turn])
        if option == table.worlds.n_options:
            stays += 1
            assert not any(phrase[: len(said)] == said for phrase in known)
            assert len(said) == 1 or any(phrase[: len(said) - 1] == said[:-1] for phrase in known)
        else:
            assert known[option] == said
    assert stays > 0


def _phrases(model: LanguageModel, table: PolicyTable) -> list[list[list[int]]]:
    options = [said for world in table.worlds.worlds for said in world.options]
    return [[model.tokenizer(p, add_special_tokens=False)["input_ids"] for p in said] for said in options]


def test_behaviour_logprobs_and_entropies_are_those_of_the_model_on_the_rows(
    model: LanguageModel, panel: Panel
) -> None:
    batch = _batch(model, panel)
    with torch.no_grad():
        logprobs, entropies = token_logprobs(model.network, batch.token_ids, batch.attention_mask)
    mask = batch.action_mask
    torch.testing.assert_close(batch.logprobs_behaviour[mask], logprobs[mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.require("entropies")[mask], entropies[mask], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        action_logprobs(model.network, batch).detach(), batch.logprobs_behaviour, atol=1e-5, rtol=0
    )
    assert not batch.logprobs_behaviour[~mask].any()


def test_reference_log_probs_are_those_of_the_reference(model: LanguageModel, panel: Panel) -> None:
    """Whether it is the policy itself, whose log-probs are known already, or another model."""
    other = dataclasses.replace(model, network=copy.deepcopy(model.network))
    with torch.no_grad():
        for weight in other.network.parameters():
            weight.mul_(1.05)
    for reference in (model, other):
        services = TabularServices(
            Models(model, reference, None), WindowedForm(model.tokenizer), Ledger(), frozenset({"reference_policy"}),
            instances=panel.train, group_size=4, seed=(3, 0),
        )  # fmt: skip
        batch = services.attach(services.rollouts().replace(needs=None))
        with torch.no_grad():
            plain, _ = token_logprobs(reference.network, batch.token_ids, batch.attention_mask)
        torch.testing.assert_close(batch.logprobs_reference, plain * batch.action_mask, atol=1e-5, rtol=0)


def test_rows_hold_prompt_then_phrase(model: LanguageModel, panel: Panel) -> None:
    batch = _batch(model, panel)
    act = model.tokenizer.convert_tokens_to_ids("act")
    for row in range(0, batch.token_ids.shape[0], 7):
        places = batch.action_mask[row].nonzero().flatten().tolist()
        length = int(batch.attention_mask[row].sum())
        assert places == list(range(places[0], length)), "the phrase ends the row"
        assert int(batch.token_ids[row, places[0] - 1]) == act
        assert not batch.token_ids[row, length:].any()
        rollout, turn = int(batch.row_rollout[row]), int(batch.turn_ids[row, places[0]])
        assert bool(batch.turn_mask[rollout, turn])
    assert batch.token_ids.shape[0] == int(batch.turn_mask.sum())
    lengths = batch.turn_mask.sum(1)
    assert torch.equal(batch.turn_mask, torch.arange(batch.turn_mask.shape[1]) < lengths[:, None])


def test_reading_what_rows_share_once_leaves_the_gradient_alone(model64: LanguageModel, panel: Panel) -> None:
    batch = _batch(model64, panel, each=4)
    assert torch.unique(batch.token_ids, dim=0).shape[0] < batch.token_ids.shape[0]
    weights = torch.rand(batch.token_ids.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    every, _ = token_logprobs(model64.network, batch.token_ids, batch.attention_mask)
    gradients = [
        torch.autograd.grad((logprobs * weights * batch.action_mask).sum(), list(model64.network.parameters()))
        for logprobs in (action_logprobs(model64.network, batch), every)
    ]
    for once, plain in zip(*gradients, strict=True):
        # The norms of the network compute in float32, so that rounding shows at 1e-7 of the largest entry.
        torch.testing.assert_close(once, plain, atol=1e-6 * float(plain.abs().max()), rtol=0)


def test_dropping_rollouts_drops_their_rows_and_renumbers_the_rest(model: LanguageModel, panel: Panel) -> None:
    batch = _batch(model, panel, each=3)
    keep = torch.arange(12) % 3 != 1
    kept = batch.keep_rollouts(keep)
    assert kept.group_ids.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for new, old in enumerate(keep.nonzero().flatten().tolist()):
        assert torch.equal(kept.token_ids[kept.row_rollout == new], batch.token_ids[batch.row_rollout == old])
        assert torch.equal(kept.turn_mask[new], batch.turn_mask[old])
    for name in ("token_ids", "logprobs_behaviour", "entropies", "turn_ids", "action_mask"):
        assert _length(getattr(kept, name)) == kept.row_rollout.shape[0]
    for name in ("terminal_rewards", "truncated", "observation_keys", "state_handles", "turn_rewards"):
        assert _length(getattr(kept, name)) == 8


def _length(tensor: Tensor) -> int:
    return tensor.shape[0]
