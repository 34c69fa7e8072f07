"""Prefix packing: what sequences of a batch have in common at their beginnings is read by the network once.

Sequences are laid out in rows, several behind each other where they fit. A beginning that those of a row share stands
there once; each place attends to what comes before it in its own sequence and counts its position there. Outputs are
those of the sequences by themselves, up to rounding. That takes a network that attends by a four-dimensional mask and
counts by `position_ids`. Whether one does is found out by trying; a recurrent one, which does not, reads plain rows.
So is whether its first and last layer need not be computed at every place.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from cairn.lab.skipping import only_at

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ROW_PLACES = 64  # of a row that holds several sequences; 32 and 128 take as long or longer on a CPU
WORTH_IT = 0.75  # of the places that rows of one sequence each would take; above it, those are read, without a mask


@dataclass(frozen=True)
class Layout:
    """N sequences of at most T tokens in B rows of W places."""

    tokens: IntArray  # (B, W)
    position: IntArray  # (B, W) in the sequence
    sees: BoolArray | None  # (B, W, W) what each place attends to; None: all places of its row up to itself
    place: IntArray  # (N, T) where each token stands, counted over all rows; undefined behind the end of a sequence

    @staticmethod
    @lru_cache(maxsize=2)  # policy, reference and critic read the same rows one after another
    def of(sequences: tuple[tuple[int, ...], ...], *, together: bool = True) -> Layout:
        """Lay out sequences of a token or more, at least one; equal ones are laid out once.

        together: allow for several in a row, where that spares enough places.
        """
        kept = sorted(set(sequences))
        number = {sequence: n for n, sequence in enumerate(kept)}
        layout = _lay_out(kept, together=together)
        return replace(layout, place=layout.place[[number[sequence] for sequence in sequences]])

    def read(self, network: PreTrainedModel, places: IntArray, rows: slice, *, skip: bool) -> Tensor:
        """Return a network's first output (logits, or a body's last states) at places (M,) of some rows, (M, D).

        places: sorted, each of them once, and counted from the first of these rows. skip: see `only_at`.
        """
        tokens = torch.from_numpy(self.tokens[rows]).to(network.device)
        given: dict[str, Tensor] = {}
        if self.sees is not None:
            position = torch.from_numpy(self.position[rows]).to(network.device)
            given = {"attention_mask": additive_mask(self.sees[rows], network), "position_ids": position}
        wanted = torch.from_numpy(places).to(network.device)
        with only_at(network, tokens, wanted) if skip else nullcontext():
            found = torch.as_tensor(network(input_ids=tokens, use_cache=False, **given)[0])
        return found[0] if skip else found.flatten(0, 1)[wanted]


@dataclass(frozen=True)
class Ability:
    """What a network puts out the right thing in spite of."""

    packs: bool  # several sequences in a row, told apart by mask and position
    skips: bool  # its first and last layer computed no more often than it takes; see `only_at`


@dataclass(frozen=True)
class Packed:
    """Sequences as a network reads them."""

    network: PreTrainedModel
    layout: Layout
    place: IntArray  # (N, T) where to find each token
    skips: bool  # see `Ability`

    @staticmethod
    def of(network: PreTrainedModel, sequences: Sequence[tuple[int, ...]]) -> Packed:
        """Lay out sequences of a token or more, at least one."""
        window = getattr(network.config, "sliding_window", None)  # which a mask of our own would widen
        fit = window is None or max(map(len, sequences)) <= window
        able = ability(network)
        layout = Layout.of(tuple(sequences), together=fit and able.packs)
        return Packed(network, layout, layout.place, able.skips)

    @staticmethod
    def of_rows(network: PreTrainedModel, token_ids: Tensor, present: Tensor) -> Packed:
        """Lay out padded rows (N, T): what is `present` of them. `place` is by their columns, undefined elsewhere."""
        tokens, ends = token_ids[present].tolist(), present.sum(1).cumsum(0).tolist()
        rows = [tuple(tokens[begin:end]) or (0,) for begin, end in zip([0, *ends], ends, strict=False)]
        packed = Packed.of(network, rows)
        column = (present.long().cumsum(1) - 1).numpy().clip(0, packed.place.shape[1] - 1)
        return replace(packed, place=np.take_along_axis(packed.place, column, 1))

    def outputs(self, places: IntArray, places_at_once: int | None = None) -> Tensor:
        """Return what the network puts out at places (M,): logits, or the last states of a body, (M, D).

        places_at_once: about how many a forward pass reads; None for all.
        """
        count, width = self.layout.tokens.shape
        step = count if places_at_once is None else max(places_at_once // width, 1)
        wanted, back = np.unique(places, return_inverse=True)
        firsts = np.arange(0, count, step)
        parts = np.split(wanted, np.searchsorted(wanted, firsts[1:] * width))
        found = [
            self.layout.read(self.network, part - first * width, slice(first, first + step), skip=self.skips)
            for first, part in zip(firsts.tolist(), parts, strict=True)
            if part.size
        ]
        return torch.cat(found)[torch.from_numpy(back).to(found[0].device)]


_KNOWN: WeakKeyDictionary[PreTrainedModel, Ability] = WeakKeyDictionary()


def ability(network: PreTrainedModel) -> Ability:
    """Say what a network is able to: tried once."""
    if network not in _KNOWN:
        plain = _answers(network, Ability(packs=False, skips=False))
        packs = _same(network, Ability(packs=True, skips=False), plain)
        skips = _same(network, Ability(packs=False, skips=True), plain)
        _KNOWN[network] = Ability(packs, skips)
    return _KNOWN[network]


@torch.no_grad()
def _answers(network: PreTrainedModel, able: Ability) -> Tensor:
    """Return what a network puts out at some places of three sequences."""
    words = int(network.config.vocab_size)
    tokens = (1, 2, 3, 4, 5), (1, 2, 3, 4, 6, 7), (8, 4, 1)  # one token at several positions, too
    sequences = tuple(tuple(token % words for token in one) for one in tokens)
    layout = Layout.of(sequences, together=able.packs)
    ends = [layout.place[n, [1, len(one) - 1]] for n, one in enumerate(sequences)]
    return Packed(network, layout, layout.place, able.skips).outputs(np.concatenate(ends))


def _same(network: PreTrainedModel, able: Ability, plain: Tensor) -> bool:
    """Say whether a network that is taken to be able to something answers as if it were not."""
    try:
        found = _answers(network, able)
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):  # it takes no mask, or is built otherwise
        return False
    error = max(1e-4, 10 * torch.finfo(plain.dtype).eps)  # a mistake is of the size of the outputs
    return bool((found - plain).abs().max() <= error * plain.abs().max())


def additive_mask(sees: BoolArray, network: PreTrainedModel) -> Tensor:
    """Turn (B, Q, S) `place q attends to place s` into the mask (B, 1, Q, S) that is added to attention scores."""
    # The lowest finite number: a padded place that may see nothing then averages over everything, harmlessly.
    lowest = torch.finfo(network.dtype).min
    mask = torch.zeros(sees.shape, dtype=network.dtype).masked_fill_(torch.from_numpy(~sees), lowest)
    return mask[:, None].to(network.device)


def _lay_out(sequences: list[tuple[int, ...]], *, together: bool) -> Layout:
    """Lay out different sequences, which are sorted: then each shares most with the one before it."""
    lengths = np.array([len(sequence) for sequence in sequences])
    depth = np.arange(lengths.max())
    tokens = np.zeros((lengths.size, depth.size), dtype=np.int64)
    tokens[depth < lengths[:, None]] = np.concatenate(sequences)
    row, begin, offset = _rows(_common(tokens, lengths), lengths)
    count, width = int(row[-1]) + 1, int((offset + lengths - begin).max())
    if not together or count * width > WORTH_IT * tokens.size:
        position = np.broadcast_to(depth, tokens.shape)
        return Layout(tokens, position, None, np.arange(tokens.size).reshape(tokens.shape))
    # What a sequence has in common with the one before it stands where the last one that brought it laid it down.
    owner = np.maximum.accumulate((depth >= begin[:, None]) * np.arange(lengths.size)[:, None])
    column = (offset - begin)[owner] + depth
    new = (depth >= begin[:, None]) & (depth < lengths[:, None])
    laid, position = np.zeros((2, count, width), dtype=np.int64)
    of, at = np.nonzero(new)
    laid[row[of], column[of, at]], position[row[of], column[of, at]] = tokens[of, at], at
    sees = np.zeros((count, width, width), dtype=bool)
    for here in depth:
        n = np.flatnonzero(new[:, here])
        if here:
            sees[row[n], column[n, here]] = sees[row[n], column[n, here - 1]]
        sees[row[n], column[n, here], column[n, here]] = True
    return Layout(laid, position, sees, row[:, None] * width + column)


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
