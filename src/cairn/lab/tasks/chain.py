"""`chain`: modular arithmetic as a chain of thought, in which a few steps compute and the others restate or tidy up.

A question starts with a value and lists numbered lines. A line tells of a deed; which operation it stands for follows
from a fixed rule for its place of business (a skill, each its own), and the result from arithmetic (a skill for each
operation). One step of the chain computes a line: its plan names the operation, its execution the result, and both may
be wrong; the next step goes on from whatever was stated. Between two lines come routine steps, and at the end the
answer, which pays 1 if it is right and 0 if not; nothing is paid or shown before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cairn.errors import UserError
from cairn.lab.hints import Hints
from cairn.lab.task import Recipe, Task, knob, paragraphs
from cairn.lab.world import BoolArray, IntArray, World

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
MODULI = (5, 7, 11)  # primes above 4: every operation is one to one, so that no right step undoes a mistake
OPERANDS = (2, 3, 4)
OPERATIONS = ("plus", "minus", "times")
# For each place the two deeds that its lines tell of, and the operation that each stands for. Deeds belong to one
# place, so that a rule says nothing of others; the other operation of the place is the mistake that can be made.
PLACES = {
    "market": {"buys": "plus", "sells": "minus"},
    "road": {"drops": "minus", "climbs": "plus"},
    "field": {"breeds": "times", "gathers": "plus"},
    "bank": {"pays": "minus", "compounds": "times"},
    "ship": {"unloads": "minus", "loads": "plus"},
    "press": {"copies": "times", "binds": "plus"},
}
ROUTINES = ("restate", "tidy")  # in turn, between two steps that compute
ANSWER = "answer"
# The words of a plan begin with the first of these, those of its execution with the second; the third ends every step.
PLAN, EXECUTION, END = "next", "gives", ";"
LONGEST = 200
LESSON = 24  # steps of a lesson at least, so that the model has seen questions longer than the usual ones


@dataclass(frozen=True)
class Knobs:
    """What makes an instance hard. Each field's metadata has its meaning."""

    horizon: int = knob(24, "steps that may be said, 1 to 200; a fifth of them is slack for what is not understood")
    modulus: int = knob(7, "values there are: 5, 7 or 11")
    decisive: float = knob(0.25, "share of the steps that compute, one in a whole number of steps; others are routine")
    repair: float = knob(0.0, "share of the lines at which a mistake may cancel an earlier one")

    def __post_init__(self) -> None:
        for name in ("decisive", "repair"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"knob `{name}` is a share", value=getattr(self, name), repair="Give 0 to 1.")
        if not 1 <= self.horizon <= LONGEST:
            raise UserError("knob `horizon` is out of range", value=self.horizon, repair=f"Give 1 to {LONGEST} steps.")
        if self.modulus not in MODULI:
            choice = ", ".join(map(str, MODULI))
            raise UserError("knob `modulus` is not one of those known", value=self.modulus, repair=f"Give {choice}.")

    @property
    def steps(self) -> int:
        """Steps of a faultless chain. The last one states the answer, unless it is the only one."""
        return self.horizon - self.horizon // 5

    @property
    def period(self) -> int:
        """The first step computes, and then every so-many-th."""
        return min(self.steps, round(1 / self.decisive)) if self.decisive else self.steps


class Step(NamedTuple):
    """What a step has to do. What is empty or 0 applies to steps that compute alone."""

    role: str  # "restate", "tidy", "answer", or the place of a line
    number: int = 0  # of the line
    deed: str = ""
    operand: int = 0
    repairs: bool = False  # a mistake made here may lead back to the true value


class Question(NamedTuple):
    """An instance before it is unrolled into states. truth: the value before each step, and the answer: L + 1."""

    modulus: int
    steps: tuple[Step, ...]
    truth: tuple[int, ...]


def vocabulary() -> list[str]:
    """Return every word that `chain` can print or understand, without repeats."""
    words = [
        "modulo",
        "value",
        "start",
        ".",
        END,
        "end",
        "solve",
        "up",
        PLAN,
        EXECUTION,
        *ROUTINES,
        ANSWER,
        *OPERATIONS,
    ]
    deeds = [deed for deeds in PLACES.values() for deed in deeds]
    return [*words, *PLACES, *deeds, *NUMBERS, *(str(label) for label in range(1, LONGEST + 1))]


