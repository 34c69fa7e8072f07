"""PURE: a step is credited with the worst process reward that is still to come, not with the sum of them.

A process reward model (PRM) scores each step in [-1, 1]. A sum of such scores pays for every further step that is not
wrong, and its error grows with their number; the worst one is off by no more than one score is.

    p_k = 2 s_k - 1,   w_k = exp(-p_k / T) / sum_j exp(-p_j / T) over the steps of the response,   r_k = w_k p_k
    G_t = sum of r from token t on: about min p up to the worst step, about 0 behind it
    b_i = (sum over the other n - 1 responses of the group, and over their tokens, of G) / ((n - 1) N)
    A_t = G_t - b_i, then whitened over the batch

Shapes: scores s, p, w, r (R, K), b (R,), G and A (B, T). The score is the PRM's probability that a step is right, so
that p is what the released code calls softmax(1) - softmax(0). Source: arXiv 2504.15275; CJReinforce/PURE, branch verl:
verl/workers/fsdp_workers.py (w), verl/trainer/ppo/core_algos.py (G, b, whitening), verl/trainer/config/
ppo_trainer.yaml. What differs: steps are turns, paid at their last token; the PRM is not fitted here (nor in the code
by default); the KL stands in the loss, as for every arm, not in the reward; N is the longest response of the batch
unless `longest_tokens` gives the padded length of the code; a group of one has no baseline (the code divides by 0).
Forms of the code beside `min`: `sum` is the usual return of the scores, `strict` the least token reward from t on;
there padding and tokens inside a step, all at 0, keep a return from being above 0 (the last token of a response that
fills the padded length escapes that in the code). Limits: as T falls to 0, the sum of r is min p; with one step `min`
is `sum`; scores that are all 0.5, responses of N tokens and an outcome reward give RLOO, whitened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.returns import discounted_suffix_sum
from cairn.ops.whiten import whiten
from cairn.rollouts import Credit, Rollouts


def min_form_rewards(process: Tensor, turn_mask: Tensor, temperature: float) -> Tensor:
    """Weigh process rewards by a softmax towards the worst, so that they sum to about the least. All (R, K)."""
    weights = (-process / temperature).masked_fill(~turn_mask, -torch.inf).softmax(1)
    return torch.where(turn_mask, weights * process, 0.0)


def least_to_come(rewards: Tensor) -> Tensor:
    """Return the least of each token reward, those behind it, and the 0 of padding. Rewards in time order, (R, L)."""
    least = rewards.flip(1).cummin(1).values.flip(1) if rewards.shape[1] else rewards
    return least.clamp(max=0.0)


def others_mean_per_token(totals: Tensor, groups: Tensor, longest_tokens: int) -> Tensor:
    """Return the mean of the others of a group, spread over `longest_tokens`. totals, groups: (R,). Returns (R,)."""
    _, of, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    sums = totals.new_zeros(len(sizes)).index_add(0, of, totals)
    mean: Tensor = (sums[of] - totals) / ((sizes[of] - 1).clamp_min(1) * max(longest_tokens, 1))
    return mean


@dataclass(frozen=True)
class PURE(Method):
    """Min-form credit from a step PRM; see the module for the formula."""

    form: Literal["min", "sum", "strict"] = "min"  # CJReinforce/PURE, reward_model.credit_assignment
    temperature: float = 0.1  # T, the same
    outcome_weight: float = (
        0.0  # PRM alone, arXiv 2504.15275, section 4.3; 1.0 in CJReinforce/PURE where answers are had
    )
    longest_tokens: int | None = None  # N, 8,192 in arXiv 2504.15275
    whiten: bool = True  # CJReinforce/PURE, algorithm.adv_norm

    needs: ClassVar[frozenset[str]] = frozenset({"prm", "segmenting", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch and have every step scored."""
        rollouts = services.rollouts()
        return rollouts.replace(turn_scores=services.turn_scores(rollouts))

    def reward(self, rollouts: Rollouts) -> Rollouts:
        """Pay for steps what the scores come to, and at the end a share of the outcome."""
        mask, process = rollouts.turn_mask, 2 * rollouts.require("turn_scores") - 1
        if self.form == "min":
            paid = min_form_rewards(process, mask, self.temperature)
        else:
            paid = torch.where(mask, process, 0.0)
        outcome = self.outcome_weight * rollouts.returns
        return rollouts.replace(turn_rewards=paid.to(outcome.dtype), terminal_rewards=outcome)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each token with its return less what the tokens of the other responses return on average."""
        index = rollouts.action_index()
        rewards = index.pack(rollouts.token_rewards())
        returns = least_to_come(rewards) if self.form == "strict" else discounted_suffix_sum(rewards, 1.0)
        returns = returns * index.mask
        longest = index.mask.shape[1] if self.longest_tokens is None else self.longest_tokens
        baseline = others_mean_per_token(returns.sum(1), rollouts.group_ids, longest)
        advantages = index.unpack(returns - baseline[:, None])
        return Credit(whiten(advantages, rollouts.action_mask) if self.whiten else advantages)
