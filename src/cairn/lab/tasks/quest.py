"""`quest`: a walk through rooms in which a few planted forks decide, among many turns that do not.

An agent has `horizon` turns to walk a line of rooms. Most rooms ask for a routine phrase. A fork shows a sign of some
kind with a value; which exit is right follows from a fixed rule for that kind (a skill), and each kind has its own. A
wrong exit of a *trap* is fatal but looks like any other room; a wrong exit of a *loop* leads through a blind alley back
to the fork. A phrase that the room does not understand costs a turn. Success, 1 or 0, is paid at the end.

The seven knobs are named after the challenges of the survey's section 4; see `Knobs`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from cairn.errors import UserError
from cairn.lab.hints import Hints
from cairn.lab.task import Moves, Task, knob, paragraphs
from cairn.lab.world import World

# What a sign of each kind may show. A skill is to know which of the two points left; its rule says nothing of others.
SIGNS = {
    "rune": ("amber", "slate"),
    "statue": ("lion", "owl"),
    "lamp": ("dim", "bright"),
    "bell": ("silver", "iron"),
    "mirror": ("clear", "cracked"),
    "door": ("oak", "birch"),
}
KINDS = tuple(SIGNS)
# Arbitrary and fixed, so that nothing follows from the order of the words.
LEFT_VALUE = {"rune": 0, "statue": 1, "lamp": 1, "bell": 0, "mirror": 0, "door": 1}
EXITS = ("left", "right")
PLACES = ("early", "spread", "late")
SHARES = (0.0, 0.5, 1.0)  # to which a knob that is a share is turned
ROUTINES = {"plan": "make plan .", "tool": "use key .", "format": "sign log ."}
ON = "go on ."
READ = "read note ."
ROOMS = [
    "attic", "barn", "cave", "cellar", "chapel", "court", "crypt", "den", "dome", "forge", "garden", "gate", "grove",
    "hall", "hut", "inn", "keep", "kiln", "lodge", "loft", "market", "mill", "moat", "nave", "orchard", "pantry",
    "pier", "pit", "porch", "quarry", "ruin", "shed", "shrine", "stable", "stair", "store", "studio", "tavern",
    "tent", "tomb", "tower", "vault", "vestry", "ward", "well", "yard",
]  # fmt: skip
BLIND = "alley"
FUNCTION_WORDS = [
    "goal", "memory", "empty", "room", "wing", "none", "left", "right", "fork", "sign", "hidden", "note", "read",
    "unread", "omen", "good", "bad", "act", "go", "on", ".", "make", "plan", "use", "key", "log", "tool", "format",
    "passage",
]  # fmt: skip


@dataclass(frozen=True)
class Knobs:
    """What makes an instance hard. Defaults are the protocol's `quest`; each field's metadata has its meaning."""

    horizon: int = knob(24, "turns, 8 to 200: length of the trajectory")
    forks: int = knob(6, "number of decisions that matter")
    place: Literal["spread", "early", "late"] = knob("spread", "where the forks stand: spread, early or late")
    loops: float = knob(0.34, "share of forks whose wrong exit leads back instead of being fatal")
    slip: float = knob(0.02, "chance that the world does a random option instead: stochastic transitions")
    fog: float = knob(0.5, "share of forks whose sign is hidden, to be read on a note before: partial observability")
    mix: float = knob(0.5, "share of routine rooms that ask for a plan, tool or format action: mixed actions")
    veil: float = knob(1.0, "share of forks after which no omen tells right from wrong: no intermediate feedback")
    revisit: float = knob(1.0, "share of visits whose raw observation recurs; the others carry a stamp (not prompted)")

    def __post_init__(self) -> None:
        for name in ("loops", "slip", "fog", "mix", "veil", "revisit"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"knob `{name}` is a share", value=getattr(self, name), repair="Give 0 to 1.")
        if self.place not in PLACES:
            raise UserError("knob `place` is unknown", value=self.place, repair=f"Give one of: {', '.join(PLACES)}.")
        if not 8 <= self.horizon <= 200:
            raise UserError("knob `horizon` is out of range", value=self.horizon, repair="Give 8 to 200 turns.")
        if self.forks < 1 or self.routine_rooms < 0:
            raise UserError(
                "the forks and their notes do not fit into the horizon",
                value=f"horizon {self.horizon}, forks {self.forks}, fog {self.fog}",
                repair="Lower `forks` or `fog`, or raise `horizon`.",
            )

    @property
    def fogged(self) -> int:
        """Number of forks whose sign is hidden."""
        return round(self.fog * self.forks)

    @property
    def shortest(self) -> int:
        """Turns of a faultless walk; the rest of the horizon is slack for slips and blind alleys."""
        return self.horizon - max(2, self.horizon // 4)

    @property
    def routine_rooms(self) -> int:
        """Rooms that are neither fork nor note (a note costs two turns: reading and walking on)."""
        return self.shortest - self.forks - 2 * self.fogged


class Room(NamedTuple):
    """A room of an instance. `fork` is the fork that stands here or whose note hangs here, else -1."""

    name: str
    role: str  # "passage", "plan", "tool", "format", "note" or "fork"
    fork: int = -1


class Fork(NamedTuple):
    """A fork of an instance."""

    kind: str
    value: int
    right_exit: int  # index into EXITS
    loop: bool
    fogged: bool
    veiled: bool


class State(NamedTuple):
    """Everything that the future depends on, apart from the number of turns left."""

    room: int
    blind: bool = False  # in the blind alley behind the fork at `room`
    memory: tuple[int, ...] = ()  # forks whose notes were read and that still lie ahead
    wing: int = -1  # exit taken last
    omen: str = ""
    doomed: bool = False


class Plan(NamedTuple):
    """An instance before it is unrolled into states."""

    goal: str
    rooms: tuple[Room, ...]
    forks: tuple[Fork, ...]


def vocabulary() -> list[str]:
    """Return every word that `quest` can print or understand, without repeats."""
    return list(
        dict.fromkeys([*FUNCTION_WORDS, *KINDS, *(v for values in SIGNS.values() for v in values), *ROOMS, BLIND])
    )


def draw_plan(knobs: Knobs, rng: np.random.Generator) -> Plan:
    """Draw an instance: which forks, in which order, where, and what their signs say."""
    kinds = [KINDS[i] for i in rng.permutation(len(KINDS))]
    values = rng.integers(2, size=knobs.forks)
    loops, fogged, veiled = (
        _choose(round(share * knobs.forks), knobs.forks, rng) for share in (knobs.loops, knobs.fog, knobs.veil)
    )
    forks = []
    for i in range(knobs.forks):
        kind, value = kinds[i % len(KINDS)], int(values[i])
        forks.append(Fork(kind, value, int(value != LEFT_VALUE[kind]), i in loops, i in fogged, i in veiled))
    roles = _lay_out(knobs, forks, rng)
    names = rng.permutation(len(ROOMS))
    rooms = tuple(Room(ROOMS[names[i % len(ROOMS)]], role, fork) for i, (role, fork) in enumerate(roles))
    return Plan(ROOMS[names[-1]], rooms, tuple(forks))


def _choose(count: int, of: int, rng: np.random.Generator) -> set[int]:
    return {int(i) for i in rng.permutation(of)[:count]}


def _lay_out(knobs: Knobs, forks: list[Fork], rng: np.random.Generator) -> list[tuple[str, int]]:
    """Order the rooms. The note of a fork hangs before the fork that precedes it, so that it must be carried along."""
    routine = _routine_roles(knobs, rng)
    gaps = _gaps(knobs, len(routine))
    layout: list[tuple[str, int]] = []
    for i in range(len(forks)):
        due = [j for j in ((0, 1) if i == 0 else (i + 1,)) if j < len(forks) and forks[j].fogged]
        layout += [("note", j) for j in due]
        layout += [(routine.pop(), -1) for _ in range(gaps[i])]
        layout.append(("fork", i))
    return layout + [(role, -1) for role in routine]


def _routine_roles(knobs: Knobs, rng: np.random.Generator) -> list[str]:
    special = round(knobs.mix * knobs.routine_rooms)
    roles = [tuple(ROUTINES)[i % len(ROUTINES)] for i in range(special)]
    roles += ["passage"] * (knobs.routine_rooms - special)
    return [roles[i] for i in rng.permutation(len(roles))]


def _gaps(knobs: Knobs, routine: int) -> list[int]:
    """Routine rooms before each fork; what is left over follows the last fork."""
    if knobs.place == "early":
        return [0] * knobs.forks
    if knobs.place == "late":
        return [routine] + [0] * (knobs.forks - 1)
    edges = np.linspace(0, routine, knobs.forks + 2).round().astype(int)
    return [int(b - a) for a, b in itertools.pairwise(edges[:-1])]


def build(knobs: Knobs, seed: int) -> World:
    """Draw the instance of `seed` and unroll it into states."""
    plan = draw_plan(knobs, np.random.default_rng(seed))
    states, moves = _unroll(plan)
    index = {state: i for i, state in enumerate(states)}
    prompts, state_prompt = _number([_prompt(plan, s) for s in states])
    observations, state_observation = _number([_observation(plan, s) for s in states])
    options: list[tuple[str, ...]] = [()] * len(prompts)
    for state, p in zip(states, state_prompt, strict=True):
        options[p] = tuple(moves[state])
    successors, probabilities = _transitions(states, moves, index, knobs.slip)
    ends = np.array([s.room == len(plan.rooms) for s in states])
    return World(
        name=f"quest-{seed}",
        header=f"goal {plan.goal} .",
        prompts=tuple(prompts),
        options=tuple(options),
        observations=tuple(observations),
        state_prompt=state_prompt,
        state_observation=state_observation,
        successors=successors,
        probabilities=probabilities,
        terminal=ends,
        payoffs=np.array([float(e and not s.doomed) for e, s in zip(ends, states, strict=True)]),
        bifurcations=np.array(
            [not e and _is_fork(plan, s) and not s.doomed for e, s in zip(ends, states, strict=True)]
        ),
        start=0,
        horizon=knobs.horizon,
        recurrence=knobs.revisit,
        hints=_hints(plan),
    )


def _hints(plan: Plan) -> Hints:
    """Omens of the whole walk, the sign of each fork with its right exit, and these exits in their order."""
    exits = [f"go {EXITS[fork.right_exit]} ." for fork in plan.forks]
    signs = [f"fork {fork.kind} {SIGNS[fork.kind][fork.value]}" for fork in plan.forks]
    hint = " ".join(f"{sign} {exit_}" for sign, exit_ in zip(signs, exits, strict=True))
    return Hints(success="omen good .", failure="omen bad .", hint=hint, answer=" ".join(exits))


def _unroll(plan: Plan) -> tuple[list[State], dict[State, dict[str, State]]]:
    """Return all reachable states, the start first, and what each phrase leads to when nothing slips."""
    moves: dict[State, dict[str, State]] = {}
    frontier = [State(room=0)]
    while frontier:
        for state in frontier:
            moves[state] = dict(_moves(plan, state)) if state.room < len(plan.rooms) else {}
        reached = dict.fromkeys(s for state in frontier for s in moves[state].values())
        frontier = [s for s in reached if s not in moves]
    return list(moves), moves


def _is_fork(plan: Plan, state: State) -> bool:
    return not state.blind and plan.rooms[state.room].role == "fork"


def _moves(plan: Plan, state: State) -> Iterator[tuple[str, State]]:
    room = plan.rooms[state.room]
    onward = state._replace(room=state.room + 1)
    if state.blind:
        yield ON, state._replace(blind=False)
    elif room.role == "fork":
        for exit_, word in enumerate(EXITS):
            yield f"go {word} .", _through(plan.forks[room.fork], room.fork, exit_, state)
    elif room.role == "note":
        if room.fork not in state.memory:
            yield READ, state._replace(memory=(*state.memory, room.fork))
        yield ON, onward
    else:
        yield ROUTINES.get(room.role, ON), onward


def _through(fork: Fork, number: int, exit_: int, state: State) -> State:
    """Leave a fork by an exit. The note is spent once the fork lies behind."""
    right = exit_ == fork.right_exit
    omen = "" if fork.veiled else ("good" if right else "bad")
    if fork.loop and not right:
        return state._replace(blind=True, wing=exit_, omen=omen)
    memory = tuple(i for i in state.memory if i != number)
    return State(state.room + 1, False, memory, exit_, omen, state.doomed or not right)


def _observation(plan: Plan, state: State) -> str:
    """Tell what is seen here. Whether the walk is doomed is never told."""
    if state.room == len(plan.rooms):
        return "room " + plan.goal
    room = plan.rooms[state.room]
    wing = "none" if state.wing < 0 else EXITS[state.wing]
    omen = f" omen {state.omen}" if state.omen else ""
    return f"room {BLIND if state.blind else room.name} wing {wing}{omen} {_feature(plan, state)}"


def _feature(plan: Plan, state: State) -> str:
    room = plan.rooms[state.room]
    if state.blind:
        return "passage"
    if room.role == "fork":
        fork = plan.forks[room.fork]
        return f"fork {fork.kind} sign {'hidden' if fork.fogged else SIGNS[fork.kind][fork.value]}"
    if room.role == "note":
        return f"note {_note(plan, room.fork)}" if room.fork in state.memory else "note unread"
    return room.role


def _note(plan: Plan, fork: int) -> str:
    kind, value = plan.forks[fork].kind, plan.forks[fork].value
    return f"{kind} {SIGNS[kind][value]}"


def _prompt(plan: Plan, state: State) -> str:
    """The windowed prompt: task, memory, observation."""
    notes = " ".join(_note(plan, i) for i in state.memory)
    return f"goal {plan.goal} . memory {notes or 'empty'} . {_observation(plan, state)} . act"


def _number(texts: list[str]) -> tuple[list[str], np.ndarray]:
    unique = list(dict.fromkeys(texts))
    position = {text: i for i, text in enumerate(unique)}
    return unique, np.array([position[text] for text in texts])


def _transitions(
    states: list[State], moves: dict[State, dict[str, State]], index: dict[State, int], slip: float
) -> tuple[np.ndarray, np.ndarray]:
    """Tables (S, C + 1, J). With chance `slip` a uniformly drawn option, `stay` among them, is carried out instead."""
    width = max(len(m) for m in moves.values()) + 1
    successors = np.zeros((len(states), width, width), dtype=np.int64)
    probabilities = np.zeros((len(states), width, width))
    for i, state in enumerate(states):
        reached = [index[s] for s in moves[state].values()]
        reached += [i] * (width - len(reached))  # unused options are `stay`
        drawn = [*range(len(moves[state])), width - 1]
        successors[i] = reached
        probabilities[i][:, drawn] = slip / len(drawn)
        probabilities[i] += (1 - slip) * np.eye(width)
    return successors, probabilities


@dataclass(frozen=True)
class Guide:
    """A teacher. skills: chance of the right exit for each of `KINDS`, where the sign is known. reading: of a note."""

    skills: tuple[float, ...]
    reading: float

    def chances(self, world: World, prompt: int) -> list[float]:
        """See `cairn.lab.task.Teacher`. There are one or two phrases."""
        options = world.options[prompt]
        if len(options) == 1:
            return [1.0]
        if options[0] == READ:
            return [self.reading, 1 - self.reading]
        words = world.prompts[prompt].split()
        kind = words[words.index("fork") + 1]
        value = known_value(words, kind)
        if value is None:
            return [0.5, 0.5]
        right = self.skills[KINDS.index(kind)]
        left = right if LEFT_VALUE[kind] == SIGNS[kind].index(value) else 1 - right
        return [left, 1 - left]


def known_value(words: list[str], kind: str) -> str | None:
    """Return the value of a fork's sign if the prompt shows it or remembers it."""
    sign = words[words.index("sign") + 1]
    if sign in SIGNS[kind]:
        return sign
    memory = words[words.index("memory") : words.index("room")]
    return memory[memory.index(kind) + 1] if kind in memory else None


MOVES = {
    "horizon": Moves("decision_share", "down", (16, 24, 48, 96)),
    "forks": Moves("guessing_success", "down", (2, 4, 6, 8)),
    "place": Moves("turns_to_end", "down", PLACES),
    "loops": Moves("error_cost", "down", (0.0, 0.34, 0.67, 1.0)),
    "slip": Moves("best_success", "down", (0.0, 0.02, 0.1, 0.2)),
    "fog": Moves("forgetful_success", "down", SHARES),
    "mix": Moves("effective_phrases", "up", SHARES),
    "veil": Moves("feedback_bits", "down", SHARES),
    "revisit": Moves("recurring_share", "up", SHARES),
}

TASK = Task(
    about=paragraphs(__doc__, 2),
    horizon="the knob `horizon`: a walk that has not ended by then is not paid",
    knobs=Knobs,
    moves=MOVES,
    tiny=Knobs(horizon=8, forks=1, fog=0.0),
    build=build,
    vocabulary=vocabulary,
    clean=Guide(skills=(1.0,) * len(KINDS), reading=1.0),
    noisy=Guide(skills=(0.75, 0.68, 0.60, 0.40, 0.32, 0.25), reading=0.8),
)
