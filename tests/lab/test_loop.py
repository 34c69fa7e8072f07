"""The training loop: identities between arms, null controls, filters, numbers that are not finite, determinism."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from tests.lab.conftest import NOTED
from torch import Tensor

from cairn.lab.cell import gradient_metrics
from cairn.lab.controls import (
    ExactCredit,
    NullControl,
    ShuffledCredit,
    ShuffledObservations,
    ShuffledTurnValues,
    permute_rows,
)
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, Point, Trainer, TrainSettings
from cairn.lab.model import LanguageModel
from cairn.lab.protocol import build_panel
from cairn.lab.services import Models, TabularServices
from cairn.lab.windowed import WindowedForm
from cairn.method import Method
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.vineppo import VinePPO
from cairn.rollouts import Credit, Rollouts

SETTINGS = TrainSettings(
    updates=4, tasks_per_update=2, group_size=6, learning_rate=1e-3, clip_norm=1.0, evaluate_every=2,
    critic_learning_rate=1e-3,
)  # fmt: skip
Train = Callable[..., tuple[list[Point], Trainer]]


@pytest.fixture
def train(model: LanguageModel, panel: Panel) -> Train:
    """Return a function that trains an arm from the embedded model."""

    def run(
        method: Method, null: NullControl | None = None, on: Panel = panel, seed: int = 5, **changes: Any
    ) -> tuple[list[Point], Trainer]:
        trainer = Trainer(model, method, null or NullControl(), on, replace(SETTINGS, **changes), seed)
        return list(trainer), trainer

    return run


def _same_weights(one: Trainer, other: Trainer) -> bool:
    pairs = zip(one.policy.network.parameters(), other.policy.network.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_gigpo_without_its_step_part_is_grpo_bit_for_bit(train: Train) -> None:
    curve, trainer = train(GiGPO(step_weight=0.0, kl_coefficient=0.001))
    plain_curve, plain = train(GRPO(kl_coefficient=0.001))
    assert curve == plain_curve
    assert _same_weights(trainer, plain)
    assert curve[-1].success != curve[0].success


@dataclass(frozen=True)
class Unpaid(GRPO):
    """Nothing is ever rewarded: only the KL term is left of the loss."""

    def reward(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(terminal_rewards=torch.zeros_like(rollouts.terminal_rewards))


@dataclass(frozen=True)
class UnpaidHere(Unpaid):
    """It learns from every third row only."""

    def credit(self, rollouts: Rollouts) -> Credit:
        third = torch.arange(len(rollouts.action_mask)) % 3 == 0
        return Credit(super().credit(rollouts).advantages, rollouts.action_mask & third[:, None])


@pytest.mark.parametrize("rule", [Unpaid, UnpaidHere])
def test_where_nothing_is_rewarded_the_policy_stays_as_it_is(
    train: Train, model: LanguageModel, rule: type[Unpaid]
) -> None:
    """AdamW takes steps of full length on the least noise, such as rounding that tells policy and reference apart."""
    _, trainer = train(rule(kl_coefficient=0.1), updates=12)
    assert trainer.gradient_norms == [0.0] * 12
    pairs = zip(trainer.policy.network.parameters(), model.network.parameters(), strict=True)
    assert all(torch.equal(now, before) for now, before in pairs)


def test_gigpo_where_no_observation_recurs_is_grpo_bit_for_bit(train: Train) -> None:
    alone = build_panel("quest", replace(NOTED, revisit=0.0), (1000, 4), (0, 2))
    curve, trainer = train(GiGPO(kl_coefficient=0.001), on=alone)
    plain_curve, plain = train(GRPO(kl_coefficient=0.001), on=alone)
    assert curve == plain_curve
    assert _same_weights(trainer, plain)


def test_gigpo_where_observations_recur_is_not_grpo(train: Train) -> None:
    assert train(GiGPO(kl_coefficient=0.001))[0] != train(GRPO(kl_coefficient=0.001))[0]


@pytest.mark.parametrize("method", [GRPO(), GiGPO(), VinePPO(continuations=2), PPOGAE(), ExactCredit()])
def test_training_is_deterministic_and_depends_on_the_seed(train: Train, method: Method) -> None:
    (first, one), (second, two), (other, _) = train(method), train(method), train(method, seed=6)
    assert first == second
    assert _same_weights(one, two)
    assert first != other


def test_training_leaves_the_initial_model_alone(model: LanguageModel, train: Train) -> None:
    before = [w.clone() for w in model.network.parameters()]
    _, trainer = train(PPOGAE())
    assert all(torch.equal(a, b) for a, b in zip(before, model.network.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(before, trainer.policy.network.parameters(), strict=True))


def test_arms_with_one_seed_meet_the_same_worlds_and_dice(train: Train) -> None:
    first = [train(method, updates=1, evaluate_every=1)[0][-1] for method in (GRPO(), GiGPO(), ExactCredit())]
    assert len({point.extra["batch_return"] for point in first}) == 1
    assert len({point.extra["entropy_nats"] for point in first}) == 1
    assert len({point.success for point in first}) == 3


def test_exact_credit_teaches_more_than_shuffled_exact_credit(train: Train) -> None:
    """A small version of the protocol's own check, measured where it trains."""
    seen = build_panel("quest", NOTED, (1000, 4), (1000, 4))
    ends = []
    for null in (NullControl(), ShuffledCredit()):
        curves = [
            train(ExactCredit(), null, on=seen, seed=s, updates=10, evaluate_every=10, tasks_per_update=4, group_size=8)
            for s in (0, 1)
        ]
        ends.append([points[-1].success for points, _ in curves])
    assert min(ends[0]) > 0.85  # from 0.18
    assert max(ends[1]) < 0.5


