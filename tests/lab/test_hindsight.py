"""Scoring again under an edited prompt, answers nobody gave, a second model, and batches of earlier updates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.errors import UserError
from cairn.lab.buffer import CAPACITY, ReplayBuffer
from cairn.lab.controls import NullControl
from cairn.lab.forms import prompt_form
from cairn.lab.guard import UnbilledComputeError
from cairn.lab.hints import Hints
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, Trainer, TrainSettings
from cairn.lab.model import LanguageModel
from cairn.lab.optimal import solve_best
from cairn.lab.protocol import panel_digest
from cairn.lab.services import Models, TabularServices
from cairn.lab.tasks import find, names
from cairn.lab.world import join
from cairn.method import Given, Method, Services
from cairn.ops.batches import concatenate, renumber_groups
from cairn.rollouts import Rollouts, UndeclaredNeedError

HINTS = Hints(success="omen good .", failure="omen bad .", hint="memory bell silver .", answer="go left .")
NEEDS = frozenset({"rescoring", "prm", "off_policy_buffer", "mc_continuations", "env_fork"})
Open = Callable[..., tuple[TabularServices, Ledger]]


@pytest.fixture
def hinted_panel(panel: Panel) -> Panel:
    return Panel(tuple(dataclasses.replace(w, hints=HINTS) for w in panel.train), panel.evaluation)


@pytest.fixture
def open_services(model64: LanguageModel, hinted_panel: Panel) -> Open:
    def opened(
        prompt: Any = "windowed", hints: Hints | None = HINTS, needs: frozenset[str] = NEEDS, update: int = 0,
        models: Models | None = None, each: int = 3,
    ) -> tuple[TabularServices, Ledger]:  # fmt: skip
        ledger = Ledger()
        worlds = [dataclasses.replace(w, hints=hints) for w in hinted_panel.train[:2]]
        services = TabularServices(
            models or Models(model64, model64, None), prompt_form(prompt, model64.tokenizer, 2), ledger, needs,
            instances=worlds, group_size=each, seed=(7, update),
        )  # fmt: skip
        return services, ledger

    return opened


def direct(model: LanguageModel, ids: list[int]) -> Tensor:
    """Golden: the network on one row without padding, read by hand."""
    with torch.no_grad():
        logits = model.network(input_ids=torch.tensor([ids])).logits[0]
    logs = logits.log_softmax(-1)
    return torch.cat([logs.new_zeros(1), logs[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]])


@pytest.mark.parametrize("prompt", ["windowed", "history"])
@pytest.mark.parametrize("given", ["nothing", "outcome", "success", "hint"])
def test_a_row_is_scored_behind_the_text(
    open_services: Open, model64: LanguageModel, prompt: str, given: Given
) -> None:
    services, ledger = open_services(prompt)
    batch = services.rollouts()
    tokens_before, flops_before = ledger.scored_tokens, ledger.flops
    scored = services.rescored_logprobs(batch, given)
    assert scored.shape == batch.token_ids.shape
    assert not scored[~batch.action_mask].any()
    read = []
    for row, rollout in enumerate(batch.row_rollout.tolist()):
        solved = bool(batch.terminal_rewards[rollout] > 0)
        name = {"outcome": "success" if solved else "failure"}.get(given, given)
        text = "" if given == "nothing" else getattr(HINTS, name)
        before = model64.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = batch.token_ids[row][batch.attention_mask[row]].tolist()
        wanted = direct(model64, [*before, *ids])[len(before) :]
        mask = batch.action_mask[row][: len(ids)]
        torch.testing.assert_close(scored[row][: len(ids)][mask], wanted[mask], atol=1e-9, rtol=0)
        read.append(len(before) + len(ids))
    assert ledger.scored_tokens - tokens_before == sum(read)
    lengths = torch.tensor(read)
    assert ledger.flops - flops_before == pytest.approx(model64.cost.forward_flops(lengths, lengths**2))
    if given == "nothing":
        torch.testing.assert_close(
            scored[batch.action_mask].float(), batch.logprobs_behaviour[batch.action_mask], atol=1e-6, rtol=0
        )
    else:
        assert (scored - services.rescored_logprobs(batch, "nothing")).abs().max() > 1e-3


@pytest.mark.parametrize("prompt", ["windowed", "history"])
def test_an_answer_is_scored_behind_the_prompt_of_each_turn(
    open_services: Open, model64: LanguageModel, prompt: str
) -> None:
    services, ledger = open_services(prompt)
    batch = services.rollouts()
    before = ledger.scored_tokens
    found = services.answer_logprobs(batch)
    answer = model64.tokenizer(HINTS.answer, add_special_tokens=False)["input_ids"]
    read = 0
    for rollout, turn in batch.turn_mask.nonzero().tolist():
        row, column = ((batch.row_rollout == rollout)[:, None] & (batch.turn_ids == turn)).nonzero()[0].tolist()
        ids = [*batch.token_ids[row, :column].tolist(), *answer]
        wanted = direct(model64, ids)[-len(answer) :].mean()
        assert float(found[rollout, turn]) == pytest.approx(float(wanted), abs=1e-6)
        read += len(ids)
    assert not found[~batch.turn_mask].any()
    assert ledger.scored_tokens - before == read


def test_another_rollouts_answer_can_be_put_in(model64: LanguageModel, hinted_panel: Panel) -> None:
    """Two tasks with answers of their own: asking for the other's is asking as if the hints were exchanged."""

    def scored(answers: tuple[str, str], of: Tensor | None) -> Tensor:
        worlds = [
            dataclasses.replace(w, hints=Hints(answer=a)) for w, a in zip(hinted_panel.train[:2], answers, strict=True)
        ]
        services = TabularServices(
            Models(model64, model64, None), prompt_form("windowed", model64.tokenizer, 2), Ledger(), NEEDS,
            instances=worlds, group_size=2, seed=(7, 0),
        )  # fmt: skip
        return services.door.answer_logprobs(services.rollouts(), of)

    other = torch.tensor([2, 3, 0, 1])
    swapped = scored(("go left .", "read note ."), other)
    assert torch.equal(swapped, scored(("read note .", "go left ."), None))
    assert not torch.equal(swapped, scored(("go left .", "read note ."), None))


