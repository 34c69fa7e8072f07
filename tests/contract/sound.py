"""Rules that are sound, and use what the contract must cope with: bought scores, forks, pairs, memory, shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.batches import concatenate, own_actions
from cairn.ops.losses import mean_over_units, surrogate, unit_log_ratios
from cairn.ops.preferences import pair_weights, preference_loss, preference_pairs
from cairn.ops.shapley import shapley_values
from cairn.rollouts import Credit, Rollouts


@dataclass(frozen=True)
class SharesOut(Method):
    """An agent's tokens get its Shapley value in the game that the services play."""

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy", "turn_boundaries", "agent_ids"})
    invariants: ClassVar[frozenset[str]] = frozenset({"efficiency", "null_player", "symmetry"})

    def values(self, table: Tensor) -> Tensor:
        return shapley_values(table)

    def collect(self, services: Services) -> Rollouts:
        rollouts = services.rollouts()
        agents = rollouts.replace(needs=None).require("agent_ids")
        count = int(agents.max()) + 1
        absent = [torch.tensor([not mask >> i & 1 for i in range(count)]) for mask in range(1 << count)]
        table = torch.stack([services.ablated(rollouts, who).returns for who in absent], 1)
        return rollouts.replace(turn_scores=self.values(table).gather(1, agents.clamp_min(0)))

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(rollouts.spread_turns(rollouts.require("turn_scores")))


@dataclass(frozen=True)
class MovingBaseline(Method):
    """The return less a moving average of the mean return of the batches before."""

    def remember(self, rollouts: Rollouts) -> Any:
        return (rollouts.recall(0.0) + float(rollouts.returns.mean())) / 2

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(rollouts.spread_rollouts(rollouts.returns - rollouts.recall(0.0)))


@dataclass(frozen=True)
class OnPairs(Method):
    """A loss on pairs; what is in no pair is dropped."""

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
        return preference_loss(ratios, pairs, 0.1, weights=pair_weights(pairs, rollouts.group_ids))


@dataclass(frozen=True)
class ForksOnce(Method):
    """Forks every rollout before its first turn, trains on what is new, with a ratio and a mean by turn."""

    needs: ClassVar[frozenset[str]] = frozenset({"env_fork", "turn_boundaries", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        rollouts = services.rollouts()
        every = torch.arange(len(rollouts.group_ids))
        return concatenate([rollouts, services.fork(rollouts, every, torch.zeros_like(every))])

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(super().credit(rollouts).advantages, own_actions(rollouts))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        mask, units = credit.trained(rollouts.action_mask), rollouts.units("turn")
        ratio = unit_log_ratios(logprobs, rollouts.logprobs_behaviour, mask, units, "mean").exp()
        per_token = surrogate(ratio, credit.advantages, 0.1, 0.2)
        return mean_over_units(self.with_kl(per_token, logprobs, rollouts), mask, units)


SOUND: tuple[Method, ...] = (SharesOut(), MovingBaseline(), OnPairs(), ForksOnce())
