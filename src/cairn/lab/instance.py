"""What is played: one instance of a task, whatever its kind, and what is known of any play of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class Instance(Protocol):
    """One instance of a task: a dataclass. Which kinds a prompt form plays is known to the form alone.

    Its fields decide how it is played, all but the name; a field that is None says nothing.
    """

    @property
    def name(self) -> str:
        """For people."""


@dataclass(frozen=True)
class Spoken:
    """R rollouts of K turns at most, each turn of L tokens at most: what was said, what it cost, and what was paid.

    A form that has more to remember of a rollout derives from this.
    """

    PADDING: ClassVar[Mapping[str, dict[str, Any]]] = {}  # how fields are padded that are not padded with 0

    instance: IntArray  # (R,) index of the instance in the batch
    tokens: IntArray  # (R, K, L)
    logprobs: FloatArray  # (R, K, L)
    entropies: FloatArray  # (R, K, L) nats
    lengths: IntArray  # (R, K) tokens of the turn, 0 where it did not take place
    prompt_tokens: IntArray  # (R, K) what the policy had to read before it spoke, without what it had read before
    context_tokens: IntArray  # (R, K) what stood before that in the same row; 0 where the prompt was a row of its own
    rewards: FloatArray  # (R,) terminal reward
    truncated: BoolArray  # (R,)

    @property
    def alive(self) -> BoolArray:
        """Return (R, K): the turn took place."""
        return self.lengths > 0

    @property
    def environment_steps(self) -> int:
        """Return how often an environment answered: once a turn."""
        return int(self.alive.sum())


S = TypeVar("S", bound=Spoken)


def concatenate(parts: Sequence[S]) -> S:
    """Put batches of rollouts of the same instances under each other, short ones padded."""
    turns = max(part.alive.shape[1] for part in parts)
    names = [field.name for field in dataclasses.fields(parts[0])]
    columns = {n: np.concatenate([_lengthen(part, n, turns) for part in parts]) for n in names}
    return type(parts[0])(**columns)


def _lengthen(part: Spoken, name: str, turns: int) -> NDArray[Any]:
    """Pad a field to `turns` turns."""
    values: NDArray[Any] = getattr(part, name)
    if values.ndim == 1:
        return values
    width = [(0, 0), (0, turns - part.alive.shape[1]), *[(0, 0)] * (values.ndim - 2)]
    return np.asarray(np.pad(values, width, **part.PADDING.get(name, {})))


def take(spoken: S, index: IntArray) -> S:
    """Return the rollouts `index`, in that order."""
    return type(spoken)(**{name: values[index] for name, values in vars(spoken).items()})
