"""The stages of a method in the loop: rows that are dropped, and what an update does that has nothing to learn from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from cairn.interchange import to_rollouts
from cairn.lab.controls import NullControl
from cairn.lab.loop import Panel, Point, Trainer, TrainSettings, drop_rows
from cairn.lab.model import LanguageModel
from cairn.lab.reading import action_logprobs
from cairn.method import Method, Services
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.ops.losses import masked_mean, mean_over_units, surrogate, unit_log_ratios
from cairn.ops.preferences import best_of_groups, pair_weights, preference_loss, preference_pairs
from cairn.rollouts import Credit, Rollouts
from cairn.testing import sample_rollouts

SETTINGS = TrainSettings(
    updates=3, tasks_per_update=2, group_size=6, learning_rate=1e-3, clip_norm=1.0, evaluate_every=1,
    critic_learning_rate=1e-3,
)  # fmt: skip


@pytest.fixture(name="trainer")
def _trainer(model: LanguageModel, panel: Panel) -> Any:
    """Return a function that makes the trainer of an arm."""

    def make(method: Method, on: Panel = panel, **changes: Any) -> Trainer:
        return Trainer(model, method, NullControl(), on, replace(SETTINGS, **changes), seed=5)

    return make


def _same_weights(one: Trainer, other: Trainer) -> bool:
    pairs = zip(one.policy.network.parameters(), other.policy.network.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@dataclass(frozen=True)
class FirstTurns(GRPO):
    """Trains on the first `turns` turns of each rollout; the other rows are dropped."""

    turns: int = 1
    seen: list[tuple[Rollouts, Credit]] = field(default_factory=list, compare=False)

    needs: ClassVar[frozenset[str]] = GRPO.needs | {"turn_boundaries"}

    def credit(self, rollouts: Rollouts) -> Credit:
        mask = (rollouts.turn_ids >= 0) & (rollouts.turn_ids < self.turns)
        credit = Credit(super().credit(rollouts).advantages, mask)
        self.seen.append((rollouts, credit))
        return credit


def _last(points: list[Point]) -> Point:
    return points[-1]


def test_dropped_rows_are_neither_passed_through_the_policy_nor_billed(trainer: Any) -> None:
    method = FirstTurns(turns=2)
    spent = _last(list(trainer(method))).spent
    every = _last(list(trainer(GRPO(), updates=1))).spent
    wanted = [int(r.attention_mask[credit.trained(r.action_mask).any(1)].sum()) for r, credit in method.seen]
    assert spent["trained_tokens"] == sum(wanted)
    assert wanted[0] < every["trained_tokens"] / 2
    # FLOPs of the first update: the same but for the passes over what was dropped.
    assert _last(list(trainer(FirstTurns(turns=2), updates=1))).spent["flops"] < every["flops"]
    assert _last(list(trainer(FirstTurns(turns=2), updates=1))).spent["generated_tokens"] == every["generated_tokens"]


def test_the_loss_is_that_of_the_whole_batch_under_the_mask(model: LanguageModel, trainer: Any) -> None:
    @dataclass(frozen=True)
    class Uncentred(FirstTurns):
        def credit(self, rollouts: Rollouts) -> Credit:
            credit = super().credit(rollouts)
            self.seen[-1] = (rollouts, Credit(rollouts.spread_rollouts(rollouts.returns + 1), credit.loss_mask))
            return self.seen[-1][1]

    method = Uncentred(turns=1)
    extra = trainer(method).step(0)
    rollouts, credit = method.seen[0]
    whole = method.loss(action_logprobs(model.network, rollouts), rollouts, credit)
    assert extra["loss"] == pytest.approx(float(whole.detach()), rel=1e-5)
    kept, kept_credit = drop_rows(rollouts, credit)
    assert len(kept.token_ids) == len(kept.row_rollout) == len(kept_credit.advantages) < len(rollouts.token_ids)
    assert torch.equal(kept.returns, rollouts.returns), "rollouts stay, only rows go"
    assert method.loss(action_logprobs(model.network, kept), kept, kept_credit).item() == pytest.approx(
        whole.item(), rel=1e-5
    )


def test_a_mask_that_keeps_every_row_is_plain_grpo_bit_for_bit(trainer: Any) -> None:
    masked, plain = trainer(FirstTurns(turns=10**6)), trainer(GRPO())
    assert list(masked) == list(plain)
    assert _same_weights(masked, plain)


def test_an_update_with_nothing_left_makes_no_step_and_bills_no_training(model: LanguageModel, trainer: Any) -> None:
    empty = trainer(FirstTurns(turns=0))
    points = list(empty)
    assert points[-1].success == points[0].success
    assert points[-1].spent["trained_tokens"] == 0
    assert points[-1].spent["generated_tokens"] > 0
    assert "loss" not in points[-1].extra
    assert {"batch_return", "entropy_nats"} <= points[-1].extra.keys()
    pairs = zip(empty.policy.network.parameters(), model.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert len(empty.turns) == 3 * 12, "the rollouts were played, and count"


def test_the_spread_of_returns_is_that_of_the_batch_before_the_filter(trainer: Any) -> None:
    @dataclass(frozen=True)
    class Paid(GRPO):
        def collect(self, services: Services) -> Rollouts:
            rollouts = services.rollouts().replace(needs=None)
            place = torch.arange(len(rollouts.group_ids)) % 2  # 0 and 1 by turns in the first group, nothing elsewhere
            return rollouts.replace(terminal_rewards=place * (rollouts.group_ids == rollouts.group_ids[0]).float())

        def filter(self, rollouts: Rollouts) -> Tensor:
            return rollouts.group_ids != rollouts.group_ids[0]

    run = trainer(Paid())
    size, groups = run._settings.group_size, run._settings.tasks_per_update
    spread = float((torch.arange(size) % 2).float().std()) / groups
    assert list(run)[-1].extra["return_spread"] == pytest.approx(spread)
    assert list(run)[-1].extra["batch_return"] == 0.0


def test_the_distance_to_the_initial_policy_is_zero_at_first_and_grows(trainer: Any) -> None:
    run = trainer(GRPO())
    assert run.step(0)["kl_nats"] == pytest.approx(0.0, abs=1e-4)
    for update in range(1, 6):
        last = run.step(update)["kl_nats"]
    assert last > 1e-3


def test_a_batch_in_which_nothing_was_said_makes_no_step(trainer: Any) -> None:
    @dataclass(frozen=True)
    class Silent(GRPO):
        def collect(self, services: Services) -> Rollouts:
            rollouts = services.rollouts().replace(needs=None)
            nothing = torch.zeros_like(rollouts.action_mask)
            return rollouts.replace(action_mask=nothing, turn_ids=torch.full_like(rollouts.turn_ids, -1))

    points = list(trainer(Silent()))
    assert points[-1].success == points[0].success
    assert points[-1].spent["trained_tokens"] == 0
    assert "loss" not in points[-1].extra
    assert "entropy_nats" not in points[-1].extra


def test_one_empty_update_between_others_leaves_the_optimiser_as_it_was(trainer: Any) -> None:
    """AdamW with momentum would move on a zero gradient; an update with nothing left is none."""

    @dataclass(frozen=True)
    class Second(FirstTurns):
        def credit(self, rollouts: Rollouts) -> Credit:
            credit = super().credit(rollouts)
            nothing = torch.zeros_like(rollouts.action_mask)
            return Credit(credit.advantages, nothing) if len(self.seen) == 2 else credit

    arm = trainer(Second(turns=3))
    arm.step(0)
    before = [w.clone() for w in arm.policy.network.parameters()]
    arm.step(1)
    assert all(torch.equal(a, b) for a, b in zip(before, arm.policy.network.parameters(), strict=True))
    arm.step(2)
    assert not all(torch.equal(a, b) for a, b in zip(before, arm.policy.network.parameters(), strict=True))


def test_auxiliary_models_are_fitted_on_rows_that_the_policy_drops(trainer: Any) -> None:
    @dataclass(frozen=True)
    class Idle(PPOGAE):
        fitted: list[int] = field(default_factory=list, compare=False)

        def credit(self, rollouts: Rollouts) -> Credit:
            return Credit(super().credit(rollouts).advantages, torch.zeros_like(rollouts.action_mask))

        def fit(self, rollouts: Rollouts, services: Services) -> None:
            self.fitted.append(len(rollouts.token_ids))
            super().fit(rollouts, services)

    method = Idle()
    trained = _last(list(trainer(method))).spent["trained_tokens"]
    assert len(method.fitted) == 3
    assert min(method.fitted) > 12
    assert trained > 0, "the critic's own training is billed"


def test_rows_are_kept_whatever_the_gate_says(trainer: Any) -> None:
    method = FirstTurns(turns=1)
    trainer(method).step(0)
    rollouts, _ = method.seen[0]
    closed = rollouts.declare(frozenset())
    keep: Tensor = torch.arange(len(rollouts.token_ids)) % 2 == 0
    kept = closed.keep_rows(keep)
    assert closed.used == kept.used == set()
    opened = kept.replace(needs=None)
    assert torch.equal(opened.turn_ids, rollouts.replace(needs=None).turn_ids[keep])
    assert closed.keep_rows(torch.ones_like(keep)) is closed


@dataclass(frozen=True)
class SeveralPasses(GRPO):
    """Steps over each batch more than once, with a ratio for each turn."""

    passes: int = 3
    ratios: list[Tensor] = field(default_factory=list, compare=False)

    needs: ClassVar[frozenset[str]] = GRPO.needs | {"turn_boundaries"}

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        mask, units = credit.trained(rollouts.action_mask), rollouts.units("turn")
        ratio = unit_log_ratios(logprobs, rollouts.logprobs_behaviour, mask, units, "mean").exp()
        self.ratios.append(ratio.detach()[mask])
        per_token = surrogate(ratio, credit.advantages, 0.1, 0.2)
        return mean_over_units(self.with_kl(per_token, logprobs, rollouts), mask, units)


def test_each_pass_is_billed_and_the_ratio_leaves_one_after_the_first(trainer: Any) -> None:
    method = SeveralPasses()
    points = list(trainer(method, updates=1))
    once = list(trainer(SeveralPasses(passes=1), updates=1))
    assert points[-1].spent["trained_tokens"] == 3 * once[-1].spent["trained_tokens"]
    assert points[-1].spent["generated_tokens"] == once[-1].spent["generated_tokens"]
    distances = [float((ratio - 1).abs().max()) for ratio in method.ratios]
    assert distances[0] < 1e-4
    assert distances[2] > distances[1] > 1e-3
    assert points[-1].success != once[-1].success


def test_a_plain_method_passes_once(trainer: Any) -> None:
    @dataclass(frozen=True)
    class Said(GRPO):
        passes: int = 1

    said, plain = trainer(Said()), trainer(GRPO())
    assert list(said) == list(plain)
    assert _same_weights(said, plain)


@dataclass(frozen=True)
class Baseline:
    """A moving average of returns, and how many updates it has seen."""

    mean: float = 0.0
    updates: int = 0


@dataclass(frozen=True)
class LessMovingAverage(GRPO):
    """Return less a moving average over the updates before."""

    seen: list[tuple[Baseline, float]] = field(default_factory=list, compare=False)

    def credit(self, rollouts: Rollouts) -> Credit:
        before = rollouts.recall(Baseline())
        self.seen.append((before, float(rollouts.returns.mean())))
        return Credit(rollouts.spread_rollouts(rollouts.returns - before.mean))

    def remember(self, rollouts: Rollouts) -> Baseline:
        before = rollouts.recall(Baseline())
        return Baseline(0.5 * before.mean + 0.5 * float(rollouts.returns.mean()), before.updates + 1)


def test_what_is_remembered_stands_in_the_next_batch(trainer: Any) -> None:
    method = LessMovingAverage()
    list(trainer(method))
    assert [before.updates for before, _ in method.seen] == [0, 1, 2]
    (_, first), (one, second), (two, _) = method.seen
    assert one.mean == 0.5 * first
    assert two.mean == 0.25 * first + 0.5 * second
    assert two.mean != 0.0


def test_memory_belongs_to_one_run_and_is_the_same_in_each(trainer: Any) -> None:
    method = LessMovingAverage()
    first, second = trainer(method), trainer(method)
    curves = list(first), list(second)
    assert curves[0] == curves[1]
    assert method.seen[:3] == method.seen[3:]
    assert _same_weights(first, second)


def test_an_update_whose_rollouts_are_all_filtered_out_leaves_the_memory_as_it_was(trainer: Any) -> None:
    @dataclass(frozen=True)
    class SkipsSecond(LessMovingAverage):
        filtered: list[int] = field(default_factory=list, compare=False)

        def filter(self, rollouts: Rollouts) -> Tensor:
            self.filtered.append(rollouts.recall(Baseline()).updates)
            return torch.full((len(rollouts.group_ids),), len(self.filtered) != 2)

    method = SkipsSecond()
    list(trainer(method))
    assert method.filtered == [0, 1, 1], "the filter recalls, too"
    assert [before.updates for before, _ in method.seen] == [0, 1]


def test_recalling_another_type_than_was_remembered_raises() -> None:
    batch = to_rollouts(sample_rollouts()).replace(memory=3)
    assert batch.recall(0) == 3
    assert batch.replace(memory=None).recall("nothing yet") == "nothing yet"
    with pytest.raises(TypeError, match="int, not str"):
        batch.recall("nothing yet")


@dataclass(frozen=True)
class OnPairs(Method):
    """A loss on pairs: the best of each group against the worst. Rollouts in no pair are dropped."""

    beta: float = 1.0

    needs: ClassVar[frozenset[str]] = frozenset({"preference_pairs", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        rollouts = services.rollouts()
        return rollouts.replace(pairs=preference_pairs(rollouts.returns, rollouts.group_ids))

    def credit(self, rollouts: Rollouts) -> Credit:
        paired = torch.zeros_like(rollouts.group_ids, dtype=torch.bool)
        paired[rollouts.require("pairs").flatten()] = True
        return Credit(torch.zeros_like(rollouts.logprobs_behaviour), rollouts.spread_rollouts(paired))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:  # noqa: ARG002 - pairs decide
        ratios = rollouts.sum_over_rollouts(logprobs - rollouts.require("logprobs_reference"))
        pairs = rollouts.require("pairs")
        return preference_loss(ratios, pairs, self.beta, weights=pair_weights(pairs, rollouts.group_ids))


@dataclass(frozen=True)
class ImitatesThenReinforces(GRPO):
    """Imitates the best of each group for a number of updates, then is GRPO."""

    imitation: int = 6
    phases: list[str] = field(default_factory=list, compare=False)

    def credit(self, rollouts: Rollouts) -> Credit:
        credit = super().credit(rollouts)
        if rollouts.recall(0) >= self.imitation:
            return credit
        chosen = best_of_groups(rollouts.returns, rollouts.group_ids)
        return Credit(credit.advantages, rollouts.spread_rollouts(chosen))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        supervised = rollouts.recall(0) < self.imitation
        self.phases.append("imitation" if supervised else "reinforcement")
        if supervised:
            return -masked_mean(logprobs, credit.trained(rollouts.action_mask))
        return super().loss(logprobs, rollouts, credit)

    def remember(self, rollouts: Rollouts) -> int:
        return rollouts.recall(0) + 1


@pytest.mark.parametrize("method", [OnPairs(), ImitatesThenReinforces()], ids=lambda m: type(m).__name__)
def test_pairs_and_imitation_are_stages_like_any_other_and_teach(trainer: Any, panel: Panel, method: Method) -> None:
    seen = Panel(panel.train, panel.train)
    arm = trainer(method, on=seen, updates=8, evaluate_every=8, tasks_per_update=4, group_size=12)
    points = list(arm)
    assert points[-1].success > 2 * points[0].success


def test_rollouts_in_no_pair_are_not_paid_for(trainer: Any) -> None:
    points = list(trainer(OnPairs(), updates=1))
    plain = list(trainer(GRPO(), updates=1))
    assert 0 < points[-1].spent["trained_tokens"] < plain[-1].spent["trained_tokens"]


def test_a_supervised_phase_ends_when_the_method_remembers_enough(trainer: Any) -> None:
    method = ImitatesThenReinforces(imitation=2)
    list(trainer(method, tasks_per_update=4, group_size=12))
    assert method.phases == ["imitation"] * 2 + ["reinforcement"]
