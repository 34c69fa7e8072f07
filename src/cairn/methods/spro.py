"""SPRO: a step is credited with how far the policy has by then departed from its reference, against its siblings.

The log-ratio of the policy to its reference stands for a process reward, as if the policy were optimal for some reward;
no reward model is asked. Its sum up to a step is compared with the other responses to the prompt at the same step
index, over those that still run there (the mask), and the outcome of the whole response is added.

    r_ik     = beta * sum over the tokens of step k of (log pi - log pi_ref)
    CPR_ik   = sum_{j<=k} r_ij
    MSA_ik   = CPR_ik - mean of CPR_jk over the responses j of the group that have a step k
    A_ik     = standardise(R_i) within the group + MSA_ik, copied to the action tokens of step k

Shapes: log-ratios (B, T), CPR and MSA (R, K), A (B, T); beta in advantage per nat. Source: arXiv 2507.01551, by its
abstract, its reviews, and third-party code that names equations 11 to 14; the text itself could not be read, and there
is no code of the authors. Our reading: a step is one between delimiters, as the reviews tell its number from the
number of tokens (`unit="token"` is the third-party one); pi is the policy that sampled; beta, which is not known, is
that of PRIME. What differs: the loss is averaged over the tokens of the batch, the paper's over each response first.
Not the paper's: `pooled` compares with all steps of the group, as PRIME does; `outcome_weight=0` leaves MSA alone.
Limits: beta = 0 is GRPO, and so is the first update of all, before the policy has left the reference. At each index
MSA sums to zero over the responses that run; a sole survivor gets 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Limit, Method
from cairn.ops.groups import pair_groups, standardise, standardise_turns
from cairn.rollouts import Credit, Rollouts


def masked_step_advantages(rewards: Tensor, groups: Tensor, mask: Tensor, pooled: bool = False) -> Tensor:
    """Return the running sum of rewards less its mean over the group's rollouts that have the same step.

    rewards, mask: (R, K), the mask True first, then False; groups: (R,) long. pooled: the mean is over all steps of the
    group instead. Returns (R, K), 0 off the mask and where nothing is left to compare with.
    """
    index = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    labels = pair_groups(groups, torch.zeros_like(index) if pooled else index)
    return standardise_turns((rewards * mask).cumsum(1), labels, mask, scale_by_std=False, epsilon=0.0)


@dataclass(frozen=True)
class SPRO(Method):
    """Process rewards from the policy itself, compared step by step; see the module for the formula."""

    beta: float = 0.05  # not seen; that of PRIME, PRIME-RL/PRIME (beta_train), on which the paper builds
    kl_coefficient: float = 0.0  # reviews of arXiv 2507.01551
    unit: Literal["step", "token"] = "step"  # our reading
    pooled: bool = False  # arXiv 2507.01551, abstract (masked step advantage)
    outcome_weight: float = 1.0  # third-party code that names equation 13

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy", "segmenting"})
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"beta": 0.0}, Method()),)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Add the masked step advantage to the comparison of outcomes."""
        outcomes = standardise(rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon)
        return Credit(self.outcome_weight * rollouts.spread_rollouts(outcomes) + self._process(rollouts))

    def _process(self, rollouts: Rollouts) -> Tensor:
        """(B, T) masked step advantage of each action token."""
        rewards = self.beta * (rollouts.logprobs_behaviour - rollouts.require("logprobs_reference"))
        groups = rollouts.group_ids
        if self.unit == "step":
            per_step = rollouts.sum_over_turns(rewards)
            return rollouts.spread_turns(masked_step_advantages(per_step, groups, rollouts.turn_mask, self.pooled))
        index = rollouts.action_index()
        return index.unpack(masked_step_advantages(index.pack(rewards), groups, index.mask, self.pooled))
