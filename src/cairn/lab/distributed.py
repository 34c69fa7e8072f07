"""Credit whose comparison spans the ranks of torch.distributed: a group's members may lie on several of them.

A rule needs to know nothing of ranks. Every rank gives its rollouts, all get them all, the rule looks at the whole
batch, and each rank keeps the credit of its own rows:

    torchrun --nproc-per-node 2 train.py      # which calls: credit = credit_over_ranks(method.credit, rollouts)

So whatever a rule compares (groups, anchor states, a whole batch that is whitened) is compared as in one process, to
float precision. Gathering costs the bytes of the batch, once an update, which is little beside the activations of one
forward pass. Nothing here is differentiable: credit is a constant of the loss.

Ranks may hold different numbers of rollouts, none among them. What names things must do so on all ranks alike: the same
`group_ids` for the members of a group and for nobody else, the same `observation_keys` for equal observations.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import prod

import torch
from torch import Tensor
from torch import distributed as dist

from cairn.ops.batches import concatenate, tensors_of
from cairn.rollouts import Credit, Rollouts

AXES = 2  # no field of a batch has more


def credit_over_ranks(rule: Callable[[Rollouts], Credit], rollouts: Rollouts) -> Credit:
    """Return the credit of this rank's rollouts under a rule that sees those of all ranks.

    rule: for instance `method.credit`. To be called by all ranks. Where no process group was made, it is the rule.
    Raises ValueError where ranks have collected different fields.
    """
    if not dist.is_initialized():
        return rule(rollouts)
    parts = gather_rollouts(rollouts)
    credit = rule(concatenate(parts))
    ends = [*accumulate(len(part.row_rollout) for part in parts)]
    rows = slice(ends[dist.get_rank()] - len(rollouts.row_rollout), ends[dist.get_rank()])
    width = rollouts.token_ids.shape[1]
    mask = credit.loss_mask
    return Credit(credit.advantages[rows, :width], None if mask is None else mask[rows, :width])


def statistic_over_ranks(statistic: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """Return this rank's part of a statistic over the elements of all ranks.

    statistic: of `cairn.ops.groups`, for instance `group_mean` or `leave_one_out`, with what else it takes bound.
    values: its (N,) arguments, N any number on each rank. Returns (N,). To be called by all ranks.
    """
    if not dist.is_initialized():
        return statistic(*values)
    gathered = gather({str(number): value for number, value in enumerate(values)})
    whole = statistic(*(torch.cat([part[str(number)] for part in gathered]) for number in range(len(values))))
    own: Tensor = whole.split([len(part["0"]) for part in gathered])[dist.get_rank()]
    return own


def gather_rollouts(rollouts: Rollouts) -> list[Rollouts]:
    """Return the batches of all ranks, in the order of the ranks; the gate is this rank's, the draw that of the first.

    Raises ValueError where ranks have collected different fields.
    """
    seed = torch.tensor([rollouts.draw_seed], device=rollouts.token_ids.device)
    parts = gather({**tensors_of(rollouts), "draw_seed": seed})
    draw_seed = int(parts[0].pop("draw_seed"))
    for part in parts[1:]:
        del part["draw_seed"]
    return [rollouts.replace(**part, draw_seed=draw_seed) for part in parts]


def gather(tensors: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the tensors of all ranks, in the order of the ranks: same names and types, any sizes, at most two axes.

    They travel as one row of bytes. Raises ValueError where names or types differ between ranks.
    """
    device = next(iter(tensors.values())).device
    _refuse_differences(tensors, device)
    shapes = [(*tensor.shape, *[-1] * (AXES - tensor.ndim)) for tensor in tensors.values()]
    all_shapes = [sizes.view(-1, AXES).tolist() for sizes in _gather_same_size(torch.tensor(shapes, device=device))]
    layouts = [[_size(tensor, shape) for tensor, shape in zip(tensors.values(), s, strict=True)] for s in all_shapes]
    payload = torch.cat([tensor.contiguous().flatten().view(torch.uint8) for tensor in tensors.values()])
    longest = max(sum(layout) for layout in layouts)
    rows = _gather_same_size(torch.nn.functional.pad(payload, (0, longest - len(payload))))
    return [_unpack(row, layout, tensors, shape) for row, layout, shape in zip(rows, layouts, all_shapes, strict=True)]


def _refuse_differences(tensors: dict[str, Tensor], device: torch.device) -> None:
    said = ", ".join(f"{name} {tensor.dtype}" for name, tensor in tensors.items())
    hashes = _gather_same_size(torch.tensor([zlib.crc32(said.encode())], device=device))
    if len({int(one) for one in hashes}) > 1:
        raise ValueError(f"ranks hold different fields; this one has {said}")


def _gather_same_size(tensor: Tensor) -> list[Tensor]:
    gathered = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, tensor.contiguous())
    return gathered


def _size(tensor: Tensor, shape: Sequence[int]) -> int:
    """Return the bytes of a tensor of this one's type."""
    return prod(axis for axis in shape if axis >= 0) * tensor.element_size()


def _unpack(row: Tensor, layout: list[int], like: dict[str, Tensor], shapes: list[list[int]]) -> dict[str, Tensor]:
    pieces = row[: sum(layout)].split(layout)
    return {
        # A copy of its own begins at an address that suits the type.
        name: piece.clone().view(tensor.dtype).view([axis for axis in shape if axis >= 0])
        for (name, tensor), piece, shape in zip(like.items(), pieces, shapes, strict=True)
    }
