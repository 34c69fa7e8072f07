from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tests.lab_history.tiny import EMBEDDED_MODEL, tiny_world

from cairn.errors import UserError
from cairn.evidence.records import Record
from cairn.lab.cell import Setup, attempt, specify
from cairn.lab.controls import ExactCredit, NullControl
from cairn.lab.episodes import Episodes
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.forms import prompt_form
from cairn.lab.history import HistoryPlayer
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, Point, Trainer, TrainSettings
from cairn.lab.model import LanguageModel
from cairn.lab.protocol import read_protocol, task_knobs, task_prompt
from cairn.lab.services import Models, TabularServices
from cairn.lab.world import World, WorldBatch
from cairn.method import Method
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.vineppo import VinePPO

SETTINGS = TrainSettings(
    updates=2,
    tasks_per_update=2,
    group_size=4,
    learning_rate=1e-3,
    clip_norm=1.0,
    evaluate_every=1,
    critic_learning_rate=1e-3,
    prompt="history",
    evaluation_episodes=4,
)


def train(model: LanguageModel, worlds: WorldBatch, method: Method) -> tuple[Trainer, list[Point]]:
    panel = Panel(worlds.worlds[:2], worlds.worlds[2:])
    trainer = Trainer(model, method, NullControl(), panel, SETTINGS, seed=1)
    return trainer, list(trainer)


@pytest.mark.parametrize("method", [GRPO(), GiGPO(), PPOGAE(), VinePPO(continuations=2)])
def test_methods_train_on_full_histories(model: LanguageModel, short_worlds: WorldBatch, method: Method) -> None:
    trainer, points = train(model, short_worlds, method)
    assert [p.update for p in points] == [0, 1, 2]
    assert all("success_standard_error" in p.extra for p in points)
    moved = [
        (a - b).abs().max().item()
        for a, b in zip(trainer.policy.network.parameters(), model.network.parameters(), strict=True)
    ]
    assert 1e-5 < max(moved) < 0.1
    _, again = train(model, short_worlds, method)
    assert again == points


def test_continuations_are_billed(model: LanguageModel, short_worlds: WorldBatch) -> None:
    (plain, _), (forked, _) = (train(model, short_worlds, m) for m in (GRPO(), VinePPO(continuations=2)))
    assert plain.ledger.environment_resets == 16  # 2 updates, 2 tasks, 4 rollouts
    assert forked.ledger.environment_resets > 16 + 2 * 16
    assert forked.ledger.flops > 2 * plain.ledger.flops


def services_of(model: LanguageModel, ledger: Ledger, group_size: int, *worlds: World) -> TabularServices:
    return TabularServices(
        Models(model, model, None),
        prompt_form("history", model.tokenizer, 2),
        ledger,
        VinePPO.needs | {"oracle"},
        instances=worlds or [tiny_world()],
        group_size=group_size,
        seed=(0, 0),
    )


def test_a_rollout_and_its_continuations_are_billed_as_counted_by_hand(model: LanguageModel) -> None:
    ledger = Ledger()
    services = services_of(model, ledger, group_size=1)
    rollouts = services.rollouts()
    # header 3 tokens; each scene 8 words and `. act`; each phrase 3 tokens (the seed is one without a stray word)
    assert rollouts.attention_mask.sum().item() == 3 + 10 + 3 + 10 + 3
    assert rollouts.action_mask.nonzero()[:, 1].tolist() == [13, 14, 15, 26, 27, 28]
    assert (ledger.prompt_tokens, ledger.generated_tokens) == (23, 6)
    assert (ledger.environment_steps, ledger.environment_resets) == (2, 1)
    cost = model.cost

    def flops(read: int, attended: int) -> float:
        return 2.0 * cost.matmul_weights * read + 4.0 * cost.layers * cost.width * attended

    # Read: 13 as a block, 2 of the phrase, its last token, 10 as a block, 2 of the phrase; never the last token.
    one = flops(13 + 2 + 1 + 10 + 2, 13 * 13 + (14 + 15) + 16 + 10 * 26 + (27 + 28))
    assert ledger.flops == pytest.approx(one)

    services.continuations(rollouts, 2)
    # Two forks from the start are like the rollout. Two from the second turn read 26 tokens as one block, speak 3.
    late = flops(26 + 2, 26 * 26 + (27 + 28))
    assert ledger.prompt_tokens == 23 + 2 * 23 + 2 * 26
    assert ledger.generated_tokens == 6 + 2 * 6 + 2 * 3
    # What stood before the second turn: header, scene and phrase of the first.
    assert ledger.reused_tokens == 2 * (3 + 10 + 3)
    assert (ledger.environment_steps, ledger.environment_resets) == (2 + 2 * 2 + 2 * 1, 1 + 2 + 2)
    assert ledger.flops == pytest.approx(3 * one + 2 * late)


