"""What continuations from every turn cost: places that the network computes, against tokens that the ledger calls new.

Computed are all places of all passes, padding and phrases that were never said among them. New are the tokens of the
continuations, read or said, without what had stood in the row that they left: a cache of the prefix spares those.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.model import load, quiet
from cairn.lab.pretrain import embedded_model
from cairn.lab.services import Models, TabularServices
from cairn.lab.speed import one_thread
from cairn.lab.task import Prompt
from cairn.lab.tasks import find

FIRST_SEED = 1000  # of the instances, as the protocol trains on
FORMS: tuple[Prompt, ...] = ("windowed", "history")


@dataclass(frozen=True)
class Count:
    """Tokens of one call for continuations.

    turns: of the batch. batch, computed: places that the network computed for the batch, and for the continuations.
    billed: prompts and what was said in the continuations. new: of those, not reused.
    """

    prompt: Prompt
    turns: int
    continuations: int
    batch: int
    computed: int
    billed: int
    new: int

    @property
    def ratio(self) -> float:
        """Return computed places for each new token."""
        return self.computed / self.new


def count(task: str, prompt: Prompt, continuations: int, instances: int, group_size: int, seed: int) -> Count:
    """Sample a batch with a task's embedded model, play on from every turn of it, and count.

    continuations: from each situation. Turns in the same situation share them, and are billed once. Raises UserError
    for a task without an embedded model.
    """
    quiet()
    family, model = find(task), load(embedded_model(task))
    worlds = [family.build(family.make_knobs({}), FIRST_SEED + number) for number in range(instances)]
    ledger = Ledger()
    services = TabularServices(
        Models(policy=model, reference=model, critic=None),
        prompt_form(prompt, model.tokenizer, 2),
        ledger,
        frozenset({"mc_continuations"}),
        instances=worlds,
        group_size=group_size,
        seed=(seed, 0),
    )
    with one_thread():
        with computed_places(model.network) as first:
            rollouts = services.rollouts()
        before = dataclasses.replace(ledger)
        with computed_places(model.network) as passes:
            services.continuations(rollouts, continuations)
    billed = ledger.prompt_tokens + ledger.generated_tokens - before.prompt_tokens - before.generated_tokens
    turns = int(rollouts.turn_mask.sum())
    new = ledger.new_tokens - before.new_tokens
    return Count(prompt, turns, continuations, sum(first), sum(passes), billed, new)


@contextmanager
def computed_places(network: nn.Module) -> Iterator[list[int]]:
    """Note how many places each pass of a network computes inside the block."""
    passes: list[int] = []

    def note(_: nn.Module, __: tuple[Any, ...], given: dict[str, torch.Tensor]) -> None:
        passes.append(given["input_ids"].numel())

    handle = network.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()
