"""Generation with a network that carries its memory along: one forward pass for each turn of a batch.

A pass reads what is new to each row (the last token that it said and the observation) and, behind that, the prefix tree
of all phrases that the world would understand there; each node of the tree attends to its ancestors alone. So one pass
gives every next-token distribution that the turn can need. Afterwards only the branch that was said stays visible.
Rows advance together: what a row lacks is padding that nobody attends to, and positions count the row's own tokens.
Needs a model of transformers that attends to its whole past and takes an additive four-dimensional mask (`sdpa` and
`eager` do).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache

from cairn.lab.model import LanguageModel
from cairn.lab.policy import UNKNOWN
from cairn.lab.prefixes import additive_mask

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Forest:
    """The prefix trees of a batch, laid out to be read behind a prompt. M nodes in all, N in the largest tree.

    The nodes of a tree are numbered without a gap, the root first and parents before children.
    """

    token: IntArray  # (M,) the token that leads to the node; 0 for a root
    depth: IntArray  # (M,) 0 for a root
    size: IntArray  # (M,) nodes of the tree whose root this is; 0 for other nodes
    ancestors: BoolArray  # (M, N) by number within the tree, the node itself included

    @staticmethod
    def of(roots: IntArray, child: IntArray) -> Forest:
        """Lay out the trees of `cairn.lab.policy.join_children`."""
        nodes = len(child)
        starts = np.unique(roots[roots != UNKNOWN])
        size = np.zeros(nodes, dtype=np.int64)
        size[starts] = np.diff(starts, append=nodes)
        local = np.arange(nodes) - np.repeat(starts, size[starts])
        ancestors = local[:, None] == np.arange(size.max())
        token, depth = np.zeros((2, nodes), dtype=np.int64)
        level = starts
        while level.size:
            at, word = np.nonzero(child[level] >= 0)
            parent, below = level[at], child[level][at, word]
            token[below], depth[below] = word, depth[parent] + 1
            ancestors[below] |= ancestors[parent]
            level = below
        return Forest(token, depth, size, ancestors)


@dataclass(frozen=True)
class Branches:
    """The trees of A rows without their roots, N - 1 columns: what is read behind the prompts."""

    tokens: IntArray  # (A, N - 1)
    depth: IntArray  # (A, N - 1)
    sees: BoolArray  # (A, N - 1, N - 1) node i attends to node j of its row

    @staticmethod
    def of(forest: Forest, roots: IntArray) -> Branches:
        """Gather the trees that stand at `roots` (A,)."""
        column = np.arange(1, forest.ancestors.shape[1])
        present = column < forest.size[roots][:, None]
        node = np.where(present, roots[:, None] + column, 0)
        sees = forest.ancestors[node][:, :, 1:] & present[:, :, None]
        return Branches(forest.token[node] * present, forest.depth[node] * present, sees)

    @staticmethod
    def none(rows: int) -> Branches:
        """Return trees of a root alone."""
        empty = np.zeros((rows, 0), dtype=np.int64)
        return Branches(empty, empty, np.zeros((rows, 0, 0), dtype=bool))


class Memory:
    """What a batch of rows has read so far: the network's keys and values, and which of them each row may see."""

    def __init__(self, model: LanguageModel, rows: int) -> None:
        """Start with rows that have read nothing."""
        self._model = model
        self._cache = DynamicCache(config=model.network.config)
        self._visible = np.zeros((rows, 0), dtype=bool)
        self.lengths = np.zeros(rows, dtype=np.int64)  # tokens that each row has read

    def select(self, index: IntArray) -> None:
        """Keep the rows `index`; a row that is named twice is copied."""
        if np.array_equal(index, np.arange(self.lengths.size)):
            return
        self._cache.batch_select_indices(torch.from_numpy(index).to(self._model.device))
        self._visible, self.lengths = self._visible[index], self.lengths[index]

    def branch(self, index: IntArray, lengths: IntArray) -> Memory:
        """Return a memory in which row i has read the first `lengths[i]` tokens of row `index[i]` of this one."""
        found = Memory(self._model, index.size)
        visible = self._visible[index]
        visible &= visible.cumsum(1) <= lengths[:, None]
        used = visible.any(0)
        rows, columns = self._send(index), self._send(np.flatnonzero(used))
        layers: list[Any] = self._cache.layers  # of plain attention, see above
        for number, layer in enumerate(layers):
            keys, values = (kept[rows].index_select(2, columns) for kept in (layer.keys, layer.values))
            found._cache.update(keys, values, number)
        found._visible, found.lengths = visible[:, used], visible.sum(1)
        return found

    @torch.no_grad()
    def read(self, prompts: Sequence[Sequence[int]], branches: Branches) -> Tensor:
        """Read a prompt into each row and its tree behind it; return the logits (A, N, V) at the tree's nodes."""
        rows, nodes = branches.tokens.shape
        tokens, present = pad_left(prompts)
        width = tokens.shape[1]
        index = np.arange(width) - (width - present.sum(1, keepdims=True))
        read = self.lengths + present.sum(1)
        position = np.concatenate([self.lengths[:, None] + index, read[:, None] + branches.depth - 1], axis=1)
        logits = self._model.network(
            input_ids=self._send(np.concatenate([tokens, branches.tokens], axis=1)),
            attention_mask=additive_mask(self._view(present, branches.sees), self._model.network),
            position_ids=self._send(position.clip(0)),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=nodes + 1,
        ).logits
        self._visible = np.concatenate([self._visible, present, np.zeros((rows, nodes), dtype=bool)], axis=1)
        self.lengths = read
        return torch.as_tensor(logits)

    def recall(self, said: BoolArray) -> None:
        """Make the nodes `said` (A, N - 1) of the trees that were read last part of what the rows have read."""
        self._visible[:, self._visible.shape[1] - said.shape[1] :] = said
        self.lengths = self.lengths + said.sum(1)

    def _view(self, present: BoolArray, sees: BoolArray) -> BoolArray:
        """(A, Q, S + Q): which of S old and Q new places each of the Q new ones attends to."""
        rows, width = present.shape
        nodes = sees.shape[1]
        causal = present[:, None, :] & np.tril(np.ones((width, width), dtype=bool))
        trunk = np.concatenate([causal, np.zeros((rows, width, nodes), dtype=bool)], axis=2)
        crown = np.concatenate([np.broadcast_to(present[:, None, :], (rows, nodes, width)), sees], axis=2)
        past = np.broadcast_to(self._visible[:, None, :], (rows, width + nodes, self._visible.shape[1]))
        return np.concatenate([past, np.concatenate([trunk, crown], axis=1)], axis=2)

    def _send(self, values: IntArray) -> Tensor:
        return torch.from_numpy(values).to(self._model.device)


def pad_left(sequences: Sequence[Sequence[int]]) -> tuple[IntArray, BoolArray]:
    """Pad token lists on the left to (A, W) ids and their (A, W) mask."""
    lengths = np.array([len(s) for s in sequences])
    width = int(lengths.max())
    present = np.arange(width) >= width - lengths[:, None]
    tokens = np.zeros(present.shape, dtype=np.int64)
    tokens[present] = np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences])
    return tokens, present
