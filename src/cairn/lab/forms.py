"""The prompt forms, by the names that the protocol uses."""

from __future__ import annotations

from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from cairn.lab.history import HistoryForm
from cairn.lab.players import PromptForm
from cairn.lab.windowed import WindowedForm

Prompt = Literal["windowed", "history"]


def prompt_form(prompt: Prompt, tokenizer: PreTrainedTokenizerBase, evaluation_episodes: int) -> PromptForm[Any]:
    """Return a prompt form. evaluation_episodes: in each world, where success has to be estimated."""
    return WindowedForm(tokenizer) if prompt == "windowed" else HistoryForm(tokenizer, evaluation_episodes)
