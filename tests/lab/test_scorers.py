"""Scorers that stand in for real ones: what they say, how often they err, and what that costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.errors import UserError
from cairn.lab.cell import describe_object, make_trainer, restore_object
from cairn.lab.experiment import Arm
from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.optimal import solve_best
from cairn.lab.scorers import Oracle, Scorer, Site
from cairn.lab.services import Models, TabularServices
from cairn.lab.world import join
from cairn.method import Method, Services
from cairn.ops.batches import select
from cairn.rollouts import Rollouts, UndeclaredNeedError

Open = Callable[..., tuple[TabularServices, Ledger]]
NEEDS = frozenset({"prm", "reward_model", "judge", "oracle", "mc_continuations"})


@pytest.fixture
def open_services(model: LanguageModel, panel: Panel) -> Open:
    def opened(
        scorer: Scorer | None,
        prompt: Literal["windowed", "history"] = "windowed",
        needs: frozenset[str] = NEEDS,
        each: int = 24,
    ) -> tuple[TabularServices, Ledger]:
        ledger, form = Ledger(), prompt_form(prompt, model.tokenizer, 2)
        live = None if scorer is None else scorer.open(Site(model, form, panel.train, 4))
        services = TabularServices(
            Models(model, model, None, live), form, ledger, needs,
            instances=panel.train, group_size=each, seed=(4, 0),
        )  # fmt: skip
        return services, ledger

    return opened


def wrong_turns(panel: Panel, batch: Rollouts) -> Tensor:
    """Golden: by the optimal values of each turn's state and successor, read off the handles."""
    best = solve_best(join(panel.train))
    turn, state = np.divmod(batch.require("state_handles").numpy(), best.values.shape[1])
    spread = best.values.max()
    assert spread <= 1
    value = best.values[turn, state]
    following = np.full_like(value, np.nan)
    following[:, :-1] = value[:, 1:]
    return torch.from_numpy(np.where(batch.turn_mask, following < value - 1e-9, False))


def test_an_oracle_without_errors_knows_every_turn_and_every_rollout(open_services: Open, panel: Panel) -> None:
    services, _ = open_services(Oracle())
    batch = services.rollouts()
    scores = services.turn_scores(batch)
    assert set(scores[batch.turn_mask].unique().tolist()) == {0.0, 1.0}
    assert not scores[~batch.turn_mask].any()
    solved = batch.terminal_rewards > 0
    assert torch.equal(services.rollout_scores(batch), solved.float())
    # A rollout in which no turn was wrong, in a world without dice to speak of, was solved or ran out of luck.
    flawless = (scores + ~batch.turn_mask).all(1)
    assert solved[flawless].float().mean() > 0.8
    # Where the optimal value fell although the dice of the world are nearly sure, the turn is called wrong.
    fell = wrong_turns(panel, batch)
    assert (scores[fell] == 0).float().mean() > 0.8


@pytest.mark.parametrize("consistent", [False, True])
def test_errors_come_at_the_rates_that_are_asked_for(open_services: Open, consistent: bool) -> None:
    """Within 4.5 standard errors of a share, over what is drawn: each turn and vote, or each wording and vote.

    With windowed prompts the rows of the batch are its turns, so that distinct rows are distinct wordings.
    """
    truth = open_services(Oracle())[0]
    services, _ = open_services(Oracle(0.3, 0.1, consistent=consistent))
    right = truth.turn_scores(truth.rollouts()) > 0
    batch = services.rollouts()
    marks, right = services.marks(batch, 60)[batch.turn_mask], right[batch.turn_mask]
    if consistent:
        _, wording = torch.unique(batch.token_ids, dim=0, return_inverse=True)
        first = torch.tensor([int((wording == w).nonzero()[0]) for w in range(int(wording.max()) + 1)])
        marks, right = marks[first], right[first]
    for is_right, rate in ((True, 0.1), (False, 0.3)):
        errors = (marks[right == is_right] != is_right).float()
        assert errors.numel() > 600
        assert abs(float(errors.mean()) - rate) < 4.5 * (rate * (1 - rate) / errors.numel()) ** 0.5


def test_a_consistent_oracle_says_the_same_of_the_same_words(open_services: Open) -> None:
    services, _ = open_services(Oracle(0.4, 0.4, consistent=True))
    batch = services.rollouts()
    first = services.marks(batch, 3)
    assert torch.equal(services.marks(batch, 3), first)
    order = torch.randperm(len(batch.group_ids), generator=torch.Generator().manual_seed(0))
    turned = select(batch, order)
    assert torch.equal(services.marks(turned, 3), first[order])
    assert not torch.equal(first[..., 0], first[..., 1]), "votes differ"
    handles = batch.require("state_handles")[batch.turn_mask]
    assert handles.unique().numel() < handles.numel()
    free, _ = open_services(Oracle(0.4, 0.4))
    batch = free.rollouts()
    assert not torch.equal(free.turn_scores(batch), free.turn_scores(batch)), "errors are drawn anew"


