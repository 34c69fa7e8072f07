"""Log-probs of what was said under an edited prompt, and of an answer that nobody gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from cairn.errors import UserError
from cairn.lab.hints import Hints
from cairn.lab.model import LanguageModel
from cairn.lab.policy import pad
from cairn.lab.reading import logprobs
from cairn.method import Given
from cairn.rollouts import Rollouts


@dataclass(frozen=True)
class Scored:
    """Log-probs, and the lengths (N,) of the rows that were read for them."""

    logprobs: Tensor
    lengths: Tensor


def hinted(tokenizer: PreTrainedTokenizerBase, hints: Sequence[Any], given: Given, solved: Tensor) -> list[list[int]]:
    """Return what is put before the rows of each rollout, in tokens.

    hints: for each rollout, the `Hints` of its instance or None. solved: (R,) bool, for `outcome`.
    Raises UserError where the task has no such text, or where it has a word that the model does not know.
    """
    names = [given if given != "outcome" else "success" if one else "failure" for one in solved.tolist()]
    known: dict[str, list[int]] = {}
    texts = [_text(one, name) for one, name in zip(hints, names, strict=True)]
    return [known.setdefault(text, tokens(tokenizer, text)) for text in texts]


def tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Return the tokens of a text. Raises UserError for a word that the model does not know."""
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        words = [
            w for w in text.split() if tokenizer.unk_token_id in tokenizer(w, add_special_tokens=False)["input_ids"]
        ]
        repair = "Word the task's hints with words of its model, or take a model that knows them."
        raise UserError("a hint has a word that the model does not know", value=" ".join(words) or text, repair=repair)
    return ids


def _text(hints: object, name: str) -> str:
    if name == "nothing":
        return ""
    text = getattr(hints, name, None) if isinstance(hints, Hints) else None
    if not isinstance(text, str):
        repair = "Choose a task that has it, or give `World.hints`."
        raise UserError(f"the task has no text for `{name}`", value=name, repair=repair)
    return text


@torch.no_grad()
def score_behind(model: LanguageModel, rollouts: Rollouts, before: Sequence[Sequence[int]]) -> Scored:
    """Score the action tokens of a batch with `before[r]` put before the rows of rollout r: (B, T), 0 off actions."""
    inserted = [list(before[r]) for r in rollouts.row_rollout.tolist()]
    widths = torch.tensor([len(part) for part in inserted], dtype=torch.long)
    lengths = rollouts.attention_mask.sum(1) + widths
    if not inserted:
        return Scored(torch.zeros(rollouts.token_ids.shape), lengths)
    # Only what attends is read: padding may stand on either side of a row.
    rows = [
        part + ids[present].tolist()
        for part, ids, present in zip(inserted, rollouts.token_ids, rollouts.attention_mask, strict=True)
    ]
    ids, present = pad(rows)
    place = (widths[:, None] + rollouts.attention_mask.long().cumsum(1) - 1).clamp_min(0)
    row, column = rollouts.action_mask.nonzero(as_tuple=True)
    wanted = torch.zeros_like(present)
    wanted[row, place[row, column]] = True
    scored = logprobs(model.network, ids, present, wanted)
    return Scored(scored.gather(1, place) * rollouts.action_mask, lengths)


@torch.no_grad()
def score_answers(model: LanguageModel, rollouts: Rollouts, answers: Sequence[Sequence[int]]) -> Scored:
    """Score `answers[r]` behind the prompt of each turn of rollout r: (R, K) mean over the answer's tokens, nats.

    0 where no turn took place, or where nothing was said in it, so that no prompt of it stands in the batch.
    """
    result = torch.zeros(rollouts.turn_mask.shape)
    places, rows = [], []
    for row, rollout in enumerate(rollouts.row_rollout.tolist()):
        ids, turns, present = rollouts.token_ids[row], rollouts.turn_ids[row], rollouts.attention_mask[row]
        for turn in turns[turns >= 0].unique().tolist():
            first = int((turns == turn).nonzero()[0])
            places.append((rollout, turn))
            rows.append(ids[:first][present[:first]].tolist() + list(answers[rollout]))
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
    if rows:
        ids, present = pad(rows)
        behind = torch.tensor([len(answers[rollout]) for rollout, _ in places])
        wanted = present & (torch.arange(ids.shape[1]) >= (lengths - behind)[:, None])
        scored = logprobs(model.network, ids, present, wanted)
        for (rollout, turn), row, length in zip(places, scored, lengths.tolist(), strict=True):
            result[rollout, turn] = row[length - len(answers[rollout]) : length].mean()
    return Scored(result, lengths)
