"""Statistics inside groups: the comparison that replaces a critic."""

from __future__ import annotations

import torch
from torch import Tensor


def group_mean(values: Tensor, groups: Tensor) -> Tensor:
    """Return, for each element, the mean of its group.

    values: (N,) float. groups: (N,) long, any labels. Returns (N,).
    """
    _, member = torch.unique(groups, return_inverse=True)
    return (_sums(values, member) / _sums(torch.ones_like(values), member))[member]


def group_std(values: Tensor, groups: Tensor) -> Tensor:
    """Return, for each element, the unbiased standard deviation of its group, (N,); 0 in a group of one."""
    _, member = torch.unique(groups, return_inverse=True)
    squares = _sums((values - group_mean(values, groups)) ** 2, member)
    degrees = (_sums(torch.ones_like(values), member) - 1).clamp_min(1)
    return (squares / degrees).sqrt()[member]


def standardise(values: Tensor, groups: Tensor, scale_by_std: bool, epsilon: float) -> Tensor:
    """Return (value - group mean) / (group std + epsilon), or without the division.

        A_i = (R_i - mean(R)) / (std(R) + epsilon)

    values: (N,) float. groups: (N,) long. Returns (N,). A group of one and a group of equal values get exactly 0:
    nothing can be learnt from a comparison with itself. (verl keeps the raw score in a group of one.)
    Source: arXiv 2402.03300, section 4.1.2; the unbiased std and epsilon as in volcengine/verl.
    """
    centred = values - group_mean(values, groups)
    spread = _range(values, groups)
    centred = torch.where(spread == 0, torch.zeros_like(centred), centred)
    return centred / (group_std(values, groups) + epsilon) if scale_by_std else centred


def leave_one_out(values: Tensor, groups: Tensor) -> Tensor:
    """Return each value less the mean of the others in its group: a comparison whose baseline its own draw cannot move.

        A_i = R_i - sum_{j != i} R_j / (n - 1) = n / (n - 1) (R_i - mean(R)),   n the size of the group of i

    values: (N,) float. groups: (N,) long. Returns (N,), in the unit of the values.
    Source: arXiv 2402.14740 (RLOO); verl-project/verl:verl/trainer/ppo/core_algos.py (`rloo`, the second form).
    What differs: a group of one has no others and gets exactly 0, where `rloo` keeps the raw value (verl's own
    `rloo_vectorized` gives 0, too); a group of equal values gets exactly 0. Limits: (n - 1) / n times this is
    `standardise` without the division; as n grows they become the same.
    """
    _, member = torch.unique(groups, return_inverse=True)
    sizes = _sums(torch.ones_like(values), member)[member]
    return sizes / (sizes - 1).clamp_min(1) * standardise(values, groups, scale_by_std=False, epsilon=0.0)


def _range(values: Tensor, groups: Tensor) -> Tensor:
    # The mean of equal floats may differ from them in the last bit, so equality is judged on the values themselves.
    labels, member = torch.unique(groups, return_inverse=True)
    high = values.new_full((labels.numel(),), -torch.inf).scatter_reduce(0, member, values, "amax")
    low = values.new_full((labels.numel(),), torch.inf).scatter_reduce(0, member, values, "amin")
    return (high - low)[member]


def _sums(values: Tensor, member: Tensor) -> Tensor:
    size = int(member.max().item()) + 1 if member.numel() else 0
    return values.new_zeros(size).index_add(0, member, values)
