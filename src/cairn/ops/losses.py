"""Pieces of policy-gradient losses, per token."""

from __future__ import annotations

import torch
from torch import Tensor


def clipped_surrogate(logprobs: Tensor, behaviour: Tensor, advantages: Tensor, clip_ratio: float) -> Tensor:
    """Return -min(r A, clip(r, 1 - c, 1 + c) A) with r = exp(logprobs - behaviour), all (B, T).

    Source: PPO, arXiv 1707.06347, equation 7.
    """
    ratio = (logprobs - behaviour).exp()
    clipped = ratio.clamp(1 - clip_ratio, 1 + clip_ratio)
    return -torch.minimum(ratio * advantages, clipped * advantages)


def low_variance_kl(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Return exp(d) - d - 1 with d = reference - logprobs, (B, T): a non-negative estimate of KL(policy, reference).

    Unbiased when the tokens were sampled from the policy. Source: arXiv 2402.03300, equation 4.
    """
    difference = reference - logprobs
    return difference.exp() - difference - 1


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is True; 0 (with gradient) for an empty mask."""
    return (values * mask).sum() / mask.sum().clamp_min(1)
