"""Exact values against enumeration over all trajectories, simulation and finite differences."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from tests.lab import retold
from tests.lab.conftest import SMALL
from torch import Tensor

from cairn.lab.controls import ExactCredit as ExactCreditArm
from cairn.lab.episodes import play
from cairn.lab.exact import ExactCredit, solve
from cairn.lab.ledger import Ledger
from cairn.lab.model import LanguageModel
from cairn.lab.policy import PolicyReader, PolicyTable
from cairn.lab.reading import action_logprobs
from cairn.lab.services import Models, TabularServices
from cairn.lab.tasks import quest
from cairn.lab.windowed import WindowedForm
from cairn.lab.world import World, join

# Every rule of the world occurs: trap and loop, sign shown and hidden, omen and none, slips and none.
INSTANCES = [
    pytest.param(quest.Knobs(horizon=8, forks=1, fog=0.0, loops=0.0, slip=0.1, veil=1.0), 1, id="trap"),
    pytest.param(
        quest.Knobs(horizon=8, forks=1, fog=1.0, loops=1.0, slip=0.3, veil=0.0, mix=1.0), 2, id="loop-note-omen"
    ),
    pytest.param(quest.Knobs(horizon=8, forks=2, fog=0.5, loops=0.5, slip=0.0, veil=0.5), 3, id="two-forks"),
    pytest.param(quest.Knobs(horizon=8, forks=1, fog=1.0, loops=0.0, slip=1.0, mix=0.0), 4, id="always-slips"),
]


def _table(model: LanguageModel, *worlds: World) -> PolicyTable:
    return PolicyReader(model.tokenizer).read(model, join(worlds))


@pytest.mark.parametrize(("knobs", "seed"), INSTANCES)
def test_success_is_the_sum_over_all_trajectories(model: LanguageModel, knobs: quest.Knobs, seed: int) -> None:
    plan, world = quest.draw_plan(knobs, np.random.default_rng(seed)), quest.build(knobs, seed)
    told = retold.enumerate_success(plan, retold.Narrator(model), retold.Where(), knobs.horizon, knobs.slip)
    assert 0 < told < 1
    assert float(solve(_table(model, world)).success()[0]) == pytest.approx(told, abs=1e-6)


def test_action_values_and_advantages_are_those_of_enumeration(model: LanguageModel, rng: np.random.Generator) -> None:
    knobs, seed = quest.Knobs(horizon=8, forks=1, fog=1.0, loops=1.0, slip=0.2, veil=0.0), 5
    plan, narrator = quest.draw_plan(knobs, np.random.default_rng(seed)), retold.Narrator(model)
    # A second world stands before it in the batch, so that every offset is in play.
    table = _table(model, quest.build(SMALL, 0), quest.build(knobs, seed))
    world = np.array([1, 1, 1])
    episodes = play(table, table.worlds.starts[world], world, np.zeros_like(world), rng)
    advantages, texts = solve(table).advantages(episodes), [p for w in table.worlds.worlds for p in w.prompts]
    for rollout in range(3):
        at = retold.Where()
        for turn in np.flatnonzero(episodes.alive[rollout]):
            state, option = episodes.states[rollout, turn], episodes.options[rollout, turn]
            assert texts[table.worlds.prompt[state]] == retold.prompt(plan, at)
            phrase = dict(enumerate(retold.phrases(plan, at))).get(int(option))
            turns = knobs.horizon - int(turn)
            value = retold.enumerate_success(plan, narrator, at, turns, knobs.slip)
            taken = retold.enumerate_value_of(plan, narrator, at, phrase, turns, knobs.slip)
            assert advantages[rollout, turn] == pytest.approx(taken - value, abs=1e-6)
            at = _where_it_went(plan, at, texts[table.worlds.prompt[episodes.states[rollout, turn + 1]]], phrase)
    assert np.all(advantages[~episodes.alive] == 0)
    assert episodes.alive.sum() > 10
    assert np.abs(advantages).max() > 0.1


def _where_it_went(plan: quest.Plan, at: retold.Where, seen: str, phrase: str | None) -> retold.Where:
    """Find out which outcome the world chose. Where a text fits several, doom decides nothing on one fork's loop."""
    fits = [f for _, f in retold.outcomes(plan, at, phrase, 0.5) if retold.prompt(plan, f) == seen]
    assert fits
    return fits[0]


def test_advantages_have_mean_zero_under_the_policy(model: LanguageModel) -> None:
    table = _table(model, quest.build(quest.Knobs(), 0), quest.build(quest.Knobs(), 1))
    exact = solve(table)
    states = np.arange(table.worlds.terminal.size)[~table.worlds.terminal]
    for turn in (0, 7, 23):
        values = exact.action_values(np.full_like(states, turn), states)
        mean = (table.option_probs[states] * (values - exact.values[turn, states][:, None])).sum(1)
        np.testing.assert_allclose(mean, 0, atol=1e-12)
        assert np.ptp(values, axis=1).max() > 1e-3


