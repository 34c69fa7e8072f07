"""Playing worlds: all rollouts of a batch advance turn by turn, without a loop over rows.

The walk is the same for every prompt form. What the policy says next comes from a `Speaker`: a table that was read
beforehand for windowed prompts, the network itself where the prompt carries the history.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cairn.lab.guard import refuse_unbilled
from cairn.lab.instance import Spoken
from cairn.lab.policy import UNKNOWN, PolicyTable
from cairn.lab.world import WorldBatch

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Episodes(Spoken):
    """R walks through worlds. States are numbers in the batch's numbering; the last one of a short walk stays on."""

    PADDING = {"states": {"mode": "edge"}, "options": {"constant_values": -1}}  # noqa: RUF012 - see Spoken

    states: IntArray  # (R, K + 1)
    options: IntArray  # (R, K), C is `stay`
    stamped: BoolArray  # (R, K) the raw observation carries a stamp of its own


@dataclass(frozen=True)
class Start:
    """Where R rollouts begin: the turn counter of each stands at `turn`. All (R,)."""

    world: IntArray
    state: IntArray
    turn: IntArray

    @staticmethod
    def of(worlds: WorldBatch, world: IntArray) -> Start:
        """Begin at the start of each rollout's world."""
        return Start(world, worlds.starts[world], np.zeros_like(world))


@dataclass(frozen=True)
class Branch:
    """Where F new rollouts leave old ones: before turn `turn` of rollout `rollout`, or after the action taken there.

    `after` leaves the action as it was said; the world answers it anew.
    """

    rollout: IntArray  # (F,)
    turn: IntArray  # (F,)
    after: bool = False

    def start(self, worlds: WorldBatch, episodes: Episodes, rng: np.random.Generator) -> Start:
        """Return where the new rollouts begin. The episodes must have been played from the start."""
        world, state = episodes.instance[self.rollout], episodes.states[self.rollout, self.turn]
        if not self.after:
            return Start(world, state, self.turn)
        option = episodes.options[self.rollout, self.turn]
        return Start(world, answer(worlds, state, option, rng.random(state.size)), self.turn + 1)


class Speaker(Protocol):
    """The policy, asked turn by turn. `child` and `depth` (longest phrase, in tokens) are those of the prefix trees."""

    worlds: WorldBatch
    child: IntArray
    depth: int

    def listen(self, tape: Tape, k: int, active: IntArray) -> Turn:
        """Let the active rows (A,) read what column k of the tape shows them."""


@dataclass(frozen=True)
class Turn:
    """What the active rows may say in a turn, and what they had to read for it. All arrays (A,)."""

    voice: Voice
    root: IntArray  # node of `Speaker.child` at which the row starts to speak
    shift: IntArray  # what to add to a node's number to find its distribution in `voice`
    prompt_tokens: IntArray
    context_tokens: IntArray


def play(
    table: PolicyTable, start: IntArray, world: IntArray, first_turn: IntArray, rng: np.random.Generator
) -> Episodes:
    """Walk with a policy table from the states `start` (R,), the turn counter standing at `first_turn` (R,)."""
    return walk(TableSpeaker(table), Start(world, start, first_turn), rng)


def walk(speaker: Speaker, start: Start, rng: np.random.Generator, absent: BoolArray | None = None) -> Episodes:
    """Play until the end or the turn limit.

    Column k of the result is the k-th turn played from `start`. Each turn draws the same amount of luck whatever
    happens, so that two policies with one seed meet the same dice. absent: (R, A) agents who are not there; in their
    turns nothing is said, and the world carries out what it has for that.
    """
    worlds, depth = speaker.worlds, speaker.depth
    recurrence = np.array([w.recurrence for w in worlds.worlds])[start.world]
    turns, rows = worlds.horizon - int(start.turn.min(initial=worlds.horizon)), start.state.size
    tape = Tape.blank(rows, turns, depth, start.state)
    for k in range(turns):
        luck = rng.random((rows, depth + 2))
        state = tape.states[:, k]
        going = np.flatnonzero(~worlds.terminal[state] & (start.turn + k < worlds.horizon))
        active, gone = _roll_call(worlds, state, going, absent)
        option = _speak(speaker, tape, k, active, luck)
        tape.options[active, k] = option
        tape.stamped[active, k] = luck[active, depth] >= recurrence[active]
        tape.states[:, k + 1] = state
        tape.states[active, k + 1] = answer(worlds, state[active], option, luck[active, depth + 1])
        if worlds.absences is not None:
            silence = worlds.absences[state[gone]]
            tape.states[gone, k + 1] = answer(worlds, state[gone], silence, luck[gone, depth + 1])
    end = tape.states[:, -1]
    return Episodes(instance=start.world, rewards=worlds.payoffs[end], truncated=~worlds.terminal[end], **vars(tape))


