"""A scorer that knows the truth and errs at stated rates: it stands in for a reward model, a step PRM or a judge."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.errors import UserError
from cairn.lab.bills import Bills
from cairn.lab.model import ModelCost
from cairn.lab.scorers.base import LiveScorer, Scorer, Site, Transcript, on_turns
from cairn.rollouts import Rollouts

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
STREAM = 1_000_000_021  # keeps its errors apart from all other dice of a run


@dataclass(frozen=True)
class Oracle(Scorer):
    """Says of each turn whether it was wrong (`cairn.lab.optimal`), of each rollout whether it paid anything.

    false_positive_rate: share of what is wrong that is called right. false_negative_rate: share of what is right that
    is called wrong. consistent: whether the same words get the same opinion whenever they are read, as from a fixed
    model with blind spots that a policy can find and exploit; otherwise each error is drawn anew. Votes differ in
    either case. reads: `labels` gives 1 and 0; `values` gives the exact value of each turn's action under the current
    policy, and the return of a rollout, as a perfect reward model of prefixes would; it does not err, and marks stay
    labels. cost_in_policies: what it is billed for reading a row once, as a multiple of a forward pass of the policy.
    """

    false_positive_rate: float = 0.0
    false_negative_rate: float = 0.0
    consistent: bool = False
    reads: Literal["labels", "values"] = "labels"
    cost_in_policies: float = 1.0

    def __post_init__(self) -> None:
        for name in ("false_positive_rate", "false_negative_rate"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"`{name}` is a share", value=getattr(self, name), repair="Give 0 to 1.")
        if self.reads not in ("labels", "values"):
            raise UserError("an oracle reads something else", value=self.reads, repair="Give labels or values.")
        if self.cost_in_policies < 0:
            raise UserError("a cost is negative", value=self.cost_in_policies, repair="Give 0 or more.")

    def open(self, site: Site) -> LiveScorer:
        """See `Scorer.open`."""
        return LiveOracle(self, site.model.cost, site.seed)


class LiveOracle:
    """See `cairn.lab.scorers.base.LiveScorer`."""

    def __init__(self, settings: Oracle, policy: ModelCost, seed: int) -> None:
        """Err with dice of the run's seed, and bill like `policy`."""
        self.notes: dict[str, float] = {}
        self._settings, self._policy, self._seed = settings, policy, seed

    def turns(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.turns`."""
        batch = transcript.rollouts
        if self._settings.reads == "labels":
            self._bill(batch, 1, bills)
            return self._marked(transcript, 1)[..., 0]
        self._bill(batch, 1, bills)
        return torch.from_numpy(transcript.truth.action_values()).float() * batch.turn_mask

    def rollouts(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.rollouts`."""
        batch = transcript.rollouts
        self._bill(batch, 1, bills)
        if self._settings.reads == "values":
            return batch.returns.float()
        words = [b"".join(turns) for turns in _words(batch)]
        right = batch.returns.numpy() > 0
        return torch.from_numpy(self._err(right[:, None], words, transcript)[:, 0]).float()

    def marks(self, transcript: Transcript, votes: int, bills: Bills) -> Tensor:
        """See `LiveScorer.marks`."""
        self._bill(transcript.rollouts, votes, bills)
        bills.judged(calls=votes * len(transcript.rollouts.group_ids))
        return self._marked(transcript, votes)

    def _marked(self, transcript: Transcript, votes: int) -> Tensor:
        batch = transcript.rollouts
        mask = batch.turn_mask.numpy()
        right = ~transcript.truth.wrong_turns()[mask]
        words = [word for turns in _words(batch) for word in turns]
        return on_turns(torch.from_numpy(self._err(right[:, None].repeat(votes, 1), words, transcript)), batch)

    def _err(self, right: BoolArray, words: list[bytes], transcript: Transcript) -> BoolArray:
        """Return the opinions (N, votes) on N things of which it is known whether they are right."""
        luck = self._luck(right.shape, words, transcript)
        wrong_rate = np.where(right, self._settings.false_negative_rate, self._settings.false_positive_rate)
        return np.asarray(right ^ (luck < wrong_rate))

    def _luck(self, shape: tuple[int, ...], words: list[bytes], transcript: Transcript) -> FloatArray:
        if not self._settings.consistent:
            dice = np.random.default_rng([self._seed, STREAM, transcript.update, transcript.call])
            return dice.random(shape)
        keys = [self._seed.to_bytes(8, "big") + vote.to_bytes(2, "big") for vote in range(shape[1])]
        return np.array([[_fraction(word, key) for key in keys] for word in words]).reshape(shape)

    def _bill(self, batch: Rollouts, times: int, bills: Bills) -> None:
        bills.scored(batch.attention_mask.sum(1), self._policy, passes=self._settings.cost_in_policies * times)


def _words(batch: Rollouts) -> list[list[bytes]]:
    """Return what stands in the row of each turn up to its end, for the turns of each rollout that took place."""
    words = [[b""] * int(turns) for turns in batch.turn_mask.sum(1)]
    for row, rollout in enumerate(batch.row_rollout.tolist()):
        tokens, turns = batch.token_ids[row].numpy(), batch.turn_ids[row].numpy()
        for turn in np.unique(turns[turns >= 0]):
            words[rollout][turn] = tokens[: np.flatnonzero(turns == turn)[-1] + 1].tobytes()
    return words


def _fraction(word: bytes, key: bytes) -> float:
    """Return a number in [0, 1) that follows from word and key alone."""
    digest = hashlib.blake2b(word, digest_size=8, key=key).digest()
    return int.from_bytes(digest, "big") / 2**64
