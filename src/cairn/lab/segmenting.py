"""How a free-text response falls into turns, as a knob of its task says it in words."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerBase

from cairn.errors import UserError
from cairn.ops.segments import Segments, by_delimiter, by_length, by_low_probability
from cairn.rollouts import Rollouts

WHOLE = "whole"
MEANING = (
    "what a turn is: whole (the response), lines, tokens:N (N tokens), or doubt:P (up to the next token whose "
    "probability was below P)"
)
Segmenter = Callable[[Rollouts], Segments]


def check_steps(steps: str) -> None:
    """Raise UserError for words that mean nothing."""
    kind, _, amount = steps.partition(":")
    numbers = {"tokens": lambda: int(amount) >= 1, "doubt": lambda: 0 < float(amount) <= 1}
    try:
        known = numbers[kind]() if kind in numbers else steps in (WHOLE, "lines")
    except ValueError:
        known = False
    if not known:
        repair = "Give whole, lines, tokens:N or doubt:P, with N of 1 or more and P above 0 and up to 1."
        raise UserError("knob `steps` says nothing known", value=steps, repair=repair)


def segmenter(steps: str, tokenizer: PreTrainedTokenizerBase) -> Segmenter:
    """Return what divides a batch of responses. Raises UserError as `check_steps` does, and for whole responses."""
    check_steps(steps)
    kind, _, amount = steps.partition(":")
    if kind == "lines":
        delimiters = line_ends(tokenizer)
        return lambda rollouts: by_delimiter(rollouts, delimiters)
    if kind == "tokens":
        return lambda rollouts: by_length(rollouts, int(amount))
    if kind == "doubt":
        return lambda rollouts: by_low_probability(rollouts, float(amount))
    raise UserError("a whole response is not divided", value=steps, repair="Ask for lines, tokens:N or doubt:P.")


def line_ends(tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """(N,) the tokens whose text holds a line break."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return torch.tensor([token for token, text in enumerate(texts) if "\n" in text], dtype=torch.long)