def _batch(model: LanguageModel, panel: Panel) -> Rollouts:
    services = TabularServices(
        Models(model, model, None), WindowedForm(model.tokenizer), Ledger(), frozenset({"mc_continuations"}),
        instances=panel.train, group_size=6, seed=(2, 0),
    )  # fmt: skip
    batch = services.rollouts()
    return batch.replace(turn_values=services.continuations(batch, 2).mean(-1))


def _sorted_rows(values: Tensor, mask: Tensor) -> list[list[float]]:
    return [sorted(row[kept].tolist()) for row, kept in zip(values, mask, strict=True)]


def test_shuffled_credit_keeps_each_trajectory_s_numbers(model: LanguageModel, panel: Panel) -> None:
    batch = _batch(model, panel)
    per_turn = torch.randn(batch.turn_mask.shape, generator=torch.Generator().manual_seed(3)) * batch.turn_mask
    credit = Credit(batch.spread_turns(per_turn))
    shuffled = ShuffledCredit().credit(credit, batch).advantages
    found = batch.mean_over_turns(shuffled)
    for rows in (zip(_sorted_rows(found, batch.turn_mask), _sorted_rows(per_turn, batch.turn_mask), strict=True),):
        for got, expected in rows:
            assert got == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(found.sum(1), per_turn.sum(1), atol=1e-4, rtol=0)
    assert not shuffled[~batch.action_mask].any()
    moved = (found - per_turn).abs() > 1e-4
    assert moved[batch.turn_mask].float().mean() > 0.5
    assert torch.equal(shuffled, ShuffledCredit().credit(credit, batch).advantages), "the batch's own draw"
    assert not torch.equal(shuffled, ShuffledCredit().credit(credit, batch.replace(draw_seed=99)).advantages)


def test_credit_shuffled_token_by_token_keeps_each_trajectory_s_numbers(model: LanguageModel, panel: Panel) -> None:
    batch = _batch(model, panel)
    advantages = torch.randn(batch.token_ids.shape, generator=torch.Generator().manual_seed(4)) * batch.action_mask
    shuffled = ShuffledCredit(unit="token").credit(Credit(advantages), batch).advantages
    for rollout in range(batch.group_ids.shape[0]):
        mine = (batch.row_rollout == rollout)[:, None] & batch.action_mask
        assert sorted(shuffled[mine].tolist()) == sorted(advantages[mine].tolist())
    assert not shuffled[~batch.action_mask].any()
    assert (shuffled != advantages)[batch.action_mask].float().mean() > 0.5


def test_shuffled_observations_keep_each_group_s_keys(model: LanguageModel, panel: Panel) -> None:
    batch = _batch(model, panel)
    shuffled = ShuffledObservations().rollouts(batch)
    assert batch.observation_keys is not None
    assert shuffled.observation_keys is not None
    for group in range(4):
        mine = batch.turn_mask & (batch.group_ids == group)[:, None]
        before, after = batch.observation_keys[mine], shuffled.observation_keys[mine]
        assert sorted(before.tolist()) == sorted(after.tolist())
        assert not torch.equal(before, after)


