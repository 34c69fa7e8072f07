"""HCAPO: a turn is credited with how likely its action looks in hindsight, among the actions of its own rollout.

The policy itself reads each finished turn again with the successful outcome written before it; an action that the
outcome makes more likely than the rollout's average takes more of the return. Nothing is generated.

    p_t   = exp(mean over the tokens of a_t of log pi(y | ., outcome) / T_temp)
    rho_t = clip(p_t / mean over the rollout's turns of p, 0.8, 1.2),   Q_t = rho_t gamma^(T-t) R
    A_t   = standardise(R) + omega m_t,   m_t = standardise(Q_t) over all turns of the group

In a rollout that succeeded a negative m_t is set to 0 (the paper's rule that hindsight does no harm).
Shapes: p, rho, Q, m (R, K), R (R,), A (B, T). Source: arXiv 2603.08754, equations 3 to 8 and algorithm 1, at third hand
(RainyFields/Agentic-RL-CA:docs/methods_hcapo.md; there is no official code). Our reading: statistics over all turns,
where one sentence says those at the same t; the last turn is smoothed with itself; a rollout succeeded if its return is
above 0; R is the whole return; a turn without tokens has rho 1; the outcome stands before the prompt. What differs: the
loss is averaged over all action tokens of the batch, where the paper gives each turn of a rollout 1 / T. With
`prior="policy"` the likelihood without the outcome is the divisor, the classical ratio, as a third party has it
(gigpo/core_hcapo.py in the same repository).
Limits: omega = 0 is GRPO; with rho fixed to 1 (clips at 1) the discount alone tells turns apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from cairn.method import Limit, Method, Services
from cairn.ops.groups import standardise, standardise_turns
from cairn.ops.returns import discounted_suffix_sum, last_steps
from cairn.rollouts import Credit, Rollouts


def hindsight_ratios(scores: Tensor, spoken: Tensor) -> Tensor:
    """Return exp(score) over its mean among the rollout's turns that spoke, 1 elsewhere. All (R, K); scores in nats.

    A softmax times the number of turns: the same quotient, which no very unlikely action can turn into 0 / 0.
    """
    weights = scores.masked_fill(~spoken, -torch.inf).softmax(1) * spoken.sum(1, keepdim=True)
    return torch.where(spoken, weights, 1.0)


def smoothed(values: Tensor, turn_mask: Tensor, own: float) -> Tensor:
    """Return own * v_t + (1 - own) * v_{t+1}, the last turn as it is. All (R, K)."""
    after = torch.where(last_steps(turn_mask), values, pad(values, (0, 1))[:, 1:])
    return own * values + (1 - own) * after


@dataclass(frozen=True)
class HCAPO(Method):
    """Hindsight ratios beside the outcome; see the module for the formula."""

    hindsight_weight: float = 1.0  # omega, arXiv 2603.08754, appendix C.1, like all below
    temperature: float = 5.0  # T_temp
    lowest_ratio: float = 0.8
    highest_ratio: float = 1.2
    gamma: float = 0.95
    own_share: float = 1.0  # alpha of the smoothing, which is optional: 0.5 there
    spare_successes: bool = True  # section 4.3
    prior: Literal["rollout", "policy"] = "rollout"  # equation 7; "policy" at third parties
    told: Literal["success", "failure"] = "success"  # "failure" is a null control: the wrong outcome
    kl_coefficient: float = 0.01  # 0.001 for search

    needs: ClassVar[frozenset[str]] = frozenset({"rescoring", "turn_boundaries", "reference_policy"})
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"hindsight_weight": 0.0}, Method()),)

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch, and score its actions again behind the outcome."""
        rollouts = services.rollouts()
        return rollouts.replace(token_scores=services.rescored_logprobs(rollouts, self.told))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Add the hindsight part to GRPO's comparison of rollouts."""
        outcome = standardise(rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon)
        return Credit(rollouts.spread_turns(outcome[:, None] + self.hindsight_weight * self._hindsight(rollouts)))

    def _hindsight(self, rollouts: Rollouts) -> Tensor:
        mask, won = rollouts.turn_mask, rollouts.returns[:, None]
        paid = discounted_suffix_sum(last_steps(mask) * won, self.gamma)
        values = smoothed(self.ratios(rollouts) * paid, mask, self.own_share)
        groups = rollouts.group_ids[:, None].expand(mask.shape)
        part = standardise_turns(values, groups, mask, self.scale_by_std, self.epsilon)
        return part.clamp_min(0).where(won > 0, part) if self.spare_successes else part

    def ratios(self, rollouts: Rollouts) -> Tensor:
        """Return rho, (R, K): above 1 where hindsight finds the action likely, 1 for a turn that said nothing."""
        scores = rollouts.require("token_scores")
        spoken = rollouts.turn_mask & (rollouts.turn_tokens() > 0)
        if self.prior == "policy":
            found = (rollouts.mean_over_turns(scores - rollouts.logprobs_behaviour) / self.temperature).exp()
        else:
            found = hindsight_ratios(rollouts.mean_over_turns(scores) / self.temperature, spoken)
        return found.clamp(self.lowest_ratio, self.highest_ratio)
