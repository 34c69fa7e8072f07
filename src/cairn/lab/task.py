"""What a task offers. A module of `cairn.lab.tasks` is a task, by its `TASK`; nothing else knows a task by name."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from cairn.errors import UserError
from cairn.lab.question import Question
from cairn.lab.world import World

Prompt = Literal["windowed", "history", "free"]
# How a knob that is on or off is written in a task's name.
SWITCH = {"yes": True, "no": False, "true": True, "false": False}
EXACT = (
    "success, values and advantages under the current policy, where the prompt is a window (task, memory and "
    "observation): the policy is then Markov in a small state space, so that one forward pass over the prompts and a "
    "backward recursion give them"
)
ESTIMATED = (
    "the same, by Monte Carlo with a standard error, where the prompt holds the full history (all that was seen and "
    "said since the start)"
)
FREE_EXACT = "nothing: responses are free text, which cannot be enumerated"
FREE_ESTIMATED = (
    "success, values and advantages under the current policy, by Monte Carlo with a standard error; continuations go "
    "on from any border of a turn inside a response"
)


@dataclass(frozen=True)
class Recipe:
    """How the small model of a task is made, but for its teachers."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    inner: int = 192
    max_positions: int = 8192
    clean_steps: int = 600
    noisy_steps: int = 600
    window_rows: int = 320  # prompts in a step
    history_rows: int = 10  # whole episodes in a step
    text_rows: int = 64  # questions with a response in a step
    learning_rate: float = 3e-3
    decision_weight: float = 5.0  # loss weight of the phrases of a turn in which there is a choice
    instances: int = 400
    seed: int = 20260401

    @property
    def steps(self) -> int:
        """Number of steps in all, for a progress bar."""
        return self.clean_steps + self.noisy_steps

    def changed(self, changes: Mapping[str, float | int]) -> Recipe:
        """Return the recipe with some fields changed."""
        return Recipe(**{**dataclasses.asdict(self), **changes})


class Teacher(Protocol):
    """Shows how a world is played, and errs at stated rates. Its `repr` says all that decides what it does."""

    def chances(self, world: World, prompt: int) -> list[float]:
        """Return how often the teacher says each of the phrases `world.options[prompt]`."""


class Demonstrator(Protocol):
    """The same for questions."""

    def answer(self, question: Question, rng: np.random.Generator) -> str:
        """Return the text of a response."""


@dataclass(frozen=True)
class Moves:
    """What a knob is named after: a measure of `cairn.evidence.difficulty`, and where it goes from value to value."""

    measure: str
    direction: Literal["up", "down"]
    values: tuple[Any, ...]


K = TypeVar("K")


def _same(knobs: Any) -> Any:
    return knobs


@dataclass(frozen=True)
class Task(Generic[K]):
    """A task. `cairn.lab.tasks.find` gives it by the name of its module.

    knobs: a frozen dataclass, each field made with `knob`, that raises UserError for values that do not go together.
    tiny: so small that everything can be worked out by brute force and twenty updates take seconds. packages: what
    instances need beyond the extra `run`; extra: that of ours which installs them. prompts: the forms in which it can
    be asked, the usual one first; together with them goes the kind of its instances, worlds or questions. evaluate_on,
    rows: for a task whose instances are rows of a data set: what draws the instance of a seed to evaluate on (else
    `build`), and how many rows there are to train and to evaluate on; seeds then count rows from 0.
    """

    about: tuple[str, ...]  # paragraphs
    horizon: str  # what limits the turns, in words
    knobs: type[K]
    tiny: K
    build: Callable[[K, int], Any]  # draws the instance of a seed; the same arguments give the same instance
    vocabulary: Callable[[], list[str]]  # every word (or character) that its own model knows, without repeats
    clean: Any  # teacher of the first lessons of the task's small model: a Teacher of worlds, a Demonstrator else
    noisy: Any  # of the last ones
    recipe: Recipe = Recipe()  # how else the small model is made
    taught_on: Callable[[K], K] = _same  # knobs of its lessons, given those of the task
    exact: str = EXACT  # what of the credit is exact, and why, in words
    estimated: str = ESTIMATED  # what of it is estimated
    packages: tuple[str, ...] = ()
    extra: str = "tasks"
    prompts: tuple[Prompt, ...] = ("windowed", "history")
    evaluate_on: Callable[[K, int], Any] | None = None
    rows: Callable[[K], tuple[int, int]] | None = None
    moves: Mapping[str, Moves] = field(default_factory=dict)  # by knob: what it is named after

    def make_knobs(self, values: Mapping[str, Any]) -> K:
        """Make knobs from plain values. Raises UserError for an unknown name or a value of the wrong type."""
        kinds = self.knob_types
        unknown = sorted(set(values) - set(kinds))
        if unknown:
            raise UserError("unknown knob", value=unknown[0], repair=f"Choose one of: {', '.join(kinds)}.")
        try:
            return self.knobs(**{name: _read(kinds[name], value) for name, value in values.items()})
        except ValueError as error:
            raise UserError(f"a knob has a wrong value: {error}", repair="Give a number.") from error

    def require_packages(self) -> None:
        """Raise UserError, with the repair, unless what instances need is installed."""
        for package in self.packages:
            require(package, self.extra)

    @property
    def knob_types(self) -> dict[str, type]:
        """Return the type of each knob, that of its default."""
        return {one.name: type(one.default) for one in dataclasses.fields(self.knobs)}  # type: ignore[arg-type]


def require(package: str, extra: str = "tasks") -> None:
    """Raise UserError, with the repair, unless a package that a task needs, and an extra of ours has, is installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(
            "a package that this task needs is missing",
            value=package,
            repair=f"Run: pip install 'cairn-credit[{extra}]'.",
        )


def knob(default: Any, meaning: str) -> Any:
    """Return a field of a `Knobs` class; `cairn tasks` prints its meaning."""
    return field(default=default, metadata={"meaning": meaning})


def paragraphs(text: str | None, count: int) -> tuple[str, ...]:
    """Return the first paragraphs of a docstring, each on one line."""
    return tuple(" ".join(part.split()) for part in (text or "").split("\n\n")[:count])


def _read(kind: type, value: Any) -> Any:
    """Read a value by way of its text, so that 12.7 is no whole number of turns."""
    text = str(value)
    if kind is not bool:
        return kind(text)
    if text.lower() not in SWITCH:
        raise ValueError(f"{text!r} is not one of: {', '.join(SWITCH)}")
    return SWITCH[text.lower()]
