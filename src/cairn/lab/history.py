"""The full-history prompt: an episode is one row, which grows by an observation and a phrase in each turn.

    header, then for each turn: raw observation, `. act`, what the policy said

A world may open its turns otherwise, or with nothing: then the whole response stands in one piece.

The policy is not Markov in the state of the world, so that nothing about it is exact: values, advantages and success
are Monte Carlo estimates with standard errors. A fork takes the state of the world and the history along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from cairn.errors import UserError
from cairn.lab import montecarlo
from cairn.lab.collate import acting_agents, collate, observation_keys
from cairn.lab.episodes import Branch, Episodes, Start, Tape, Turn, Voice, longest_phrase, walk
from cairn.lab.generate import Branches, Forest, Memory
from cairn.lab.instance import concatenate, take
from cairn.lab.model import LanguageModel
from cairn.lab.players import Success
from cairn.lab.policy import PolicyReader, join_children, pad
from cairn.lab.world import World, WorldBatch, join
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]
ROWS_AT_ONCE = 256  # bounds the memory that keys and values take; results do not depend on it but for the dice


def scene(observation: str, opening: str | None = None) -> str:
    """Return what stands before each of the policy's turns. opening: see `World`."""
    return f"{observation} . act" if opening is None else opening


@dataclass(frozen=True)
class Script:
    """What a batch of worlds can say, in tokens, and the prefix trees of what it understands."""

    worlds: WorldBatch
    headers: list[list[int]]  # (W,)
    scenes: list[list[int]]  # in the batch's numbering of observations
    roots: IntArray  # (P,)
    child: IntArray  # (M, V)
    forest: Forest
    depth: int  # longest phrase, in tokens

    @cached_property
    def lines(self) -> IntArray:
        """Number the scenes: equal exactly where the tokens are equal."""
        numbers: dict[tuple[int, ...], int] = {}
        return np.array([numbers.setdefault(tuple(scene_), len(numbers)) for scene_ in self.scenes], dtype=np.int64)


@dataclass(frozen=True)
class Told:
    """R episodes as rows. The scene of turn k begins at column `begin` of its row, what was said at `spoken`."""

    rows: list[list[int]]  # (R,)
    begin: IntArray  # (R, K)
    spoken: IntArray  # (R, K)
    end: IntArray  # (R, K)


def tell(script: Script, episodes: Episodes) -> Told:
    """Write down episodes that were played from the start."""
    shown = script.worlds.observation[episodes.states[:, :-1]]
    scene_tokens = np.array([len(s) for s in script.scenes])[shown] * episodes.alive
    headers = [script.headers[w] for w in episodes.instance]
    end = np.array([len(h) for h in headers])[:, None] + (scene_tokens + episodes.lengths).cumsum(1)
    spoken = end - episodes.lengths
    rows = [list(h) for h in headers]
    for rollout, turn in zip(*np.nonzero(episodes.alive), strict=True):
        rows[rollout] += script.scenes[shown[rollout, turn]]
        rows[rollout] += episodes.tokens[rollout, turn, : episodes.lengths[rollout, turn]].tolist()
    return Told(rows, spoken - scene_tokens, spoken, end)


