"""What is billed, by hand and by torch's own counter, and what a method can reach without being billed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from tests.lab.conftest import corridor
from torch.utils.flop_counter import FlopCounterMode

from cairn.lab.controls import NullControl
from cairn.lab.critic import Critic
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, Trainer, TrainSettings
from cairn.lab.model import LanguageModel
from cairn.lab.services import Models, TabularServices
from cairn.lab.windowed import WindowedForm
from cairn.lab.world import World
from cairn.method import Method, Services
from cairn.methods.grpo import GRPO
from cairn.methods.vineppo import VinePPO
from cairn.rollouts import Rollouts, UndeclaredNeedError

# The embedded model by hand: two layers with four 64 x 64 maps and three 64 x 192 ones, and the head on 96 words.
BODY_WEIGHTS = 2 * (4 * 64 * 64 + 3 * 64 * 192)
MATMUL_WEIGHTS = BODY_WEIGHTS + 64 * 96
CRITIC_WEIGHTS = BODY_WEIGHTS + 64  # a single value in place of 96 words
ATTENTION = 4 * 2 * 64  # FLOPs for each attended position: 4 * layers * width
EVERY_NEED = frozenset({"mc_continuations", "learned_critic", "oracle", "reference_policy", "turn_boundaries"})


def _open(
    model: LanguageModel, worlds: tuple[World, ...], needs: frozenset[str] = EVERY_NEED, each: int = 2
) -> tuple[TabularServices, Ledger]:
    ledger, critic = Ledger(), Critic(model, 1e-3, 1.0)
    services = TabularServices(
        Models(model, model, critic), WindowedForm(model.tokenizer), ledger, needs,
        instances=worlds, group_size=each, seed=(1, 0),
    )  # fmt: skip
    return services, ledger


def test_sampling_a_hand_made_world_costs_what_was_worked_out(model: LanguageModel) -> None:
    """Each turn reads the 13 tokens of the prompt at once and then all but the last of the n tokens that it says.

    The prompt attends to 13 * 13 positions, the token at position i (from 1) to i of them.
    """
    services, ledger = _open(model, (corridor(horizon=4),), each=3)
    batch = services.rollouts()
    turns, prompt = int(batch.turn_mask.sum()), 13
    said = batch.action_mask.sum(1).tolist()
    positions = [prompt * prompt + sum(range(prompt + 1, prompt + n)) for n in said]
    assert ledger.prompt_tokens == prompt * turns
    assert ledger.generated_tokens == sum(said)
    assert ledger.environment_steps == turns
    assert ledger.environment_resets == 3
    read = sum(prompt + n - 1 for n in said)
    assert ledger.flops == 2 * MATMUL_WEIGHTS * read + ATTENTION * sum(positions)
    assert (ledger.scored_tokens, ledger.trained_tokens, ledger.judge_calls) == (0, 0, 0)


def test_scoring_and_training_cost_what_was_worked_out(model: LanguageModel) -> None:
    services, ledger = _open(model, (corridor(horizon=4),), frozenset({"reference_policy", "learned_critic"}))
    batch = services.rollouts()
    rows = [13 + n for n in batch.action_mask.sum(1).tolist()]
    attention = ATTENTION * sum(n * n for n in rows)
    policy, critic = (2 * weights * sum(rows) + attention for weights in (MATMUL_WEIGHTS, CRITIC_WEIGHTS))
    spent = ledger.flops
    batch = services.attach(batch)
    assert ledger.scored_tokens == 2 * sum(rows), "by the reference and by the critic"
    assert ledger.flops == spent + policy + critic
    services.bill_training(batch)
    assert ledger.trained_tokens == sum(rows)
    assert ledger.flops == spent + 4 * policy + critic
    services.door.fit_critic(batch, torch.zeros(batch.token_ids.shape))
    assert ledger.trained_tokens == 2 * sum(rows)
    assert ledger.flops == spent + 4 * policy + 4 * critic


def test_continuations_are_billed_once_for_each_distinct_state(model: LanguageModel, panel: Panel) -> None:
    services, ledger = _open(model, panel.train, each=8)
    batch = services.rollouts()
    mask = batch.turn_mask
    assert batch.state_handles is not None
    distinct = torch.unique(batch.state_handles[mask]).numel()
    assert distinct < int(mask.sum())
    before = Ledger(**ledger.totals())  # type: ignore[arg-type]  # whole numbers stay whole
    values = services.continuations(batch, 3)
    assert ledger.environment_resets - before.environment_resets == 3 * distinct
    # A continuation takes a step at least, and no more than the turns that are left.
    left = [(panel.train[0].horizon - turn) for turn in range(mask.shape[1])]
    steps = ledger.environment_steps - before.environment_steps
    assert 3 * distinct <= steps <= 3 * sum(left[int(t)] for t in mask.nonzero()[:, 1])
    assert ledger.flops > before.flops
    assert not values[~mask].any()
    same = batch.state_handles[mask] == batch.state_handles[mask][0]
    assert int(same.sum()) > 1
    assert (values[mask][same] == values[mask][0]).all(), "equal states share their continuations"


def test_continuations_estimate_the_exact_values(model: LanguageModel, panel: Panel) -> None:
    services, _ = _open(model, panel.train, each=4)
    batch = services.rollouts()
    count = 600
    estimate = services.continuations(batch, count).mean(-1)[batch.turn_mask].double().numpy()
    assert batch.state_handles is not None
    turn, state = np.divmod(batch.state_handles[batch.turn_mask].numpy(), services.exact().values.shape[1])
    exact = services.exact().values[turn, state]
    error = np.sqrt(np.maximum(exact * (1 - exact), 1e-4) / count)
    assert (np.abs(estimate - exact) / error).max() < 4.5
    assert exact.std() > 0.05


def _counted(network: torch.nn.Module, tokens: torch.Tensor, backward: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        logits = network(input_ids=tokens, use_cache=False).logits
        if backward:
            logits.sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("length", [16, 40, 300])
def test_the_formula_agrees_with_the_counter_of_torch(model: LanguageModel, length: int) -> None:
    """Golden: torch counts the operations that run, attention as plain matrix products."""
    network = copy.deepcopy(model.network)
    network.set_attn_implementation("eager")
    tokens = torch.randint(2, 90, (1, length))
    lengths = torch.tensor([length])
    forward = model.cost.forward_flops(lengths, lengths**2)
    assert _counted(network, tokens, backward=False) == pytest.approx(forward, rel=0.1)
    assert _counted(network, tokens, backward=True) == pytest.approx(3 * forward, rel=0.1)


def test_generation_with_a_cache_agrees_with_the_counter_of_torch(model: LanguageModel) -> None:
    network = copy.deepcopy(model.network)
    network.set_attn_implementation("eager")
    services, ledger = _open(model, (corridor(horizon=4),), each=1)
    batch = services.rollouts()
    counted = 0
    for row in range(batch.token_ids.shape[0]):
        length = int(batch.attention_mask[row].sum())
        tokens, cache = batch.token_ids[row : row + 1, : length - 1], None
        for piece in (tokens[:, :13], *tokens[:, 13:].split(1, dim=1)):
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                cache = network(input_ids=piece, past_key_values=cache, use_cache=True).past_key_values
            counted += int(counter.get_total_flops())
    assert counted == pytest.approx(ledger.flops, rel=0.1)


@pytest.mark.parametrize(
    ("call", "need"),
    [
        ("continuations", "mc_continuations"),
        ("fit_critic", "learned_critic"),
        ("ablated", "agent_ids"),
        ("returns_without", "agent_ids"),
        ("exact_advantages", "oracle"),
    ],
)
def test_a_service_that_is_not_declared_refuses_and_bills_nothing(
    model: LanguageModel, panel: Panel, call: str, need: str
) -> None:
    services, ledger = _open(model, panel.train, EVERY_NEED - {need})
    batch = services.door.rollouts()
    before = ledger.totals()
    arguments = {
        "continuations": (batch, 2),
        "fit_critic": (batch, batch.logprobs_behaviour),
        "ablated": (batch, torch.ones(1, dtype=torch.bool)),
        "returns_without": (batch, torch.ones(1, dtype=torch.bool)),
        "exact_advantages": (batch,),
    }
    with pytest.raises(UndeclaredNeedError, match=need):
        getattr(services.door, call)(*arguments[call])
    assert ledger.totals() == before


def test_a_method_is_handed_the_services_and_nothing_else(model: LanguageModel, panel: Panel) -> None:
    services, _ = _open(model, panel.train)
    reachable = {name for name in dir(services.door) if not name.startswith("_")}
    assert reachable == {name for name in vars(Services) if not name.startswith("_")}
    assert not hasattr(services.door, "__dict__"), "nothing can be hung on it either"


@dataclass(frozen=True)
class Cheat(GRPO):
    """Tries to reach for something that it does not declare."""

    what: str = ""
    when: str = "collect"

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        batch = services.rollouts()
        if self.when == "collect":
            self._reach(batch, services)
        return batch

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        if self.when == "fit":
            self._reach(rollouts, services)

    def _reach(self, batch: Rollouts, services: Services) -> None:
        holder = services if hasattr(TabularServices, self.what) else batch
        found = getattr(holder, self.what)
        if callable(found):
            found(batch)


REACHES = [
    "exact", "bifurcations", "attach", "bill_training", "door", "exact_advantages", "state_handles",
    "observation_keys", "turn_mask", "entropies", "values",
]  # fmt: skip


@pytest.mark.parametrize("when", ["collect", "fit"])
@pytest.mark.parametrize("what", REACHES)
def test_a_cheating_method_fails(model: LanguageModel, panel: Panel, what: str, when: str) -> None:
    with pytest.raises((UndeclaredNeedError, AttributeError)):
        _trainer(model, Cheat(what=what, when=when), panel).step(0)


def _trainer(model: LanguageModel, method: Method, panel: Panel) -> Trainer:
    settings = TrainSettings(
        updates=1, tasks_per_update=2, group_size=4, learning_rate=1e-3, clip_norm=1.0, evaluate_every=1,
        critic_learning_rate=1e-3,
    )  # fmt: skip
    return Trainer(model, method, NullControl(), panel, settings, 0)


def test_asking_twice_gives_two_batches_and_two_bills(model: LanguageModel, panel: Panel) -> None:
    services, ledger = _open(model, panel.train)
    first, paid = services.door.rollouts(), ledger.generated_tokens
    second = services.door.rollouts()
    assert ledger.generated_tokens > paid > 0
    assert first.token_ids.shape != second.token_ids.shape or not torch.equal(first.token_ids, second.token_ids)
    assert ledger.environment_resets == 2 * 4 * 2


def test_an_update_bills_sampling_scoring_and_one_pass_of_training(model: LanguageModel, panel: Panel) -> None:
    plain, vine = (_trainer(model, method, panel) for method in (GRPO(), VinePPO(continuations=2)))
    plain.step(0)
    vine.step(0)
    ledger = plain.ledger
    assert ledger.environment_resets == 8
    assert ledger.scored_tokens == ledger.trained_tokens == ledger.prompt_tokens + ledger.generated_tokens
    assert vine.ledger.trained_tokens == ledger.trained_tokens, "the same batch"
    assert vine.ledger.flops > ledger.flops
    plain.evaluate(1, {})
    assert plain.ledger.totals() == ledger.totals()


def test_evaluation_is_not_billed(model: LanguageModel, panel: Panel) -> None:
    trainer = _trainer(model, GRPO(), panel)
    assert trainer.evaluate(0, {}).spent == Ledger().totals()
    assert trainer.ledger == Ledger()
