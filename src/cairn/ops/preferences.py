"""Learning from which rollout was better instead of by how much: pairs, the loss on pairs, and imitation of the better.

A method has such a stage through the ones that every method has: `collect` or `credit` say which rollouts take part
(rows outside a `loss_mask` cost nothing), and `loss` is the loss on pairs or of imitation. A supervised phase before
reinforcement is a `loss` that recalls how many updates there were (`Method.remember`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from cairn.ops.groups import group_extremes


def preference_pairs(returns: Tensor, group_ids: Tensor, which: Literal["extremes", "all"] = "extremes") -> Tensor:
    """Pair rollouts of a group of which one had the higher return: (P, 2) long, the better one first.

    returns: (R,) float; group_ids: (R,) long. `all` takes every two rollouts with different returns, `extremes` those
    of the highest with those of the lowest return of the group (all of them where several share it, so that the order
    of rollouts decides nothing). A tie is no pair: a group of one and a group of equal returns have none.
    """
    better: Tensor = (group_ids[:, None] == group_ids) & (returns[:, None] > returns)
    if which == "extremes":
        low, high = group_extremes(returns, group_ids)
        better = better & (returns == high)[:, None] & (returns == low)
    pairs: Tensor = better.nonzero()
    return pairs


def pair_weights(pairs: Tensor, group_ids: Tensor) -> Tensor:
    """Return (P,) float weights that sum to 1, with which each group that has pairs counts once."""
    _, of, counts = torch.unique(group_ids[pairs[:, 0]], return_inverse=True, return_counts=True)
    shares: Tensor = 1 / (counts[of] * max(len(counts), 1))
    return shares


def preference_loss(
    log_ratios: Tensor, pairs: Tensor, beta: float, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Return the DPO loss over pairs, a scalar; 0 (with gradient) where there is none.

        z = beta (l_better - l_worse),   loss = -(1 - e) log sigmoid(z) - e log sigmoid(-z)

    log_ratios: (R,) l = log pi - log pi_ref of a whole rollout, in nats: sums over its action tokens
    (`Rollouts.sum_over_rollouts`). pairs: (P, 2). beta: 1 over nats; smoothing: e, the share of pairs taken to be
    turned round. weights: (P,) that sum to 1; by default every pair counts the same.
    Source: arXiv 2305.18290, equation 7; eric-mitchell/direct-preference-optimization:trainers.py (`preference_loss`,
    for the smoothing). Limit: for l near 0, the gradient is that of advantages +beta / 2 and -beta / 2.
    """
    z = beta * (log_ratios[pairs[:, 0]] - log_ratios[pairs[:, 1]])
    each = -(1 - smoothing) * logsigmoid(z) - smoothing * logsigmoid(-z)
    return (each * weights).sum() if weights is not None else each.sum() / max(len(pairs), 1)


def best_of_groups(returns: Tensor, group_ids: Tensor) -> Tensor:
    """Mark the rollouts with the highest return of their group, (R,) bool, for imitation.

    A group of one and a group of equal returns have none: nothing says that they are worth imitating.
    """
    low, high = group_extremes(returns, group_ids)
    return (returns == high) & (high > low)
