"""TEMPO: GRPO, and at tokens where the responses of a group part, the change of their mean outcome.

The responses that were sampled for one prompt share prefixes, and so form a tree that costs nothing further. The mean
outcome of all responses below a prefix is its value; the token that leaves its siblings is credited with what that
choice was worth, on top of the outcome of its response, which every token gets.

    a_i    = (R_i - mean_group(R)) / (std_group(R) + epsilon)
    V(p)   = mean of a_j over the responses j of the group that begin with the prefix p
    A_{i,t} = a_i + V(first t + 1 tokens of i) - V(first t tokens of i)

Shapes: a (R,), V (R, L + 1) for L action tokens, A (B, T). Source: arXiv 2509.18314, abstract; fatebreaker/tempo:
verl/trainer/ppo/core_algos.py (`compute_tempo_outcome_advantage`), which takes the means of R and divides afterwards,
the same up to rounding. What differs: a group of one and a group of equal outcomes get exactly 0 (the code has NaN in a
group of one); in several turns all sampled tokens are compared, observations are not (the code stops at the first token
that was not sampled). Equal tokens are thus taken for equal states, which is so where the world is deterministic. The
upper clip of 0.28 and the missing KL of the released script give way to what all arms share.
Limits: a token at which nobody leaves the prefix has exactly the credit of GRPO, so that all tokens have it behind the
point from which a response goes alone. Where no prefix is shared at all it is not GRPO: the first token has a_i twice.
Over a response that nobody else gave, the differences sum to a_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from cairn.method import Method
from cairn.ops.groups import group_mean, standardise
from cairn.rollouts import Credit, Rollouts

ENDED = -1  # stands behind the last token of a response; no token has this number


def prefix_nodes(groups: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Number the nodes of the prefix trees: (R, L + 1) long, for the first 0, 1, ..., L tokens of each response.

    groups: (R,) long. tokens: (R, L) long; mask: (R, L) bool, True first, then False. Two responses have the same
    number in a column exactly where they are of one group and agree up to there; columns share no number. In the order
    of a dictionary those that share a prefix stand side by side, so that one pass over neighbours finds every node.
    """
    rows = torch.cat([groups[:, None], tokens.masked_fill(~mask, ENDED)], 1)
    sorted_rows, place = torch.unique(rows, dim=0, return_inverse=True)
    parted = (sorted_rows[1:] != sorted_rows[:-1]).long().cummax(1).values
    branch = pad(parted.cumsum(0), (0, 0, 1, 0))
    depth = torch.arange(rows.shape[1], device=rows.device)
    nodes: Tensor = branch[place] * rows.shape[1] + depth
    return nodes


def prefix_values(values: Tensor, nodes: Tensor) -> Tensor:
    """Return the mean value of the responses below each node of `prefix_nodes`. values: (R,). Returns (R, L + 1)."""
    return group_mean(values[:, None].expand(nodes.shape).flatten(), nodes.flatten()).reshape(nodes.shape)


@dataclass(frozen=True)
class TEMPO(Method):
    """GRPO with differences of prefix values; see the module for the formula."""

    outcome: bool = True  # fatebreaker/tempo; False leaves the differences alone, to see what each part does

    def credit(self, rollouts: Rollouts) -> Credit:
        """Add to the outcome of each rollout the differences along its path through the tree."""
        outcomes = standardise(rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon)
        index = rollouts.action_index()
        nodes = prefix_nodes(rollouts.group_ids, index.pack(rollouts.token_ids), index.mask)
        differences = index.unpack(prefix_values(outcomes, nodes).diff(dim=1))
        return Credit(rollouts.spread_rollouts(outcomes) + differences if self.outcome else differences)
