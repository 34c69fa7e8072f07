"""What a prompt form must offer, so that services, loop and measurements need not know which one they work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cairn.lab.episodes import Branch, Episodes
from cairn.lab.exact import ExactCredit
from cairn.lab.model import LanguageModel
from cairn.lab.world import WorldBatch
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Success:
    """Success probability on a panel, with the standard error of its estimate, None where it is exact."""

    mean: float
    standard_error: float | None = None


class Player(Protocol):
    """The current policy on a batch of worlds, in one prompt form."""

    worlds: WorldBatch

    def play(self, world: IntArray, rng: np.random.Generator) -> Episodes:
        """Play one episode from the start of each world of `world` (R,)."""

    def fork(self, episodes: Episodes, branch: Branch, rng: np.random.Generator) -> Episodes:
        """Play on from the branching points, with the state and the history that stood there."""

    def situations(self, episodes: Episodes) -> IntArray:
        """(R, K) numbers that are equal exactly where the future of two turns has the same law."""

    def rollouts(self, episodes: Episodes, draw_seed: int) -> Rollouts:
        """Collate episodes that were played from the start."""

    def exact(self) -> ExactCredit:
        """Solve the worlds under the policy. Raises UserError where the prompt form rules that out."""

    def success(self, rng: np.random.Generator) -> Success:
        """Return the success probability from the start, averaged over the worlds."""


class PromptForm(Protocol):
    """Makes players. Lives as long as a run, so that it may keep what it has learnt about worlds.

    has_exact_credit: `Player.exact` works. evaluation: how `Player.success` is measured, in words, for the record.
    """

    has_exact_credit: bool

    @property
    def evaluation(self) -> str:
        """See the class."""

    def player(self, model: LanguageModel, worlds: WorldBatch) -> Player:
        """Read the model's current weights."""
