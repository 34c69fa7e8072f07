"""DPO: of two rollouts of a task the better one is made more likely and the other less, by one weight for all tokens.

The weight of a pair is large where the policy, measured against the initial one, still ranks it the wrong way round; it
fades as the policy comes to rank it right. That stands in the place of a KL term, a baseline and a reward model.

    l_i  = log pi(rollout i) - log pi_ref(rollout i), summed over its action tokens
    z    = beta (l_w - l_l)   for a pair of a better rollout w and a worse one l
    loss = mean over pairs of -(1 - e) log sigmoid(z) - e log sigmoid(-z)
    A_i  = beta mean over pairs of (+1 where i = w, -1 where i = l) ((1 - e) sigmoid(-z) - e sigmoid(z))

A is minus the gradient of the loss in l, at the policy that sampled: the credit that the loss gives on its first pass.
Shapes: pairs (P, 2), l and A (R,), advantages (B, T). Source: arXiv 2305.18290, equation 7, section 4 (the gradient),
appendix C.1 (every pair of a prompt's completions); eric-mitchell/direct-preference-optimization:trainers.py. What
differs: pairs are formed anew from each batch, the higher return being preferred, where the paper learns from pairs
that were sampled once (our reading, in a loop that samples); rollouts without a pair are dropped; the KL term of the
other arms is not in the loss; the released switch that leaves the reference out is not implemented.
Limits: as l goes to 0, as on the first update, the weights are beta / 2 each; without weights (`weighted=False`, after
the paper's unlikelihood control) they stay so. Then, with returns of 0 and 1, A is GRPO's without its std times
beta G / (2 P), for groups of G rollouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.preferences import preference_loss, preference_pairs
from cairn.rollouts import Credit, Rollouts


def pair_credit(log_ratios: Tensor, pairs: Tensor, weights: Tensor) -> Tensor:
    """Return what each rollout gets from its pairs, (R,): the mean over pairs of +weight as better, -weight as worse.

    log_ratios: (R,), for size and type alone. pairs: (P, 2) long, the better one first. weights: (P,).
    """
    shares = weights / max(len(pairs), 1)
    return torch.zeros_like(log_ratios).index_add(0, pairs[:, 0], shares).index_add(0, pairs[:, 1], -shares)


def gradient_weights(log_ratios: Tensor, pairs: Tensor, beta: float, smoothing: float) -> Tensor:
    """Return minus the derivative of each pair's loss in l_w - l_l, (P,): beta ((1 - e) sigmoid(-z) - e sigmoid(z)).

    log_ratios: (R,), nats. pairs: (P, 2) long. beta: 1 over nats. smoothing: e, in [0, 1/2).
    """
    z = beta * (log_ratios[pairs[:, 0]] - log_ratios[pairs[:, 1]])
    return beta * ((1 - smoothing) * torch.sigmoid(-z) - smoothing * torch.sigmoid(z))


@dataclass(frozen=True)
class DPO(Method):
    """The loss on pairs, and the credit that it amounts to; see the module for the formula."""

    beta: float = 0.1  # arXiv 2305.18290, appendix B; huggingface/trl
    smoothing: float = 0.0  # e, eric-mitchell/direct-preference-optimization
    weighted: bool = True  # the paper; False: its control without the weight of the pair

    needs: ClassVar[frozenset[str]] = frozenset({"preference_pairs", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch, and pair every two rollouts of a task of which one earned more."""
        rollouts = services.rollouts()
        return rollouts.replace(pairs=preference_pairs(rollouts.returns, rollouts.group_ids, "all"))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each rollout with minus the gradient of the loss; those without a pair are dropped."""
        pairs, ratios = rollouts.require("pairs"), self._log_ratios(rollouts.logprobs_behaviour, rollouts)
        if self.weighted:
            weights = gradient_weights(ratios, pairs, self.beta, self.smoothing)
        else:
            weights = ratios.new_full((len(pairs),), self.beta / 2)
        paired = torch.zeros_like(rollouts.group_ids, dtype=torch.bool)
        paired[pairs.flatten()] = True
        advantages = rollouts.spread_rollouts(pair_credit(ratios, pairs, weights))
        return Credit(advantages, rollouts.spread_rollouts(paired))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        """Return the loss on pairs; without weights, their credit times the log-ratios."""
        if self.weighted:
            return preference_loss(
                self._log_ratios(logprobs, rollouts), rollouts.require("pairs"), self.beta, self.smoothing
            )
        return -(credit.advantages * (logprobs - rollouts.require("logprobs_reference"))).sum()

    def _log_ratios(self, logprobs: Tensor, rollouts: Rollouts) -> Tensor:
        return rollouts.sum_over_rollouts(logprobs - rollouts.require("logprobs_reference"))
