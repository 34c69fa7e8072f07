"""Rollouts with agents left out: whom they hold, what they cost, how they are paired; and who acted, by prompt form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tests.lab.team import role_of

from cairn.errors import UserError
from cairn.lab.ablation import replay
from cairn.lab.coalitions import coalition_game
from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.model import LanguageModel, load
from cairn.lab.pretrain import embedded_model
from cairn.lab.services import Models, TabularServices
from cairn.lab.task import Prompt
from cairn.lab.tasks import quest, relay
from cairn.lab.tasks.relay import NUMBERS, Knobs
from cairn.lab.windowed import WindowedForm
from cairn.lab.world import World
from cairn.rollouts import Rollouts


def open_services(crew: LanguageModel, worlds: list[World], each: int, prompt: Prompt = "windowed") -> TabularServices:
    form = prompt_form(prompt, crew.tokenizer, 4)
    needs = frozenset({"agent_ids", "turn_boundaries"})
    return TabularServices(
        Models(crew, crew, None), form, Ledger(), needs, instances=worlds, group_size=each, seed=(5, 0)
    )


def leave_out(*agents: int) -> torch.Tensor:
    return torch.tensor([agent in agents for agent in range(Knobs().agents)])


@pytest.mark.parametrize("form", ["windowed", "history"])
def test_agent_ids_are_those_that_the_prompt_names(crew: LanguageModel, form: Prompt) -> None:
    knobs = Knobs(alarm=0.7)
    batch = open_services(crew, [relay.build(knobs, 1), relay.build(knobs, 4)], 6, form).rollouts()
    lines = [
        str(crew.tokenizer.decode(row[mask])) for row, mask in zip(batch.token_ids, batch.attention_mask, strict=True)
    ]
    named: dict[int, list[int]] = {rollout: [] for rollout in range(len(batch.group_ids))}
    for rollout, text in zip(batch.row_rollout.tolist(), lines, strict=True):
        words = text.split()
        pairs = itertools.pairwise(words)
        named[rollout] += [NUMBERS.index(after) for word, after in pairs if word == "agent"]
    ids, mask = batch.require("agent_ids"), batch.turn_mask
    assert [row[took].tolist() for row, took in zip(ids, mask, strict=True)] == list(named.values())
    assert (ids[~mask] == -1).all()
    assert set(ids[mask].tolist()) == set(range(6))
    assert len(set(mask.sum(1).tolist())) > 1, "the alarm ends some missions early"


@pytest.mark.slow
def test_simulation_and_ablated_rollouts_agree_with_the_exact_game(crew: LanguageModel) -> None:
    """Within three standard errors, for the full team, each one left out, and two coalitions more."""
    world, each = relay.build(Knobs(rounds=1, noise=0.1), 2), 4000
    services = open_services(crew, [world], each)
    batch = services.rollouts()
    exact = coalition_game(services._player()._table).values[0]  # type: ignore[attr-defined]
    everybody = len(exact) - 1
    for absent in ((), (0,), (1,), (2,), (3,), (4,), (5,), (0, 3), (1, 2, 5)):
        returns = services.ablated(batch, leave_out(*absent)).returns
        mean = float(exact[everybody ^ sum(1 << agent for agent in absent)])
        error = np.sqrt(mean * (1 - mean) / each)
        assert abs(float(returns.mean()) - mean) <= 3 * error, absent
        assert error > 0 or float(returns.mean()) == mean
    assert torch.equal(services.ablated(batch, leave_out()).returns, batch.returns)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pairing_by_dice_reduces_the_variance_of_the_difference(crew: LanguageModel, seed: int) -> None:
    knobs = Knobs(rounds=1)
    plan = relay.draw_plan(knobs, np.random.default_rng(seed))
    services = open_services(crew, [relay.build(knobs, seed)], 1500)
    batch = services.rollouts()
    (idler,), (scout,), twins = (role_of(plan, role) for role in ("idler", "scout", "twin"))
    assert torch.equal(services.ablated(batch, leave_out(idler)).returns, batch.returns), "nobody misses the idler"
    assert float(services.ablated(batch, leave_out(role_of(plan, "guard")[0])).returns.sum()) == 0
    for one in (scout, *twins):
        without = services.ablated(batch, leave_out(one)).returns
        paired = float((batch.returns - without).var())
        apart = float(batch.returns.var() + without.var())
        assert 0 < paired < 0.75 * apart


def test_ablated_rollouts_hold_the_turns_of_those_who_were_there(crew: LanguageModel) -> None:
    knobs = Knobs(alarm=0.5)
    worlds = [relay.build(knobs, 1), relay.build(knobs, 4)]
    services = open_services(crew, worlds, 5)
    batch = services.rollouts()
    absent = torch.zeros(10, 6, dtype=torch.bool)
    absent[torch.arange(10), torch.arange(10) % 6] = True
    absent[9] = True
    before = services._bills._ledger.totals()
    found = services.ablated(batch, absent)
    spent = {name: value - before[name] for name, value in services._bills._ledger.totals().items()}
    ids, mask = found.require("agent_ids"), found.turn_mask
    assert (mask.int().diff(dim=1) <= 0).all(), "no gaps"
    assert not absent[torch.arange(10)[:, None].expand(ids.shape)[mask], ids[mask]].any()
    assert not mask[9].any()
    assert float(found.returns[9]) == 0
    assert torch.equal(found.group_ids, batch.group_ids)
    assert found.state_handles is None
    assert spent["generated_tokens"] == int(found.action_mask.sum())
    assert spent["prompt_tokens"] == int(found.attention_mask.sum()) - int(found.action_mask.sum())
    assert spent["environment_resets"] == 10
    # Rollout 9 loses its first lever in silence; the others pass at most one agent's turns over.
    assert spent["environment_steps"] > int(mask.sum())
    assert spent["flops"] > 0
    _rows_say_what_the_turns_say(found, crew)


def _rows_say_what_the_turns_say(found: Rollouts, crew: LanguageModel) -> None:
    """A row for each turn, whose prompt names the agent that the turn belongs to."""
    turns = torch.where(found.action_mask, found.turn_ids, -1).amax(1)
    ids = found.require("agent_ids")[found.row_rollout, turns]
    for row, agent in zip(found.token_ids, ids.tolist(), strict=True):
        words = str(crew.tokenizer.decode(row)).split()
        assert words[words.index("agent") + 1] == NUMBERS[agent]


def test_without_alarm_the_world_answers_every_turn_of_an_ablated_rollout(crew: LanguageModel) -> None:
    """Twice seven turns by hand: five agents with one and a scout with two; without the scout ten are spoken."""
    services = open_services(crew, [relay.build(Knobs(), 0)], 3)
    batch = services.rollouts()
    (scout,) = role_of(relay.draw_plan(Knobs(), np.random.default_rng(0)), "scout")
    before = services._bills._ledger.environment_steps
    found = services.ablated(batch, leave_out(scout))
    assert before == 3 * 14
    assert services._bills._ledger.environment_steps - before == 3 * 14
    assert found.turn_mask.sum(1).tolist() == [10, 10, 10]


def test_words_that_are_kept_pay_as_if_nobody_had_noticed_the_absence(crew: LanguageModel) -> None:
    """Taken out of the finished rollout, a message costs nothing: its guard goes on as told. Anew, it guesses."""
    knobs = Knobs(rounds=1)
    plan = relay.draw_plan(knobs, np.random.default_rng(0))
    services = open_services(crew, [relay.build(knobs, 0)], 400)
    batch = services.rollouts()
    before = services._bills._ledger.totals()
    assert torch.equal(services.returns_without(batch, leave_out()), batch.returns)
    spent = {name: value - before[name] for name, value in services._bills._ledger.totals().items() if value}
    assert {name: value for name, value in spent.items() if value} == {
        "environment_steps": 400 * 7,
        "environment_resets": 400,
    }
    (idler,), (scout,), guards, twins = (role_of(plan, role) for role in ("idler", "scout", "guard", "twin"))
    for harmless in (idler, scout):
        assert torch.equal(services.returns_without(batch, leave_out(harmless)), batch.returns)
    assert not torch.equal(services.ablated(batch, leave_out(scout)).returns, batch.returns)
    for needed in guards:
        assert not services.returns_without(batch, leave_out(needed)).any()
    for twin in twins:  # nobody is told what a twin did, so that the others would say the same anew
        kept = services.returns_without(batch, leave_out(twin))
        assert torch.equal(kept, services.ablated(batch, leave_out(twin)).returns)
        assert not torch.equal(kept, batch.returns)


def test_the_second_batch_of_an_update_is_paired_with_its_own_dice(crew: LanguageModel) -> None:
    services = open_services(crew, [relay.build(Knobs(rounds=1), 0)], 50)
    first, second = services.rollouts(), services.rollouts()
    assert not torch.equal(first.returns, second.returns)
    for batch in (second, first):
        assert torch.equal(services.ablated(batch, leave_out()).returns, batch.returns)
    cut = first.replace(rollout_ids=first.require("rollout_ids")[:5])
    with pytest.raises(ValueError, match="a whole batch"):
        services.ablated(cut, leave_out())


def test_agents_beyond_the_last_one_named_are_there(crew: LanguageModel) -> None:
    services = open_services(crew, [relay.build(Knobs(), 0)], 40)
    batch = services.rollouts()
    absent = torch.tensor([False, True])
    for leave in (services.returns_without, lambda *of: services.ablated(*of).returns):
        assert torch.equal(leave(batch, absent), leave(batch, leave_out(1)))
        assert torch.equal(leave(batch, absent.expand(40, 2)), leave(batch, leave_out(1)))


def test_who_cannot_be_left_out_is_said(crew: LanguageModel) -> None:
    services = open_services(crew, [relay.build(Knobs(), 0)], 2)
    batch = services.rollouts()
    with pytest.raises(UserError, match="6 agents"):
        services.ablated(batch, torch.ones(7, dtype=torch.bool))
    alone = load(embedded_model("quest"))
    player = WindowedForm(alone.tokenizer).player(alone, [quest.build(quest.Knobs(), 0)])
    rng = np.random.default_rng(0)
    episodes = player.play(np.zeros(2, dtype=np.int64), rng)
    with pytest.raises(UserError, match="tell one agent from another"):
        replay(player, episodes, np.ones(1, dtype=bool), rng)
    with pytest.raises(UserError, match="tell one agent from another"):
        coalition_game(player._table)