class HistorySpeaker:
    """Asks the network, turn by turn, with all that came before in its memory. See `cairn.lab.episodes.Speaker`.

    Rollouts that have seen and said the same so far share a row of the memory: what is equal is read once.
    """

    def __init__(self, script: Script, memory: Memory, unread: list[list[int]], copies: IntArray) -> None:
        """Let rollout r go on where row `copies[r]` of the memory stands, which has yet to read `unread[copies[r]]`."""
        self.worlds, self.child, self.depth = script.worlds, script.child, script.depth
        self._script, self._memory, self._unread = script, memory, unread
        self._row = copies  # row of the memory of each rollout
        self._root = np.zeros(0, dtype=np.int64)  # where the trees stand that each row has read last

    def listen(self, tape: Tape, k: int, active: IntArray) -> Turn:
        """Read the scene; before it, in all turns but the first, the token that was said last."""
        state = tape.states[active, k]
        shown, prompt = self.worlds.observation[state], self.worlds.prompt[state]
        first, share = self._part(tape, k, active, shown, prompt)
        scenes = [self._script.scenes[o] for o in shown[first]]
        before = self._memory.lengths + np.array([len(u) for u in self._unread], dtype=np.int64)
        root = self._script.roots[prompt]
        log_probs = self._read([u + s for u, s in zip(self._unread, scenes, strict=True)], root[first])
        nodes = log_probs.shape[1]
        new = np.array([len(s) for s in scenes], dtype=np.int64)
        return Turn(
            Voice.of(log_probs.reshape(-1, log_probs.shape[2])),
            root,
            share * nodes - root,
            # The first prompt of a row is everything up to the policy's first word.
            prompt_tokens=(new + before * (k == 0))[share],
            context_tokens=(before * (k > 0))[share],
        )

    def _read(self, prompts: list[list[int]], root: IntArray) -> FloatArray:
        """(M, N, V) log-probs at the nodes of the trees at `root`, N of the largest tree."""
        self._root = root
        if not prompts:
            return np.zeros((0, 1, self.child.shape[1]))
        logits = self._memory.read(prompts, Branches.of(self._script.forest, root))
        return np.asarray(logits.double().log_softmax(-1).cpu().numpy())

    def _part(
        self, tape: Tape, k: int, active: IntArray, shown: IntArray, prompt: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Give each different history of the active rollouts a row of the memory, with what was said before turn k.

        Returns the first rollout of each row, counted among the active ones (M,), and the row of each of these (A,).
        """
        said, lengths = tape.tokens[active, k - 1], tape.lengths[active, k - 1]
        told = [self._row[active], shown, prompt, *([lengths, *said.T] if k else [])]
        _, first, share = np.unique(np.stack(told, axis=1), axis=0, return_index=True, return_inverse=True)
        share = share.reshape(-1)
        parent = self._row[active[first]]
        self._memory.select(parent)
        self._unread = [self._unread[p] for p in parent]
        if k:
            tokens, spoken = said[first], lengths[first]
            self._memory.recall(self._said(tokens, spoken, self._root[parent]))
            self._unread = [[int(phrase[n - 1])] for phrase, n in zip(tokens, spoken, strict=True)]
        self._row = np.zeros_like(self._row)
        self._row[active] = share
        return first, share

    def _said(self, tokens: IntArray, lengths: IntArray, root: IntArray) -> BoolArray:
        """(M, N - 1) nodes of the trees that the phrases went through. The last token of a phrase never has one."""
        said = np.zeros((lengths.size, self._script.forest.ancestors.shape[1] - 1), dtype=bool)
        node = root.copy()
        for level in range(tokens.shape[1] - 1):
            through = np.flatnonzero(lengths > level + 1)
            node[through] = self.child[node[through], tokens[through, level]]
            said[through, node[through] - root[through] - 1] = True
        return said


class HistoryPlayer:
    """See `cairn.lab.players.Player`."""

    def __init__(self, model: LanguageModel, script: Script, evaluation_episodes: int) -> None:
        """Play with a network. evaluation_episodes: in each world, for an estimate of success."""
        self.worlds, self._model, self._script = script.worlds, model, script
        self._evaluation_episodes = evaluation_episodes
        self._numbers: dict[bytes, int] = {}

    @property
    def n_instances(self) -> int:
        """See `Player.n_instances`."""
        return len(self.worlds.worlds)

    def play(self, world: IntArray, rng: np.random.Generator) -> Episodes:
        """See `Player.play`."""
        heads = self._script.headers
        return self._walk(Start.of(self.worlds, world), heads, world, np.array([len(h) for h in heads])[world], rng)

    def fork(self, episodes: Episodes, branch: Branch, rng: np.random.Generator) -> Episodes:
        """See `Player.fork`. Each episode is read once, for all the turns at which it is left."""
        told = tell(self._script, episodes)
        cut = (told.end if branch.after else told.begin)[branch.rollout, branch.turn]
        return self._walk(branch.start(self.worlds, episodes, rng), told.rows, branch.rollout, cut, rng)

    def situations(self, episodes: Episodes) -> IntArray:
        """See `Player.situations`: the state of the world, and all that was seen or said."""
        numbers: IntArray = np.full(episodes.alive.shape, -1)
        heard = np.zeros(len(numbers), dtype=np.int64)  # number of the history; states tell worlds apart
        lines = self._script.lines[self.worlds.observation[episodes.states[:, :-1]]]
        said = np.where(np.arange(episodes.tokens.shape[2]) < episodes.lengths[:, :, None], episodes.tokens, -1)
        for k in range(numbers.shape[1]):
            at = np.flatnonzero(episodes.alive[:, k])
            numbers[at, k] = self._number(np.column_stack([heard[at], episodes.states[at, k]]))
            heard[at] = self._number(np.column_stack([heard[at], lines[at, k], said[at, k]]))
        return numbers

    def _number(self, keys: IntArray) -> IntArray:
        """Give each row of `keys` (A, ...) a number, the same as ever where it is the same."""
        distinct, inverse = np.unique(keys, axis=0, return_inverse=True)
        known = [self._numbers.setdefault(key.tobytes(), 1 + len(self._numbers)) for key in distinct]
        return np.array(known, dtype=np.int64)[inverse.reshape(-1)]

    def bifurcations(self, episodes: Episodes) -> BoolArray:
        """See `Player.bifurcations`."""
        return self.worlds.bifurcations_at(episodes.states)

    def rollouts(self, episodes: Episodes, draw_seed: int) -> Rollouts:
        """See `Player.rollouts`: a row for each episode."""
        told = tell(self._script, episodes)
        rollout, turn = np.nonzero(episodes.alive)
        place = rollout, told.spoken[rollout, turn]
        keys, agents = observation_keys(self.worlds, episodes), acting_agents(self.worlds, episodes)
        return collate(episodes, pad(told.rows), place, keys, self.situations(episodes), draw_seed, agents)

    def exact(self) -> NoReturn:
        """See `Player.exact`. Always raises UserError."""
        raise UserError(
            "there is no exact credit where the prompt carries the full history: its policy is not Markov in the state",
            value="prompt: history",
            repair="Use the windowed prompt, or Monte Carlo advantages with their standard error.",
        )

    def success(self, rng: np.random.Generator) -> Success:
        """See `Player.success`. Estimated."""
        return montecarlo.success(self, self._evaluation_episodes, rng)

    def _walk(
        self, start: Start, texts: Sequence[list[int]], source: IntArray, cut: IntArray, rng: np.random.Generator
    ) -> Episodes:
        """Let rollout r go on behind the first `cut[r]` tokens of `texts[source[r]]`. Each text is read once.

        A bounded number of texts and of rollouts is taken at once, rollouts of like length together.
        """
        block = source // ROWS_AT_ONCE
        order, parts = np.lexsort((start.turn, block)), []
        for rows in np.split(order, np.flatnonzero(np.diff(block[order])) + 1):
            used, own = np.unique(source[rows], return_inverse=True)
            reader = _Reader(self._model, self._script, [texts[i] for i in used], own, cut[rows])
            for some in np.split(np.arange(rows.size), range(ROWS_AT_ONCE, rows.size, ROWS_AT_ONCE)):
                speaker, mine = reader.speaker(own[some], cut[rows[some]]), rows[some]
                parts.append(walk(speaker, Start(start.world[mine], start.state[mine], start.turn[mine]), rng))
        return take(concatenate(parts), np.argsort(order))


class _Reader:
    """Reads texts once, as far as they are needed, and lets rollouts go on from any place in them."""

    def __init__(
        self,
        model: LanguageModel,
        script: Script,
        texts: Sequence[list[int]],
        source: IntArray,
        cut: IntArray,
    ) -> None:
        """Read what comes before place `cut[r]` of text `source[r]`."""
        self._script, self._texts = script, texts
        # Where a turn may open without a word, the last token is left to be read with it.
        self._left = int(not all(script.scenes))
        needed = np.zeros(len(texts), dtype=np.int64)
        np.maximum.at(needed, source, cut)
        self._memory = Memory(model, len(texts))
        heads = [text[: n - self._left] for text, n in zip(texts, needed, strict=True)]
        self._memory.read(heads, Branches.none(len(texts)))

    def speaker(self, source: IntArray, cut: IntArray) -> HistorySpeaker:
        """Return the speaker of rollouts that go on at these places."""
        places, copies = np.unique(np.stack([source, cut]), axis=1, return_inverse=True)
        memory = self._memory.branch(places[0], places[1] - self._left)
        unread = [list(self._texts[i][n - self._left : n]) for i, n in places.T.tolist()]
        return HistorySpeaker(self._script, memory, unread, copies.reshape(-1))


class HistoryForm:
    """See `cairn.lab.players.PromptForm`."""

    has_exact_credit = False

    def __init__(self, tokenizer: PreTrainedTokenizerBase, evaluation_episodes: int) -> None:
        """Keep the trees and texts of worlds that were seen. evaluation_episodes: see `HistoryPlayer`."""
        self._reader, self._evaluation_episodes = PolicyReader(tokenizer), evaluation_episodes
        self._lines = lru_cache(maxsize=4096)(lambda world: _lines(world, tokenizer))
        self._join = lru_cache(maxsize=4)(join)

    def player(self, model: LanguageModel, instances: Sequence[World]) -> HistoryPlayer:
        """Take the network as it is: it is asked while playing."""
        worlds = self._join(tuple(instances))
        return HistoryPlayer(model, self._write(worlds, model.network.config.vocab_size), self._evaluation_episodes)

    @property
    def evaluation(self) -> str:
        """See `PromptForm`."""
        episodes = self._evaluation_episodes
        return f"estimated from {episodes} sampled episodes of each instance; every point states its standard error"

    def _write(self, worlds: WorldBatch, words: int) -> Script:
        child, roots = join_children([self._reader.tree(w) for w in worlds.worlds], words)
        lines = [self._lines(w) for w in worlds.worlds]
        return Script(
            worlds,
            headers=[header for header, _ in lines],
            scenes=[scene_ for _, scenes in lines for scene_ in scenes],
            roots=roots,
            child=child,
            forest=Forest.of(roots, child),
            depth=longest_phrase(roots, child),
        )


def _lines(world: World, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[list[int]]]:
    """Return the tokens of a world's header and of its scenes."""
    texts = [world.header, *(scene(observation, world.opening) for observation in world.observations)]
    header, *scenes = (list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    return header, scenes