def test_shuffled_turn_values_stay_in_their_rollout(model: LanguageModel, panel: Panel) -> None:
    batch = _batch(model, panel)
    shuffled = ShuffledTurnValues().rollouts(batch)
    before, after = batch.require("turn_values"), shuffled.require("turn_values")
    assert _sorted_rows(before, batch.turn_mask) == _sorted_rows(after, batch.turn_mask)
    assert not torch.equal(before, after)


def test_permuting_rows_is_uniform_and_leaves_the_rest() -> None:
    mask = torch.tensor([[True, False, True, True]]).expand(6000, 4)
    values = torch.tensor([[1.0, 9.0, 2.0, 3.0]]).expand(6000, 4)
    permuted = permute_rows(values, mask, torch.Generator().manual_seed(0))
    assert permuted[:, 1].eq(9).all()
    _, counts = torch.unique(permuted, dim=0, return_counts=True)
    assert counts.numel() == 6
    assert (counts - 1000).abs().max() < 150  # five standard errors


@dataclass(frozen=True)
class KeepFirst(GRPO):
    """Keeps the first rollouts of each batch."""

    count: int = 0

    def filter(self, rollouts: Rollouts) -> Tensor:
        return torch.arange(rollouts.group_ids.shape[0]) < self.count


def test_an_arm_that_drops_rollouts_trains_on_the_rest(train: Train) -> None:
    points, trainer = train(KeepFirst(count=9))
    assert points[-1].success != points[0].success
    assert len(trainer.turns) == 4 * 9
    everything, _ = train(KeepFirst(count=12))
    assert points[-1].spent["trained_tokens"] < everything[-1].spent["trained_tokens"]
    assert everything == train(GRPO())[0]


def test_an_arm_that_drops_everything_pays_for_sampling_and_learns_nothing(train: Train) -> None:
    points, _ = train(KeepFirst(count=0))
    assert points[-1].success == points[0].success
    assert points[-1].spent["environment_resets"] == 4 * 12
    assert points[-1].spent["trained_tokens"] == 0


@dataclass(frozen=True)
class Spoilt(GRPO):
    """Its loss, or only its gradient, is not a number."""

    where: str = "loss"

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        loss = super().loss(logprobs, rollouts, credit)
        # The square root has an infinite slope at 0, and 0 times that is not a number.
        return (
            loss * torch.nan if self.where == "loss" else loss + 0 * (logprobs - logprobs.detach()).abs().sum().sqrt()
        )


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_training_stops_at_the_first_number_that_is_not_finite(train: Train, where: str) -> None:
    with pytest.raises(FloatingPointError, match=r"update 0: .*nan"):
        train(Spoilt(where=where))


def test_a_budget_stops_within_one_update_of_it(train: Train) -> None:
    spent = train(GRPO())[0][-1].spent["flops"]
    points, _ = train(GRPO(), evaluate_every=1, updates=999, flops_budget=spent * 1.5)
    assert points[-2].spent["flops"] < spent * 1.5 <= points[-1].spent["flops"]
    capped, _ = train(GRPO(), updates=999, flops_budget=spent * 1e6, max_updates=3)
    assert capped[-1].update == 3


def test_the_curve_has_a_point_at_the_start_at_each_interval_and_at_the_end(train: Train) -> None:
    assert [p.update for p in train(GRPO(), updates=5, evaluate_every=2)[0]] == [0, 2, 4, 5]


def test_the_gradient_norm_of_every_step_is_kept(train: Train) -> None:
    points, trainer = train(GRPO(), evaluate_every=1)
    assert trainer.gradient_norms == [point.extra["gradient_norm"] for point in points[1:]]
    assert min(trainer.gradient_norms) > 0


def test_what_a_record_says_of_gradient_norms_by_hand() -> None:
    # sorted 0.5, 1, 4: median 1;  then 1, 2, 3, 6: median 2.5
    assert gradient_metrics([1.0, 4.0, 0.5]) == {
        "gradient_norm_max": 4.0, "gradient_norm_median": 1.0, "gradient_norm_peak": 4.0,
    }  # fmt: skip
    assert gradient_metrics([6.0, 1.0, 3.0, 2.0])["gradient_norm_peak"] == pytest.approx(2.4)
    assert gradient_metrics([0.0, 0.0, 3.0]) == {"gradient_norm_max": 3.0, "gradient_norm_median": 0.0}
    assert gradient_metrics([]) == {}
