"""Invariants that a method may declare, each with a check on logged rollouts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cairn.evidence.rollout_format import RolloutRow
from cairn.interchange import Playback, to_rollouts
from cairn.method import Method
from cairn.testing.asking import TOLERANCE, ask, credit_of, name_of, prepared, turn_credits
from cairn.testing.samples import Rows

AGENTS = 4


def _zero_mean_in_group(method: Method, rows: Rows) -> None:
    """Each trajectory counts once, with the mean credit over its action tokens."""
    rollouts = prepared(method, to_rollouts(rows))
    index = rollouts.action_index()
    credit = credit_of(method, rollouts).advantages.flatten()[index.flat] * index.mask
    per_rollout = credit.sum(1) / index.mask.sum(1).clamp_min(1)
    for group in rollouts.group_ids.unique():
        total = float(per_rollout[rollouts.group_ids == group].sum())
        ask(abs(total) < TOLERANCE, f"{name_of(method)} gives the trajectories of a group credits that sum to {total}.")


def _telescopes(method: Method, rows: Rows) -> None:
    """Without whitening and discount, over rollouts in which every turn shows its credit."""
    ask("mc_continuations" in method.needs, f"{name_of(method)} telescopes over values that the check cannot see.")
    neutral = _neutral(method)
    spoken = [row.model_copy(update={"turns": tuple(turn for turn in row.turns if turn.tokens)}) for row in rows]
    for row, credits_ in zip(spoken, turn_credits(dataclasses.replace(method, **neutral), spoken), strict=True):
        total, start = sum(c for c in credits_ if c is not None), row.turns[0].value or 0.0
        wanted = row.reward + sum(turn.reward for turn in row.turns) - start
        message = f"{name_of(method)} gives a rollout credits that sum to {total}; return less first value is {wanted}."
        ask(abs(total - wanted) < TOLERANCE, message)


def _shares(method: Method, rows: Rows, seed: int) -> tuple[Tensor, Tensor]:
    """Give a rule a game of coalitions among the agents; return the games (R, 2^A) and what each agent gets (R, A).

    In each of them agent 1 adds nothing, and agents 2 and 3 can stand in for each other. An agent counts once, with
    the mean credit over its tokens.
    """
    ask("agent_ids" in method.needs, f"{name_of(method)} declares shares of agents, and does not ask who acted.")
    game = _games(len(rows), seed)
    rollouts = to_rollouts([_with_agents(row) for row in rows])
    rollouts = rollouts.replace(terminal_rewards=game[:, -1], turn_rewards=torch.zeros_like(rollouts.turn_rewards))
    plain = dataclasses.replace(method, **_neutral(method))
    collected = plain.reward(plain.collect(Playback(rollouts, method.needs, game)).replace(needs=None))
    per_turn = collected.sum_over_turns(credit_of(plain, collected).advantages)
    tokens, agents = rollouts.turn_tokens(), rollouts.require("agent_ids")
    mine = (agents[..., None] == torch.arange(AGENTS)) & rollouts.turn_mask[..., None]
    given = (per_turn[..., None] * mine).sum(1) / (tokens[..., None] * mine).sum(1)
    return game, given


def _games(count: int, seed: int) -> Tensor:
    """Return (count, 2^AGENTS) random games in which agent 1 is null and agents 2 and 3 are alike."""
    numbers = torch.rand(count, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    coalition = torch.arange(1 << AGENTS)
    return numbers[:, coalition & 1, (coalition >> 2 & 1) + (coalition >> 3 & 1)]


def _with_agents(row: RolloutRow) -> RolloutRow:
    """Return a rollout in which each of the agents acts, and says something."""
    spoken = [turn for turn in row.turns if turn.tokens]
    turns = tuple(spoken[k % len(spoken)].model_copy(update={"agent": f"agent {k}"}) for k in range(AGENTS))
    return row.model_copy(update={"turns": turns})


def _efficiency(method: Method, rows: Rows) -> None:
    """Whatever the game, the agents share what all of them earn together, less what nobody earns."""
    game, given = _shares(method, rows, seed=1)
    for total, wanted in zip(given.sum(1).tolist(), (game[:, -1] - game[:, 0]).tolist(), strict=True):
        message = f"{name_of(method)} gives agents credits that sum to {total}; together they earn {wanted}."
        ask(abs(total - wanted) < TOLERANCE, message)


def _null_player(method: Method, rows: Rows) -> None:
    """An agent who adds nothing to any coalition gets nothing."""
    _, given = _shares(method, rows, seed=2)
    most = float(given[:, 1].abs().max())
    ask(most < TOLERANCE, f"{name_of(method)} gives {most} to an agent who adds nothing to any coalition.")


def _symmetry(method: Method, rows: Rows) -> None:
    """Two agents who add the same to every coalition get the same."""
    _, given = _shares(method, rows, seed=3)
    apart = float((given[:, 2] - given[:, 3]).abs().max())
    ask(apart < TOLERANCE, f"{name_of(method)} gives credits {apart} apart to agents who add the same everywhere.")


def _neutral(method: Method) -> dict[str, Any]:
    """Return the settings that switch whitening and discount off, for a method that has them."""
    fields = {field.name for field in dataclasses.fields(method)}
    return {name: value for name, value in (("whiten", False), ("gamma", 1.0)) if name in fields}


INVARIANTS: dict[str, Callable[[Method, Rows], None]] = {
    "zero_mean_in_group": _zero_mean_in_group,
    "telescopes": _telescopes,
    "efficiency": _efficiency,
    "null_player": _null_player,
    "symmetry": _symmetry,
}
