"""Arms that are not papers: the exact ceiling, and null controls that corrupt one thing and leave the rest alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.rollouts import Credit, Rollouts


@dataclass(frozen=True)
class ExactCredit(Method):
    """The ceiling: each turn gets its exact advantage under the current policy, scaled to unit size over the batch.

    Scaling by the root mean square (no centring) leaves the direction of the policy gradient as it is.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"oracle", "turn_boundaries", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch and ask the oracle."""
        rollouts = services.rollouts()
        return rollouts.replace(exact_advantages=services.exact_advantages(rollouts))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Spread the exact advantages over the tokens of their turns."""
        advantages = rollouts.spread_turns(rollouts.require("exact_advantages"))
        size = advantages[rollouts.action_mask].square().mean().sqrt()
        return Credit(advantages / size if size > 0 else advantages)


@dataclass(frozen=True)
class NullControl:
    """Leaves everything as it is; a control overrides the one thing that it corrupts."""

    def rollouts(self, rollouts: Rollouts) -> Rollouts:
        """Return what the rule gets to read."""
        return rollouts

    def credit(self, credit: Credit, rollouts: Rollouts) -> Credit:  # noqa: ARG002 - for those who override it
        """Return what the loss gets to use."""
        return credit


@dataclass(frozen=True)
class ShuffledCredit(NullControl):
    """Permutes a rule's own credits inside each trajectory: same numbers, wrong places.

    unit: `turn` moves whole turns (their mean credit), `token` moves action tokens, for rules that tell tokens of one
    turn apart.
    """

    unit: Literal["turn", "token"] = "turn"

    def credit(self, credit: Credit, rollouts: Rollouts) -> Credit:
        """Permute with the batch's own random draw."""
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        shuffle = _shuffle_turns if self.unit == "turn" else _shuffle_tokens
        return Credit(shuffle(credit.advantages, rollouts, generator), credit.loss_mask)


@dataclass(frozen=True)
class CreditShuffledInGroup(NullControl):
    """Permutes a rule's own turn credits among all trained turns of a task group: for rules that train a turn of each.

    Where only one turn of a rollout is trained, `ShuffledCredit` would leave its credit in place.
    """

    def credit(self, credit: Credit, rollouts: Rollouts) -> Credit:
        """Permute with the batch's own random draw."""
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        trained = rollouts.mean_over_turns(credit.trained(rollouts.action_mask).float()) > 0
        turns = rollouts.mean_over_turns(credit.advantages)
        shuffled = permute_groups(turns, trained, rollouts.group_ids, generator)
        return Credit(rollouts.spread_turns(shuffled), credit.loss_mask)


@dataclass(frozen=True)
class ShuffledObservations(NullControl):
    """Permutes the observation keys inside each task group: anchor groups of the same sizes, of unrelated turns."""

    def rollouts(self, rollouts: Rollouts) -> Rollouts:
        """Permute among the turns that took place, within each group."""
        return rollouts.replace(observation_keys=_shuffled_turns(rollouts.require("observation_keys"), rollouts))


@dataclass(frozen=True)
class ShuffledAgents(NullControl):
    """Permutes who acted inside each task group: every agent keeps its number of turns, but they are anybody's."""

    def rollouts(self, rollouts: Rollouts) -> Rollouts:
        """Permute among the turns that took place, within each group."""
        return rollouts.replace(agent_ids=_shuffled_turns(rollouts.require("agent_ids"), rollouts))


@dataclass(frozen=True)
class ShuffledTurnValues(NullControl):
    """Permutes the Monte Carlo values among the turns of each rollout: the right numbers, for the wrong states."""

    def rollouts(self, rollouts: Rollouts) -> Rollouts:
        """Permute with the batch's own random draw."""
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        return rollouts.replace(
            turn_values=permute_rows(rollouts.require("turn_values"), rollouts.turn_mask, generator)
        )


@dataclass(frozen=True)
class ShuffledTurnScores(NullControl):
    """Permutes what a `collect` stage found out about turns: the right numbers, said of the wrong turns.

    within: `rollout` leaves each rollout its own scores; `group` deals them out anew among all turns of the task's
    rollouts, so that they are random with the group's own mean and variance.
    """

    within: Literal["rollout", "group"] = "rollout"

    def rollouts(self, rollouts: Rollouts) -> Rollouts:
        """Permute with the batch's own random draw."""
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        scores, mask = rollouts.require("turn_scores"), rollouts.turn_mask
        if self.within == "rollout":
            return rollouts.replace(turn_scores=permute_rows(scores, mask, generator))
        return rollouts.replace(turn_scores=permute_groups(scores, mask, rollouts.group_ids, generator))


@dataclass(frozen=True)
class ShuffledValues(NullControl):
    """Permutes a critic's values among the action tokens of each rollout: the right numbers, for the wrong states.

    Where the critic's own targets lean on its values, it is fitted to targets of the permuted ones.
    """

    def rollouts(self, rollouts: Rollouts) -> Rollouts:
        """Permute with the batch's own random draw."""
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        index = rollouts.action_index()
        moved = permute_rows(index.pack(rollouts.require("values")), index.mask, generator)
        return rollouts.replace(values=index.unpack(moved))


@dataclass(frozen=True)
class ShuffledPreferences(NullControl):
    """Permutes inside each task group whom the pairs are about: as many preferences, between the wrong rollouts."""

    def rollouts(self, rollouts: Rollouts) -> Rollouts:
        """Permute with the batch's own random draw."""
        pairs, every = rollouts.require("pairs"), torch.arange(len(rollouts.group_ids))[:, None]
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        instead = permute_groups(every, torch.ones_like(every, dtype=torch.bool), rollouts.group_ids, generator)
        return rollouts.replace(pairs=instead[:, 0][pairs])


def permute_rows(values: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Permute each row's masked entries among themselves. Both (R, L). Returns (R, L), unmasked entries unchanged."""
    draw = torch.rand(mask.shape, generator=generator)
    target = torch.where(mask, torch.arange(mask.shape[1]).expand(mask.shape), mask.shape[1]).sort(1).values
    source = torch.where(mask, draw, torch.inf).argsort(1)
    result = torch.nn.functional.pad(values, (0, 1))
    picked = values.gather(1, source)
    return result.scatter(1, target, torch.where(target < mask.shape[1], picked, 0.0))[:, :-1]


def permute_groups(values: Tensor, mask: Tensor, groups: Tensor, generator: torch.Generator) -> Tensor:
    """Permute the masked entries of all rows of a group, (R,) long, among each other. (R, K), others unchanged."""
    result = values.clone()
    for group in groups.unique():
        member = mask & (groups == group)[:, None]
        result[member] = values[member][torch.randperm(int(member.sum()), generator=generator)]
    return result


def _shuffled_turns(values: Tensor, rollouts: Rollouts) -> Tensor:
    """Permute (R, K) among the turns that took place in each task group, with the batch's own random draw."""
    generator = torch.Generator().manual_seed(rollouts.draw_seed)
    return permute_groups(values, rollouts.turn_mask, rollouts.group_ids, generator)


def _shuffle_turns(advantages: Tensor, rollouts: Rollouts, generator: torch.Generator) -> Tensor:
    spoken = rollouts.mean_over_turns(rollouts.action_mask.float()) > 0
    return rollouts.spread_turns(permute_rows(rollouts.mean_over_turns(advantages), spoken, generator))


def _shuffle_tokens(advantages: Tensor, rollouts: Rollouts, generator: torch.Generator) -> Tensor:
    index = rollouts.action_index()
    return index.unpack(permute_rows(index.pack(advantages), index.mask, generator))
