"""Putting batches together and taking them apart, for methods whose batch is more than one sampling."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from cairn.rollouts import ROLLOUT_FIELDS, TOKEN_FIELDS, TURN_FIELDS, Rollouts

# What stands on padding, for fields in which it is not 0.
PADDING = {"turn_ids": -1}


def concatenate(parts: Sequence[Rollouts]) -> Rollouts:
    """Return the rollouts of several batches as one, in their order; the gate and the draw are those of the first.

    Rows and turns are padded to the longest. `group_ids` stay as they are: give batches whose groups are not to be
    compared with each other groups of their own before (`renumber_groups`). A field that one batch lacks is dropped.
    Raises ValueError for no batch at all.
    """
    if not parts:
        raise ValueError("there is no batch to concatenate")
    opened = [tensors_of(part) for part in parts]
    shared = [name for name in opened[0] if all(name in tensors for tensors in opened)]
    changes: dict[str, Any] = {f.name: None for f in dataclasses.fields(Rollouts) if f.name in opened[0]}
    for name in shared:
        changes[name] = torch.cat(_aligned(name, [tensors[name] for tensors in opened]))
    sizes = torch.tensor([len(tensors["group_ids"]) for tensors in opened])
    starts = (sizes.cumsum(0) - sizes).tolist()
    for name in {"row_rollout", "pairs"}.intersection(shared):  # these name rollouts
        changes[name] = torch.cat([tensors[name] + start for tensors, start in zip(opened, starts, strict=True)])
    return parts[0].replace(**changes)


def select(rollouts: Rollouts, index: Tensor) -> Rollouts:
    """Return the rollouts `index` (N,) long in that order, with all their rows; one that is named twice is copied.

    Pairs are left out: form them afterwards.
    """
    tensors = tensors_of(rollouts)
    copy, row = (tensors["row_rollout"][None, :] == index[:, None]).nonzero(as_tuple=True)
    changes = {name: tensors[name][row] for name in TOKEN_FIELDS if name in tensors}
    changes |= {name: tensors[name][index] for name in (*TURN_FIELDS, *ROLLOUT_FIELDS) if name in tensors}
    return rollouts.replace(**changes, row_rollout=copy, pairs=None)


def renumber_groups(parts: Sequence[Rollouts]) -> list[Rollouts]:
    """Return the batches with group ids such that no group spans two of them."""
    renumbered, offset = [], 0
    for part in parts:
        groups, number = torch.unique(part.group_ids, return_inverse=True)
        renumbered.append(part.replace(group_ids=number + offset))
        offset += len(groups)
    return renumbered


def own_actions(rollouts: Rollouts) -> Tensor:
    """(B, T) bool: the action tokens that a rollout did not take over from its parent.

    A method that trains on a tree keeps these in its loss, so that the tokens of a shared prefix count once. Needs
    `env_fork` or `tree_rollouts`.
    """
    turn_ids: Tensor = object.__getattribute__(rollouts, "turn_ids")
    return rollouts.action_mask & (turn_ids >= rollouts.require("fork_turns")[rollouts.row_rollout][:, None])


def parent_places(rollouts: Rollouts) -> Tensor:
    """(R,) long: the place in the batch of the rollout that each one left; its own where that is not here, or nobody.

    Found by sorting, so that the cost stays in proportion to the rollouts.
    """
    ids, parents = rollouts.require("rollout_ids"), rollouts.require("parent_ids")
    ordered, places = ids.sort()
    at = torch.searchsorted(ordered, parents.contiguous()).clamp_max(max(len(ids) - 1, 0))
    return torch.where(ordered[at] == parents, places[at], torch.arange(len(ids), device=ids.device))


def tensors_of(rollouts: Rollouts) -> dict[str, Tensor]:
    """Return the fields that were collected, by name; the gate does not apply."""
    opened = {field.name: object.__getattribute__(rollouts, field.name) for field in dataclasses.fields(rollouts)}
    return {name: value for name, value in opened.items() if isinstance(value, Tensor)}


def _aligned(name: str, values: list[Tensor]) -> list[Tensor]:
    """Pad the second axis to the widest, where there is one."""
    if values[0].ndim == 1:
        return values
    width = max(value.shape[1] for value in values)
    return [pad(value, (0, width - value.shape[1]), value=PADDING.get(name, 0)) for value in values]
