"""Whitening of advantages over a batch."""

from __future__ import annotations

import torch
from torch import Tensor


def whiten(values: Tensor, mask: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale the masked entries to mean 0 and unbiased variance 1; zero elsewhere. Same shape.

    Entries that are all equal (or a single one) carry no signal and become exactly 0.
    Source: volcengine/verl:verl/utils/torch_functional.py (masked_whiten), for the unbiased variance and epsilon.
    """
    index = mask.flatten().nonzero()[:, 0]  # several times as fast as indexing with the mask itself
    chosen = values.flatten().index_select(0, index)
    white = torch.zeros_like(values).flatten()
    if chosen.numel() < 2 or bool(chosen.eq(chosen[0]).all()):
        return white.reshape(values.shape)
    return white.index_copy(0, index, (chosen - chosen.mean()) * (chosen.var() + epsilon).rsqrt()).reshape(values.shape)