def test_equal_histories_share_their_continuations_and_other_histories_do_not(model: LanguageModel) -> None:
    ledger = Ledger()
    services = services_of(model, ledger, 40, tiny_world(slip=0.3))
    rollouts = services.rollouts()
    handles = rollouts.require("state_handles")
    # The start is shared. Behind it lie 2 phrases x 2 rooms, and perhaps a few stray words.
    assert len(handles[:, 0].unique()) == 1
    behind = handles[:, 1][rollouts.turn_mask[:, 1]]
    assert 4 <= len(behind.unique()) <= 6
    resets = ledger.environment_resets
    returns = services.continuations(rollouts, 3)
    assert ledger.environment_resets - resets == 3 * (1 + len(behind.unique()))
    first = behind[0]
    same = returns[:, 1][rollouts.turn_mask[:, 1]][behind == first]
    assert (same == same[0]).all()


def test_continuations_find_the_batch_that_they_belong_to(
    model: LanguageModel, short_worlds: WorldBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = services_of(model, Ledger(), 3, *short_worlds.worlds[:2])
    batches = [services.rollouts(), services.rollouts()]
    known = [set(b.require("state_handles")[b.turn_mask].tolist()) for b in batches]
    assert known[0] - known[1]
    assert known[1] - known[0]
    assert known[0] & known[1]
    forked: list[Episodes] = []
    fork = HistoryPlayer.fork

    def watched(player: HistoryPlayer, *arguments: Any) -> Episodes:
        forked.append(fork(player, *arguments))
        return forked[-1]

    monkeypatch.setattr(HistoryPlayer, "fork", watched)
    for rollouts, episodes in zip(batches, services._batches, strict=True):
        services.continuations(rollouts, 1)
        mask = rollouts.turn_mask.numpy()
        first = np.unique(rollouts.require("state_handles").numpy()[mask], return_index=True)[1]
        assert (forked[-1].states[:, 0] == episodes.states[:, :-1][mask][first]).all()


def test_the_oracle_refuses_and_monte_carlo_answers(model: LanguageModel) -> None:
    ledger = Ledger()
    services = services_of(model, ledger, 5, tiny_world(slip=0.3))
    rollouts = services.rollouts()
    with pytest.raises(UserError, match="not Markov"):
        services.exact_advantages(rollouts)
    spent = ledger.totals()
    value, error = services.monte_carlo_advantages(30)
    assert value.shape == error.shape == rollouts.turn_mask.shape
    assert (error[rollouts.turn_mask] > 0).any()
    assert ledger.totals() == spent
    assert not torch.equal(services.monte_carlo_advantages(30)[0], value)


def test_a_task_name_chooses_the_prompt_form() -> None:
    protocol = read_protocol()
    assert task_prompt(protocol, "quest") == "windowed"
    assert task_prompt(protocol, "quest-prompt=history") == "history"
    assert task_prompt(protocol, "quest-slip=0-prompt=history") == "history"
    turned = task_knobs(protocol, "cpu", "quest-prompt=history-slip=0")
    assert turned == dataclasses.replace(task_knobs(protocol, "cpu", "quest"), slip=0.0)
    with pytest.raises(UserError, match="unknown prompt form"):
        task_prompt(protocol, "quest-prompt=whole")


def test_the_protocol_chooses_the_prompt_form() -> None:
    protocol = read_protocol()
    quest = protocol.tasks["quest"].model_copy(update={"prompt": "history"})
    assert task_prompt(protocol.model_copy(update={"tasks": {"quest": quest}}), "quest") == "history"


def test_a_cell_records_how_success_was_estimated() -> None:
    arm = Arm("grpo", "control", "GRPO.", GRPO())
    task = "quest-prompt=history"
    reproduction = Reproduction(id="trial", title="Trial", tasks=(task,), arms=(arm,), claims=())
    setup = Setup(reproduction, read_protocol(), "smoke", str(EMBEDDED_MODEL), "0" * 64, "cpu")
    cell = specify(setup, arm, task, seed=5)
    assert cell.spec["settings"]["prompt"] == "history"
    assert specify(setup, arm, "quest", seed=5).spec_hash != cell.spec_hash
    *_, record = attempt(cell)
    assert isinstance(record, Record)
    assert record.setting is not None
    assert record.setting.evaluation is not None
    assert "4 sampled episodes" in record.setting.evaluation
    assert all("success_standard_error" in point.extra for point in record.curve)
    assert record.fidelity == {}


def test_exact_credit_cannot_be_trained_on_histories(model: LanguageModel, short_worlds: WorldBatch) -> None:
    with pytest.raises(UserError, match="windowed"):
        train(model, short_worlds, ExactCredit())
    assert np.isfinite(train(model, short_worlds, GRPO())[1][-1].success)