def test_the_value_of_the_start_is_the_success_and_the_last_turn_pays_nothing_unfinished(model: LanguageModel) -> None:
    table = _table(model, quest.build(quest.Knobs(), 3), quest.build(quest.Knobs(), 4))
    exact, worlds = solve(table), table.worlds
    np.testing.assert_array_equal(exact.success(), exact.values[0, worlds.starts])
    np.testing.assert_array_equal(exact.values[-1], worlds.payoffs)
    assert np.all((exact.values >= 0) & (exact.values <= 1))
    assert np.all(np.diff(exact.values[:, worlds.starts], axis=0) <= 1e-12), "fewer turns cannot help"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_simulation_agrees_with_exact_success_on_default_worlds(model: LanguageModel, seed: int) -> None:
    table, rollouts = _table(model, quest.build(quest.Knobs(), seed)), 20_000
    world = np.zeros(rollouts, dtype=np.int64)
    rewards = play(table, table.worlds.starts[world], world, world, np.random.default_rng([7, seed])).rewards
    exact = float(solve(table).success()[0])
    error = np.sqrt(exact * (1 - exact) / rollouts)
    assert abs(rewards.mean() - exact) < 3 * error
    assert error < 0.004


class _Occupied:
    """The policy gradient of a world by its theorem: visits, times action values, times gradients of the policy."""

    def __init__(self, model: LanguageModel, world: World) -> None:
        """Solve the world under the model."""
        self.table = _table(model, world)
        self.exact: ExactCredit = solve(self.table)
        self._model, self._world = model, world

    def visits(self) -> np.ndarray:
        """(H, S) chance to stand in each state at each turn, by forward recursion."""
        world, chance = self._world, np.zeros((self._world.horizon, self._world.n_states))
        chance[0, world.start] = 1.0
        for turn in range(world.horizon - 1):
            alive = chance[turn] * ~world.terminal
            flow = alive[:, None, None] * self.table.option_probs[:, :, None] * world.probabilities
            np.add.at(chance[turn + 1], world.successors.ravel(), flow.ravel())
        return chance * ~world.terminal

    def surrogate(self) -> Tensor:
        """Return sum over t, s, c of d_t(s) A_t(s, c) pi(c | s); its gradient is that of the success probability."""
        world, total = self._world, torch.zeros((), dtype=torch.float64)
        turns, states = np.nonzero(self.visits() > 0)
        weight = self.visits()[turns, states]
        gain = self.exact.action_values(turns, states) - self.exact.values[turns, states][:, None]
        for prompt in np.unique(world.state_prompt[states]):
            here = world.state_prompt[states] == prompt
            coefficients = (weight[here, None] * gain[here]).sum(0)
            chances = [self._chance(world.prompts[prompt], phrase) for phrase in world.options[prompt]]
            said = sum(chances, start=torch.zeros((), dtype=torch.float64))
            pairs = zip(coefficients, chances, strict=False)
            total = (
                total + sum((float(c) * p for c, p in pairs), start=total * 0) + float(coefficients[-1]) * (1 - said)
            )
        return total

    def _chance(self, text: str, phrase: str) -> Tensor:
        before, said = (self._model.tokenizer(t, add_special_tokens=False)["input_ids"] for t in (text, phrase))
        logits = self._model.network(input_ids=torch.tensor([before + said])).logits[0]
        places = torch.arange(len(before) - 1, len(before) + len(said) - 1)
        return torch.as_tensor(logits[places].log_softmax(-1)[torch.arange(len(said)), torch.tensor(said)].sum().exp())


def _weights(model: LanguageModel) -> list[Tensor]:
    return list(model.network.parameters())


def test_exact_advantages_give_the_gradient_of_success(model64: LanguageModel) -> None:
    """Golden: central differences of the solved success along random directions in weight space."""
    mine = dataclasses.replace(model64, network=copy.deepcopy(model64.network))
    world, step = quest.build(SMALL, 11), 2e-5
    gradient = torch.autograd.grad(_Occupied(mine, world).surrogate(), _weights(mine))
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = [torch.randn(w.shape, generator=generator, dtype=torch.float64) for w in _weights(mine)]
        solved = []
        for size in (step, -2 * step):
            with torch.no_grad():
                for weight, move in zip(_weights(mine), direction, strict=True):
                    weight.add_(move, alpha=size)
            solved.append(float(solve(_table(mine, world)).success()[0]))
        with torch.no_grad():
            for weight, move in zip(_weights(mine), direction, strict=True):
                weight.add_(move, alpha=step)
        expected = (solved[0] - solved[1]) / (2 * step)
        slope = sum(float((g * d).sum()) for g, d in zip(gradient, direction, strict=True))
        assert abs(expected) > 1e-3
        assert slope == pytest.approx(expected, rel=3e-3)  # norms stay in float32


def test_the_ceiling_arm_climbs_along_the_gradient_of_success(model64: LanguageModel) -> None:
    """The whole path, from sampling to loss: its gradient over many rollouts points where success rises."""
    mine = dataclasses.replace(model64, network=copy.deepcopy(model64.network))
    world, method = quest.build(SMALL, 11), ExactCreditArm(kl_coefficient=0.0)
    services = TabularServices(
        Models(mine, model64, None), WindowedForm(mine.tokenizer), Ledger(), method.needs,
        instances=[world], group_size=4000, seed=(0, 0),
    )  # fmt: skip
    rollouts = services.attach(method.collect(services.door).replace(needs=None)).declare(method.needs)
    loss = method.loss(action_logprobs(mine.network, rollouts), rollouts, method.credit(rollouts))
    descent = torch.cat([g.flatten() for g in torch.autograd.grad(loss, _weights(mine))])
    true = torch.cat([g.flatten() for g in torch.autograd.grad(_Occupied(mine, world).surrogate(), _weights(mine))])
    assert float(torch.nn.functional.cosine_similarity(-descent, true, dim=0)) > 0.98
