"""A classifier that somebody has trained, read through transformers: a reward model, or a PRM that labels tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, groupby
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerBase,
)

from cairn.errors import UserError
from cairn.lab.bills import Bills
from cairn.lab.model import LanguageModel, load, local_folder, pick_device, pick_dtype, weights_digest
from cairn.lab.scorers.base import Exchange, LiveScorer, Scorer, Site, Transcript, on_turns

HEADS: dict[str, tuple[Any, str]] = {
    "sequence": (AutoModelForSequenceClassification, "ForSequenceClassification"),
    "token": (AutoModelForTokenClassification, "ForTokenClassification"),
}


@dataclass(frozen=True)
class Classifier(Scorer):
    """A classifier with one or two labels, from a local folder or the hub. Weights are safetensors; no code is run.

    source: folder or hub name. head: `sequence` reads the text up to the end of a turn, anew for each turn, and the
    whole text for a rollout. `token` labels every token and is read at the last token of each turn, all turns in one
    pass; a rollout's score is that of its worst turn. A causal network sees nothing after that token; an encoder does.
    Score: of two labels, the softmax probability of number `right_label`; of one, the sigmoid of its logit, or with
    `one_label="logit"` the logit, as reward models that were trained on preferences give it.
    The text is what the policy saw and said, decoded with its tokenizer and encoded with the classifier's: turn after
    turn what was seen and `seen_end`, if anything was seen, then what was said and `said_end`.
    longest_tokens: in one pass, special ones included; None for as many as the network and its tokenizer state. A turn
    that ends later is read in a pass of its own, with as many of the tokens before its end as fit.
    batch_size: rows in a pass; they are of equal length, so that no padding enters a score. device: `policy` for the
    policy's, or auto, cpu, cuda. digest: sha256 of the weights, filled in where a specification is made.
    """

    source: str
    head: Literal["sequence", "token"] = "sequence"
    right_label: int = 1
    one_label: Literal["sigmoid", "logit"] = "sigmoid"
    seen_end: str = "\n"
    said_end: str = "\n"
    longest_tokens: int | None = None
    batch_size: int = 16
    device: str = "policy"
    dtype: str = "float32"
    digest: str = ""

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise UserError("a classifier has another head", value=self.head, repair="Give sequence or token.")
        if self.one_label not in ("sigmoid", "logit"):
            raise UserError("not a way to read one label", value=self.one_label, repair="Give sigmoid or logit.")
        if self.right_label not in (0, 1):
            raise UserError("there is no such label", value=self.right_label, repair="Give 0 or 1.")
        if self.batch_size < 1 or (self.longest_tokens is not None and self.longest_tokens < 1):
            raise UserError("a pass holds at least one row of one token", repair="Give 1 or more.")

    def pinned(self) -> Classifier:
        """See `Scorer.pinned`. Raises UserError where the weights are not found."""
        return self if self.digest else replace(self, digest=_digest(self.source))

    def open(self, site: Site) -> LiveScorer:
        """See `Scorer.open`. Raises UserError for a folder that is incomplete or holds something else."""
        device = str(site.model.device) if self.device == "policy" else pick_device(self.device)
        dtype = getattr(torch, pick_dtype(self.dtype, torch.device(device).type))
        model = load(self.source, device, dtype, HEADS[self.head][0])
        _require_fit(self, model)
        return LiveClassifier(self, model)


@lru_cache
def _digest(source: str) -> str:
    """Hash weights once in a process; whoever loads them later compares."""
    return weights_digest(local_folder(source))


def _require_fit(settings: Classifier, model: LanguageModel) -> None:
    """Raise UserError unless the weights are those that were named, with a head of the right kind and 1 or 2 labels."""
    if settings.digest not in ("", model.digest):
        repair = f"Give the weights with the sha256 {settings.digest}, or start a new run."
        raise UserError("the weights of the scorer are not those of the run", value=settings.source, repair=repair)
    config, suffix = model.network.config, HEADS[settings.head][1]
    stated = config.architectures or ()
    if stated and not any(name.endswith(suffix) for name in stated):
        repair = f"Set `head` to what it is, or give a folder whose config names a model {suffix}."
        raise UserError(
            f"the scorer has no {settings.head} head but is {stated[0]}", value=settings.source, repair=repair
        )
    if config.num_labels not in (1, 2):
        repair = "Give a classifier with one label (a score) or two (wrong and right)."
        raise UserError(f"the scorer has {config.num_labels} labels", value=settings.source, repair=repair)


@dataclass(frozen=True)
class Encoded:
    """A rollout in the classifier's tokens: special ones before, the text, special ones after.

    stops: how many tokens of the text end no later than each turn does.
    """

    before: list[int]
    body: list[int]
    after: list[int]
    stops: list[int]

    def up_to(self, stop: int, longest: int) -> list[int]:
        """Return the row that ends with the text's token number `stop`: what is too much is cut from the beginning."""
        return [*self.before, *self.body[max(stop - self.room(longest), 0) : stop], *self.after]

    def room(self, longest: int) -> int:
        """Return how many tokens of the text a row of `longest` tokens holds. Raises UserError where none."""
        room = longest - len(self.before) - len(self.after)
        if room < 1:
            repair = "Give a higher `longest_tokens`."
            raise UserError(
                "a row of the scorer has no room for text beside special tokens", value=longest, repair=repair
            )
        return room


@dataclass(frozen=True)
class Reading:
    """One row for the network. scores: which scores it gives; places: the token at which each of them is read."""

    token_ids: list[int]
    scores: list[int]
    places: list[int]
    cut: bool


