"""Free text from a network, token by token, a batch at once, at temperature 1.

A prefix is read once, however many rows go on from it. Each row has dice of its own, so that what it says depends
neither on its neighbours nor on how rows are put into batches (but for rounding).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab.generate import Branches, Memory
from cairn.lab.model import LanguageModel

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Sampled:
    """What R rows said, L tokens at most. ended: an end token, which is among the tokens, was said."""

    tokens: IntArray  # (R, L)
    logprobs: FloatArray  # (R, L) of the distribution that was sampled from, 0 behind the end
    entropies: FloatArray  # (R, L) nats, 0 behind the end
    lengths: IntArray  # (R,)
    ended: BoolArray  # (R,)

    @staticmethod
    def blank(rows: int, width: int) -> Sampled:
        """Return rows that have said nothing."""
        numbers = np.zeros((2, rows, width))
        nothing = np.zeros(rows, dtype=np.int64)
        return Sampled(np.zeros((rows, width), dtype=np.int64), numbers[0], numbers[1], nothing, nothing > 0)


def sample(
    model: LanguageModel,
    prefixes: Sequence[Sequence[int]],
    copies: IntArray,
    room: IntArray,
    ends: IntArray,
    luck: FloatArray,
) -> Sampled:
    """Let row r go on from `prefixes[copies[r]]` until it says one of `ends`, or has said `room[r]` >= 1 tokens.

    luck: (R, L) uniform on [0, 1), one for each token.
    """
    said = Sampled.blank(*luck.shape)
    memory = Memory(model, len(prefixes))
    logits = memory.read(prefixes, Branches.none(len(prefixes)))[torch.from_numpy(copies)]
    memory.select(copies)
    held = np.arange(copies.size)  # rows that the memory still holds
    going = np.ones(copies.size, dtype=bool)  # of these, the ones that go on
    for level in range(int(room.max(initial=0))):
        token, logprob, entropy = draw(logits[:, 0], luck[held, level])
        rows = held[going]
        for field, values in ((said.tokens, token), (said.logprobs, logprob), (said.entropies, entropy)):
            field[rows, level] = values[going]
        said.lengths[rows] += 1
        said.ended[rows] = np.isin(token[going], ends)
        going &= ~said.ended[held] & (said.lengths[held] < room[held])
        if not going.any():
            break
        if 2 * going.sum() <= going.size:  # what has ended is read along until it is half of the batch
            memory.select(np.flatnonzero(going))
            held, token, going = held[going], token[going], going[going]
        logits = memory.read(token[:, None].tolist(), Branches.none(held.size))
    return said


def draw(logits: Tensor, luck: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Sample a token for each row of logits (R, V) by inverting the cumulative distribution.

    Returns tokens, their log-probs, and the entropies of the distributions in nats, all (R,).
    """
    log_probs = logits.double().log_softmax(-1)
    probs = log_probs.exp()
    cumulative = probs.cumsum(-1)
    aim = torch.from_numpy(luck).to(logits.device)[:, None] * cumulative[:, -1:]
    token = torch.searchsorted(cumulative, aim, right=True).clamp_max(logits.shape[-1] - 1)
    chosen = log_probs.gather(-1, token)[:, 0]
    entropy = torch.special.entr(probs).sum(-1)
    return token[:, 0].cpu().numpy(), chosen.cpu().numpy(), entropy.cpu().numpy()
