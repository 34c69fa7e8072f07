"""Whitening of advantages over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from cairn.ops.packing import true_places


def whiten(values: Tensor, mask: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale the masked entries to mean 0 and unbiased variance 1; zero elsewhere. Same shape.

    Entries that are all equal (or a single one) carry no signal and become exactly 0.
    Source: volcengine/verl:verl/utils/torch_functional.py (masked_whiten), for the unbiased variance and epsilon.
    """
    places = true_places(mask)  # several times as fast as indexing with the mask itself
    white = standard_score(values.flatten().index_select(0, places), epsilon)
    return torch.zeros_like(values).flatten().scatter_(0, places, white).reshape(values.shape)


def standard_score(chosen: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Whiten a (N,) tensor whole: what `whiten` does, for entries that were already chosen."""
    if chosen.numel() < 2 or bool(chosen.min() == chosen.max()):
        return torch.zeros_like(chosen)
    return (chosen - chosen.mean()) * (chosen.var() + epsilon).rsqrt()
