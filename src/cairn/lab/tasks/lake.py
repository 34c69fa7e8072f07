"""`lake`: gymnasium's FrozenLake told in words, so that one task at least is not of our own making.

A square lake of ice with holes; the walk begins in the first row and column and ends in a hole, unpaid, or at the goal
in the last row and column, which pays 1. On slippery ice a move may go to one of its sides instead. The map of an
instance, the transition table and the payoffs are gymnasium's own. Every turn tells where one stands and what lies next
to it; a phrase that is no move costs a turn.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from cairn.errors import UserError
from cairn.lab.hints import Hints
from cairn.lab.task import EXACT, Task, knob, paragraphs, require
from cairn.lab.world import BoolArray, FloatArray, IntArray, World

GYMNASIUM = "gymnasium"
SIDES = ("left", "down", "right", "up")  # in the order of gymnasium's actions
STEPS = ((0, -1), (1, 0), (0, 1), (-1, 0))  # (row, column) of each
TILES = {"S": "ice", "F": "ice", "H": "hole", "G": "goal"}
SHORE = "shore"  # beyond the edge of the map
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
MOVES = tuple(f"move {side} ." for side in SIDES)
DISCOUNT = 0.95  # of the teacher, for each turn: of two ways that are as safe, the shorter is better
SLIPPERY_TURNS = 32  # of a lesson at least: where moves go astray, a walk takes longer
EQUAL = 1e-9  # moves whose values differ by less are equally good

# gymnasium's table: state -> action -> [(probability, successor, reward, terminated)]
Table = dict[int, dict[int, list[tuple[float, int, float, bool]]]]


@dataclass(frozen=True)
class Knobs:
    """What makes an instance hard. Each field's metadata has its meaning."""

    size: int = knob(4, "rows and columns of the map, 2 to 8")
    ice: float = knob(0.8, "chance that a place is ice and no hole (maps without a way are drawn again)")
    slippery: bool = knob(False, "whether moves may go astray")
    astray: float = knob(2 / 3, "where slippery, the chance that a move goes to one of its sides instead, half to each")
    horizon: int = knob(24, "turns, 2 to 200")

    def __post_init__(self) -> None:
        if not 2 <= self.size <= len(NUMBERS):
            raise UserError("knob `size` is out of range", value=self.size, repair=f"Give 2 to {len(NUMBERS)}.")
        if not 0.3 <= self.ice <= 1:
            raise UserError("knob `ice` is out of range", value=self.ice, repair="Give 0.3 to 1.")
        if not 0 <= self.astray <= 1:
            raise UserError("knob `astray` is a share", value=self.astray, repair="Give 0 to 1.")
        if not 2 <= self.horizon <= 200:
            raise UserError("knob `horizon` is out of range", value=self.horizon, repair="Give 2 to 200 turns.")


def frozen_lake() -> Any:
    """Return gymnasium's module. Raises UserError where gymnasium is not installed."""
    require(GYMNASIUM)
    return importlib.import_module("gymnasium.envs.toy_text.frozen_lake")


def make_environment(knobs: Knobs, seed: int) -> Any:
    """Return the environment that the instance of `seed` is told of. Raises UserError as `frozen_lake` does."""
    module = frozen_lake()
    rows = module.generate_random_map(size=knobs.size, p=knobs.ice, seed=seed)
    return module.FrozenLakeEnv(desc=rows, is_slippery=knobs.slippery, success_rate=1 - knobs.astray)


def build(knobs: Knobs, seed: int) -> World:
    """Draw the instance of `seed`. State s is gymnasium's: row * size + column, both counted from 0."""
    environment = make_environment(knobs, seed)
    rows = ["".join(letter.decode() for letter in row) for row in environment.desc]
    successors, probabilities = _transitions(environment.P)
    terminal, payoffs = _ends(environment.P)
    observations = tuple(_observation(rows, *divmod(s, knobs.size)) for s in range(knobs.size**2))
    header = f"goal {_place(knobs.size - 1, knobs.size - 1)} ."
    states = np.arange(knobs.size**2)
    return World(
        name=f"lake-{seed}",
        header=header,
        prompts=tuple(f"{header} memory empty . {seen} . act" for seen in observations),
        options=tuple(() if end else MOVES for end in terminal),
        observations=observations,
        state_prompt=states,
        state_observation=states,
        successors=successors,
        probabilities=probabilities,
        terminal=terminal,
        payoffs=payoffs,
        bifurcations=~terminal & _may_end_badly(successors, probabilities, terminal, payoffs),
        start=0,
        horizon=knobs.horizon,
        recurrence=1.0,
        hints=Hints(success="goal .", failure="hole ."),
    )


