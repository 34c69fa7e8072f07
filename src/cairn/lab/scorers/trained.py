"""A small verifier that is fitted here: the body of the initial model with a head that calls turns right or wrong."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import PreTrainedModel

from cairn.errors import UserError
from cairn.lab.bills import Bills
from cairn.lab.model import LanguageModel, model_cost
from cairn.lab.prefixes import Packed
from cairn.lab.scorers.base import LiveScorer, Scorer, Site, Transcript, on_turns
from cairn.lab.scorers.truth import Truth
from cairn.rollouts import Rollouts

STREAM = 1_000_000_033  # keeps its dice apart from all others of a run


@dataclass(frozen=True)
class Trained(Scorer):
    """Learns from labelled rollouts of the initial policy, before it is first asked; all of that is billed.

    It plays `rollouts_each` rollouts in each training instance, of which the last `held_out` share of instances only
    measures it; labels say whether a turn was wrong (`cairn.lab.optimal`). steps: of the optimiser, on at most
    `tokens_in_step` tokens. A turn's score is the probability that it is right, a rollout's that of its worst turn;
    votes are drawn with it. The curve of a run shows its accuracy and area under the ROC curve on what was held out.
    """

    rollouts_each: int = 8
    steps: int = 200
    learning_rate: float = 1e-3
    tokens_in_step: int = 8192
    held_out: float = 0.25

    def __post_init__(self) -> None:
        if min(self.rollouts_each, self.steps, self.tokens_in_step) < 1 or not 0 < self.held_out < 1:
            raise UserError("a verifier needs rollouts, steps, tokens and a held-out share", repair="Give more than 0.")

    def open(self, site: Site) -> LiveScorer:
        """See `Scorer.open`. Raises UserError where there are too few instances to hold one out."""
        if len(site.instances) < 2:
            raise UserError("a verifier is measured on other instances than it learns from", repair="Give 2 or more.")
        return LiveVerifier(self, site)


class Verifier:
    """The network: one logit after each token."""

    def __init__(self, model: LanguageModel, learning_rate: float) -> None:
        """Start from a model's body."""
        self._body = cast(PreTrainedModel, copy.deepcopy(model.network.base_model))
        self._head = nn.Linear(model.network.config.hidden_size, 1).to(model.device, model.network.dtype)
        nn.init.zeros_(self._head.weight)
        nn.init.zeros_(self._head.bias)
        self._optimiser = torch.optim.AdamW([*self._body.parameters(), *self._head.parameters()], lr=learning_rate)
        body = model_cost(self._body)
        self.cost = replace(body, matmul_weights=body.matmul_weights + self._head.weight.numel())

    def logits(self, token_ids: Tensor, present: Tensor, ends: Tensor) -> Tensor:
        """(M,) after each token of `ends`, on the CPU. All (B, T); present: what is no padding."""
        packed = Packed.of_rows(self._body, token_ids, present)
        states = packed.outputs(packed.place[ends.numpy()])
        return torch.as_tensor(self._head(states).squeeze(-1).float().cpu())

    def fit(self, token_ids: Tensor, present: Tensor, ends: Tensor, right: Tensor) -> None:
        """Take one step. ends: (B, T) bool, where a turn ends; right: (B, T), whether it was."""
        loss = binary_cross_entropy_with_logits(self.logits(token_ids, present, ends), right[ends].float())
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()


