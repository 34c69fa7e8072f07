"""The prompt forms, by the names that the protocol uses."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase

from cairn.lab.free import FreeForm
from cairn.lab.history import HistoryForm
from cairn.lab.players import PromptForm
from cairn.lab.task import Prompt
from cairn.lab.windowed import WindowedForm

ESTIMATING: dict[str, type[HistoryForm | FreeForm]] = {"history": HistoryForm, "free": FreeForm}


def has_exact_credit(prompt: Prompt) -> bool:
    """Say whether exact credit can be computed in a prompt form."""
    return prompt not in ESTIMATING


def prompt_form(prompt: Prompt, tokenizer: PreTrainedTokenizerBase, evaluation_episodes: int) -> PromptForm[Any]:
    """Return a prompt form. evaluation_episodes: in each world, where success has to be estimated."""
    if prompt == "windowed":
        return WindowedForm(tokenizer)
    return ESTIMATING[prompt](tokenizer, evaluation_episodes)
