"""Rules that are broken in one way each, by the check that is there to find it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from tests.contract.sound import MovingBaseline, SharesOut
from torch import Tensor

from cairn.method import Limit, Method, Services
from cairn.ops.groups import group_mean, group_std, standardise
from cairn.ops.shapley import leave_one_out_values, shapley_values
from cairn.rollouts import Credit, Rollouts

Rule = Callable[[Rollouts], Tensor]
TURNS = frozenset({"reference_policy", "turn_boundaries"})


def sound(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(rollouts.returns)


@dataclass(frozen=True)
class Broken(Method):
    """Plain but for a credit stage that is given."""

    rule: Rule = sound

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(self.rule(rollouts))


@dataclass(frozen=True)
class BrokenTurns(Broken):
    needs: ClassVar[frozenset[str]] = TURNS


def _one_number_a_rollout(rollouts: Rollouts) -> Tensor:
    return rollouts.returns


def _whole_numbers(rollouts: Rollouts) -> Tensor:
    return sound(rollouts).long()


def _not_a_number(rollouts: Rollouts) -> Tensor:
    return sound(rollouts) / 0 * 0


def _everywhere(rollouts: Rollouts) -> Tensor:
    return rollouts.returns[rollouts.row_rollout][:, None].expand(rollouts.token_ids.shape)


def _mean_over_the_table(rollouts: Rollouts) -> Tensor:
    return (sound(rollouts) - sound(rollouts).mean()) * rollouts.action_mask


def _mean_over_absent_turns(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(rollouts.turn_rewards.mean(1))


def _first_rollout_favoured(rollouts: Rollouts) -> Tensor:
    bonus = torch.zeros_like(rollouts.returns)
    bonus[0] = 1
    return rollouts.spread_rollouts(rollouts.returns + bonus)


def _first_row_of_each_rollout_favoured(rollouts: Rollouts) -> Tensor:
    before = torch.roll(rollouts.row_rollout, 1)
    before[0] = -1
    return sound(rollouts) * (rollouts.row_rollout != before)[:, None]


def _in_place(rollouts: Rollouts) -> Tensor:
    rollouts.terminal_rewards.sub_(rollouts.terminal_rewards.mean())
    return sound(rollouts)


def _global_luck(rollouts: Rollouts) -> Tensor:
    return sound(rollouts) * torch.rand(())


def _undeclared(rollouts: Rollouts) -> Tensor:
    assert rollouts.entropies is not None
    return rollouts.entropies


def _own_std(rollouts: Rollouts) -> Tensor:
    returns, groups = rollouts.returns, rollouts.group_ids
    result = torch.zeros_like(returns)
    for group in groups.unique():
        member = groups == group
        std = returns[member].std() if member.sum() > 1 else torch.tensor(torch.nan)
        result[member] = (returns[member] - returns[member].mean()) / (std + 1e-6)
    return rollouts.spread_rollouts(result)


def _divided_by_range(rollouts: Rollouts) -> Tensor:
    spread = rollouts.returns.max() - rollouts.returns.min()
    return rollouts.spread_rollouts((rollouts.returns - rollouts.returns.min()) / spread)


def _divided_by_tokens(rollouts: Rollouts) -> Tensor:
    tokens = rollouts.action_index().mask.sum(1)
    share = rollouts.returns / tokens
    return rollouts.spread_rollouts(share / share.sum())


def _cut_off_unknown(rollouts: Rollouts) -> Tensor:
    worth = torch.where(rollouts.truncated, torch.log(1 - rollouts.truncated.double()), rollouts.returns)
    return rollouts.spread_rollouts(worth)


def _divided_by_row_length(rollouts: Rollouts) -> Tensor:
    return sound(rollouts) / rollouts.action_mask.sum(1, keepdim=True).clamp_min(1)


def _raw_return_when_alone(rollouts: Rollouts) -> Tensor:
    _, group, sizes = torch.unique(rollouts.group_ids, return_inverse=True, return_counts=True)
    compared = standardise(rollouts.returns, rollouts.group_ids, True, 1e-6)
    return rollouts.spread_rollouts(torch.where(sizes[group] == 1, rollouts.returns, compared))


def _rounding_over_epsilon(rollouts: Rollouts) -> Tensor:
    differences = rollouts.returns - group_mean(rollouts.returns, rollouts.group_ids)
    return rollouts.spread_rollouts(differences / (group_std(rollouts.returns, rollouts.group_ids) + 1e-6))


def _exponential(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(rollouts.returns.exp())


def _per_reward_to_the_ninth(rollouts: Rollouts) -> Tensor:
    size = rollouts.returns.abs()
    return rollouts.spread_rollouts(torch.where(size > 0, size / size**9, size))


def _divided_by_tokens_after_the_first(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(rollouts.returns / (rollouts.action_index().mask.sum(1) - 1))


def _tenfold_each_turn(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(torch.tensor(10.0).to(rollouts.returns) ** rollouts.turn_mask.sum(1))


def _divided_by_turns_after_the_first(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(rollouts.returns / (rollouts.turn_mask.sum(1) - 1))


CREDIT_MUTANTS: list[tuple[str, Method]] = [
    ("shapes", Broken(rule=_one_number_a_rollout)),
    ("shapes", Broken(rule=_whole_numbers)),
    ("shapes", Broken(rule=_not_a_number)),
    ("zero_off_actions", Broken(rule=_everywhere)),
    ("padding", Broken(rule=_mean_over_the_table)),
    ("padding", BrokenTurns(rule=_mean_over_absent_turns)),
    ("order", Broken(rule=_first_rollout_favoured)),
    ("order", Broken(rule=_first_row_of_each_rollout_favoured)),
    ("inputs_untouched", Broken(rule=_in_place)),
    ("determinism", Broken(rule=_global_luck)),
    ("needs", Broken(rule=_undeclared)),
    ("needs", BrokenTurns()),
    ("group_of_one", Broken(rule=_own_std)),
    ("equal_rewards", Broken(rule=_divided_by_range)),
    ("turns_without_tokens", Broken(rule=_divided_by_tokens)),
    ("truncation", Broken(rule=_cut_off_unknown)),
    ("truncation", Broken(rule=_divided_by_tokens_after_the_first)),
    ("extreme_rewards", Broken(rule=_exponential)),
    ("extreme_rewards", Broken(rule=_per_reward_to_the_ninth)),
    ("turn_counts", BrokenTurns(rule=_tenfold_each_turn)),
    ("turn_counts", BrokenTurns(rule=_divided_by_turns_after_the_first)),
    ("layouts", Broken(rule=_divided_by_row_length)),
]


@dataclass(frozen=True)
class NotCentred(Broken):
    invariants: ClassVar[frozenset[str]] = frozenset({"zero_mean_in_group"})


@dataclass(frozen=True)
class NotTelescoping(Method):
    needs: ClassVar[frozenset[str]] = TURNS | {"mc_continuations"}
    invariants: ClassVar[frozenset[str]] = frozenset({"telescopes"})

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(rollouts.spread_turns(rollouts.require("turn_values") * rollouts.turn_mask))


@dataclass(frozen=True)
class Compares(Broken):
    """Says that it compares within groups, and gives something where there is nothing to compare."""

    invariants: ClassVar[frozenset[str]] = frozenset({"zero_mean_in_group"})


@dataclass(frozen=True)
class Unknown(Broken):
    invariants: ClassVar[frozenset[str]] = frozenset({"monotone"})


@dataclass(frozen=True)
class Unprovable(Broken):
    invariants: ClassVar[frozenset[str]] = frozenset({"null_player"})


@dataclass(frozen=True)
class LeavesOneOut(SharesOut):
    invariants: ClassVar[frozenset[str]] = frozenset({"efficiency"})

    def values(self, table: Tensor) -> Tensor:
        return leave_one_out_values(table)


@dataclass(frozen=True)
class PaysAll(SharesOut):
    invariants: ClassVar[frozenset[str]] = frozenset({"null_player"})

    def values(self, table: Tensor) -> Tensor:
        return shapley_values(table) + 0.1


@dataclass(frozen=True)
class PaysBySeat(SharesOut):
    invariants: ClassVar[frozenset[str]] = frozenset({"symmetry"})

    def values(self, table: Tensor) -> Tensor:
        found = shapley_values(table)
        return found * (1 + torch.arange(found.shape[-1]))


@dataclass(frozen=True)
class FalseLimit(Broken):
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"epsilon": 0.0}, Method()),)


@dataclass(frozen=True)
class UndeclaredService(Method):
    def collect(self, services: Services) -> Rollouts:
        rollouts = services.rollouts()
        return rollouts.replace(turn_values=services.continuations(rollouts, 2).mean(-1))


@dataclass(frozen=True)
class UndeclaredFit(Method):
    def fit(self, rollouts: Rollouts, services: Services) -> None:
        services.fit_critic(rollouts, torch.zeros_like(rollouts.logprobs_behaviour))


@dataclass(frozen=True)
class LossEverywhere(Method):
    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) + logprobs.square().mean() + logprobs.mean()


@dataclass(frozen=True)
class LossOfManyNumbers(Method):
    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) * torch.ones(2)


@dataclass(frozen=True)
class LossWithoutBound(Method):
    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) + logprobs[rollouts.action_mask].sum() / 0


@dataclass(frozen=True)
class LossByRows(Method):
    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        per_token = self.with_kl(logprobs * credit.advantages, logprobs, rollouts) * rollouts.action_mask
        return (per_token.sum(1) / rollouts.action_mask.sum(1).clamp_min(1)).mean()


@dataclass(frozen=True)
class DropsAndCounts(Method):
    """Drops rows, and divides by the number of all of them."""

    def credit(self, rollouts: Rollouts) -> Credit:
        rows = torch.arange(len(rollouts.token_ids)) % 2 == 0
        return Credit(super().credit(rollouts).advantages, rows[:, None].expand(rollouts.token_ids.shape))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) / len(rollouts.token_ids)


@dataclass(frozen=True)
class LossWithoutSlopeAtZero(Method):
    """Its loss is finite and has no finite slope where the credit is 0."""

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) + (logprobs * credit.advantages).abs().sqrt().sum()


@dataclass(frozen=True)
class CountsCalls(MovingBaseline):
    def remember(self, rollouts: Rollouts) -> Any:
        memory: list[float] = [*rollouts.recall([0.0])]
        return memory

    def credit(self, rollouts: Rollouts) -> Credit:
        calls: list[float] = rollouts.recall([0.0])
        calls[0] += 1
        return Credit(rollouts.spread_rollouts(rollouts.returns - calls[0]))


@dataclass(frozen=True)
class RemembersRows(MovingBaseline):
    def remember(self, rollouts: Rollouts) -> Any:
        return float(len(rollouts.token_ids))


@dataclass(frozen=True)
class RemembersLuck(MovingBaseline):
    def remember(self, rollouts: Rollouts) -> Any:
        return float(torch.rand_like(rollouts.returns)[0])


@dataclass(frozen=True)
class FilterOfRows(Method):
    def filter(self, rollouts: Rollouts) -> Tensor:
        return rollouts.action_mask.any(1)


@dataclass(frozen=True)
class RewardWithoutBound(Method):
    def reward(self, rollouts: Rollouts) -> Rollouts:
        return rollouts.replace(terminal_rewards=rollouts.terminal_rewards / rollouts.terminal_rewards)


@dataclass(frozen=True)
class MaskOfNumbers(Method):
    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(super().credit(rollouts).advantages, rollouts.attention_mask.long())


OTHER_MUTANTS: list[tuple[str, Method]] = [
    ("invariants", NotCentred()),
    ("invariants", NotTelescoping()),
    ("invariants", Unprovable()),
    ("invariants", Unknown()),
    ("invariants", LeavesOneOut()),
    ("invariants", PaysAll()),
    ("invariants", PaysBySeat()),
    ("group_of_one", Compares(rule=_raw_return_when_alone)),
    ("group_of_one", LossWithoutSlopeAtZero()),
    ("equal_rewards", Compares(rule=_rounding_over_epsilon)),
    ("rewards_not_finite", RewardWithoutBound()),
    ("layouts", LossByRows()),
    ("dropped_rows", DropsAndCounts()),
    ("memory", CountsCalls()),
    ("memory", RemembersRows()),
    ("memory", RemembersLuck()),
    ("limits", FalseLimit()),
    ("needs", UndeclaredService()),
    ("needs", UndeclaredFit()),
    ("loss", LossEverywhere()),
    ("loss", LossOfManyNumbers()),
    ("loss", LossWithoutBound()),
    ("shapes", MaskOfNumbers()),
    ("shapes", FilterOfRows()),
]
MUTANTS = CREDIT_MUTANTS + OTHER_MUTANTS
