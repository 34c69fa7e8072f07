"""`gym`: data sets of reasoning-gym, asked as they are and scored by their own `score_answer`.

The response is free text: whatever the policy says until it ends. A full mark of the data set's own scoring pays 1; a
partial mark, a wrong answer and a response without an end within the limit pay nothing. Questions are generated from
the instance's seed by reasoning-gym; where a set is small, one that is evaluated on may be among those trained on.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from cairn.errors import UserError
from cairn.lab.question import Question
from cairn.lab.segmenting import MEANING, WHOLE, check_steps
from cairn.lab.task import FREE_ESTIMATED, FREE_EXACT, Recipe, Task, knob, paragraphs, require

GYM = "reasoning_gym"
MIXED = "mixed"
LONGEST = 8192  # tokens of a response
LAST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Knobs:
    """What makes an instance hard. Each field's metadata has its meaning."""

    set: str = knob("chain_sum", "data set: chain_sum, basic_arithmetic, gcd, spell_backward, or mixed (all in turn)")
    terms: int = knob(2, "numbers in a problem, 2 to 9")
    digits: int = knob(2, "digits of a number at most, 1 to 8; of spell_backward, letters above 2")
    limit: int = knob(12, f"tokens of a response at most, its end among them, 2 to {LONGEST}")
    steps: str = knob(WHOLE, MEANING)

    def __post_init__(self) -> None:
        if self.set not in {*SETS, MIXED}:
            repair = f"Give one of: {', '.join(SETS)}, {MIXED}."
            raise UserError("knob `set` is not a data set that this task knows", value=self.set, repair=repair)
        for name, least, most in (("terms", 2, 9), ("digits", 1, 8), ("limit", 2, LONGEST)):
            if not least <= getattr(self, name) <= most:
                repair = f"Give {least} to {most}."
                raise UserError(f"knob `{name}` is out of range", value=getattr(self, name), repair=repair)
        check_steps(self.steps)


def _sums(knobs: Knobs) -> dict[str, Any]:
    return {"min_terms": knobs.terms, "max_terms": knobs.terms, "min_digits": 1, "max_digits": knobs.digits}


# reasoning-gym's own settings of each set, for our knobs.
SETS: dict[str, Callable[[Knobs], dict[str, Any]]] = {
    "chain_sum": _sums,
    "basic_arithmetic": lambda knobs: {**_sums(knobs), "allow_parentheses": False, "allow_negation": False},
    "gcd": lambda knobs: {"min_numbers": knobs.terms, "max_numbers": knobs.terms, "max_value": 10**knobs.digits - 1},
    "spell_backward": lambda knobs: {"min_word_len": 3, "max_word_len": 2 + knobs.digits},
}


def reasoning_gym() -> Any:
    """Return the package. Raises UserError where it is not installed."""
    require(GYM)
    return importlib.import_module(GYM)


@lru_cache(maxsize=32)
def _data_set(name: str, knobs: Knobs) -> Any:
    """Return a data set in which item i is drawn with seed i."""
    return reasoning_gym().create_dataset(name, seed=0, size=LAST_SEED, **SETS[name](knobs))


def build(knobs: Knobs, seed: int) -> Question:
    """Draw the question of `seed`. Raises UserError where reasoning-gym is not installed."""
    name = [*SETS][seed % len(SETS)] if knobs.set == MIXED else knobs.set
    entry = _data_set(name, knobs)[seed]
    return Question(
        name=f"gym-{name}-{seed}",
        prompt=entry["question"],
        answer=entry["answer"],
        verifier=f"{__name__}:verify",
        key=json.dumps({"set": name, "entry": entry}, sort_keys=True),
        limit=knobs.limit,
        steps=knobs.steps,
    )


def verify(response: str, key: str) -> float:
    """Pay 1 for a full mark of the data set's own scoring, without the blanks around the response, else 0."""
    asked = json.loads(key)
    return float(_scoring(asked["set"])(response.strip(), asked["entry"]) >= 1)


@lru_cache(maxsize=32)
def _scoring(name: str) -> Callable[[str, dict[str, Any]], float]:
    score: Callable[[str, dict[str, Any]], float] = reasoning_gym().get_score_answer_fn(name)
    return score


# What all questions of a set have in common: one token each for the small model, whose rows stay short.
PHRASES = (
    "State the final answer to the following arithmetic problem: ",
    "Calculate ",
    "Find the Greatest Common Divisor (GCD) of these numbers: ",
    ". Give only the GCD as your final answer.",
    "Spell this word backward (example: sun -> nus): ",
)


def vocabulary() -> list[str]:
    """Return what the small model knows: printable ASCII, the line break, and the fixed phrases of the questions."""
    return ["\n", *map(chr, range(32, 127)), *PHRASES]


@dataclass(frozen=True)
class Pupil:
    """Gives the data set's answer at a stated rate, and otherwise the same with one character wrong.

    right: that rate. A wrong digit is any other digit, a wrong letter any other letter.
    """

    right: float

    def answer(self, question: Question, rng: np.random.Generator) -> str:
        """See `cairn.lab.task.Demonstrator`."""
        places = [i for i, letter in enumerate(question.answer) if letter.isalnum()]
        if rng.random() < self.right or not places:
            return question.answer
        place = places[rng.integers(len(places))]
        kind = "0123456789" if question.answer[place].isdigit() else "abcdefghijklmnopqrstuvwxyz"
        others = [letter for letter in kind if letter != question.answer[place].lower()]
        return question.answer[:place] + others[rng.integers(len(others))] + question.answer[place + 1 :]


TASK = Task(
    about=paragraphs(__doc__, 2),
    horizon="a response is one turn, or as many as the knob `steps` makes of it; it has at most `limit` tokens",
    knobs=Knobs,
    tiny=Knobs(digits=1, limit=4),
    build=build,
    vocabulary=vocabulary,
    clean=Pupil(right=1.0),
    noisy=Pupil(right=0.5),
    recipe=Recipe(layers=3, clean_steps=1500, noisy_steps=300, text_rows=128, instances=20_000),
    # One model for all sets, whichever is asked.
    taught_on=lambda knobs: replace(Knobs(), set=MIXED, limit=knobs.limit),
    exact=FREE_EXACT,
    estimated=FREE_ESTIMATED,
    packages=(GYM,),
    prompts=("free",),
)
