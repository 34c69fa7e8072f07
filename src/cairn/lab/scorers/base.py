"""What every kind of scorer offers, and what it may look at.

A scorer is a frozen dataclass, named by an arm (`Arm.scorer`): its fields enter the cell's specification. It is opened
once for a run and then asked batch by batch. Scores and marks are higher for better: 1 is right and 0 is wrong where
a scorer says no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cairn.errors import UserError
from cairn.lab.bills import Bills
from cairn.lab.instance import Instance, Spoken
from cairn.lab.model import LanguageModel
from cairn.lab.players import Player, PromptForm
from cairn.lab.scorers.truth import Truth
from cairn.rollouts import Rollouts


@dataclass(frozen=True)
class Site:
    """Where a scorer works: the initial model, the prompt form, the instances to learn from, and the run's seed."""

    model: LanguageModel
    form: PromptForm[Any]
    instances: Sequence[Instance]
    seed: int


@dataclass(frozen=True)
class Exchange:
    """A turn in words: what the policy saw since it spoke last, and what it said."""

    seen: str
    said: str


@dataclass(frozen=True)
class Transcript:
    """A batch that is to be scored. Only a scorer that stands in for a real one looks at the `truth`.

    rollouts: without a gate. played: gives the batch as the player knows it.
    update, call: which question of the run this is, for scorers that draw.
    """

    rollouts: Rollouts
    tokenizer: PreTrainedTokenizerBase
    player: Player[Any]
    played: Callable[[], Spoken]
    update: int
    call: int

    @cached_property
    def exchanges(self) -> list[list[Exchange]]:
        """Return the turns of each rollout in words; a turn without tokens says nothing."""
        return [self._of_rollout(r) for r in range(len(self.rollouts.group_ids))]

    @cached_property
    def truth(self) -> Truth:
        """Return what the laboratory knows of the batch. Raises UserError for instances that are no worlds."""
        return Truth.of(self.player, self.played())

    def _of_rollout(self, r: int) -> list[Exchange]:
        batch = self.rollouts
        turns = int(batch.turn_mask[r].sum())
        seen: list[list[int]] = [[] for _ in range(turns)]
        said: list[list[int]] = [[] for _ in range(turns)]
        for row in (batch.row_rollout == r).nonzero().flatten().tolist():
            since: list[int] = []
            present = batch.attention_mask[row]
            for token, turn in zip(
                batch.token_ids[row][present].tolist(), batch.turn_ids[row][present].tolist(), strict=True
            ):
                if turn < 0:
                    since.append(token)
                else:
                    seen[turn] += since
                    said[turn].append(token)
                    since = []
        decode = self.tokenizer.decode
        return [Exchange(str(decode(s)), str(decode(w))) for s, w in zip(seen, said, strict=True)]


class LiveScorer(Protocol):
    """A scorer at work in one run. What it computes it bills to `bills`.

    notes: figures on its quality for the curve of the run; empty where it has none.
    """

    notes: dict[str, float]

    def turns(self, transcript: Transcript, bills: Bills) -> Tensor:
        """(R, K) score of each turn, read with all turns before it; 0 where no turn took place."""

    def rollouts(self, transcript: Transcript, bills: Bills) -> Tensor:
        """(R,) score of each rollout as a whole."""

    def marks(self, transcript: Transcript, votes: int, bills: Bills) -> Tensor:
        """(R, K, votes) independent opinions of each turn, 1 for right and 0 for wrong; 0 where no turn was."""


@dataclass(frozen=True)
class Scorer:
    """A kind of scorer with its settings."""

    def open(self, site: Site) -> LiveScorer:
        """Start work in a run. Raises UserError where what it needs is missing."""
        raise NotImplementedError

    def pinned(self) -> Scorer:
        """Return the scorer with all that decides what it says, such as the digest of weights that it only names."""
        return self


def on_turns(per_turn: Tensor, rollouts: Rollouts) -> Tensor:
    """Put the scores of the turns that took place, in the order of `nonzero`, in their (R, K, ...) places, else 0."""
    result = torch.zeros(*rollouts.turn_mask.shape, *per_turn.shape[1:])
    result[rollouts.turn_mask] = per_turn.float()
    return result


def no_scorer() -> UserError:
    """Say that an arm pays for scores and names nobody who gives them."""
    return UserError(
        "the method asks for scores, and its arm names no scorer",
        repair="Set Arm(scorer=...), for instance cairn.lab.scorers.Oracle().",
    )
