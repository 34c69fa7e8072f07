"""What a network has to say of the tokens of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import PreTrainedModel

from cairn.lab.prefixes import Packed
from cairn.rollouts import Rollouts

T = TypeVar("T")


def action_logprobs(network: PreTrainedModel, rollouts: Rollouts) -> Tensor:
    """Log-probs (B, T) of the action tokens of a batch under a language model, with gradient; 0 elsewhere."""
    return logprobs(network, rollouts.token_ids, rollouts.attention_mask, rollouts.action_mask)


def logprobs(network: PreTrainedModel, token_ids: Tensor, present: Tensor, wanted: Tensor) -> Tensor:
    """Log-probs of the `wanted` tokens of padded rows, in nats, on the CPU, with gradient; 0 elsewhere. All (B, T)."""
    return read_before(network, token_ids, present, wanted, _of_said)


def read_before(
    network: PreTrainedModel,
    token_ids: Tensor,
    present: Tensor,
    wanted: Tensor,
    head: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Read, for each wanted token of padded rows, what the network puts out before it: (B, T) on the CPU, 0 elsewhere.

    head: turns outputs (M, D) and the tokens that came next (M,) into numbers (M,). The first token of a row has
    nothing before it, and gets 0. All of token_ids, present (what of the rows is no padding) and wanted are (B, T).
    """
    wanted = wanted & pad(present[:, :-1], (1, 0))
    rows, columns = wanted.nonzero(as_tuple=True)
    if not len(rows):
        return torch.zeros(token_ids.shape)
    later = wanted.flip(1).cumsum(1).flip(1) > wanted.long()  # what comes after the last wanted token is not read
    packed = Packed.of_rows(network, token_ids, present & later)
    found = packed.outputs(packed.place[rows.numpy(), columns.numpy() - 1])
    numbers = head(found, token_ids[rows, columns].to(found.device)).cpu()
    return numbers.new_zeros(token_ids.shape).masked_scatter(wanted, numbers)


class LastReading(Generic[T]):
    """What a model that learns makes of a batch, with its graph, until its weights change.

    Rules ask it before they credit a batch and fit it to the same rows afterwards: one forward pass serves both.
    """

    def __init__(self, forward: Callable[[Rollouts], T]) -> None:
        """Read with `forward`, whose weights change only where `forget` is called afterwards."""
        self._forward, self._rows = forward, tuple[Tensor, ...]()
        self._found: T | None = None

    def of(self, rollouts: Rollouts) -> T:
        """Return what `forward` says of a batch, with gradient; it is not asked again for the rows that came last."""
        rows = tuple(getattr(rollouts.replace(needs=None), name) for name in _READ)
        found = self._found
        if found is None or any(one is not other for one, other in zip(rows, self._rows, strict=True)):
            self.forget()
            with torch.enable_grad():
                found = self._forward(rollouts)
            self._rows, self._found = rows, found
        return found

    def forget(self) -> None:
        """Let go of the last batch."""
        self._rows, self._found = (), None


_READ = ("token_ids", "attention_mask", "action_mask", "row_rollout", "turn_ids", "turn_mask")


def _of_said(logits: Tensor, said: Tensor) -> Tensor:
    # Half the bits are too few for log-probs; wider types stay as they are.
    distribution = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    return distribution.gather(-1, said[:, None]).squeeze(-1)
