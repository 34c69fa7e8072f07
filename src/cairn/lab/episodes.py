"""Playing worlds with a policy table: all rollouts of a batch advance turn by turn, without a loop over rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cairn.lab.policy import UNKNOWN, PolicyTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Episodes:
    """R rollouts of K turns at most, each turn of L tokens at most. States are numbers in the batch's numbering."""

    world: IntArray  # (R,) index of the world in the batch
    states: IntArray  # (R, K + 1)
    options: IntArray  # (R, K), C is `stay`
    tokens: IntArray  # (R, K, L)
    logprobs: FloatArray  # (R, K, L)
    entropies: FloatArray  # (R, K, L) nats
    lengths: IntArray  # (R, K) tokens of the turn, 0 where it did not take place
    stamped: BoolArray  # (R, K) the raw observation carries a stamp of its own
    rewards: FloatArray  # (R,) terminal reward
    truncated: BoolArray  # (R,)

    @property
    def alive(self) -> BoolArray:
        """Return (R, K): the turn took place."""
        return self.lengths > 0


def play(
    table: PolicyTable, start: IntArray, world: IntArray, first_turn: IntArray, rng: np.random.Generator
) -> Episodes:
    """Play from `start` (R,), the turn counter standing at `first_turn` (R,), until the end or the turn limit.

    Column k of the result is the k-th turn played from `start`. Each turn draws the same amount of luck whatever
    happens, so that two policies with one seed meet the same dice.
    """
    worlds = table.worlds
    voice = _Voice.of(table)
    recurrence = np.array([w.recurrence for w in worlds.worlds])[world]
    turns, rows = worlds.horizon - int(first_turn.min(initial=worlds.horizon)), start.size
    depth = _depth(table)
    tape = _Tape.blank(rows, turns, depth, start)
    for k in range(turns):
        luck = rng.random((rows, depth + 2))
        state = tape.states[:, k]
        active = np.flatnonzero(~worlds.terminal[state] & (first_turn + k < worlds.horizon))
        option = _speak(voice, tape, k, active, luck)
        tape.options[active, k] = option
        tape.stamped[active, k] = luck[active, depth] >= recurrence[active]
        tape.states[:, k + 1] = state
        tape.states[active, k + 1] = _step(table, state[active], option, luck[active, depth + 1])
    end = tape.states[:, -1]
    return Episodes(
        world,
        tape.states,
        tape.options,
        tape.tokens,
        tape.logprobs,
        tape.entropies,
        tape.lengths,
        tape.stamped,
        rewards=worlds.payoffs[end],
        truncated=~worlds.terminal[end],
    )


@dataclass(frozen=True)
class _Tape:
    states: IntArray
    options: IntArray
    tokens: IntArray
    logprobs: FloatArray
    entropies: FloatArray
    lengths: IntArray
    stamped: BoolArray

    @staticmethod
    def blank(rows: int, turns: int, depth: int, start: IntArray) -> _Tape:
        states = np.zeros((rows, turns + 1), dtype=np.int64)
        states[:, 0] = start
        shape = (rows, turns, depth)
        return _Tape(
            states,
            np.full((rows, turns), -1),
            np.zeros(shape, dtype=np.int64),
            np.zeros(shape),
            np.zeros(shape),
            np.zeros((rows, turns), dtype=np.int64),
            np.zeros((rows, turns), dtype=bool),
        )


def _depth(table: PolicyTable) -> int:
    """Longest phrase, in tokens."""
    depth, level = 0, np.unique(table.roots[table.roots != UNKNOWN])
    while level.size:
        depth, below = depth + 1, table.child[level]
        level = np.unique(below[below >= 0])
    return depth


@dataclass(frozen=True)
class _Voice:
    """The policy table made ready for sampling."""

    table: PolicyTable
    ladder: FloatArray  # (M * V,) node number plus cumulative probability: one sorted array for all nodes
    entropy: FloatArray  # (M,) nats

    @staticmethod
    def of(table: PolicyTable) -> _Voice:
        probs = np.exp(table.log_probs)
        cumulative = probs.cumsum(1)
        cumulative /= cumulative[:, -1:]
        ladder = (cumulative + np.arange(len(cumulative), dtype=np.float64)[:, None]).ravel()
        return _Voice(table, ladder, -(probs * table.log_probs).sum(1))

    def draw(self, node: IntArray, luck: FloatArray) -> IntArray:
        """Sample a token at each node by inverting the cumulative distribution."""
        words = self.table.log_probs.shape[1]
        token = np.searchsorted(self.ladder, node + luck, side="right") - node * words
        return np.asarray(token.clip(0, words - 1))


def _speak(voice: _Voice, tape: _Tape, k: int, active: IntArray, luck: FloatArray) -> IntArray:
    """Sample the tokens of turn k for the active rows; return the option (or `stay`) that each row's phrase means."""
    table = voice.table
    node = table.roots[table.worlds.prompt[tape.states[active, k]]]
    option = np.full(active.size, table.worlds.n_options)
    going = np.arange(active.size)
    for level in range(tape.tokens.shape[2]):
        at, rows = node[going], active[going]
        token = voice.draw(at, luck[rows, level])
        tape.tokens[rows, k, level] = token
        tape.logprobs[rows, k, level] = table.log_probs[at, token]
        tape.entropies[rows, k, level] = voice.entropy[at]
        tape.lengths[rows, k] += 1
        code = table.child[at, token]
        option[going[code < UNKNOWN]] = -2 - code[code < UNKNOWN]
        node[going] = code
        going = going[code >= 0]
    return option


def _step(table: PolicyTable, state: IntArray, option: IntArray, luck: FloatArray) -> IntArray:
    """Let the worlds answer: draw the successor state."""
    chances = table.worlds.probabilities[state, option].cumsum(1)
    branch = (chances <= luck[:, None] * chances[:, -1:]).sum(1)
    return np.asarray(table.worlds.successors[state, option, branch])
