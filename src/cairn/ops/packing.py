"""Action tokens side by side: what a recursion over time runs on when environment tokens stand between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Packing:
    """The action tokens of each row, moved to its left end in their order; made by `Packing.of`.

    mask: (B, L) bool, True first, then False; L is the greatest number of action tokens in a row.
    """

    mask: Tensor
    _shape: torch.Size  # (B, T)
    _apart: Tensor  # (N,) long, places of the N action tokens in B * T
    _packed: Tensor  # (N,) long, their places in B * L

    @classmethod
    def of(cls, action_mask: Tensor) -> Packing:
        """Return the packing of a (B, T) bool mask; holes and padding may stand anywhere."""
        counts = action_mask.sum(1, keepdim=True)
        width = int(counts.max().item()) if counts.numel() else 0
        mask = torch.arange(width, device=counts.device) < counts
        return cls(mask, action_mask.shape, true_places(action_mask), true_places(mask))

    def pack(self, per_token: Tensor) -> Tensor:
        """Move a (B, T) tensor to (B, L), 0 where `mask` is False."""
        return self.grid(self.take(per_token))

    def unpack(self, packed: Tensor) -> Tensor:
        """Move a (B, L) tensor back to (B, T), 0 off the action tokens."""
        return self.put(self.flat(packed))

    def take(self, per_token: Tensor) -> Tensor:
        """Return the action tokens of a (B, T) tensor, (N,), row by row."""
        return per_token.flatten().index_select(0, self._apart)

    def flat(self, packed: Tensor) -> Tensor:
        """Return the action tokens of a (B, L) tensor, (N,), row by row."""
        return packed.flatten().index_select(0, self._packed)

    def grid(self, flat: Tensor) -> Tensor:
        """Move (N,) action tokens to (B, L), 0 where `mask` is False."""
        return _scattered(self._packed, flat, self.mask.shape)

    def put(self, flat: Tensor) -> Tensor:
        """Move (N,) action tokens back to (B, T), 0 elsewhere."""
        return _scattered(self._apart, flat, self._shape)


def true_places(mask: Tensor) -> Tensor:
    """Return where a bool tensor is True, (N,) long, counted through all its axes.

    On the CPU numpy does it, five times as fast as torch.
    """
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.flatten().nonzero()[:, 0]


def spread(per_row: Tensor, action_mask: Tensor) -> Tensor:
    """Copy each row's number, (B,) float, to its action tokens: (B, T), 0 elsewhere.

    The mask is read as bytes, by which floats are multiplied three times as fast as by bools.
    """
    return per_row[:, None] * action_mask.view(torch.uint8)


def _scattered(places: Tensor, flat: Tensor, shape: torch.Size) -> Tensor:
    return flat.new_zeros(shape.numel()).scatter_(0, places, flat).reshape(shape)
