"""Action tokens side by side: what a recursion over time runs on when environment tokens stand between them."""

from __future__ import annotations

from dataclasses import dataclass

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
        return cls(mask, action_mask.shape, action_mask.flatten().nonzero()[:, 0], mask.flatten().nonzero()[:, 0])

    def pack(self, per_token: Tensor) -> Tensor:
        """Move a (B, T) tensor to (B, L), 0 where `mask` is False."""
        return self._move(per_token, self._apart, self._packed, self.mask.shape)

    def unpack(self, packed: Tensor) -> Tensor:
        """Move a (B, L) tensor back to (B, T), 0 off the action tokens."""
        return self._move(packed, self._packed, self._apart, self._shape)

    @staticmethod
    def _move(values: Tensor, source: Tensor, target: Tensor, shape: torch.Size) -> Tensor:
        moved = values.new_zeros(shape.numel())
        return moved.index_copy(0, target, values.flatten().index_select(0, source)).reshape(shape)
