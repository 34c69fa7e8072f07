"""The full-history prompt: an episode is one row, which grows by an observation and a phrase in each turn.

    header, then for each turn: raw observation, `. act`, what the policy said

A world may open its turns otherwise, or with nothing: then the whole response stands in one piece.

The policy is not Markov in the state of the world, so that nothing about it is exact: values, advantages and success
are Monte Carlo estimates with standard errors. A fork takes the state of the world and the history along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
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
from cairn.lab.policy import PolicyReader, join_children
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
    """Asks the network, turn by turn, with all that came before in its memory. See `cairn.lab.episodes.Speaker`."""

    def __init__(
        self, model: LanguageModel, script: Script, prefixes: Sequence[Sequence[int]], copies: IntArray
    ) -> None:
        """Let rollout r continue `prefixes[copies[r]]`. Each prefix is read once."""
        self.worlds, self.child, self.depth = script.worlds, script.child, script.depth
        self._script = script
        self._memory = Memory(model, len(prefixes))
        # Where a turn may open without a word, the last token of the prefix is left to be read with it.
        last = [len(prefix) - (not all(script.scenes)) for prefix in prefixes]
        self._memory.read([p[:n] for p, n in zip(prefixes, last, strict=True)], Branches.none(len(prefixes)))
        self._memory.select(copies)
        self._unread = [list(prefixes[copy][last[copy] :]) for copy in copies]
        self._held = np.arange(copies.size)  # rollouts that still have a row in the memory
        self._root = np.zeros(0, dtype=np.int64)

    def listen(self, tape: Tape, k: int, active: IntArray) -> Turn:
        """Read the scene; before it, in all turns but the first, the token that was said last."""
        state = tape.states[active, k]
        scenes = [self._script.scenes[o] for o in self.worlds.observation[state]]
        root = self._script.roots[self.worlds.prompt[state]]
        unread = self._go_on(tape, k, active)
        before = self._memory.lengths + np.array([len(u) for u in unread], dtype=np.int64)
        log_probs = self._read([u + s for u, s in zip(unread, scenes, strict=True)], root)
        nodes = log_probs.shape[1]
        return Turn(
            Voice.of(log_probs.reshape(-1, log_probs.shape[2])),
            root.copy(),
            np.arange(active.size) * nodes - root,
            # The first prompt of a row is everything up to the policy's first word.
            prompt_tokens=np.array([len(s) for s in scenes], dtype=np.int64) + before * (k == 0),
            context_tokens=before * (k > 0),
        )

    def _read(self, prompts: list[list[int]], root: IntArray) -> FloatArray:
        """(A, N, V) log-probs at the nodes of the trees at `root`, N of the largest tree."""
        self._root = root
        if not prompts:
            return np.zeros((0, 1, self.child.shape[1]))
        logits = self._memory.read(prompts, Branches.of(self._script.forest, root))
        return np.asarray(logits.double().log_softmax(-1).cpu().numpy())

    def _go_on(self, tape: Tape, k: int, active: IntArray) -> list[list[int]]:
        """Keep what was said before turn k, and only the rows that go on; return what each one has not read yet."""
        going_on = np.searchsorted(self._held, active)
        unread = [self._unread[r] for r in active]
        if k:
            tokens, lengths = tape.tokens[self._held, k - 1], tape.lengths[self._held, k - 1]
            self._memory.recall(self._said(tokens, lengths))
            last = np.take_along_axis(tokens, lengths[:, None] - 1, 1)[going_on]
            unread = [[int(token)] for token in last[:, 0]]
        if active.size < self._held.size:
            self._memory.select(going_on)
        self._held = active
        return unread

    def _said(self, tokens: IntArray, lengths: IntArray) -> BoolArray:
        """(A, N - 1) nodes of the trees that the phrases went through. The last token of a phrase never has one."""
        said = np.zeros((lengths.size, self._script.forest.ancestors.shape[1] - 1), dtype=bool)
        node = self._root.copy()
        for level in range(tokens.shape[1] - 1):
            through = np.flatnonzero(lengths > level + 1)
            node[through] = self.child[node[through], tokens[through, level]]
            said[through, node[through] - self._root[through] - 1] = True
        return said


class HistoryPlayer:
    """See `cairn.lab.players.Player`."""

    def __init__(self, model: LanguageModel, script: Script, evaluation_episodes: int) -> None:
        """Play with a network. evaluation_episodes: in each world, for an estimate of success."""
        self.worlds, self._model, self._script = script.worlds, model, script
        self._evaluation_episodes = evaluation_episodes
        self._situations: dict[tuple[int, bytes], int] = {}

    @property
    def n_instances(self) -> int:
        """See `Player.n_instances`."""
        return len(self.worlds.worlds)

    def play(self, world: IntArray, rng: np.random.Generator) -> Episodes:
        """See `Player.play`."""
        return self._walk(Start.of(self.worlds, world), self._script.headers, world, rng)

    def fork(self, episodes: Episodes, branch: Branch, rng: np.random.Generator) -> Episodes:
        """See `Player.fork`."""
        told = tell(self._script, episodes)
        points, copies = np.unique(np.stack([branch.rollout, branch.turn]), axis=1, return_inverse=True)
        cut = (told.end if branch.after else told.begin)[points[0], points[1]]
        prefixes = [told.rows[r][:n] for r, n in zip(points[0], cut, strict=True)]
        return self._walk(branch.start(self.worlds, episodes, rng), prefixes, copies.ravel(), rng)

    def situations(self, episodes: Episodes) -> IntArray:
        """See `Player.situations`: the state of the world, and every token that was seen or said."""
        told = tell(self._script, episodes)
        numbers = np.full(episodes.alive.shape, -1)
        rows = [np.array(row) for row in told.rows]
        for rollout, turn in zip(*np.nonzero(episodes.alive), strict=True):
            situation = int(episodes.states[rollout, turn]), rows[rollout][: told.begin[rollout, turn]].tobytes()
            numbers[rollout, turn] = self._situations.setdefault(situation, len(self._situations))
        return numbers

    def bifurcations(self, episodes: Episodes) -> BoolArray:
        """See `Player.bifurcations`."""
        return self.worlds.bifurcations_at(episodes.states)

    def rollouts(self, episodes: Episodes, draw_seed: int) -> Rollouts:
        """See `Player.rollouts`: a row for each episode."""
        told = tell(self._script, episodes)
        rollout, turn = np.nonzero(episodes.alive)
        place = rollout, told.spoken[rollout, turn]
        keys, agents = observation_keys(self.worlds, episodes), acting_agents(self.worlds, episodes)
        return collate(episodes, told.rows, place, keys, self.situations(episodes), draw_seed, agents)

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
        self, start: Start, prefixes: Sequence[Sequence[int]], copies: IntArray, rng: np.random.Generator
    ) -> Episodes:
        """Let rollout r continue `prefixes[copies[r]]`, a bounded number of rollouts at once, of like length."""
        order = np.argsort(start.turn, kind="stable")
        parts = []
        for rows in np.split(order, range(ROWS_AT_ONCE, order.size, ROWS_AT_ONCE)):
            used, own = np.unique(copies[rows], return_inverse=True)
            speaker = HistorySpeaker(self._model, self._script, [prefixes[i] for i in used], own)
            parts.append(walk(speaker, Start(start.world[rows], start.state[rows], start.turn[rows]), rng))
        return take(concatenate(parts), np.argsort(order))


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
