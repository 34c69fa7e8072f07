"""Methods that try to compute without paying, each in a way of its own, and what the ledger says to it."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from cairn.lab.controls import NullControl
from cairn.lab.episodes import answer
from cairn.lab.guard import UnbilledComputeError, at_work, billed, stage
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, Trainer, TrainSettings
from cairn.lab.model import LanguageModel, load
from cairn.lab.pretrain import embedded_model
from cairn.lab.world import join
from cairn.method import Method, Services
from cairn.methods.grpo import GRPO
from cairn.rollouts import Credit, Rollouts

SETTINGS = TrainSettings(
    updates=1, tasks_per_update=2, group_size=2, learning_rate=1e-3, clip_norm=1.0, evaluate_every=1,
    critic_learning_rate=1e-3,
)  # fmt: skip
Trick = Callable[[Rollouts, Any], object]
TWO = np.zeros(2, dtype=np.int64)
PLACES = ("collect", "filter", "reward", "credit", "loss", "fit")


@dataclass(frozen=True)
class Cheat(GRPO):
    """Plain GRPO with a trick up its sleeve, in one of its stages."""

    trick: Trick = field(default=lambda _, __: None, compare=False)
    where: str = "collect"

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        batch = services.rollouts()
        self._try("collect", batch, services)
        return batch

    def filter(self, rollouts: Rollouts) -> Tensor:
        self._try("filter", rollouts, None)
        return super().filter(rollouts)

    def reward(self, rollouts: Rollouts) -> Rollouts:
        self._try("reward", rollouts, None)
        return rollouts

    def credit(self, rollouts: Rollouts) -> Credit:
        self._try("credit", rollouts, None)
        return super().credit(rollouts)

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        self._try("loss", rollouts, logprobs)
        return super().loss(logprobs, rollouts, credit)

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        self._try("fit", rollouts, services)

    def _try(self, where: str, rollouts: Rollouts, given: Any) -> None:
        if where == self.where:
            self.trick(rollouts, given)


def train(model: LanguageModel, panel: Panel, method: Method) -> Trainer:
    trainer = Trainer(model, method, NullControl(), panel, SETTINGS, 0)
    trainer.step(0)
    return trainer


def networks() -> list[LlamaForCausalLM]:
    """Every language model of the process, wherever it is kept."""
    return [thing for thing in gc.get_objects() if type(thing) is LlamaForCausalLM]


def by_the_collector(rollouts: Rollouts, _: Any) -> object:
    return networks()[0](input_ids=rollouts.token_ids[:1])


def by_a_layer(rollouts: Rollouts, _: Any) -> object:
    return networks()[0].model.embed_tokens(rollouts.token_ids)


def by_hand_from_the_weights(_: Rollouts, __: Any) -> object:
    weight = networks()[0].lm_head.weight
    return torch.ones(1, weight.shape[1]) @ weight.T


def by_weights_without_gradient(_: Rollouts, __: Any) -> object:
    return networks()[0].lm_head.weight.detach()


def by_a_copy(rollouts: Rollouts, _: Any) -> object:
    return copy.deepcopy(networks()[0])(input_ids=rollouts.token_ids[:1])


def by_a_network_of_its_own(rollouts: Rollouts, _: Any) -> object:
    config = LlamaConfig(vocab_size=96, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    return LlamaForCausalLM(config)(input_ids=rollouts.token_ids[:1])


def by_a_model_from_the_disk(rollouts: Rollouts, _: Any) -> object:
    return load(embedded_model("quest")).network(input_ids=rollouts.token_ids[:1])


def by_a_plain_map(_: Rollouts, __: Any) -> object:
    return nn.Linear(2, 2)(torch.ones(2))


SAVED: list[Any] = []


def by_numbers_that_were_saved_before(rollouts: Rollouts, _: Any) -> object:
    network, numbers = SAVED[1:]
    return torch.func.functional_call(network, numbers, (rollouts.token_ids[:1],))


def by_a_saved_reference(rollouts: Rollouts, _: Any) -> object:
    return SAVED[0].network(input_ids=rollouts.token_ids[:1])


def by_a_closure(model: LanguageModel) -> Trick:
    return lambda rollouts, _: model.network.model(input_ids=rollouts.token_ids[:1])


TRICKS: dict[str, Trick] = {
    trick.__name__: trick
    for trick in (
        by_the_collector, by_a_layer, by_hand_from_the_weights, by_weights_without_gradient, by_a_copy,
        by_a_network_of_its_own, by_a_model_from_the_disk, by_a_plain_map, by_a_saved_reference,
        by_numbers_that_were_saved_before,
    )
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_no_network_runs_in_a_stage(model: LanguageModel, panel: Panel, trick: str) -> None:
    numbers = {name: weight.detach().clone() for name, weight in model.network.named_parameters()}
    SAVED[:] = [
        model,
        copy.deepcopy(model.network),
        {**numbers, "lm_head.weight": numbers["model.embed_tokens.weight"]},
    ]
    with pytest.raises(UnbilledComputeError):
        train(model, panel, Cheat(trick=TRICKS[trick]))


@pytest.mark.parametrize("where", PLACES)
def test_no_stage_is_left_unwatched(model: LanguageModel, panel: Panel, where: str) -> None:
    with pytest.raises(UnbilledComputeError):
        train(model, panel, Cheat(trick=by_a_closure(model), where=where))


def inside(services: Any) -> Any:
    """What stands behind the door, for a method that does not respect the underscore."""
    return services._inside


BEHIND_THE_DOOR: dict[str, Trick] = {
    "plays": lambda _, s: inside(s)._player().play(TWO, np.random.default_rng(0)),
    "plays with an old player": lambda _, s: inside(s)._current.play(TWO, np.random.default_rng(0)),
    "samples": lambda _, s: inside(s).rollouts(),
    "asks for exact credit": lambda b, s: inside(s).exact_advantages(b),
    "asks where the forks are": lambda b, s: inside(s).bifurcations(b),
    "estimates": lambda _, s: inside(s).monte_carlo_advantages(2),
    "scores": lambda b, s: inside(s)._models.policy.network(input_ids=b.token_ids),
    "scores by a service": lambda b, s: inside(s).second_logprobs(b),
    "steps a world": lambda _, s: _step(inside(s)._current.worlds),
    "writes to the ledger": lambda _, s: setattr(inside(s)._bills._ledger, "flops", 0.0),
    "bills nothing": lambda _, s: inside(s)._bills.judged(-1),
}  # fmt: skip


def _step(worlds: Any) -> object:
    zero = np.zeros(1, dtype=np.int64)
    return answer(worlds, zero, zero, np.zeros(1))


@pytest.mark.parametrize("where", ["collect", "fit"])
@pytest.mark.parametrize("trick", BEHIND_THE_DOOR)
def test_nothing_behind_the_door_works_without_it(model: LanguageModel, panel: Panel, trick: str, where: str) -> None:
    with pytest.raises(UnbilledComputeError):
        train(model, panel, Cheat(trick=BEHIND_THE_DOOR[trick], where=where))


def test_a_method_cannot_run_the_network_backwards(model: LanguageModel, panel: Panel) -> None:
    for trick in (
        lambda _, logprobs: logprobs.sum().backward(retain_graph=True),
        lambda _, logprobs: torch.autograd.backward(logprobs.sum(), retain_graph=True),
        lambda _, logprobs: torch.autograd.grad(logprobs.sum(), logprobs, retain_graph=True),
    ):
        with pytest.raises(UnbilledComputeError, match="backward"):
            train(model, panel, Cheat(trick=trick, where="loss"))


def test_what_the_door_gives_is_given_and_billed(model: LanguageModel, panel: Panel) -> None:
    honest = train(model, panel, GRPO())
    double = train(model, panel, Cheat(trick=lambda _, services: services.rollouts(), where="fit"))
    assert double.ledger.environment_resets == 2 * honest.ledger.environment_resets
    assert double.ledger.flops > honest.ledger.flops


def test_the_guard_goes_up_and_down_with_the_stages(model: LanguageModel) -> None:
    ids = torch.ones(1, 2, dtype=torch.long)
    ledger = Ledger()
    with stage():
        with billed():
            model.network(input_ids=ids)
            ledger.flops += 1.0
            with stage(), pytest.raises(UnbilledComputeError):
                model.network(input_ids=ids)
            model.network(input_ids=ids)
        with pytest.raises(UnbilledComputeError), billed():
            raise UnbilledComputeError
        with pytest.raises(UnbilledComputeError):
            model.network(input_ids=ids)
        with pytest.raises(UnbilledComputeError):
            ledger.flops = 0.0
    model.network(input_ids=ids)
    assert ledger.flops == 1.0


def test_a_watched_method_is_otherwise_the_method() -> None:
    method = GRPO(clip_ratio=0.3)
    watched = at_work(method)
    assert watched.clip_ratio == 0.3
    assert watched.needs == method.needs


def test_ordinary_maths_is_left_alone(panel: Panel) -> None:
    worlds = join(panel.train)
    with stage():
        values = torch.arange(6.0).reshape(2, 3).requires_grad_()
        assert float((values.softmax(-1) @ values.T).sum().detach()) > 0
        assert worlds.n_options > 0


def test_the_guard_goes_unnoticed_in_an_update(model: LanguageModel, panel: Panel) -> None:
    """Raising and dropping it, against one update of the smallest run that there is; the best of several times."""
    trainer = Trainer(model, GRPO(), NullControl(), panel, SETTINGS, 0)

    def best(run: Callable[[], object], times: int) -> float:
        seconds = []
        for _ in range(times):
            started = time.thread_time()
            run()
            seconds.append(time.thread_time() - started)
        return min(seconds)

    def up_and_down() -> None:
        for _ in range(100):
            with stage(), billed():
                pass

    assert best(up_and_down, 5) / 100 * len(PLACES) < 0.02 * best(lambda: trainer.step(0), 3)
