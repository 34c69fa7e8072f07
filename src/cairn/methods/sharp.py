"""SHARP: an agent is credited with the reward of all, and with what would have been lost without it.

Each rollout is played again without each of the workers, one at a time; the difference of the returns is the worker's
marginal credit. A planner is credited with what its workers were worth.

    C(m) = R(with everybody) - R(without m),   C(planner) = lambda * mean over workers of max(C(m), 0)
    R(m) = alpha * R + beta * C(m)
    A(m) = (R(m) - mean_group(R(m))) / (std_group(R(m)) + epsilon), by agent, a rollout counted once; copied to the
           action tokens of all turns of m

Shapes: returns (R,), C and R(m) (R, A), A (B, T). Source: arXiv 2602.08335, of which the abstract was read; formulas
and coefficients are those of two third-party summaries, lambda stands in neither, there is no code: our reading. It has
two forms of "without m". `absence="speak_anew"` plays on without m, and the others speak again, knowing what they are
told now (`Services.ablated`): we take it for the paper's, since the outcome is judged by an answer that comes last, and
an answer that is not given again cannot change. `"words_removed"` takes m's words out of the finished rollout and keeps
everybody else's (`Services.returns_without`). What differs: the third part of the reward, for valid tool calls, is left
out, since there are no tools. `coalitions="all"` is the survey's reading, Shapley values: each rollout is played again
with every set of agents, 2^A - 1 times instead of A. What a role that did not act gets is not stated; only rollouts in
which m acted are compared. Limits: with beta 0 and alpha 1 it is GRPO where every agent acts in every rollout.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.groups import standardise
from cairn.ops.shapley import shapley_values
from cairn.rollouts import Credit, Rollouts


def planner_credit(marginals: Tensor, planner: int, scale: float) -> Tensor:
    """Return marginals (R, A) in which the planner has `scale` times the mean of the workers' credits above 0."""
    workers = torch.arange(marginals.shape[1]) != planner
    earned = scale * marginals[:, workers].clamp_min(0).sum(1) / max(int(workers.sum()), 1)
    return torch.where(workers, marginals, earned[:, None])


@dataclass(frozen=True)
class SHARP(Method):
    """Marginal credit beside the shared reward, compared by agent; see the module for the formula."""

    shared_weight: float = 0.9  # alpha, arXiv 2602.08335 by third-party summaries
    marginal_weight: float = 0.9  # beta, the same
    planner: int | None = None  # number of the agent that plans, if one does; it has its Shapley value like the others
    planner_scale: float = 1.0  # lambda, not stated in what was read
    absence: Literal["speak_anew", "words_removed"] = "speak_anew"  # our reading; see the module
    coalitions: Literal["largest", "all"] = "largest"  # by third-party summaries; "all" is the survey's reading

    needs: ClassVar[frozenset[str]] = frozenset({"agent_ids", "turn_boundaries", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch, and find out what each rollout would have earned without some of the agents."""
        rollouts = services.rollouts()
        owners = owners_of(rollouts)
        marginals = self._marginals(rollouts, owners.shape[-1], services)
        return rollouts.replace(turn_scores=(owners * marginals[:, None]).sum(-1))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Compare each agent's own reward with what it had in the other rollouts of the task."""
        owners = owners_of(rollouts)
        acted = owners.any(1)
        marginals = (owners * rollouts.require("turn_scores")[..., None]).sum(1) / owners.sum(1).clamp_min(1)
        own = self.shared_weight * rollouts.returns[:, None] + self.marginal_weight * marginals
        labels = rollouts.group_ids[:, None] * acted.shape[1] + torch.arange(acted.shape[1])
        compared = torch.zeros_like(own)
        compared[acted] = standardise(own[acted], labels[acted], self.scale_by_std, self.epsilon)
        return Credit(rollouts.spread_turns((owners * compared[:, None]).sum(-1)))

    def _marginals(self, rollouts: Rollouts, agents: int, services: Services) -> Tensor:
        """Return what each agent brought to each rollout: (R, A)."""
        agent, everybody = torch.arange(agents), (1 << agents) - 1
        played = range(everybody) if self.coalitions == "all" else [everybody ^ 1 << one for one in agent.tolist()]
        worth = {there: self._return_without(rollouts, there >> agent & 1 == 0, services) for there in played}
        whole = rollouts.returns
        if self.coalitions == "all":
            return shapley_values(torch.stack([*worth.values(), whole], -1))
        marginals = torch.stack([whole - without for without in worth.values()], -1)
        return marginals if self.planner is None else planner_credit(marginals, self.planner, self.planner_scale)

    def _return_without(self, rollouts: Rollouts, absent: Tensor, services: Services) -> Tensor:
        if self.absence == "words_removed":
            return services.returns_without(rollouts, absent)
        return services.ablated(rollouts, absent).returns


def owners_of(rollouts: Rollouts) -> Tensor:
    """Say of each turn whose it was: (R, K, A) bool, False where no turn took place."""
    agents = rollouts.require("agent_ids").masked_fill(~rollouts.turn_mask, -1)
    team = int(agents.max()) + 1 if agents.numel() else 0
    return agents[..., None] == torch.arange(team)