class LiveClassifier:
    """See `cairn.lab.scorers.base.LiveScorer`."""

    def __init__(self, settings: Classifier, model: LanguageModel) -> None:
        """Read with `model`, which is the classifier."""
        self.notes: dict[str, float] = {}
        self._settings, self._model, self._read, self._cut = settings, model, 0, 0
        config = model.network.config.get_text_config()
        # Some heads look for the last token that is no padding. There is none, and any token may end a text.
        config.pad_token_id = -1
        limits = (settings.longest_tokens, getattr(config, "max_position_embeddings", None))
        self._longest = min(limit for limit in (*limits, model.tokenizer.model_max_length) if limit)

    def turns(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.turns`; 0 for a turn before which, and in which, there is no token."""
        texts = [self._encode(turns) for turns in transcript.exchanges]
        return on_turns(self._score(texts, bills), transcript.rollouts)

    def rollouts(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.rollouts`; 0 for a rollout without a turn or a token."""
        if self._settings.head == "token":
            mask = transcript.rollouts.turn_mask
            worst = self.turns(transcript, bills).masked_fill(~mask, torch.inf)
            return torch.where(mask.any(1), worst.min(1).values, 0.0) if mask.shape[1] else torch.zeros(len(mask))
        texts = [self._encode(turns) for turns in transcript.exchanges]
        return self._score([replace(text, stops=[len(text.body)]) for text in texts], bills)

    def marks(self, transcript: Transcript, votes: int, bills: Bills) -> Tensor:  # noqa: ARG002 - it reads nothing
        """Refuse: it has one opinion however often it is asked. Raises UserError."""
        repair = "Name a judge in the arm, for instance cairn.lab.scorers.Endpoint(...)."
        raise UserError("a classifier gives scores and no votes", value=self._settings.source, repair=repair)

    def _encode(self, turns: Sequence[Exchange]) -> Encoded:
        settings = self._settings
        steps = [(turn.seen and turn.seen + settings.seen_end) + turn.said + settings.said_end for turn in turns]
        return encode(self._model.tokenizer, steps)

    @torch.no_grad()
    def _score(self, texts: Sequence[Encoded], bills: Bills) -> Tensor:
        """Return the scores at the stops of all texts, one after the other."""
        scores = torch.zeros(sum(len(text.stops) for text in texts))
        firsts = accumulate((len(text.stops) for text in texts), initial=0)
        plan = _by_text if self._settings.head == "token" else _by_stop
        readings = [r for text, first in zip(texts, firsts, strict=False) for r in plan(text, first, self._longest)]
        if not readings:
            return scores
        bills.scored(torch.tensor([len(r.token_ids) for r in readings]), self._model.cost)
        self._note(readings)
        for batch in _batches(readings, self._settings.batch_size):
            logits = self._model.network(torch.tensor([r.token_ids for r in batch], device=self._model.device)).logits
            for reading, row in zip(batch, self._chances(logits.float()).cpu(), strict=True):
                scores[reading.scores] = row[reading.places] if row.ndim else row
        return scores

    def _chances(self, logits: Tensor) -> Tensor:
        """(..., labels) to (...): what the head says, as the settings want to read it."""
        if logits.shape[-1] == 2:
            return logits.softmax(-1)[..., self._settings.right_label]
        return logits[..., 0] if self._settings.one_label == "logit" else logits[..., 0].sigmoid()

    def _note(self, readings: Sequence[Reading]) -> None:
        self._read += len(readings)
        self._cut += sum(reading.cut for reading in readings)
        self.notes["scorer_cut_share"] = self._cut / self._read


def encode(tokenizer: PreTrainedTokenizerBase, steps: Sequence[str]) -> Encoded:
    """Encode steps as one text; a token that goes on into the next step is not part of a step."""
    encoding = tokenizer("".join(steps), return_offsets_mapping=True, truncation=False, verbose=False)
    ids, of_text = encoding["input_ids"], np.array([part is not None for part in encoding.sequence_ids()], dtype=bool)
    inside = np.flatnonzero(of_text)
    first, last = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (len(ids), len(ids))
    ends = [end for _, end in encoding["offset_mapping"][first:last]]
    stops = np.searchsorted(ends, list(accumulate(map(len, steps))), side="right")
    return Encoded(ids[:first], ids[first:last], ids[last:], stops.tolist())


def _by_stop(text: Encoded, first: int, longest: int) -> Iterator[Reading]:
    """Plan one row for each stop that has a token before it. first: the number of the text's first score."""
    for number, stop in enumerate(text.stops, first):
        if stop:
            row = text.up_to(stop, longest)
            yield Reading(row, [number], [len(row) - len(text.after) - 1], stop > text.room(longest))


def _by_text(text: Encoded, first: int, longest: int) -> Iterator[Reading]:
    """Plan one row for all stops that fit in it, and one for each of the others."""
    room, start = text.room(longest), len(text.before)
    fits = [(number, stop) for number, stop in enumerate(text.stops, first) if 0 < stop <= room]
    if fits:
        whole = text.up_to(fits[-1][1], longest)
        yield Reading(whole, [n for n, _ in fits], [start + stop - 1 for _, stop in fits], False)
    late = replace(text, stops=[stop if stop > room else 0 for stop in text.stops])
    yield from _by_stop(late, first, longest)


def _batches(readings: Sequence[Reading], size: int) -> Iterator[list[Reading]]:
    def length(reading: Reading) -> int:
        return len(reading.token_ids)

    for _, equal in groupby(sorted(readings, key=length), length):
        rows = list(equal)
        yield from (rows[i : i + size] for i in range(0, len(rows), size))