def test_what_a_task_does_not_say_or_a_model_does_not_know_is_refused(open_services: Open) -> None:
    bare, _ = open_services(hints=None)
    with pytest.raises(UserError, match="no text for `hint`"):
        bare.rescored_logprobs(bare.rollouts(), "hint")
    with pytest.raises(UserError, match="no text for `answer`"):
        bare.answer_logprobs(bare.rollouts())
    strange, ledger = open_services(hints=Hints(hint="take the submarine ."))
    batch, before = strange.rollouts(), ledger.scored_tokens
    with pytest.raises(UserError, match="does not know") as caught:
        strange.rescored_logprobs(batch, "hint")
    assert caught.value.value == "take the submarine"
    assert ledger.scored_tokens == before


def test_nothing_and_one_rollout_are_scored(open_services: Open) -> None:
    services, ledger = open_services()
    batch = services.rollouts()
    whole = services.rescored_logprobs(batch, "hint")
    none = batch.keep_rollouts(torch.zeros(6, dtype=torch.bool))
    before = ledger.totals()
    assert services.rescored_logprobs(none, "hint").shape == none.token_ids.shape
    assert services.answer_logprobs(none).shape == (0, batch.turn_mask.shape[1])
    assert services.second_logprobs(none).shape == none.token_ids.shape
    assert services.fit_second(none, Tensor.sum, 1e-3) == 0.0
    assert ledger.totals() == before
    one = batch.keep_rollouts(torch.arange(6) == 4)
    torch.testing.assert_close(
        services.rescored_logprobs(one, "hint"), whole[batch.row_rollout == 4], atol=1e-9, rtol=0
    )
    silent = batch.replace(
        action_mask=torch.zeros_like(batch.action_mask), turn_ids=torch.full_like(batch.turn_ids, -1)
    )
    assert not services.answer_logprobs(silent).any()
    assert not services.rescored_logprobs(silent, "hint").any()


