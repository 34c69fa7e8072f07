"""What a prompt form must offer, so that services, loop and measurements need not know which one they work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cairn.lab.episodes import Branch
from cairn.lab.exact import ExactCredit
from cairn.lab.instance import Instance, Spoken
from cairn.lab.model import LanguageModel
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
S = TypeVar("S", bound=Spoken)
I_contra = TypeVar("I_contra", bound=Instance, contravariant=True)


@dataclass(frozen=True)
class Success:
    """Success probability on a panel, with the standard error of its estimate, None where it is exact."""

    mean: float
    standard_error: float | None = None


class Player(Protocol[S]):
    """The current policy on a batch of instances, in one prompt form, which plays rollouts of one kind."""

    @property
    def n_instances(self) -> int:
        """Return how many instances there are."""

    def play(self, instance: IntArray, rng: np.random.Generator) -> S:
        """Play one rollout from the start of each instance of `instance` (R,)."""

    def fork(self, spoken: S, branch: Branch, rng: np.random.Generator) -> S:
        """Play on from the branching points, with all that stood there."""

    def situations(self, spoken: S) -> IntArray:
        """(R, K) numbers that are equal exactly where the future of two turns has the same law."""

    def bifurcations(self, spoken: S) -> BoolArray:
        """(R, K) a decision stood at the beginning of the turn that is known to matter."""

    def rollouts(self, spoken: S, draw_seed: int) -> Rollouts:
        """Collate what was played from the start."""

    def exact(self) -> ExactCredit:
        """Solve the instances under the policy. Raises UserError where the prompt form rules that out."""

    def success(self, rng: np.random.Generator) -> Success:
        """Return the success probability from the start, averaged over the instances."""


class PromptForm(Protocol[I_contra]):
    """Makes players of instances of one kind. Lives as long as a run, so that it may keep what it has learnt of them.

    has_exact_credit: `Player.exact` works. evaluation: how `Player.success` is measured, in words, for the record.
    """

    has_exact_credit: bool

    @property
    def evaluation(self) -> str:
        """See the class."""

    def player(self, model: LanguageModel, instances: Sequence[I_contra]) -> Player[Any]:
        """Read the model's current weights."""