def test_values_are_those_of_the_current_policy(open_services: Open) -> None:
    services, _ = open_services(Oracle(reads="values"))
    batch = services.rollouts()
    turn, state = np.divmod(batch.require("state_handles")[batch.turn_mask].numpy(), services.exact().values.shape[1])
    before = torch.from_numpy(services.exact().values[turn, state]).float()
    wanted = before + services.exact_advantages(batch)[batch.turn_mask]
    torch.testing.assert_close(services.turn_scores(batch)[batch.turn_mask], wanted)
    assert torch.equal(services.rollout_scores(batch), batch.returns)
    history, _ = open_services(Oracle(reads="values"), "history", each=1)
    with pytest.raises(UserError, match="no exact credit"):
        history.turn_scores(history.rollouts())


def test_labels_do_not_depend_on_the_prompt_form(open_services: Open) -> None:
    services, _ = open_services(Oracle(), "history", each=2)
    batch = services.rollouts()
    scores = services.turn_scores(batch)
    assert 0 < scores.sum() < batch.turn_mask.sum()


def test_an_oracle_is_billed_like_a_model_of_the_policys_size(open_services: Open, model: LanguageModel) -> None:
    services, ledger = open_services(Oracle(cost_in_policies=0.5), each=2)
    batch = services.rollouts()
    lengths = batch.attention_mask.sum(1)
    one, before = model.cost.forward_flops(lengths, lengths**2), ledger.totals()
    services.turn_scores(batch)
    assert ledger.flops == pytest.approx(before["flops"] + 0.5 * one)
    assert ledger.scored_tokens == round(0.5 * int(lengths.sum()))
    assert ledger.judge_calls == 0
    services.marks(batch, 4)
    assert ledger.flops == pytest.approx(before["flops"] + 2.5 * one)
    assert ledger.judge_calls == 4 * len(batch.group_ids)


def test_a_batch_without_rollouts_or_of_one_is_scored(open_services: Open) -> None:
    services, ledger = open_services(Oracle(0.2, 0.2, consistent=True))
    batch = services.rollouts()
    none = batch.keep_rollouts(torch.zeros(len(batch.group_ids), dtype=torch.bool))
    before = ledger.totals()
    turns = batch.turn_mask.shape[1]
    assert services.turn_scores(none).shape == (0, turns)
    assert services.rollout_scores(none).shape == (0,)
    assert services.marks(none, 2).shape == (0, turns, 2)
    assert ledger.totals() == before
    one = batch.keep_rollouts(torch.arange(len(batch.group_ids)) == 5)
    assert services.marks(one, 2).shape == (1, turns, 2)
    whole = open_services(Oracle(0.2, 0.2, consistent=True))[0]
    assert torch.equal(services.turn_scores(one)[0], whole.turn_scores(whole.rollouts())[5])


def test_asking_without_a_scorer_says_how_to_name_one(open_services: Open) -> None:
    services, _ = open_services(None, each=1)
    with pytest.raises(UserError, match="names no scorer"):
        services.door.turn_scores(services.door.rollouts())


@pytest.mark.parametrize(("call", "need"), [("turn_scores", "prm"), ("rollout_scores", "reward_model")])
def test_each_question_has_its_need(open_services: Open, call: str, need: str) -> None:
    services, ledger = open_services(Oracle(), needs=NEEDS - {need}, each=1)
    batch, before = services.door.rollouts(), ledger.totals()
    with pytest.raises(UndeclaredNeedError, match=need):
        getattr(services.door, call)(batch)
    assert ledger.totals() == before


@pytest.mark.parametrize("wrong", [{"false_positive_rate": 1.5}, {"reads": "minds"}, {"cost_in_policies": -1.0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        Oracle(**wrong)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Marked(Method):
    """Pays each rollout the share of its turns that the PRM calls right."""

    needs: ClassVar[frozenset[str]] = frozenset({"prm", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        batch = services.rollouts()
        return batch.replace(terminal_rewards=services.turn_scores(batch).mean(1))


def test_an_arm_names_its_scorer_and_a_run_uses_it(model: LanguageModel, panel: Panel) -> None:
    arm = Arm("marked", "method", "scores", Marked(), scorer=Oracle(0.1))
    assert arm.scorer is not None
    described = describe_object(arm.scorer)
    assert restore_object(described, Scorer) == arm.scorer
    spec = {
        "method": describe_object(Method()), "null": describe_object(arm.null), "seed": 0, "scorer": described,
        "settings": {
            "updates": 1, "tasks_per_update": 2, "group_size": 2, "learning_rate": 1e-3, "clip_norm": 1.0,
            "evaluate_every": 1, "critic_learning_rate": 1e-3,
        },
    }  # fmt: skip
    trainer = make_trainer(spec, model, panel)
    trainer.method = arm.method
    assert dataclasses.asdict(arm.scorer)["false_positive_rate"] == 0.1
    plain = make_trainer({name: value for name, value in spec.items() if name != "scorer"}, model, panel)
    plain.step(0)
    assert plain.ledger.judge_calls == 0
