"""What services cost, written to the ledger."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab.instance import Spoken
from cairn.lab.ledger import Ledger
from cairn.lab.model import ModelCost

IntArray = NDArray[np.int64]
TRAINING_PASSES = 3  # a backward pass counts as two forward passes


class Bills:
    """Bills one arm's ledger."""

    def __init__(self, ledger: Ledger, policy: ModelCost) -> None:
        """Bill to `ledger`. policy: what a token of the policy costs."""
        self._ledger, self._policy = ledger, policy

    def play(self, episodes: Spoken, reused_tokens: int = 0) -> None:
        """Bill the turns of episodes that were played with the policy.

        reused_tokens: of the prompts, what had stood in the rows that the episodes left.
        """
        alive = episodes.alive
        prompts, spoken, context = (
            values[alive] for values in (episodes.prompt_tokens, episodes.lengths, episodes.context_tokens)
        )
        self._ledger.generated_tokens += int(spoken.sum())
        self._ledger.prompt_tokens += int(prompts.sum())
        self._ledger.environment_steps += episodes.environment_steps
        self._ledger.environment_resets += len(alive)
        self._ledger.reused_tokens += reused_tokens
        self._ledger.flops += self._flops(prompts, spoken, context)

    def steps(self, steps: int, resets: int) -> None:
        """Bill an environment that was played without the policy."""
        self._ledger.environment_steps += steps
        self._ledger.environment_resets += resets

    def scored(self, lengths: Tensor, cost: ModelCost) -> None:
        """Bill one forward pass over rows of `lengths` (B,) tokens."""
        self._ledger.scored_tokens += int(lengths.sum())
        self._ledger.flops += _pass(lengths, cost)

    def trained(self, lengths: Tensor, cost: ModelCost) -> None:
        """Bill one forward and backward pass over rows of `lengths` (B,) tokens."""
        self._ledger.trained_tokens += int(lengths.sum())
        self._ledger.flops += TRAINING_PASSES * _pass(lengths, cost)

    def _flops(self, prompts: IntArray, spoken: IntArray, context: IntArray) -> float:
        """FLOPs of turns that read a prompt as one block behind their context and then speak token by token.

        The last token of a turn is sampled but not read, unless the row goes on: then the next turn reads it first.
        """
        pending = (context > 0).astype(np.int64)
        start = context + prompts
        stop = start + spoken - 1
        contexts = pending * context + prompts * start + (stop * (stop + 1) - start * (start + 1)) // 2
        read = pending + prompts + spoken - 1
        return self._policy.forward_flops(torch.from_numpy(read), torch.from_numpy(contexts))


def _pass(lengths: Tensor, cost: ModelCost) -> float:
    return cost.forward_flops(lengths, lengths**2)
