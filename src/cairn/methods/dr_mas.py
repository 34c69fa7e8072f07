"""Dr. MAS: each agent's turns are compared with the other turns of the same agent, not with everybody's rollouts.

All agents of a rollout earn the same reward, but they do not act equally often. An agent who acts mostly in rollouts
that go well has a mean of its own, and the task's mean is no baseline for it: what is left over scales its gradient by
(sigma_k^2 + (mu_k - mu)^2) / sigma^2, without bound as the agent's rewards move away from the task's.

    Y_k = {turns (i, t) of the task's rollouts in which agent k acted}
    A(i, t) = (R_i - mean(Y_k)) / (std(Y_k) + epsilon), copied to the action tokens of turn t; a rollout counts in
              mean(Y_k) and std(Y_k) once for each turn that k has in it

Shapes: returns (R,), agents and A (R, K), advantages (B, T). Source: arXiv 2602.08847, algorithm 1 and Table 3, read in
full text; langfengQ/DrMAS:verl/trainer/ppo/core_algos.py (`compute_grpo_outcome_advantage`, `group_by_agent_id`). What
differs between them: the paper prints the deviation of the population, the code takes the unbiased one
(`population_std`), and keeps the raw reward of an agent with a single turn in the whole group (`single_turn`). The
paper's ablation with the agent's own deviation alone is not offered: an agent whose turns all earned the same would be
divided by epsilon. Not here: the code's penalty of a turn that was not understood; the loss without KL (ours is that
of every arm). Limits: with the statistics of the task it is GRPO; so it is, but for the count of turns in the
deviation, where every agent acts equally often in each rollout of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Limit, Method
from cairn.ops.groups import group_std, pair_groups, standardise
from cairn.rollouts import Credit, Rollouts


def alone(labels: Tensor) -> Tensor:
    """Say of each of N labels whether no other one is equal to it: (N,) bool."""
    _, of, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    found: Tensor = counts[of] == 1
    return found


@dataclass(frozen=True)
class DrMAS(Method):
    """Statistics by agent; see the module for the formula."""

    # Table 3 of the paper: the agent's mean and deviation, its mean over the task's deviation, or the task's (GRPO).
    statistics: Literal["agent", "agent_mean", "task"] = "agent"
    population_std: bool = True  # arXiv 2602.08847, algorithm 1; the unbiased one in langfengQ/DrMAS
    single_turn: Literal["zero", "raw"] = "zero"  # algorithm 1: R less itself; langfengQ/DrMAS keeps the raw reward

    needs: ClassVar[frozenset[str]] = frozenset({"agent_ids", "turn_boundaries", "reference_policy"})
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"statistics": "task", "population_std": False}, Method()),)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Compare each turn within its task and agent."""
        if self.statistics == "task":
            return Credit(rollouts.spread_rollouts(self._by_task(rollouts)))
        mask = rollouts.turn_mask
        rows, agents = mask.nonzero()[:, 0], pair_groups(rollouts.group_ids, rollouts.require("agent_ids"))[mask]
        advantages = torch.zeros(mask.shape, dtype=rollouts.returns.dtype)
        advantages[mask] = self._by_agent(rollouts, rows, agents)
        return Credit(rollouts.spread_turns(advantages))

    def _by_task(self, rollouts: Rollouts) -> Tensor:
        return standardise(
            rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon, 1 - self.population_std
        )

    def _by_agent(self, rollouts: Rollouts, rows: Tensor, agents: Tensor) -> Tensor:
        """Return the advantage (N,) of each turn that took place; rows: its rollout; agents: its task and agent."""
        returns, correction = rollouts.returns, 1 - self.population_std
        own_std = self.scale_by_std and self.statistics == "agent"
        compared = standardise(returns[rows], agents, own_std, self.epsilon, correction)
        if self.scale_by_std and not own_std:
            compared = compared / (group_std(returns, rollouts.group_ids, correction)[rows] + self.epsilon)
        if self.single_turn == "zero":
            return compared
        return torch.where(alone(agents), returns[rows] / (1 + self.epsilon), compared)  # mean 0, deviation 1
