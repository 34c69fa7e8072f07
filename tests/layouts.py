"""Random batches of tensors, and one batch in both layouts: a row of tokens for each turn, or for each episode.

The interchange format builds both layouts from one file; here they are made from each other, token by token, by code
that shares nothing with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cairn.rollouts import TOKEN_FIELDS, Rollouts

PADDING: dict[str, Any] = {"turn_ids": -1, "attention_mask": False, "action_mask": False}


def random_rollouts(seed: int, turns: int = 6, groups: Sequence[int] = (3, 4, 1, 2)) -> Rollouts:
    """Return a row for each turn that took place: float64, with silent turns, turn rewards, truncation, every field.

    groups: how many rollouts each group has. Each rollout has 1 to `turns` turns of 0 to 3 tokens, a token in one at
    least.
    """
    rng = torch.Generator().manual_seed(seed)

    def dice(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=rng)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    count = sum(groups)
    turn_mask = torch.arange(turns) <= dice(turns, count, 1)
    spoken = dice(4, count, turns) * turn_mask
    spoken[:, 0] += spoken.sum(1) == 0
    rollout, turn = turn_mask.nonzero(as_tuple=True)
    seen = 1 + dice(2, len(turn))  # tokens of the observation
    place = torch.arange(5) - seen[:, None]
    attention = place < spoken[rollout, turn][:, None]
    actions = attention & (place >= 0)
    shape = actions.shape
    return Rollouts(
        token_ids=dice(9, *shape),
        attention_mask=attention,
        action_mask=actions,
        turn_ids=torch.where(actions, turn[:, None], -1),
        row_rollout=rollout,
        group_ids=torch.arange(len(groups)).repeat_interleave(torch.tensor(groups)),
        terminal_rewards=dice(3, count).double() / 2,
        truncated=dice(2, count).bool(),
        turn_mask=turn_mask,
        turn_rewards=normal(count, turns),
        logprobs_behaviour=-normal(*shape).abs() * actions,
        logprobs_reference=-normal(*shape).abs() * actions,
        entropies=normal(*shape).abs() * actions,
        values=normal(*shape) * actions,
        turn_values=normal(count, turns),
        observation_keys=dice(3, count, turns),
        exact_advantages=normal(count, turns),
        agent_ids=dice(2, count, turns),
        rollout_ids=torch.arange(count),
        parent_ids=torch.full((count,), -1),
        fork_turns=torch.zeros(count, dtype=torch.long),
        state_handles=dice(9, count, turns),
    )


def to_episodes(rollouts: Rollouts) -> Rollouts:
    """Put the rows of each rollout one behind the other, in the order in which they stand."""
    count, owner = len(rollouts.group_ids), rollouts.row_rollout.tolist()
    rows = [[place for b in range(len(owner)) if owner[b] == r for place in _places(rollouts, b)] for r in range(count)]
    return _laid(rollouts, rows, list(range(count)))


def to_turns(rollouts: Rollouts) -> Rollouts:
    """Cut the rows behind the last action token of each turn. A silent turn's tokens join the next row."""
    rows: list[list[tuple[int, int]]] = []
    owners: list[int] = []
    for b, owner in enumerate(rollouts.row_rollout.tolist()):
        row: list[tuple[int, int]] = []
        before = -1
        for place in _places(rollouts, b):
            turn = int(rollouts.turn_ids[place])
            cut = turn >= 0 and before >= 0 and turn != before
            if cut:
                observed = [p for p in row if int(rollouts.turn_ids[p]) == before][-1]
                split = row.index(observed) + 1
                rows.append(row[:split])
                owners.append(owner)
                row = row[split:]
            before = turn if turn >= 0 else before
            row.append(place)
        rows.append(row)
        owners.append(owner)
    return _laid(rollouts, rows, owners)


def by_action(rollouts: Rollouts, per_token: Tensor) -> Tensor:
    """Return the numbers of a (B, T) tensor at the action tokens, rollout by rollout in the order of time: (N,)."""
    index = rollouts.action_index()
    return per_token.flatten()[index.flat[index.mask]]


def _places(rollouts: Rollouts, row: int) -> list[tuple[int, int]]:
    return [(row, int(t)) for t in rollouts.attention_mask[row].nonzero()[:, 0]]


def _laid(rollouts: Rollouts, rows: list[list[tuple[int, int]]], owners: list[int]) -> Rollouts:
    """Build the batch whose row i holds the tokens at the places rows[i]."""
    width = max(map(len, rows))
    fields = {}
    for name in TOKEN_FIELDS:
        value = getattr(rollouts, name)
        if value is not None:
            fields[name] = torch.full((len(rows), width), PADDING.get(name, 0), dtype=value.dtype)
            for i, row in enumerate(rows):
                for j, place in enumerate(row):
                    fields[name][i, j] = value[place]
    return rollouts.replace(row_rollout=torch.tensor(owners), **fields)
