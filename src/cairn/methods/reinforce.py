"""REINFORCE, RLOO and REINFORCE++: a response is credited with its return less a baseline that no critic gives.

What they differ in is the baseline, whether a token is credited with the return of the whole rollout or with what
follows it, the whitening, and where the KL to the initial policy stands.

    r'_t = r_t - beta (log pi(a_t) - log pi_ref(a_t))     with the KL in the reward
    whole:  A_it = R_i - b_i,   R_i = sum_t r'_it         to go:  A_it = sum_{u>=t} gamma^(u-t) r'_iu - b_i
    b_i  = 0, the mean of all returns before this update, the mean of the group, or the mean of the others in it

Shapes: returns and baselines (R,), advantages (B, T). Sources: RLOO, arXiv 2402.14740 (our reading: its text was seen
at third hand; the same rule in verl-project/verl:verl/trainer/ppo/core_algos.py, `rloo`, and huggingface/trl:trl/
trainer/rloo_trainer.py); REINFORCE++, arXiv 2501.03262v9, equations 4 to 7. `RLOO` is the default; `REINFORCE`,
`REINFORCE_PLUS_PLUS` and `REINFORCE_PLUS_PLUS_BASELINE` are the others. What differs: the loss is a mean over tokens
of the batch, where the papers sum over a response; the KL in the loss, which only REINFORCE++ with a baseline has, is
the estimate of every arm (k3) and not half the squared log-ratio (k2); a group of one gets 0 from the two baselines of
the group. Limits: without KL, the leave-one-out baseline is n / (n - 1) times GRPO without its std, the group's mean is
GRPO without its std, and REINFORCE++ at gamma 1 is the whitened outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Limit, Method
from cairn.ops.groups import leave_one_out, standardise
from cairn.ops.returns import kl_penalised_rewards, token_returns
from cairn.ops.whiten import whiten
from cairn.rollouts import Credit, Rollouts

Baseline = Literal["none", "past_mean", "group_mean", "leave_one_out"]


@dataclass(frozen=True)
class Past:
    """The returns of all updates so far, for the baseline `past_mean`."""

    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float:
        """Return their mean; 0 before the first update."""
        return self.total / max(self.count, 1)


def less_baseline(returns: Tensor, group_ids: Tensor, baseline: Baseline, past_mean: float) -> Tensor:
    """Return R_i - b_i, (R,), in the unit of the returns; exactly 0 in a group without a difference for its baselines.

    returns: (R,) float; group_ids: (R,) long; past_mean: the mean of earlier returns, for the baseline of that name.
    """
    if baseline == "leave_one_out":
        return leave_one_out(returns, group_ids)
    if baseline == "group_mean":
        return standardise(returns, group_ids, scale_by_std=False, epsilon=0.0)
    return returns - past_mean if baseline == "past_mean" else returns


@dataclass(frozen=True)
class Reinforce(Method):
    """Monte Carlo returns less a baseline; see the module for the formula."""

    baseline: Baseline = "leave_one_out"  # RLOO, arXiv 2402.14740
    returns: Literal["whole", "to_go"] = "whole"  # RLOO
    gamma: float = 1.0  # OpenRLHF; a discount by token, of the returns to go
    whiten: bool = False  # RLOO; as in huggingface/trl
    kl_place: Literal["reward", "loss"] = "reward"  # RLOO; as in huggingface/trl
    kl_coefficient: float = 0.03  # beta, arXiv 2402.14740 for TL;DR, at third hand; its weight in reward or loss

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy"})
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit({"baseline": "group_mean", "kl_coefficient": 0.0}, Method(scale_by_std=False)),
    )

    def reward(self, rollouts: Rollouts) -> Rollouts:
        """Charge each action token for its log-ratio to the initial policy, where the KL stands in the reward."""
        if self.kl_place == "loss" or not self.kl_coefficient:
            return rollouts
        behaviour, reference = rollouts.logprobs_behaviour, rollouts.require("logprobs_reference")
        paid = torch.zeros_like(behaviour) if rollouts.dense_rewards is None else rollouts.dense_rewards
        mask = rollouts.action_mask
        return rollouts.replace(
            dense_rewards=kl_penalised_rewards(paid, behaviour, reference, mask, self.kl_coefficient)
        )

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each action token with its return less the baseline of its rollout."""
        past = rollouts.recall(Past()).mean
        compared = less_baseline(rollouts.returns, rollouts.group_ids, self.baseline, past)
        if self.returns == "whole":
            advantages = rollouts.spread_rollouts(compared)
        else:
            baselines = rollouts.spread_rollouts(rollouts.returns - compared)
            advantages = token_returns(rollouts, self.gamma) - baselines
        return Credit(whiten(advantages, rollouts.action_mask) if self.whiten else advantages)

    def remember(self, rollouts: Rollouts) -> Past:
        """Add the returns of the batch to those of the past."""
        past = rollouts.recall(Past())
        return Past(past.total + float(rollouts.returns.sum()), past.count + len(rollouts.returns))

    def with_kl(self, per_token: Tensor, logprobs: Tensor, rollouts: Rollouts) -> Tensor:
        """Add the KL to the loss only where it does not stand in the reward."""
        return super().with_kl(per_token, logprobs, rollouts) if self.kl_place == "loss" else per_token


REINFORCE = Reinforce(baseline="past_mean")
"""With the mean of all earlier returns as baseline, as the paper on RLOO has it (at third hand)."""

RLOO = Reinforce()
"""Each rollout against the others of its group."""

REINFORCE_PLUS_PLUS = Reinforce(baseline="none", returns="to_go", whiten=True, kl_coefficient=0.01)
"""Outcome less the KL from the token on, whitened over the batch; beta as OpenRLHF starts it."""

REINFORCE_PLUS_PLUS_BASELINE = Reinforce(baseline="group_mean", whiten=True, kl_place="loss", kl_coefficient=0.01)
"""Outcome less the group's mean, whitened over the batch; the KL in the loss."""