def _roll_call(
    worlds: WorldBatch, state: IntArray, going: IntArray, absent: BoolArray | None
) -> tuple[IntArray, IntArray]:
    """Part the rows that go on into those whose agent is there and those whose agent is not."""
    if absent is None or worlds.agents is None:
        return going, going[:0]
    missing = absent[going, worlds.agents[state[going]]]
    return going[~missing], going[missing]


@dataclass(frozen=True)
class Tape:
    """Episodes in the making, with the fields of `Episodes`; column k is written in turn k."""

    states: IntArray
    options: IntArray
    tokens: IntArray
    logprobs: FloatArray
    entropies: FloatArray
    lengths: IntArray
    stamped: BoolArray
    prompt_tokens: IntArray
    context_tokens: IntArray

    @staticmethod
    def blank(rows: int, turns: int, depth: int, start: IntArray) -> Tape:
        """Return a tape on which only the first state stands."""
        states = np.zeros((rows, turns + 1), dtype=np.int64)
        states[:, 0] = start
        shape = (rows, turns, depth)
        return Tape(
            states,
            np.full((rows, turns), -1),
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros((rows, turns), dtype=np.int64),
            np.zeros((rows, turns), dtype=bool),
            np.zeros((rows, turns), dtype=np.int64),
            np.zeros((rows, turns), dtype=np.int64),
        )


@dataclass(frozen=True)
class Voice:
    """Next-token distributions made ready for sampling. M nodes, V words."""

    log_probs: FloatArray  # (M, V)
    ladder: FloatArray  # (M * V,) node number plus cumulative probability: one sorted array for all nodes
    entropy: FloatArray  # (M,) nats

    @staticmethod
    def of(log_probs: FloatArray) -> Voice:
        """Prepare log-probabilities (M, V)."""
        probs = np.exp(log_probs)
        cumulative = probs.cumsum(1)
        cumulative /= cumulative[:, -1:]
        ladder = (cumulative + np.arange(len(cumulative), dtype=np.float64)[:, None]).ravel()
        return Voice(log_probs, ladder, -(probs * log_probs).sum(1))

    def draw(self, node: IntArray, luck: FloatArray) -> IntArray:
        """Sample a token at each node by inverting the cumulative distribution."""
        words = self.log_probs.shape[1]
        token = np.searchsorted(self.ladder, node + luck, side="right") - node * words
        return np.asarray(token.clip(0, words - 1))


class TableSpeaker:
    """Speaks from a policy table. Every windowed prompt is a row of its own: nothing stands before it."""

    def __init__(self, table: PolicyTable) -> None:
        """Make the table ready for sampling."""
        self.worlds, self.child, self.depth = table.worlds, table.child, longest_phrase(table.roots, table.child)
        self._voice, self._roots, self._lengths = Voice.of(table.log_probs), table.roots, table.prompt_lengths

    def listen(self, tape: Tape, k: int, active: IntArray) -> Turn:
        """Look the prompts up."""
        prompt = self.worlds.prompt[tape.states[active, k]]
        nothing = np.zeros_like(active)
        return Turn(self._voice, self._roots[prompt], nothing, self._lengths[prompt], nothing)


def longest_phrase(roots: IntArray, child: IntArray) -> int:
    """Return the length of the longest phrase, in tokens."""
    depth, level = 0, np.unique(roots[roots != UNKNOWN])
    while level.size:
        depth, below = depth + 1, child[level]
        level = np.unique(below[below >= 0])
    return depth


def _speak(speaker: Speaker, tape: Tape, k: int, active: IntArray, luck: FloatArray) -> IntArray:
    """Sample the tokens of turn k for the active rows; return the option (or `stay`) that each row's phrase means."""
    turn = speaker.listen(tape, k, active)
    tape.prompt_tokens[active, k], tape.context_tokens[active, k] = turn.prompt_tokens, turn.context_tokens
    node = turn.root
    option = np.full(active.size, speaker.worlds.n_options)
    going = np.arange(active.size)
    for level in range(speaker.depth):
        rows, place = active[going], node[going] + turn.shift[going]
        token = turn.voice.draw(place, luck[rows, level])
        tape.tokens[rows, k, level] = token
        tape.logprobs[rows, k, level] = turn.voice.log_probs[place, token]
        tape.entropies[rows, k, level] = turn.voice.entropy[place]
        tape.lengths[rows, k] += 1
        code = speaker.child[node[going], token]
        option[going[code < UNKNOWN]] = -2 - code[code < UNKNOWN]
        node[going] = code
        going = going[code >= 0]
    return option


def answer(worlds: WorldBatch, state: IntArray, option: IntArray, luck: FloatArray) -> IntArray:
    """Let the worlds answer: draw the successor state of each option. All (N,); luck is uniform on [0, 1)."""
    refuse_unbilled("a step of an environment")
    chances = worlds.probabilities[state, option].cumsum(1)
    branch = (chances <= luck[:, None] * chances[:, -1:]).sum(1)
    return np.asarray(worlds.successors[state, option, branch])
