"""Pieces of policy-gradient losses, per token, and the means that make one number of them.

A unit is what shares one importance ratio, or counts once in a mean: a token, a turn, a rollout. `units` (B, T) long
says of each token to which one it belongs (`Rollouts.units`), so that a unit may lie in one row or in many.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cairn.ops.packing import true_places

LOG_RATIO_BOUND = 20.0  # nats, as in verl: `exp` stays a float32 number, and a token that is farther has no gradient


def clipped_surrogate(logprobs: Tensor, behaviour: Tensor, advantages: Tensor, clip_ratio: float) -> Tensor:
    """Return -min(r A, clip(r, 1 - c, 1 + c) A) with r = exp(logprobs - behaviour), all (B, T).

    Source: PPO, arXiv 1707.06347, equation 7.
    """
    return surrogate(log_ratios(logprobs, behaviour).exp(), advantages, clip_ratio, clip_ratio)


def surrogate(ratio: Tensor, advantages: Tensor, low: float, high: float, dual: float | None = None) -> Tensor:
    """Return -min(r A, clip(r, 1 - low, 1 + high) A) for given ratios, all (B, T).

    An asymmetric clip (high > low) leaves more room to what is made more likely. dual: where A < 0 the loss is at most
    -dual A, whatever the ratio. Sources: arXiv 1707.06347, equation 7; arXiv 2503.14476, section 3.1 (asymmetric, there
    0.2 and 0.28); arXiv 1912.09729 and volcengine/verl:verl/trainer/ppo/core_algos.py (dual, there 3).
    """
    loss = -torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)
    return loss if dual is None else torch.where(advantages < 0, torch.minimum(loss, -dual * advantages), loss)


def log_ratios(logprobs: Tensor, behaviour: Tensor) -> Tensor:
    """Return logprobs - behaviour in nats, (B, T), held within +-LOG_RATIO_BOUND: exp of it is the token's ratio."""
    return (logprobs - behaviour).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


def unit_log_ratios(
    logprobs: Tensor, behaviour: Tensor, mask: Tensor, units: Tensor, reduce: Literal["mean", "sum"]
) -> Tensor:
    """Return one log-ratio for each unit, written to all of its tokens: (B, T), 0 off the mask.

        l_u = sum over tokens t of u of (log pi(t) - log mu(t)),   divided by their number for `mean`

    `sum` makes exp(l_u) the importance ratio of the whole unit, whose spread grows with its length; `mean` makes it the
    geometric mean of the token ratios, which only a clip range that is smaller by orders can bound alike. Units are
    counted over the tokens in `mask` (B, T) bool; l_u is held within +-LOG_RATIO_BOUND.
    Sources: GSPO, arXiv 2507.18071, section 4.1 (unit: the response; mean); arXiv 2512.17008 (unit: the turn; accounts
    of it name either form). What differs: verl's GSPO takes a row for a response, and bounds on one side, at 10.
    Limit: units of one token give `log_ratios`.
    """
    places, of, counts = _members(mask, units)
    differences = (logprobs - behaviour).flatten().index_select(0, places)
    totals = differences.new_zeros(len(counts)).index_add(0, of, differences)
    each = totals / counts if reduce == "mean" else totals
    spread = each.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).index_select(0, of)
    return torch.zeros_like(logprobs).flatten().scatter(0, places, spread).reshape(logprobs.shape)


def through_tokens(unit_log_ratio: Tensor, logprobs: Tensor) -> Tensor:
    """Return the same log-ratios with the gradient of each token's own log-prob, all (B, T).

        sg(l_u) + log pi(t) - sg(log pi(t)),   sg: taken as a constant

    So a token is moved by its own advantage, not by the mean over its unit. With one advantage for the whole unit,
    `mean` ratios and a mean over units, value and gradient are what they are without it.
    Source: arXiv 2507.18071, section 4.3 (GSPO-token).
    """
    return unit_log_ratio.detach() + logprobs - logprobs.detach()


def low_variance_kl(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return exp(d) - d - 1 with d = reference - logprobs, (B, T): a non-negative estimate of KL(policy, reference).

    Unbiased when the tokens were sampled from the policy. Source: arXiv 2402.03300, equation 4.
    """
    difference = reference - logprobs
    return difference.exp() - difference - 1


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is True; 0 (with gradient) for an empty mask. Every token counts once."""
    return (values * mask).sum() / mask.sum().clamp_min(1)


def mean_over_units(values: Tensor, mask: Tensor, units: Tensor) -> Tensor:
    """Mean over units of the mean over their tokens, so that a unit counts once whatever its length; 0 for none.

    values (B, T), mask (B, T) bool. A unit without a token in the mask does not count. With `units("rollout")` it is
    the mean that arXiv 2402.03300, equation 3, prints and verl calls seq-mean-token-mean; with units of one token it is
    `masked_mean`.
    """
    places, of, counts = _members(mask, units)
    weights = 1 / (counts * (counts > 0).sum().clamp_min(1)).clamp_min(1).to(values.dtype)
    return (values.flatten().index_select(0, places) * weights.index_select(0, of)).sum()


def _members(mask: Tensor, units: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return where the mask is True (N,), the unit of each such token (N,), and the tokens of each unit."""
    places = true_places(mask)
    of = units.flatten().index_select(0, places)
    return places, of, torch.bincount(of)
