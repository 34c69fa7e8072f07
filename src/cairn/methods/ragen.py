"""StarPO-S (RAGEN): PPO or GRPO over whole interactions, on those prompt groups alone whose returns differ most.

It is no credit formula of its own: every token is credited as PPO or GRPO would. What it adds is a choice of groups
before the update, by how uncertain the outcome of a prompt is under the policy, a clip with more room upwards, and no
KL term.

    U_g  = std of the returns within prompt group g;   the floor(rho * number of groups) groups with the highest U stay
    A    = GAE with a critic, whitened (`critic`), or (R - mean_g) / (std_g + epsilon) (`group`)
    loss = -min(r A, clip(r, 1 - 0.2, 1 + 0.28) A), mean over the action tokens that stay

Shapes: returns and U (R,), advantages (B, T). Source: arXiv 2504.20073, equations 4 to 7 and section 4.2;
RAGEN-AI/RAGEN:ragen/trainer/agent_trainer.py (`_filter_rollout`), config/base.yaml (rho 0.25, clip 0.2 and 0.28, no
KL). What differs: at least one group stays, and of equal groups the one with the lower label (`topk` leaves both open);
no entropy bonus (0.001 in the code), since a loss sees no distributions; no penalty for format. Bi-level GAE, an option
that StarPO-S does not use, is `cairn.ops.values.bilevel_advantages`. `kept` turns the choice round, as an option of the
code does, or draws it at random, which is the null control. Limits: with all groups and an even clip it is `ppo-gae`,
or `grpo`, without KL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Limit, Method, Services
from cairn.methods.ppo_gae import PPOGAE
from cairn.ops.groups import group_std
from cairn.ops.losses import log_ratios, masked_mean, surrogate
from cairn.rollouts import Credit, Rollouts


def best_groups(scores: Tensor, groups: Tensor, share: float) -> Tensor:
    """Return (R,) bool: the members of the floor(share * number) groups with the highest scores, at least one group.

    scores: (R,), the same for all members of a group. groups: (R,) long, any labels. Of equal groups those with the
    lower label stay.
    """
    labels, of = torch.unique(groups, return_inverse=True)
    each = scores.new_zeros(len(labels)).index_copy(0, of, scores)
    kept = torch.zeros(len(labels), dtype=torch.bool)
    kept[each.argsort(descending=True, stable=True)[: max(1, int(share * len(labels)))]] = True
    return kept[of]


@dataclass(frozen=True)
class RAGEN(PPOGAE):
    """StarPO-S; see the module for the formula."""

    keep_share: float = 0.25  # rho, RAGEN-AI/RAGEN:config/base.yaml (rollout_filter_ratio)
    kept: Literal["most_spread", "least_spread", "random"] = "most_spread"  # the same (rollout_filter_type std)
    baseline: Literal["critic", "group"] = "critic"  # arXiv 2504.20073, section 4.2; both in section 3
    clip_high: float = 0.28  # RAGEN-AI/RAGEN:config/base.yaml; below it is 0.2, as everywhere

    needs: ClassVar[frozenset[str]] = frozenset({"learned_critic"})
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit({"keep_share": 1.0, "clip_high": 0.2}, PPOGAE()),
        Limit({"keep_share": 1.0, "clip_high": 0.2, "baseline": "group"}, Method()),
    )

    def filter(self, rollouts: Rollouts) -> Tensor:
        """Keep the groups whose returns differ most."""
        return best_groups(self._scores(rollouts), rollouts.group_ids, self.keep_share)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit as PPO does, or as GRPO does."""
        return super().credit(rollouts) if self.baseline == "critic" else Method.credit(self, rollouts)

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        """Clip with more room upwards; no KL."""
        ratio = log_ratios(logprobs, rollouts.logprobs_behaviour).exp()
        per_token = surrogate(ratio, credit.advantages, self.clip_ratio, self.clip_high)
        return masked_mean(per_token, credit.trained(rollouts.action_mask))

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Fit the critic where there is one."""
        if self.baseline == "critic":
            super().fit(rollouts, services)

    def _scores(self, rollouts: Rollouts) -> Tensor:
        if self.kept == "random":
            labels, of = torch.unique(rollouts.group_ids, return_inverse=True)
            return torch.rand(len(labels), generator=torch.Generator().manual_seed(rollouts.draw_seed))[of]
        spread = group_std(rollouts.returns, rollouts.group_ids)
        return spread if self.kept == "most_spread" else -spread