def test_hints_are_no_part_of_what_is_played(panel: Panel, hinted_panel: Panel) -> None:
    assert panel_digest(hinted_panel) == panel_digest(panel)


@pytest.mark.parametrize("name", names())
def test_what_tasks_hint_at_is_in_the_words_of_their_models(name: str) -> None:
    task = find(name)
    for package in task.packages:
        pytest.importorskip(package)
    for seed in range(5):
        hints = getattr(task.build(task.tiny, seed), "hints", None)
        for text in [] if hints is None else vars(hints).values():
            assert text is None or set(text.split()) <= set(task.vocabulary())


def test_a_quest_and_a_chain_give_their_solution() -> None:
    """The right exits are those from which the optimal value stays 1; the right answer is the one that pays."""
    quest, chain = find("quest"), find("chain")
    world = quest.build(quest.make_knobs({"fog": 0.0, "slip": 0.0, "loops": 0.0}), 3)
    state, exits = world.start, []
    best = solve_best(join([world]))
    for turn in range(world.horizon):
        if world.terminal[state]:
            break
        phrases = world.options[world.state_prompt[state]]
        values = best.action_values(np.array([turn]), np.array([state]))[0][: len(phrases)]
        chosen = int(values.argmax())
        if world.bifurcations[state]:
            exits.append(phrases[chosen])
        state = int(world.successors[state, chosen, world.probabilities[state, chosen].argmax()])
    assert world.hints is not None
    assert world.hints.answer == " ".join(exits)
    question = chain.build(chain.knobs(), 3)
    assert question.hints is not None
    last = [
        question.options[question.state_prompt[s]][0]
        for s in range(question.n_states)
        if not question.terminal[s] and question.payoffs[question.successors[s, 0, 0]] == 1
    ]
    assert set(last) == {question.hints.answer}


def test_the_second_model_starts_as_the_policy_and_learns(open_services: Open, model64: LanguageModel) -> None:
    services, ledger = open_services()
    batch = services.rollouts()
    rows = batch.attention_mask.sum(1)
    one, before = model64.cost.forward_flops(rows, rows**2), ledger.totals()
    own = services.second_logprobs(batch)
    torch.testing.assert_close(
        own[batch.action_mask].float(), batch.logprobs_behaviour[batch.action_mask], atol=1e-6, rtol=0
    )
    assert ledger.scored_tokens == int(rows.sum())
    assert ledger.flops == pytest.approx(before["flops"] + one)
    losses = [services.fit_second(batch, lambda logprobs: -logprobs[:5].sum(), 1e-3) for _ in range(4)]
    assert losses[0] == pytest.approx(-float(own[:5].sum()))
    assert losses[-1] < losses[0]
    assert ledger.trained_tokens == 4 * int(rows.sum())
    assert ledger.flops == pytest.approx(before["flops"] + (1 + 4 * 3) * one)
    later = services.second_logprobs(batch)
    assert (later - own).abs().max() > 1e-3
    torch.testing.assert_close(services.rescored_logprobs(batch, "nothing"), own, atol=1e-9, rtol=0)
    assert services.fit_second(batch, lambda _: torch.tensor(1.5), 1e-3) == 1.5
    assert torch.equal(services.second_logprobs(batch), later), "a loss without log-probs makes no step"
    with pytest.raises(FloatingPointError, match="second model"):
        services.fit_second(batch, lambda logprobs: logprobs.sum() * torch.nan, 1e-3)
    assert torch.equal(services.second_logprobs(batch), later)


def test_a_loss_of_the_second_model_is_the_methods_own_code(open_services: Open, model64: LanguageModel) -> None:
    services, _ = open_services()
    batch = services.rollouts()

    def loss(logprobs: Tensor) -> Tensor:
        model64.network(input_ids=batch.token_ids[:1])
        return logprobs.sum()

    with pytest.raises(UnbilledComputeError):
        services.door.fit_second(batch, loss, 1e-3)


