"""CAPO: a step that a judge calls wrong loses reward, and every token is compared with all tokens of its group.

A general language model reads each response k times and names its wrong steps; a vote over the k critiques says which
steps are flagged.

    r_{i,t} = W_whole R_i - W_process f(i, step of t),   f the vote: 1 for a flagged step, 0 for others
    A_{i,t} = (r_{i,t} - mean r) / (std r + epsilon), both over all tokens of all responses of the group

Shapes: marks (R, K, k), f (R, K), outcome R (R,), A (B, T). Source: arXiv 2508.02298 by its abstract and a third-party
account (W_whole 2, W_process 1, k 4, the votes); no code is released and the body was not read, so this is our reading.
What differs: steps are turns; the std is unbiased with epsilon, as in our GRPO. With W_whole above W_process a flagged
token of a right answer still stands above a clean one of a wrong answer. Limits: with W_process 0, or where nothing is
flagged, and with responses of one length it is GRPO up to the scale of the std; otherwise long responses weigh more in
mean and std than they do there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.groups import standardise
from cairn.rollouts import Credit, Rollouts

Vote = Literal["intersection", "majority", "union", "average"]


def flagged(marks: Tensor, vote: Vote) -> Tensor:
    """Combine critiques. marks: (..., k), 1 for right and 0 for wrong. Returns (...): 1 for flagged, 0 for not.

    `intersection`: all critiques call the step wrong; `majority`: half of them at least; `union`: any one; `average`:
    the share of them.
    """
    share = 1 - marks.mean(-1)
    if vote == "average":
        return share
    holds = {"intersection": share == 1, "majority": share >= 0.5, "union": share > 0}[vote]
    return holds.to(marks.dtype)


@dataclass(frozen=True)
class CAPO(Method):
    """Outcome reward less a penalty on flagged steps, by token; see the module for the formula."""

    outcome_weight: float = 2.0  # W_whole, third-party account of arXiv 2508.02298
    penalty: float = 1.0  # W_process, the same
    critiques: int = 4  # k, the same
    vote: Vote = "intersection"  # the same: the best one for its smallest policies

    needs: ClassVar[frozenset[str]] = frozenset({"judge", "segmenting", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch and have every response judged `critiques` times."""
        rollouts = services.rollouts()
        return rollouts.replace(turn_scores=flagged(services.marks(rollouts, self.critiques), self.vote))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Standardise the token rewards over all tokens of each group."""
        taken = rollouts.spread_turns(rollouts.require("turn_scores"))
        outcome = rollouts.spread_rollouts(rollouts.returns)
        rewards = self.outcome_weight * outcome - self.penalty * taken.to(outcome.dtype)
        groups = rollouts.group_ids[rollouts.row_rollout][:, None].expand(rewards.shape)
        mask = rollouts.action_mask
        advantages = torch.zeros_like(rewards)
        advantages[mask] = standardise(rewards[mask], groups[mask], self.scale_by_std, self.epsilon)
        return Credit(advantages)
