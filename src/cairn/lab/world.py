"""A task instance: a finite decision process told in words.

Because states are few and the transition table is known, the exact value of every state under any policy follows by
backward recursion, an environment can be forked by copying one integer, and one forward pass over the distinct prompts
gives the whole policy. Nothing here knows which task it is or how text is tokenised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cairn.lab.hints import Hints

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class World:
    """One instance. S states, P distinct prompts, C options at most; option C is `stay`: anything not understood.

    Text. `prompts[p]` is the windowed prompt; `options[p]` are the phrases that the world understands there;
    `observations[o]` is the raw observation; `header` opens a prompt that carries the full history,
    and `opening` each turn in it; None for the raw observation and `. act`. An empty one shows nothing between turns.
    Dynamics. `successors`, `probabilities`: (S, C + 1, J), what may follow option c in state s; unused options repeat
    `stay`. A terminal state leads to itself and pays `payoffs[s]` when it is entered.
    Agents, where several share the policy. `agents[s]` acts in state s, counted from 0; where it is absent, the world
    carries out option `absences[s]` instead, without a word being said; -1 is `stay`. Entries of ends mean nothing.
    """

    name: str
    header: str
    prompts: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    observations: tuple[str, ...]
    state_prompt: IntArray  # (S,)
    state_observation: IntArray  # (S,)
    successors: IntArray  # (S, C + 1, J)
    probabilities: FloatArray  # (S, C + 1, J)
    terminal: BoolArray  # (S,)
    payoffs: FloatArray  # (S,)
    bifurcations: BoolArray  # (S,) True where a decision matters that was planted, or can be read off the task
    start: int
    horizon: int  # turns
    recurrence: float  # share of visits whose raw observation carries no stamp of its own
    agents: IntArray | None = None  # (S,)
    absences: IntArray | None = None  # (S,)
    opening: str | None = None
    hints: Hints | None = None  # not part of what is played: out of the digest of a panel

    def __post_init__(self) -> None:
        """Refuse agents of whom it is not said what happens without them."""
        if (self.agents is None) != (self.absences is None):
            raise ValueError("`agents` and `absences` come together")

    @property
    def n_states(self) -> int:
        """Return S."""
        return int(self.state_prompt.size)


@dataclass(frozen=True, eq=False)
class WorldBatch:
    """Several worlds side by side: their states in one numbering, world w starting at `offsets[w]`."""

    worlds: tuple[World, ...]
    offsets: IntArray  # (W,)
    successors: IntArray  # (S, C + 1, J) in the common numbering
    probabilities: FloatArray  # (S, C + 1, J)
    terminal: BoolArray  # (S,)
    payoffs: FloatArray  # (S,)
    prompt: IntArray  # (S,) in a common numbering of prompts
    observation: IntArray  # (S,) in a common numbering of observations
    bifurcations: BoolArray  # (S,)
    starts: IntArray  # (W,)
    n_options: int  # C
    agents: IntArray | None = None  # (S,), None unless every world has agents
    absences: IntArray | None = None  # (S,)

    @property
    def n_agents(self) -> int:
        """Return A, of the world with the most; 0 where nobody is told apart."""
        return 0 if self.agents is None else int(self.agents.max()) + 1

    @property
    def horizon(self) -> int:
        """Return the turn limit, the same in all worlds of a batch."""
        return self.worlds[0].horizon

    def bifurcations_at(self, states: IntArray) -> BoolArray:
        """(R, K) which turns of walks (R, K + 1) began at a bifurcation."""
        return np.asarray(self.bifurcations[states[:, :-1]])


def join(worlds: Sequence[World]) -> WorldBatch:
    """Put worlds into one numbering. They must share horizon and recurrence."""
    sizes = np.array([w.n_states for w in worlds])
    offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    options = max(w.successors.shape[1] for w in worlds)
    branches = max(w.successors.shape[2] for w in worlds)
    pairs = [_widen(w, options, branches) for w in worlds]
    return WorldBatch(
        worlds=tuple(worlds),
        offsets=offsets,
        successors=np.concatenate([s + o for (s, _), o in zip(pairs, offsets, strict=True)]),
        probabilities=np.concatenate([p for _, p in pairs]),
        terminal=np.concatenate([w.terminal for w in worlds]),
        payoffs=np.concatenate([w.payoffs for w in worlds]),
        prompt=_renumber([(w.state_prompt, len(w.prompts)) for w in worlds]),
        observation=_renumber([(w.state_observation, len(w.observations)) for w in worlds]),
        bifurcations=np.concatenate([w.bifurcations for w in worlds]),
        starts=offsets + np.array([w.start for w in worlds]),
        n_options=options - 1,
        agents=_agree([w.agents for w in worlds]),
        absences=_agree([w.absences for w in worlds]),
    )


def _agree(parts: Sequence[IntArray | None]) -> IntArray | None:
    """Put a field of all worlds in one array, if every world has it."""
    given = [part for part in parts if part is not None]
    return np.concatenate(given) if given and len(given) == len(parts) else None


@lru_cache(maxsize=1024)  # a run joins the same worlds over and over, in other company
def _widen(world: World, options: int, branches: int) -> tuple[IntArray, FloatArray]:
    """Pad options with copies of `stay` (kept last) and branches with probability 0."""
    missing = options - world.successors.shape[1]
    choices = [*range(world.successors.shape[1] - 1), *[-1] * (missing + 1)]
    room = ((0, 0), (0, 0), (0, branches - world.successors.shape[2]))
    return np.pad(world.successors[:, choices], room), np.pad(world.probabilities[:, choices], room)


def _renumber(parts: Sequence[tuple[IntArray, int]]) -> IntArray:
    starts = np.concatenate([[0], np.cumsum([count for _, count in parts])[:-1]])
    return np.concatenate([index + start for (index, _), start in zip(parts, starts, strict=True)])
