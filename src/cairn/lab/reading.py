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


class KeptReading:
    """What a network whose weights stay as they are says of rows: each different one is read once.

    A few numbers are kept for each action token, and the row's own tokens to know it by.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        """Read with `network`."""
        self._network = network
        self._kept: dict[bytes, Tensor] = {}  # log-probs of the action tokens of a row, by its tokens

    @torch.no_grad()
    def action_logprobs(self, rollouts: Rollouts) -> Tensor:
        """Log-probs (B, T) of the action tokens of a batch, without gradient; 0 elsewhere."""
        rows = rollouts.token_ids, rollouts.attention_mask, rollouts.action_mask
        keys = _row_keys(*rows)
        new = [n for key, n in {key: n for n, key in enumerate(keys)}.items() if key not in self._kept]
        if new:
            found = logprobs(self._network, *(part[new] for part in rows))
            counts = rollouts.action_mask[new].sum(1).tolist()
            parts = found[rollouts.action_mask[new]].split(counts)
            self._kept.update(zip([keys[n] for n in new], parts, strict=True))
        said = torch.cat([self._kept[key] for key in keys]) if keys else torch.zeros(0)
        return said.new_zeros(rollouts.token_ids.shape).masked_scatter(rollouts.action_mask, said)


def _row_keys(token_ids: Tensor, present: Tensor, wanted: Tensor) -> list[bytes]:
    """Return what tells padded rows (B, T) apart: the tokens, and which of them are wanted."""
    marked = (2 * token_ids + wanted).numpy()
    return [row[there].tobytes() for row, there in zip(marked, present.numpy(), strict=True)]


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
