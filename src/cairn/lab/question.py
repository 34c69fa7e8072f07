"""A task instance that is free text: a prompt, and a verifier of the response. There are no states to enumerate."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cairn.errors import UserError
from cairn.lab.segmenting import WHOLE, check_steps

PACKAGE = "cairn."
Verifier = Callable[[str, str], float]


@dataclass(frozen=True)
class Question:
    """One instance.

    verifier: `module:function` of this package, a name and not the function, so that it enters the panel's digest; it
    is called with a response and `key`, and returns what is paid, 0 to 1. limit: tokens of a response at most, the end
    token among them; a response without one is truncated and not paid. answer: one that the verifier pays in full, for
    teachers. steps: how a response falls into turns, as `cairn.lab.segmenting` has it; the same in all of a batch.
    """

    name: str
    prompt: str
    answer: str
    verifier: str
    key: str
    limit: int
    steps: str = WHOLE

    def __post_init__(self) -> None:
        """Refuse what cannot be asked. Raises UserError."""
        if not self.prompt.strip():
            raise UserError("a question asks nothing", value=self.name, repair="Give it a prompt.")
        check_steps(self.steps)
        if self.limit < 1:
            raise UserError("a response has no room for a token", value=self.limit, repair="Give a limit of 1 or more.")

    def score(self, response: str) -> float:
        """Return what the verifier pays for the text of a complete response."""
        return find_verifier(self.verifier)(response, self.key)


@lru_cache(maxsize=64)
def find_verifier(name: str) -> Verifier:
    """Return a verifier by `module:function`. Only functions of this package are accepted."""
    module, _, function = name.partition(":")
    if not module.startswith(PACKAGE):
        raise ValueError(f"not a function of this package: {name}")
    verifier: Verifier = getattr(importlib.import_module(module), function)
    return verifier


def same_text(response: str, key: str) -> float:
    """Verify: pay 1 where the response is the key, but for blanks around it."""
    return float(response.strip() == key.strip())