def compute(operation: str, value: int, operand: int, modulus: int) -> int:
    """Return what an operation makes of a value."""
    results = {"plus": value + operand, "minus": value - operand, "times": value * operand}
    return results[operation] % modulus


def draw_question(knobs: Knobs, rng: np.random.Generator) -> Question:
    """Draw an instance: where the chain starts, and what its lines tell.

    Lines are numbered from a number that is drawn too, so that it says nothing, and every number occurs.
    """
    body = max(1, knobs.steps - 1)
    where = range(0, body, knobs.period)
    places = [tuple(PLACES)[i] for i in rng.permutation(len(PLACES))]
    deeds, operands = rng.integers(2, size=len(where)), rng.choice(OPERANDS, len(where))
    repairing = {int(i) for i in rng.permutation(len(where))[: round(knobs.repair * len(where))]}
    first = int(rng.integers(1, LONGEST - len(where) + 2))
    steps = [Step(ROUTINES[(i % knobs.period - 1) % len(ROUTINES)]) for i in range(body)]
    for i, step in enumerate(where):
        place = places[i % len(places)]
        steps[step] = Step(place, first + i, tuple(PLACES[place])[deeds[i]], int(operands[i]), i in repairing)
    steps += [Step(ANSWER)] * (knobs.steps - body)
    truth = [int(rng.integers(knobs.modulus))]
    for one in steps:
        truth.append(_result(one, truth[-1], knobs.modulus))
    return Question(knobs.modulus, tuple(steps), tuple(truth))


def _result(step: Step, value: int, modulus: int) -> int:
    """Return what the right step makes of a value."""
    if step.role not in PLACES:
        return value
    return compute(PLACES[step.role][step.deed], value, step.operand, modulus)


def build(knobs: Knobs, seed: int) -> World:
    """Draw the instance of `seed` and unroll it. State k * modulus + v: k steps are made, v was stated last."""
    question = draw_question(knobs, np.random.default_rng(seed))
    places = [(k, v) for k in range(len(question.steps) + 1) for v in range(question.modulus)]
    moves = [dict(_moves(question, k, v)) for k, v in places]
    successors = _successors(moves, question.modulus, places)
    ends = np.array([k == len(question.steps) for k, _ in places])
    right = np.array([v == question.truth[-1] for _, v in places])
    header = f"modulo {NUMBERS[question.modulus]} ."
    asked = [f"{header} value {NUMBERS[v]} . {_tell(question, k)} . solve" for k, v in places]
    prompts = {text: i for i, text in enumerate(dict.fromkeys(asked))}
    told = f" {END} ".join(_tell(question, k) for k, step in enumerate(question.steps) if step.deed)
    return World(
        name=f"chain-{seed}",
        header=f"{header} start {NUMBERS[question.truth[0]]} . {told} . solve",
        prompts=tuple(prompts),
        options=tuple(tuple(moves[asked.index(text)]) for text in prompts),
        observations=tuple(f"step {k + 1} value {NUMBERS[v]}" for k, v in places),
        state_prompt=np.array([prompts[text] for text in asked]),
        state_observation=np.arange(len(places)),
        successors=successors[:, :, None],
        probabilities=np.ones((*successors.shape, 1)),
        terminal=ends,
        payoffs=(ends & right).astype(float),
        bifurcations=_decide(successors, ends, right, question),
        start=question.truth[0],
        horizon=knobs.horizon,
        recurrence=1.0,
        opening="",
        hints=_hints(question),
    )


def _tell(question: Question, k: int) -> str:
    """Return what the prompt says of the step that is due. Routine steps of one kind look alike."""
    if k == len(question.steps):
        return "end"
    step = question.steps[k]
    return f"{step.number} {step.role} {step.deed} {NUMBERS[step.operand]}" if step.deed else step.role


def _hints(question: Question) -> Hints:
    """The right answer, and what each step comes to on the way there."""
    values = [question.truth[k + 1] for k, step in enumerate(question.steps) if step.deed]
    hint = " ".join(f"{EXECUTION} {NUMBERS[value]} {END}" for value in values)
    return Hints(hint=hint, answer=f"answer {NUMBERS[question.truth[-1]]} {END}")