class LiveVerifier:
    """See `cairn.lab.scorers.base.LiveScorer`."""

    def __init__(self, settings: Trained, site: Site) -> None:
        """Wait for the first question."""
        self.notes: dict[str, float] = {}
        self._settings, self._site = settings, site
        self._fitted: Verifier | None = None

    def turns(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.turns`; 0 for a turn in which nothing was said, too."""
        return self._score(self._verifier(bills), transcript.rollouts, bills)

    def rollouts(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.rollouts`."""
        scores = self.turns(transcript, bills)
        return scores.masked_fill(~transcript.rollouts.turn_mask, 1.0).amin(1)

    def marks(self, transcript: Transcript, votes: int, bills: Bills) -> Tensor:
        """See `LiveScorer.marks`."""
        batch = transcript.rollouts
        chance = self.turns(transcript, bills)[batch.turn_mask]
        bills.judged(calls=votes * len(batch.group_ids))
        dice = np.random.default_rng([self._site.seed, STREAM, transcript.update, transcript.call])
        luck = torch.from_numpy(dice.random((len(chance), votes)))
        return on_turns((luck < chance[:, None]).float(), batch)

    def _verifier(self, bills: Bills) -> Verifier:
        if self._fitted is None:
            self._fitted = self._fit(bills)
        return self._fitted

    def _fit(self, bills: Bills) -> Verifier:
        verifier = Verifier(self._site.model, self._settings.learning_rate)
        batch, right = self._labelled(bills)
        instances = len(self._site.instances)
        kept = batch.group_ids < instances - max(round(instances * self._settings.held_out), 1)
        lessons, ends = batch.keep_rollouts(kept), _ends(batch.keep_rollouts(kept))
        labels = lessons.spread_turns(right[kept])
        count = max(self._settings.tokens_in_step // max(lessons.token_ids.shape[1], 1), 1)
        dice = np.random.default_rng([self._site.seed, STREAM])
        for _ in range(self._settings.steps):
            chosen = torch.from_numpy(dice.choice(len(ends), min(count, len(ends)), replace=False))
            bills.trained(lessons.attention_mask[chosen].sum(1), verifier.cost)
            rows = lessons.token_ids[chosen], lessons.attention_mask[chosen]
            verifier.fit(*rows, ends[chosen], labels[chosen])
        test, wanted = batch.keep_rollouts(~kept), right[~kept]
        scores = self._score(verifier, test, bills)[test.turn_mask]
        self.notes.update(_quality(scores.numpy(), wanted[test.turn_mask].numpy()))
        return verifier

    def _labelled(self, bills: Bills) -> tuple[Rollouts, Tensor]:
        """Play with the initial policy; return the rollouts and (R, K) whether each turn was right."""
        site = self._site
        player = site.form.player(site.model, site.instances)
        instance = np.repeat(np.arange(len(site.instances)), self._settings.rollouts_each)
        played = player.play(instance, np.random.default_rng([site.seed, STREAM, 1]))
        bills.play(played)
        wrong = torch.from_numpy(Truth.of(player, played).wrong_turns())
        return player.rollouts(played, draw_seed=0), ~wrong

    @torch.no_grad()
    def _score(self, verifier: Verifier, batch: Rollouts, bills: Bills) -> Tensor:
        scores = torch.zeros(batch.turn_mask.shape)
        if len(batch.token_ids):
            bills.scored(batch.attention_mask.sum(1), verifier.cost)
            row, column = (ends := _ends(batch)).nonzero(as_tuple=True)
            chance = verifier.logits(batch.token_ids, batch.attention_mask, ends).sigmoid()
            scores[batch.row_rollout[row], batch.turn_ids[row, column]] = chance
        return scores


def _ends(batch: Rollouts) -> Tensor:
    """(B, T) bool: the last token that was said in a turn."""
    following = nn.functional.pad(batch.turn_ids[:, 1:], (0, 1), value=-1)
    return batch.action_mask & (following != batch.turn_ids)


def _quality(scores: NDArray[np.float32], right: NDArray[np.bool_]) -> dict[str, float]:
    """Return accuracy at 0.5, area under the ROC curve (where both kinds occur) and the share of right turns."""
    found = {"scorer_accuracy": float(((scores > 0.5) == right).mean()), "scorer_right_share": float(right.mean())}
    good, bad = int(right.sum()), int((~right).sum())
    if good and bad:
        ranks = rankdata(scores)[right].sum()
        found["scorer_auc"] = float((ranks - good * (good + 1) / 2) / (good * bad))
    return found
