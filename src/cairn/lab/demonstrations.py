"""Lessons of free text: questions with the responses of a teacher, for a model that reads character by character."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from cairn.lab.free import prompt_tokens
from cairn.lab.question import Question
from cairn.lab.task import Demonstrator, Recipe

END = "<end>"


@dataclass(frozen=True)
class Lesson:
    """One token list with, for each token, its weight in the loss (0 on what the world says)."""

    tokens: list[int]
    weights: list[float]


class School(Protocol):
    """Draws lessons."""

    def lessons(self) -> tuple[list[Lesson], ...]:
        """Draw one step's lessons, in batches of rows of like length, none of them empty."""


def build_character_tokenizer(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token for each character, and for each longer text of the vocabulary wherever it stands.

    Tokens 0 to 2 are padding, an unknown character, and the end of a response.
    """
    words = ["<pad>", "<unk>", END, *vocabulary]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    texts = sorted((text for text in vocabulary if len(text) > 1), key=len, reverse=True)
    pattern = "|".join([*map(re.escape, texts), r"[\s\S]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token=END,
        clean_up_tokenization_spaces=False,
    )


class TextSchool:
    """See `School`. Only the response and its end are learnt, not the question."""

    def __init__(
        self, recipe: Recipe, questions: list[Question], teacher: Demonstrator, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        """Draw from these questions."""
        self._rows, self._questions, self._teacher, self._tokenizer = recipe.text_rows, questions, teacher, tokenizer
        self._rng = np.random.default_rng(recipe.seed)

    def lessons(self) -> tuple[list[Lesson], ...]:
        """See `School.lessons`."""
        chosen = self._rng.choice(len(self._questions), self._rows)
        return ([self._lesson(self._questions[i]) for i in chosen],)

    def _lesson(self, question: Question) -> Lesson:
        prompt = prompt_tokens(question.prompt, self._tokenizer)
        text = self._teacher.answer(question, self._rng)
        response = [*self._tokenizer(text, add_special_tokens=False)["input_ids"], self._tokenizer.eos_token_id]
        return Lesson(prompt + response, [0.0] * len(prompt) + [1.0] * len(response))
