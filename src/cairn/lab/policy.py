"""The whole policy over a batch of worlds, read before anything is played.

The world ends a turn at the first token with which no phrase that it understands can go on. So everything that can
happen in a turn lies on the prefix tree of the understood phrases: the next-token distributions on that tree are the
policy, for sampling (a table look-up per token) and for exact values alike. The ledger bills sampling as if every row
had been computed by itself; sharing is an implementation detail that larger worlds would not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cairn.lab.model import LanguageModel
from cairn.lab.prefixes import Packed
from cairn.lab.world import World, WorldBatch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
PLACES_AT_ONCE = 8192  # in a forward pass; on a CPU, more of them run out of its caches and take longer
UNKNOWN = -1  # child: the token leads nowhere, the turn ends as `stay`


@dataclass(frozen=True)
class Tree:
    """Prefix trees of one world, one for each of P prompts; N nodes, V words, C options, L tokens at most a phrase.

    A child code >= 0 is a node, UNKNOWN ends the turn as `stay`, and -2 - c completes option c.
    """

    prompt_tokens: list[list[int]]  # (P,)
    sequences: list[tuple[int, ...]]  # (Q,) a prompt and a phrase up to its last token: what the forward pass reads
    node_sequence: IntArray  # (N,) where to read the node's distribution ...
    node_position: IntArray  # (N,) ... and at which position
    children: list[dict[int, int]]  # (N,)
    roots: IntArray  # (P,)
    paths: list[list[list[tuple[int, int]]]]  # [p][c] -> [(node, token)], the phrase as steps in the tree

    @cached_property
    def edges(self) -> IntArray:
        """Return (E, 3) node, token and child code, wherever a token leads on."""
        edges = [(i, token, code) for i, kids in enumerate(self.children) for token, code in kids.items()]
        return np.array(edges, dtype=np.int64).reshape(-1, 3)

    @cached_property
    def steps(self) -> IntArray:
        """Return (E, 4) prompt, option, node and token, for each token of each phrase."""
        paths = ((p, c, path) for p, options in enumerate(self.paths) for c, path in enumerate(options))
        return np.array([(p, c, *step) for p, c, path in paths for step in path], dtype=np.int64).reshape(-1, 4)


def grow_tree(world: World, tokenizer: PreTrainedTokenizerBase) -> Tree:
    """Tokenise a world and build its prefix trees."""
    prompts = [list(ids) for ids in tokenizer(list(world.prompts), add_special_tokens=False)["input_ids"]]
    phrases = _phrase_tokens(world, tokenizer)
    tree = Tree(prompts, [], np.zeros(0, np.int64), np.zeros(0, np.int64), [], np.zeros(0, np.int64), [])
    roots, sequence, position = [], [], []
    for prompt, options in zip(prompts, phrases, strict=True):
        roots.append(len(tree.children) if options else UNKNOWN)
        nodes: dict[tuple[int, ...], int] = {}
        steps: list[list[tuple[int, int]]] = []
        for option, phrase in enumerate(options):
            tree.sequences.append((*prompt, *phrase[:-1]))
            steps.append([])
            for depth, token in enumerate(phrase):
                prefix = tuple(phrase[:depth])
                if prefix not in nodes:
                    nodes[prefix] = len(tree.children)
                    tree.children.append({})
                    sequence.append(len(tree.sequences) - 1)
                    position.append(len(prompt) + depth - 1)
                steps[-1].append((nodes[prefix], token))
                if depth:
                    tree.children[nodes[prefix[:-1]]][prefix[-1]] = nodes[prefix]
            tree.children[nodes[tuple(phrase[:-1])]][phrase[-1]] = -2 - option
        tree.paths.append(steps)
    return replace(tree, node_sequence=np.array(sequence), node_position=np.array(position), roots=np.array(roots))


_grown = lru_cache(maxsize=1024)(grow_tree)  # the cells of a process share worlds and tokenizer


def _phrase_tokens(world: World, tokenizer: PreTrainedTokenizerBase) -> list[list[list[int]]]:
    """Tokens of each option of each prompt. A world's terminal prompts have none: they get a single empty tree."""
    phrases = list(dict.fromkeys(phrase for options in world.options for phrase in options))
    tokens = tokenizer(phrases, add_special_tokens=False)["input_ids"] if phrases else []
    known = {phrase: list(ids) for phrase, ids in zip(phrases, tokens, strict=True)}
    return [[known[phrase] for phrase in options] for options in world.options]


