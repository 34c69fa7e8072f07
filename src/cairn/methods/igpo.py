"""IGPO: a turn is credited with how much likelier the gold answer has become for the policy.

Before every turn the policy is asked, by teacher forcing, how likely it finds the gold answer in place of the turn; the
rise from one turn to the next is the reward of the turn between. The last turn has the outcome instead.

    s_k = mean log-prob of the answer's tokens before turn k,   g_k = s_{k+1} - s_k for all turns but the last
    g~ and R~: gains and outcomes standardised, each by itself, over the group
    A_k = sum_{j >= k} gamma^(j-k) r~_j,   r~_j = g~_j, for the last turn R~; copied to the tokens of the turn

Shapes: s and g (R, K), R (R,), A (B, T). Source: arXiv 2510.14967, final version, equations 3 to 7 (gamma 1);
GuoqingWang1/IGPO:scrl/llm_agent/generation.py and verl/trainer/ppo/core_algos.py. What differs between them: the code
(and the first version of the paper) takes the probability exp(s), adds gains and outcome as they are, and subtracts the
group's mean at the same token position, in which rollouts that have ended count as 0; it does not divide
(`form="released"`, `gain="probability"`). Our reading: the outcome is the rollout's return; a gain is 0 where one of
its two turns said nothing; positions count action tokens only, where the code counts those of tools, too. The form
`merged` is a control: GRPO on the outcome plus all gains. Limits: without gains and with gamma 1 it is GRPO. With gamma
1 the gains telescope: the released return of turn k is R + P_last - P_k, and P_k is known before the turn acts.
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


def information_gains(levels: Tensor, spoken: Tensor) -> Tensor:
    """Return the rise of a level (R, K) over each turn but the last; 0 where either turn has none to compare."""
    known = spoken & pad(spoken, (0, 1))[:, 1:]
    return (pad(levels, (0, 1))[:, 1:] - levels) * known


def neighbours(group_ids: Tensor) -> Tensor:
    """Return, for each rollout, one of the next group in the order of labels, the first again after the last: (R,)."""
    labels, of = torch.unique(group_ids, return_inverse=True)
    places = torch.arange(len(of))
    first = torch.full((len(labels),), len(of)).scatter_reduce(0, of, places, "amin")
    return first[(of + 1) % max(len(labels), 1)]


@dataclass(frozen=True)
class IGPO(Method):
    """Information gain about the gold answer; see the module for the formula."""

    gamma: float = 1.0  # arXiv 2510.14967, equation 6, and the code
    gain: Literal["logprob", "probability"] = "logprob"  # final version; "probability" in the first one and in the code
    form: Literal["paper", "released", "merged"] = "paper"
    gains: bool = True  # False is the paper's ablation without them (Table 3)
    answer: Literal["own", "other"] = "own"  # "other" is a null control: the gold answer of another task

    needs: ClassVar[frozenset[str]] = frozenset({"rescoring", "turn_boundaries", "reference_policy"})
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"gains": False}, Method()),)

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch, and ask how likely the answer is before each turn."""
        rollouts = services.rollouts()
        of = None if self.answer == "own" else neighbours(rollouts.group_ids)
        return rollouts.replace(turn_scores=services.answer_logprobs(rollouts, of))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each turn with what follows from it on."""
        gained = self._gains(rollouts)
        if self.form == "released":
            return Credit(self._by_position(rollouts, gained))
        if self.form == "merged":
            return Credit(rollouts.spread_rollouts(self._compare(rollouts.returns + gained.sum(1), rollouts)))
        return Credit(rollouts.spread_turns(self._separately(rollouts, gained)))

    def _gains(self, rollouts: Rollouts) -> Tensor:
        levels = rollouts.require("turn_scores")
        spoken = rollouts.turn_mask & (rollouts.turn_tokens() > 0)
        risen = information_gains(levels if self.gain == "logprob" else levels.exp(), spoken)
        return risen if self.gains else torch.zeros_like(risen)

    def _compare(self, per_rollout: Tensor, rollouts: Rollouts) -> Tensor:
        return standardise(per_rollout, rollouts.group_ids, self.scale_by_std, self.epsilon)

    def _separately(self, rollouts: Rollouts, gained: Tensor) -> Tensor:
        mask, groups = rollouts.turn_mask, rollouts.group_ids[:, None].expand(gained.shape)
        last = last_steps(mask)
        compared = standardise_turns(gained, groups, mask & ~last, self.scale_by_std, self.epsilon)
        outcome = self._compare(rollouts.returns, rollouts)[:, None] * last
        return discounted_suffix_sum(compared + outcome, self.gamma)

    def _by_position(self, rollouts: Rollouts, gained: Tensor) -> Tensor:
        """Return the reward still to come from each action token on, less its mean over the group's rollouts."""
        index = rollouts.action_index()
        paid = rollouts.replace(turn_rewards=gained, terminal_rewards=rollouts.returns, dense_rewards=None)
        returns = discounted_suffix_sum(index.pack(paid.token_rewards()), self.gamma)
        _, of, counts = torch.unique(rollouts.group_ids, return_inverse=True, return_counts=True)
        means = returns.new_zeros(len(counts), returns.shape[1]).index_add(0, of, returns) / counts[:, None]
        return index.unpack((returns - means[of]) * index.mask)
