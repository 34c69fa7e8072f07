"""Prefix packing: what sequences of a batch have in common at their beginnings is read by the network once.

Sequences are laid out in rows, several behind each other where they fit. A beginning that those of a row share stands
there once; each place attends to what comes before it in its own sequence and counts its position there. Outputs are
those of the sequences by themselves, up to rounding. Needs a model of transformers that takes `position_ids` and an
additive four-dimensional mask, with attention `sdpa` or `eager`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ROW_PLACES = 64  # of a row that holds several sequences; 32 and 128 take as long or longer on a CPU
WORTH_IT = 0.75  # of the places that rows of one sequence each would take; above it, those are read, without a mask


@dataclass(frozen=True)
class Packed:
    """N sequences of at most T tokens in B rows of W places."""

    tokens: IntArray  # (B, W)
    position: IntArray  # (B, W) in the sequence
    sees: BoolArray | None  # (B, W, W) what each place attends to; None: all places of its row up to itself
    place: IntArray  # (N, T) where each token stands, counted over all rows; 0 behind the end of a sequence

    @staticmethod
    def of(sequences: Sequence[tuple[int, ...]]) -> Packed:
        """Lay out sequences of a token or more, at least one; equal ones are laid out once."""
        kept = sorted(set(sequences))
        number = {sequence: n for n, sequence in enumerate(kept)}
        packed = _pack(kept)
        place = packed.place[[number[sequence] for sequence in sequences]]
        return Packed(packed.tokens, packed.position, packed.sees, place)

    @staticmethod
    def of_rows(token_ids: Tensor, present: Tensor) -> Packed:
        """Lay out padded rows (N, T): what is `present` of them. `place` is by their columns, 0 where nothing is."""
        tokens, ends = token_ids[present].tolist(), present.sum(1).cumsum(0).tolist()
        packed = Packed.of([tuple(tokens[a:b]) or (0,) for a, b in zip([0, *ends], ends, strict=False)])
        columns = (present.long().cumsum(1) - 1).clamp_min(0).numpy()
        place = np.take_along_axis(packed.place, columns.clip(max=packed.place.shape[1] - 1), 1)
        return Packed(packed.tokens, packed.position, packed.sees, place * present.numpy())

    def outputs(self, network: PreTrainedModel, places: IntArray, places_at_once: int | None = None) -> Tensor:
        """Return what the network puts out at places (M,): logits, or the last states of a body, (M, D).

        places_at_once: about how many a forward pass reads; None for all.
        """
        count, width = self.tokens.shape
        step = count if places_at_once is None else max(places_at_once // width, 1)
        order, found = np.argsort(places // width, kind="stable"), []
        of_row = (places // width)[order]
        for first in range(0, count, step):
            here = order[(of_row >= first) & (of_row < first + step)]
            if here.size:
                read = self._forward(network, slice(first, first + step)).flatten(0, 1)
                found.append(read[torch.from_numpy(places[here] - first * width).to(read.device)])
        back = torch.from_numpy(np.argsort(order))
        return torch.cat(found)[back.to(found[0].device)]

    def _forward(self, network: PreTrainedModel, rows: slice) -> Tensor:
        tokens = torch.from_numpy(self.tokens[rows]).to(network.device)
        if self.sees is None:
            return torch.as_tensor(network(input_ids=tokens, use_cache=False)[0])
        position = torch.from_numpy(self.position[rows]).to(network.device)
        mask = additive_mask(self.sees[rows], network)
        return torch.as_tensor(
            network(input_ids=tokens, attention_mask=mask, position_ids=position, use_cache=False)[0]
        )


def additive_mask(sees: BoolArray, network: PreTrainedModel) -> Tensor:
    """Turn (B, Q, S) `place q attends to place s` into the mask (B, 1, Q, S) that is added to attention scores."""
    # The lowest finite number: a padded place that may see nothing then averages over everything, harmlessly.
    lowest = torch.finfo(network.dtype).min
    mask = torch.zeros(sees.shape, dtype=network.dtype).masked_fill_(torch.from_numpy(~sees), lowest)
    return mask[:, None].to(network.device)


def _pack(sequences: list[tuple[int, ...]]) -> Packed:
    """Pack different sequences, which are sorted: then each shares most with the one before it."""
    lengths = np.array([len(sequence) for sequence in sequences])
    depth = np.arange(lengths.max())
    tokens = np.zeros((lengths.size, depth.size), dtype=np.int64)
    tokens[depth < lengths[:, None]] = np.concatenate(sequences)
    row, begin, offset = _rows(_common(tokens, lengths), lengths)
    count, width = int(row[-1]) + 1, int((offset + lengths - begin).max())
    if count * width > WORTH_IT * tokens.size:
        position = np.broadcast_to(depth, tokens.shape)
        return Packed(tokens, position, None, np.arange(tokens.size).reshape(tokens.shape))
    column = offset[:, None] + depth - begin[:, None]
    for n in np.flatnonzero(begin):
        column[n, : begin[n]] = column[n - 1, : begin[n]]
    new = (depth >= begin[:, None]) & (depth < lengths[:, None])
    laid, position = np.zeros((2, count, width), dtype=np.int64)
    of, at = np.nonzero(new)
    laid[row[of], column[of, at]], position[row[of], column[of, at]] = tokens[of, at], at
    sees = np.zeros((count, width, width), dtype=bool)
    of, at, before = np.nonzero(new[:, :, None] & (depth[:, None] >= depth))
    sees[row[of], column[of, at], column[of, before]] = True
    return Packed(laid, position, sees, (row[:, None] * width + column) * (depth < lengths[:, None]))


def _common(tokens: IntArray, lengths: IntArray) -> IntArray:
    """(N,) how many tokens each sequence has in common with the one before it, from the start."""
    same = (tokens[1:] == tokens[:-1]).cumprod(1).sum(1)
    return np.concatenate([[0], np.minimum(same, np.minimum(lengths[1:], lengths[:-1]))])


def _rows(common: IntArray, lengths: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Fill rows one after another. Returns (N,) each: the row, the first token that stands anew, and its column."""
    width = max(ROW_PLACES, int(lengths.max()))
    row, begin, offset = np.zeros((3, lengths.size), dtype=np.int64)
    here, used = 0, 0
    for n, (shared, length) in enumerate(zip(common.tolist(), lengths.tolist(), strict=True)):
        fits = used + length - shared <= width
        if not fits:
            here, used = here + 1, 0
        row[n], begin[n], offset[n] = here, shared * fits, used
        used += length - shared * fits
    return row, begin, offset
