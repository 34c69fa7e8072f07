"""How a free-text response falls into turns, as a knob of its task says it in words."""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from transformers import PreTrainedTokenizerBase

from cairn.errors import UserError
from cairn.ops.segments import Segments, by_delimiter, by_length, by_low_probability
from cairn.rollouts import Rollouts

WHOLE = "whole"
MEANING = (
    "what a turn is: whole (the response), lines, tokensN (N tokens), or doubtP (up to the next token whose "
    "probability was below P)"
)
Segmenter = Callable[[Rollouts], Segments]


def check_steps(steps: str) -> None:
    """Raise UserError for words that mean nothing."""
    _read(steps)


def _read(steps: str) -> tuple[str, float]:
    """Return the kind of steps and their number, 0 for kinds without one."""
    if steps in (WHOLE, "lines"):
        return steps, 0.0
    found = re.fullmatch(r"(tokens)([1-9][0-9]*)|(doubt)(0?\.[0-9]*[1-9][0-9]*|1)", steps)
    if found is None:
        repair = (
            "Give whole, lines, tokensN or doubtP, with N of 1 or more and P above 0 and up to 1: tokens8, doubt0.9."
        )
        raise UserError("knob `steps` says nothing known", value=steps, repair=repair)
    kind, number = (part for part in found.groups() if part)
    return kind, float(number)


def segmenter(steps: str, tokenizer: PreTrainedTokenizerBase) -> Segmenter:
    """Return what divides a batch of responses. Raises UserError as `check_steps` does, and for whole responses."""
    kind, number = _read(steps)
    if kind == "lines":
        delimiters = line_ends(tokenizer)
        return lambda rollouts: by_delimiter(rollouts, delimiters)
    if kind == "tokens":
        return lambda rollouts: by_length(rollouts, int(number))
    if kind == "doubt":
        return lambda rollouts: by_low_probability(rollouts, number)
    raise UserError("a whole response is not divided", value=steps, repair="Ask for lines, tokensN or doubtP.")


def line_ends(tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """(N,) the tokens whose text holds a line break."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))])
    return torch.tensor([token for token, text in enumerate(texts) if "\n" in text], dtype=torch.long)
