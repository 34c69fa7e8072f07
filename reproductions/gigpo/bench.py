"""How fast GiGPO's whole credit stage is: ours and the loop that its repository runs. Run: cairn bench credit.

The loop is written anew here after its description in vanzll/verl-agent:gigpo/core_gigpo.py (a public fork of the
authors' langfengQ/verl-agent), which cannot be installed beside a released verl: a row is a turn; discounted returns
rollout by rollout; a dictionary of visits for each anchor state, named by a fresh uuid; means row by row; without
division by std and with statistics over step rows, its defaults. Rollouts and tasks are named by uuids there, and so
here; observations are numbers on both sides, so that neither pays for hashing text.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab.speed import Batch, Pair, Run
from cairn.methods.gigpo import GiGPO
from cairn.rollouts import Rollouts

TURNS = 8
OBSERVATIONS = 12
GAMMA = 0.95


def discounted(rewards: NDArray[np.float32], rollout: NDArray[np.object_]) -> Tensor:
    """Return each row's discounted return, walking each rollout from its end. All (B,)."""
    per_rollout = {}
    for one in np.unique(rollout):
        mine = rewards[np.where(rollout == one)[0]]
        returns, carried = np.zeros_like(mine), 0.0
        for t in reversed(range(len(mine))):
            carried = mine[t] + GAMMA * carried
            returns[t] = carried
        per_rollout[one] = returns
    result = np.zeros_like(rewards)
    for row, one in enumerate(rollout):
        place = np.where(np.where(rollout == one)[0] == row)[0][0]
        result[row] = per_rollout[one][place]
    return torch.tensor(result)


def anchors(keys: NDArray[np.int64], groups: NDArray[np.object_]) -> list[str]:
    """Name the (task group, observation) pair of each row."""
    names = [""] * len(keys)
    for group in np.unique(groups):
        rows = np.where(groups == group)[0]
        clusters: dict[Hashable, list[int]] = defaultdict(list)
        for row, key in zip(rows, keys[rows], strict=True):
            clusters[hashable(key)].append(row)
        for members in clusters.values():
            name = str(uuid.uuid4())
            for row in members:
                names[row] = name
    return names


def hashable(key: object) -> Hashable:
    """Return what a dictionary can hold, by the kinds that an observation may have."""
    if isinstance(key, (int, float, str, bool)):
        return key
    if isinstance(key, (np.integer, np.floating)):
        number: Hashable = key.item()
        return number
    raise TypeError(type(key).__name__)


def centred(scores: Tensor, labels: Sequence[Hashable], mask: Tensor) -> Tensor:
    """Subtract from each row's score the mean of its label, and copy it to the row's tokens. (B,) to (B, T)."""
    scores, members = scores.clone(), defaultdict(list)
    for row, label in enumerate(labels):
        members[label].append(scores[row])
    means = {label: torch.mean(torch.tensor(all_)) for label, all_ in members.items()}
    # The spread is computed there, too, although these defaults do not use it.
    _ = {label: torch.std(torch.tensor([all_])) for label, all_ in members.items() if len(all_) > 1}
    for row, label in enumerate(labels):
        scores[row] = scores[row] - means[label]
    return scores.unsqueeze(-1).tile([1, mask.shape[-1]]) * mask


def _prepare(batch: Batch) -> tuple[Run, Run]:
    rollouts = _rollouts(batch)
    rollout, turn = _named(rollouts.row_rollout), torch.arange(len(batch.mask)) % TURNS
    groups = _named(rollouts.group_ids[rollouts.row_rollout])
    keys = rollouts.require("observation_keys").flatten().numpy()
    rewards = batch.rewards.sum(-1) * (turn == TURNS - 1)
    episode = batch.rewards.clone().zero_()
    episode[:, 0] = rollouts.returns[rollouts.row_rollout]  # every row of a rollout carries its score
    mask = batch.mask.long()
    rule = GiGPO(gamma=GAMMA, scale_by_std=False, episode_statistics="step_row")

    def theirs() -> Tensor:
        first = centred(episode.sum(-1), groups, mask)
        second = centred(discounted(rewards.numpy(), rollout), anchors(keys, groups), mask)
        return first + second

    return lambda: rule.credit(rollouts).advantages, theirs


def _named(numbers: Tensor) -> NDArray[np.object_]:
    names = {number: str(uuid.uuid4()) for number in numbers.unique().tolist()}
    return np.array([names[number] for number in numbers.tolist()], dtype=object)


def _rollouts(batch: Batch) -> Rollouts:
    """Return the same rows as turns of rollouts: 8 turns a rollout, the rollouts of a task in one group."""
    rows, tokens = batch.mask.shape
    count = rows // TURNS
    keys = torch.randint(OBSERVATIONS, (count, TURNS), generator=torch.Generator().manual_seed(1))
    turn = torch.arange(rows) % TURNS
    return Rollouts(
        token_ids=torch.zeros(rows, tokens, dtype=torch.long),
        attention_mask=torch.ones(rows, tokens, dtype=torch.bool),
        action_mask=batch.mask,
        turn_ids=torch.where(batch.mask, turn[:, None], -1),
        row_rollout=torch.arange(rows) // TURNS,
        group_ids=batch.groups[:count],
        terminal_rewards=batch.rewards.sum(-1)[TURNS - 1 :: TURNS],
        truncated=torch.zeros(count, dtype=torch.bool),
        turn_mask=torch.ones(count, TURNS, dtype=torch.bool),
        turn_rewards=torch.zeros(count, TURNS),
        logprobs_behaviour=torch.zeros(rows, tokens),
        observation_keys=keys,
    )


PAIRS = (Pair("GiGPO", "the loop of its repository, written anew", None, _prepare),)