def test_earlier_batches_come_back_in_order_and_no_more_than_fit() -> None:
    buffer = ReplayBuffer()
    assert buffer.before(0, 3) == ()
    for update in range(CAPACITY + 2):
        buffer.add(update, _numbered(update))
    buffer.add(CAPACITY + 1, _numbered(-1))
    assert [b.draw_seed for b in buffer.before(CAPACITY + 1, 2)] == [CAPACITY - 1, CAPACITY]
    assert [b.draw_seed for b in buffer.before(CAPACITY + 2, 1)] == [CAPACITY + 1, -1]
    assert [b.draw_seed for b in buffer.before(10**9, 10**9)][:2] == [2, 3]
    assert buffer.before(10**9, 0) == ()


def _numbered(number: int) -> Rollouts:
    empty = torch.zeros(0, 1)
    rows = torch.zeros(0, dtype=torch.long)
    return Rollouts(
        token_ids=empty.long(), attention_mask=empty.bool(), action_mask=empty.bool(), turn_ids=empty.long(),
        row_rollout=rows, group_ids=rows, terminal_rewards=torch.zeros(0), truncated=rows.bool(),
        turn_mask=empty.bool(), turn_rewards=empty, logprobs_behaviour=empty, draw_seed=number,
    )  # fmt: skip


def test_what_another_update_sampled_can_be_scored_but_not_continued(
    open_services: Open, model64: LanguageModel
) -> None:
    models = Models(model64, model64, None)
    first, _ = open_services(models=models)
    old = first.rollouts()
    assert first.replay(5) == (), "the batch of this update is no earlier one"
    later, ledger = open_services(models=models, update=1)
    later.rollouts()
    (found,) = later.door.replay(5)
    assert found.needs == NEEDS
    assert torch.equal(found.token_ids, old.token_ids)
    assert later.second_logprobs(found).shape == old.token_ids.shape
    before = ledger.totals()
    for call in (
        lambda: later.continuations(found.replace(needs=None), 1),
        lambda: later.fork(found, torch.tensor([0]), torch.tensor([0])),
    ):
        with pytest.raises(ValueError, match="not sampled in this update"):
            call()
    assert ledger.totals() == before


@dataclass(frozen=True)
class OffPolicy(Method):
    """Learns from this batch and from the two before it."""

    needs: ClassVar[frozenset[str]] = frozenset({"off_policy_buffer", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        return concatenate(renumber_groups([services.rollouts(), *services.replay(2)]))


def test_a_method_learns_from_what_it_sampled_before(model: LanguageModel, panel: Panel) -> None:
    settings = TrainSettings(
        updates=4, tasks_per_update=2, group_size=2, learning_rate=1e-3, clip_norm=1.0, evaluate_every=4,
        critic_learning_rate=1e-3,
    )  # fmt: skip

    def run() -> Trainer:
        trainer = Trainer(model, OffPolicy(), NullControl(), panel, settings, 0)
        list(trainer)
        return trainer

    trainer = run()
    assert len(trainer.turns) == 4 * (1 + 2 + 3 + 3)
    assert trainer.ledger.environment_resets == 4 * 4, "what is learnt from again is not sampled again"
    assert run().ledger == trainer.ledger


@pytest.mark.parametrize(
    ("call", "arguments", "need"),
    [
        ("rescored_logprobs", ("hint",), "rescoring"),
        ("answer_logprobs", (), "rescoring"),
        ("second_logprobs", (), "prm"),
        ("fit_second", (Tensor.sum, 1e-3), "prm"),
    ],
)
def test_each_service_has_its_need(open_services: Open, call: str, arguments: tuple[Any, ...], need: str) -> None:
    services, ledger = open_services(needs=NEEDS - {need})
    batch, before = services.door.rollouts(), ledger.totals()
    with pytest.raises(UndeclaredNeedError, match=need):
        getattr(services.door, call)(batch, *arguments)
    closed, _ = open_services(needs=NEEDS - {"off_policy_buffer"})
    with pytest.raises(UndeclaredNeedError, match="off_policy_buffer"):
        closed.door.replay(1)
    assert ledger.totals() == before
