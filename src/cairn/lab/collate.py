"""From episodes to `Rollouts`: which tokens stand in which row, and which of them the policy chose."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab.episodes import Episodes
from cairn.lab.instance import Spoken
from cairn.lab.policy import PolicyTable
from cairn.lab.world import WorldBatch
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]


def windowed_rollouts(table: PolicyTable, episodes: Episodes, draw_seed: int) -> Rollouts:
    """Return the batch with a row for each turn: its windowed prompt and what was said."""
    rollout, turn = np.nonzero(episodes.alive)
    prompt = table.worlds.prompt[episodes.states[rollout, turn]]
    begin, lengths = table.prompt_lengths[prompt], episodes.lengths[rollout, turn]
    column = np.arange(int((begin + lengths).max(initial=1)))
    tokens = np.zeros((rollout.size, column.size), dtype=np.int64)
    tokens[:, : table.prompts.shape[1]] = table.prompts[:, : column.size][prompt]
    for level in range(episodes.tokens.shape[2]):
        said = np.flatnonzero(lengths > level)
        tokens[said, begin[said] + level] = episodes.tokens[rollout[said], turn[said], level]
    rows = torch.from_numpy(tokens), torch.from_numpy(column < (begin + lengths)[:, None])
    place = np.arange(rollout.size), begin
    keys = observation_keys(table.worlds, episodes)
    handles, agents = state_handles(table, episodes), acting_agents(table.worlds, episodes)
    return collate(episodes, rows, place, keys, handles, draw_seed, agents)


def collate(
    spoken: Spoken,
    rows: tuple[Tensor, Tensor],
    place: tuple[IntArray, IntArray],
    keys: IntArray,
    handles: IntArray,
    draw_seed: int,
    agents: IntArray | None = None,
) -> Rollouts:
    """Return the batch on the CPU. Log-probs keep their float64 values, cast to float32.

    rows: (B, T) tokens, padded on the right, and where they are; place: for each turn that took place, in the order of
    `nonzero`, its row and the column of its first action token; keys: (R, K), equal exactly where raw observations are
    equal; handles: (R, K), equal exactly where two turns start from the same situation; agents: (R, K) who acted, None
    where nobody is told apart.
    """
    token_ids, attention = rows
    rollout, turn = np.nonzero(spoken.alive)
    row_rollout = np.zeros(len(token_ids), dtype=np.int64)
    row_rollout[place[0]] = rollout
    turn_ids = np.full(token_ids.shape, -1)
    logprobs, entropies = np.zeros((2, *token_ids.shape), dtype=np.float32)
    for level in range(spoken.tokens.shape[2]):
        said = spoken.lengths[rollout, turn] > level
        source = rollout[said], turn[said], level
        target = place[0][said], place[1][said] + level
        turn_ids[target] = turn[said]
        logprobs[target], entropies[target] = spoken.logprobs[source], spoken.entropies[source]
    return Rollouts(
        token_ids=token_ids,
        attention_mask=attention,
        action_mask=torch.from_numpy(turn_ids >= 0),
        turn_ids=torch.from_numpy(turn_ids),
        row_rollout=torch.from_numpy(row_rollout),
        group_ids=torch.from_numpy(spoken.instance),
        terminal_rewards=torch.from_numpy(spoken.rewards.astype(np.float32)),
        truncated=torch.from_numpy(spoken.truncated),
        turn_mask=torch.from_numpy(spoken.alive),
        turn_rewards=torch.zeros(spoken.alive.shape),
        logprobs_behaviour=torch.from_numpy(logprobs),
        entropies=torch.from_numpy(entropies),
        observation_keys=torch.from_numpy(keys),
        agent_ids=None if agents is None else torch.from_numpy(agents),
        state_handles=torch.from_numpy(handles),
        draw_seed=draw_seed,
    )


def acting_agents(worlds: WorldBatch, episodes: Episodes) -> IntArray | None:
    """(R, K) who acted, -1 where no turn took place; None in worlds that tell nobody apart."""
    if worlds.agents is None:
        return None
    return np.asarray(np.where(episodes.alive, worlds.agents[episodes.states[:, :-1]], -1))


def observation_keys(worlds: WorldBatch, episodes: Episodes) -> IntArray:
    """(R, K) equal exactly where raw observations are equal; a stamped visit equals no other."""
    keys = worlds.observation[episodes.states[:, :-1]]
    own = -1 - np.arange(keys.size).reshape(keys.shape)
    return np.asarray(np.where(episodes.stamped, own, keys))


def state_handles(table: PolicyTable, episodes: Episodes) -> IntArray:
    """(R, K) state and turn in one number: with a windowed prompt, all that the future depends on."""
    turn = np.arange(episodes.options.shape[1])
    return np.asarray(turn * table.worlds.terminal.size + episodes.states[:, :-1])