def _place(row: int, column: int) -> str:
    return f"row {NUMBERS[row]} column {NUMBERS[column]}"


def _observation(rows: Sequence[str], row: int, column: int) -> str:
    """Tell where one stands and what lies on each side, in the order of the moves."""
    sides = []
    for side, (down, right) in zip(SIDES, STEPS, strict=True):
        y, x = row + down, column + right
        inside = 0 <= y < len(rows) and 0 <= x < len(rows)
        sides.append(f"{side} {TILES[rows[y][x]] if inside else SHORE}")
    return f"{_place(row, column)} {' '.join(sides)}"


def _transitions(table: Table) -> tuple[IntArray, FloatArray]:
    """Write gymnasium's table as arrays (S, 5, J); the last option is to stay."""
    branches = max(len(answers) for moves in table.values() for answers in moves.values())
    successors = np.arange(len(table))[:, None, None] * np.ones((1, len(SIDES) + 1, branches), dtype=np.int64)
    probabilities = np.zeros(successors.shape)
    probabilities[:, -1, 0] = 1.0
    for state, moves in table.items():
        for move, answers in moves.items():
            for branch, (chance, successor, _, _) in enumerate(answers):
                successors[state, move, branch], probabilities[state, move, branch] = successor, chance
    return successors, probabilities


def _ends(table: Table) -> tuple[BoolArray, FloatArray]:
    """Return which states end the walk, and what is paid on coming there."""
    terminal, payoffs = np.zeros(len(table), dtype=bool), np.zeros(len(table))
    for state, moves in table.items():
        for _, successor, reward, ended in (answer for answers in moves.values() for answer in answers):
            if ended and successor != state:
                terminal[successor], payoffs[successor] = True, reward
    return terminal, payoffs


def _may_end_badly(
    successors: IntArray, probabilities: FloatArray, terminal: BoolArray, payoffs: FloatArray
) -> BoolArray:
    """(S,) some move may end the walk unpaid at once."""
    unpaid = terminal & (payoffs == 0)
    return np.asarray(((probabilities > 0) & unpaid[successors]).any((1, 2)))


def vocabulary() -> list[str]:
    """Return every word that `lake` can print or understand, without repeats."""
    words = ["goal", "row", "column", ".", "memory", "empty", "act", "move"]
    return list(dict.fromkeys([*words, *NUMBERS, *SIDES, *TILES.values(), SHORE]))


@dataclass(frozen=True)
class Guide:
    """A teacher who has worked out the best moves of the instance, and makes one of them at a stated rate.

    skills: that rate, by the number of steps from the start to the place, taken in turns. What is left is shared by
    the other moves.
    """

    skills: tuple[float, ...]

    def chances(self, world: World, prompt: int) -> list[float]:
        """See `cairn.lab.task.Teacher`. Prompts are states here."""
        best = best_moves(world)[prompt]
        size = round(world.n_states**0.5)
        skill = self.skills[sum(divmod(prompt, size)) % len(self.skills)]
        if best.all():
            return [1 / len(best)] * len(best)
        return [float(one) for one in np.where(best, skill / best.sum(), (1 - skill) / (~best).sum())]


@lru_cache(maxsize=1024)
def best_moves(world: World) -> BoolArray:
    """(S, 4) the moves that are best where a later goal is worth less, several where they are equally good."""
    values = np.where(world.terminal, world.payoffs, 0.0)
    for _ in range(world.horizon):
        found = DISCOUNT * (world.probabilities * values[world.successors]).sum(-1)[:, :-1]
        values = np.where(world.terminal, world.payoffs, found.max(1))
    return np.asarray(found >= found.max(1, keepdims=True) - EQUAL)


TASK = Task(
    about=paragraphs(__doc__, 2),
    horizon="the knob `horizon`: a walk that has not ended by then is not paid (gymnasium's limit is 100 for size 4)",
    knobs=Knobs,
    tiny=Knobs(size=3, horizon=4),
    build=build,
    vocabulary=vocabulary,
    clean=Guide(skills=(1.0,)),
    noisy=Guide(skills=(0.6, 0.5, 0.4, 0.3, 0.2, 0.15)),
    # So that more is left to learn: what is best where moves go astray is often wrong where they do not.
    taught_on=lambda knobs: replace(knobs, slippery=True, horizon=max(knobs.horizon, SLIPPERY_TURNS)),
    exact=f"{EXACT} (the transition table is gymnasium's)",
    packages=(GYMNASIUM,),
)
