"""Whitening of advantages over a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def whiten(values: Tensor, mask: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale the masked entries to mean 0 and unbiased variance 1; zero elsewhere. Same shape.

    Entries that are all equal (or a single one) carry no signal and become exactly 0.
    Source: volcengine/verl:verl/utils/torch_functional.py (masked_whiten), for the unbiased variance and epsilon.
    """
    chosen = values[mask]
    if chosen.numel() < 2 or bool(chosen.eq(chosen[0]).all()):
        return torch.zeros_like(values)
    return torch.where(mask, (values - chosen.mean()) * (chosen.var() + epsilon).rsqrt(), torch.zeros_like(values))