@dataclass(frozen=True)
class PolicyTable:
    """The current policy on a batch of worlds, as arrays. M nodes in all, V words, P prompts, S states."""

    worlds: WorldBatch
    log_probs: FloatArray  # (M, V) next-token log-probabilities at each node
    child: IntArray  # (M, V) as in Tree, renumbered
    roots: IntArray  # (P,), -1 for a terminal prompt
    prompt_tokens: list[list[int]]  # (P,)
    option_probs: FloatArray  # (S, C + 1), the last column is `stay`

    @cached_property
    def prompts(self) -> IntArray:
        """Return (P, T) the tokens of the prompts, padded with 0 on the right."""
        return pad(self.prompt_tokens)[0].numpy()

    @cached_property
    def prompt_lengths(self) -> IntArray:
        """Return (P,) tokens."""
        return np.array([len(p) for p in self.prompt_tokens])


class PolicyReader:
    """Turns a model and a batch of worlds into a `PolicyTable`."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Keep the tokenizer that all models of a run share."""
        self._tokenizer = tokenizer

    def tree(self, world: World) -> Tree:
        """Return the prefix trees of a world."""
        return _grown(world, self._tokenizer)

    def read(self, model: LanguageModel, worlds: WorldBatch) -> PolicyTable:
        """Read every prompt with every phrase of the batch."""
        trees = [self.tree(w) for w in worlds.worlds]
        rows, positions = _gather_points(trees)
        packed = Packed.of(model.network, [s for t in trees for s in t.sequences])
        with torch.no_grad():
            logits = packed.outputs(packed.place[rows, positions], PLACES_AT_ONCE)
        log_probs = logits.double().log_softmax(-1).cpu().numpy()
        child, roots = join_children(trees, log_probs.shape[1])
        return PolicyTable(
            worlds,
            log_probs,
            child,
            roots,
            [p for t in trees for p in t.prompt_tokens],
            _option_probs(trees, log_probs, worlds),
        )


def _gather_points(trees: Sequence[Tree]) -> tuple[IntArray, IntArray]:
    starts = np.cumsum([0] + [len(t.sequences) for t in trees[:-1]])
    rows = np.concatenate([t.node_sequence + s for t, s in zip(trees, starts, strict=True)])
    return rows, np.concatenate([t.node_position for t in trees])


def pad(sequences: Sequence[Sequence[int]], value: int = 0) -> tuple[Tensor, Tensor]:
    """Right-pad token lists to (N, T) ids and their (N, T) bool mask."""
    lengths = np.array([len(s) for s in sequences])
    mask = np.arange(lengths.max(initial=1)) < lengths[:, None]
    tokens = np.full(mask.shape, value, dtype=np.int64)
    tokens[mask] = np.concatenate([np.asarray(s, dtype=np.int64) for s in sequences]) if len(sequences) else []
    return torch.from_numpy(tokens), torch.from_numpy(mask)


def join_children(trees: Sequence[Tree], words: int) -> tuple[IntArray, IntArray]:
    """Put the trees of several worlds into one numbering of nodes. Returns `child` (M, V) and `roots` (P,)."""
    nodes = [len(t.children) for t in trees]
    child = np.full((sum(nodes), words), UNKNOWN, dtype=np.int64)
    roots, offset = [], 0
    for tree in trees:
        at, token, code = tree.edges.T
        child[at + offset, token] = np.where(code >= 0, code + offset, code)
        roots.append(np.where(tree.roots == UNKNOWN, UNKNOWN, tree.roots + offset))
        offset += len(tree.children)
    return child, np.concatenate(roots)


def _option_probs(trees: Sequence[Tree], log_probs: FloatArray, worlds: WorldBatch) -> FloatArray:
    parts, prompts, nodes = [], 0, 0
    for tree in trees:
        parts.append(np.add(tree.steps, (prompts, 0, nodes, 0)))
        prompts, nodes = prompts + len(tree.paths), nodes + len(tree.children)
    at, option, node, token = np.concatenate(parts).T
    probs = np.zeros((prompts, worlds.n_options + 1))
    logs = np.zeros_like(probs)
    np.add.at(logs, (at, option), log_probs[node, token])
    probs[at, option] = np.exp(logs[at, option])
    probs[:, -1] = (1 - probs[:, :-1].sum(1)).clip(0)
    return probs[worlds.prompt]
