"""M-GRPO: the main agent's rollout and every call of a sub-agent are compared in groups of their own.

A main agent gets the task and calls sub-agents, in one rollout more often than in another. Its turns get the outcome
against the other rollouts of the task. A call gets the outcome mixed with an expert's mark of its own work, against all
calls that were made for the task.

    A_M = (R - mean) / (std + epsilon)                    over the rollouts of the task
    R_S = b2 R + b3 e,   A_S = (R_S - mean) / (std + epsilon)   over its calls, each of rollout k counting n / n_k times

with e the expert's mark, n_k the calls of rollout k and n their mean over the rollouts of the task that made any. The
advantage of a call is copied to its turns, n / n_k times.

Shapes: agents, marks (R, K), R (R,), advantages (B, T). Source: arXiv 2511.13288, equations 1 to 13 (b2 0.4, b3 0.5);
AQ-MedAI/MrlX:MrlX-DeepResearch/agent_co_train (`released`). What differs: the paper makes every rollout have d calls by
duplicating or dropping some at random; here each counts as often as it would on average, so that nothing is drawn and
no d is chosen. Rewards for format are left out: what is the same for all leaves a comparison unchanged. Which agent is
the main one, and what a call is, is our reading for teams without a hierarchy: the agent of the first turn, and turns
of another agent in a row. The expert is the mean over the turns of a call of a judge's votes. One policy may stand for
all agents; clip and KL term are those of all arms (the released scripts have 0.28 above, and no KL). In the released
code a call's reward is the outcome alone, and its group the next `QUEUE` calls in the order in which they were handed
on, whatever the task (`groups="queue"`). `trained="main"` leaves the sub-agents as they are: the paper's own baseline.
Limits: a team in which nobody is called has GRPO's credit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.groups import group_extremes, group_mean, standardise
from cairn.rollouts import Credit, Rollouts

QUEUE = 8  # AQ-MedAI/MrlX: run_qwen3_30B_sub.sh, samples for each prompt


def weighted_standardise(values: Tensor, weights: Tensor, groups: Tensor, scale_by_std: bool, epsilon: float) -> Tensor:
    """Return (value - mean) / (std + epsilon) with statistics in which element i counts `weights[i]` times.

    All (N,); in each group the weights sum to the number of members, of which the unbiased std takes one off. A group
    of one and a group of equal values get exactly 0. With weights of 1 it is `cairn.ops.groups.standardise`.
    """
    differences = values - group_mean(weights * values, groups)
    low, high = group_extremes(values, groups)
    differences = differences.masked_fill(low == high, 0)
    if not scale_by_std:
        return differences
    _, of, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    sizes = counts.to(values.dtype)[of]
    variance = group_mean(weights * differences**2, groups) * sizes / (sizes - 1).clamp_min(1)
    scaled: Tensor = differences / (variance.sqrt() + epsilon)
    return scaled


@dataclass(frozen=True)
class Calls:
    """The calls of a batch, N of them, in the order of rollouts and turns."""

    turns: Tensor  # (R, K) bool, somebody else than the main agent acted
    of: Tensor  # (number of such turns,) long, the call to which each belongs
    rollout: Tensor  # (N,) long


def calls_of(agents: Tensor, turn_mask: Tensor) -> Calls:
    """Find the calls: turns in a row of one agent who is not that of the first turn. Both (R, K)."""
    turns = turn_mask & (agents != agents[:, :1])
    starts = turns.clone()
    starts[:, 1:] &= agents[:, 1:] != agents[:, :-1]
    return Calls(turns, starts.flatten().cumsum(0)[turns.flatten()] - 1, starts.nonzero()[:, 0])


@dataclass(frozen=True)
class MGRPO(Method):
    """Groups by role; see the module for the formula."""

    outcome_weight: float = 0.4  # b2, arXiv 2511.13288
    expert_weight: float = 0.5  # b3, the same
    votes: int = 1  # of the expert; the paper does not say
    groups: Literal["task", "queue"] = "task"  # paper; "queue" is the released code
    trained: Literal["all", "main"] = "all"  # "main": the paper's baseline with frozen sub-agents

    needs: ClassVar[frozenset[str]] = frozenset({"agent_ids", "turn_boundaries", "judge", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch and ask the expert about every turn, unless its mark counts nothing."""
        rollouts = services.rollouts()
        if not self.expert_weight:
            return rollouts
        return rollouts.replace(turn_scores=services.marks(rollouts, self.votes).mean(-1))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Compare rollouts for the main agent, and calls for the others."""
        mask = rollouts.turn_mask
        calls = calls_of(rollouts.require("agent_ids"), mask)
        main = standardise(rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon)
        advantages = main[:, None] * mask
        advantages[calls.turns] = self._of_calls(rollouts, calls)[calls.of]
        frozen = self.trained == "main"
        kept = rollouts.spread_turns((mask & ~calls.turns).to(main.dtype)) > 0 if frozen else None
        return Credit(rollouts.spread_turns(advantages), kept)

    def _of_calls(self, rollouts: Rollouts, calls: Calls) -> Tensor:
        """Return the advantage of each call (N,), times the weight that it has in training."""
        rewards = self._rewards(rollouts, calls)
        if self.groups == "queue":
            queue = torch.arange(len(rewards)) // QUEUE
            return standardise(rewards, queue, self.scale_by_std, self.epsilon)
        groups = rollouts.group_ids[calls.rollout]
        share = 1 / calls.rollout.bincount(minlength=len(rollouts.group_ids)).to(rewards.dtype)[calls.rollout]
        weights = share / group_mean(share, groups)
        return weights * weighted_standardise(rewards, weights, groups, self.scale_by_std, self.epsilon)

    def _rewards(self, rollouts: Rollouts, calls: Calls) -> Tensor:
        rewards = self.outcome_weight * rollouts.returns[calls.rollout]
        if not self.expert_weight:
            return rewards
        marks = rollouts.require("turn_scores")[calls.turns].to(rewards.dtype)
        total = torch.zeros_like(rewards).index_add(0, calls.of, marks)
        return rewards + self.expert_weight * total / calls.of.bincount(minlength=len(rewards))