def _moves(question: Question, k: int, value: int) -> Iterator[tuple[str, int]]:
    """Yield each phrase that is understood after k steps, with the value that it states."""
    if k == len(question.steps):
        return
    step = question.steps[k]
    if not step.deed:
        yield f"{step.role} {'up' if step.role == 'tidy' else NUMBERS[value]} {END}", value
        return
    strayed, truth = value != question.truth[k], question.truth[k + 1]
    for i, (operation, stated) in enumerate(_choices(step, value, question.modulus)):
        # A second mistake leads back to the true value only where the line was drawn to allow it.
        if i == 0 or not strayed or stated != truth or step.repairs:
            plan = f"{PLAN} {step.role} {operation} {NUMBERS[step.operand]}"
            yield f"{plan} {EXECUTION} {NUMBERS[stated]} {END}", stated


def _choices(step: Step, value: int, modulus: int) -> Iterator[tuple[str, int]]:
    """Yield the right step (operation, stated result), the right plan with a slipped result, and the wrong plan."""
    right = PLACES[step.role][step.deed]
    (wrong,) = (one for one in PLACES[step.role].values() if one != right)
    result = compute(right, value, step.operand, modulus)
    yield right, result
    yield right, (result + 1) % modulus
    yield wrong, compute(wrong, value, step.operand, modulus)


def _successors(moves: list[dict[str, int]], modulus: int, places: list[tuple[int, int]]) -> IntArray:
    """(S, C + 1) the state behind each option; options that are not offered, and the last one, are `stay`."""
    width = max(map(len, moves)) + 1
    table = np.arange(len(places))[:, None].repeat(width, axis=1)
    for state, ((k, _), offered) in enumerate(zip(places, moves, strict=True)):
        table[state, : len(offered)] = [(k + 1) * modulus + stated for stated in offered.values()]
    return table


def _decide(successors: IntArray, ends: BoolArray, right: BoolArray, question: Question) -> BoolArray:
    """(S,) a step from here may throw the right answer away, or keep it."""
    hopeful = ends & right
    for _ in question.steps:
        hopeful = np.where(ends, hopeful, hopeful[successors[:, :-1]].any(1))
    lost = ~hopeful[successors]
    return np.asarray(~ends & hopeful & lost.any(1))


@dataclass(frozen=True)
class Guide:
    """A teacher. A wrong operation is carried out faithfully."""

    plans: tuple[float, ...]  # chance of the right operation, for each of `PLACES`
    results: tuple[float, ...]  # chance of its right result, for each of `OPERATIONS`

    def chances(self, world: World, prompt: int) -> list[float]:
        """See `cairn.lab.task.Teacher`. What is not offered here is shared out among the rest."""
        options = world.options[prompt]
        if len(options) == 1:
            return [1.0]
        place, deed = (word for word in world.prompts[prompt].split() if word in PLACES or _is_deed(word))
        right = PLACES[place][deed]
        plan, result = self.plans[tuple(PLACES).index(place)], self.results[OPERATIONS.index(right)]
        weights, first = [], True
        for phrase in options:
            planned = phrase.split()[2] == right
            weights.append((plan * (result if first else 1 - result)) if planned else 1 - plan)
            first = False
        return [weight / sum(weights) for weight in weights]


def _is_deed(word: str) -> bool:
    return any(word in deeds for deeds in PLACES.values())


TASK = Task(
    about=paragraphs(__doc__, 2),
    horizon="the knob `horizon`: a chain that has not come to its answer by then is not paid",
    knobs=Knobs,
    tiny=Knobs(horizon=5, modulus=5, decisive=0.5),
    build=build,
    vocabulary=vocabulary,
    clean=Guide(plans=(1.0,) * len(PLACES), results=(1.0,) * len(OPERATIONS)),
    recipe=Recipe(clean_steps=450, noisy_steps=350, window_rows=256, history_rows=12),
    noisy=Guide(plans=(0.75, 0.68, 0.60, 0.40, 0.32, 0.25), results=(0.97, 0.93, 0.88)),
    taught_on=lambda knobs: replace(knobs, horizon=max(knobs.horizon, LESSON)),
)
