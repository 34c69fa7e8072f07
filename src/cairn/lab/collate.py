"""From episodes to `Rollouts`: a row for each turn with its windowed prompt."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cairn.lab.episodes import Episodes
from cairn.lab.policy import PolicyTable, pad
from cairn.rollouts import Rollouts


def windowed_rollouts(table: PolicyTable, episodes: Episodes, draw_seed: int) -> Rollouts:
    """Return the batch on the CPU. Log-probs keep the table's float64 values, cast to float32."""
    alive = episodes.alive
    rollout, turn = np.nonzero(alive)
    lengths = episodes.lengths[rollout, turn]
    prompt = table.worlds.prompt[episodes.states[rollout, turn]]
    spoken = [row[:n].tolist() for row, n in zip(episodes.tokens[rollout, turn], lengths, strict=True)]
    token_ids, attention = pad([table.prompt_tokens[p] + s for p, s in zip(prompt, spoken, strict=True)])
    column = np.arange(token_ids.shape[1]) - table.prompt_lengths[prompt][:, None]
    action = (column >= 0) & (column < lengths[:, None])
    place = column.clip(0, episodes.tokens.shape[2] - 1)
    return Rollouts(
        token_ids=token_ids,
        attention_mask=attention,
        action_mask=torch.from_numpy(action),
        turn_ids=torch.from_numpy(np.where(action, turn[:, None], -1)),
        row_rollout=torch.from_numpy(rollout),
        group_ids=torch.from_numpy(episodes.world),
        terminal_rewards=_float(episodes.rewards),
        truncated=torch.from_numpy(episodes.truncated),
        turn_mask=torch.from_numpy(alive),
        turn_rewards=torch.zeros(alive.shape),
        logprobs_behaviour=_float(np.take_along_axis(episodes.logprobs[rollout, turn], place, 1) * action),
        entropies=_float(np.take_along_axis(episodes.entropies[rollout, turn], place, 1) * action),
        observation_keys=torch.from_numpy(observation_keys(table, episodes)),
        state_handles=torch.from_numpy(state_handles(table, episodes)),
        draw_seed=draw_seed,
    )


def observation_keys(table: PolicyTable, episodes: Episodes) -> NDArray[np.int64]:
    """(R, K) equal exactly where raw observations are equal; a stamped visit equals no other."""
    keys = table.worlds.observation[episodes.states[:, :-1]]
    own = -1 - np.arange(keys.size).reshape(keys.shape)
    return np.asarray(np.where(episodes.stamped, own, keys))


def state_handles(table: PolicyTable, episodes: Episodes) -> NDArray[np.int64]:
    """(R, K) state and turn in one number, for the services to fork from."""
    turn = np.arange(episodes.options.shape[1])
    return np.asarray(turn * table.worlds.terminal.size + episodes.states[:, :-1])


def _float(values: NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
