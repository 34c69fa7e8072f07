"""Advantages and returns that lean on a state value.

All functions take steps side by side, `mask` True first, then False: (R, L) action tokens (`packing.Packing`,
`Rollouts.action_index`) or (R, K) turns. A step is whatever the caller says it is; nothing decays between two steps.
Fresh tensors are changed in place: at a thousand tokens a row, giving memory back and forth is most of the time.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cairn.ops.packing import Packing
from cairn.ops.returns import by_boundary, discounted_suffix_sum, last_steps


class Decay(NamedTuple):
    """How much of the next step's value (gamma), and of its advantage (gamma * lambda_), reaches a step."""

    gamma: float
    lambda_: float


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    gamma: float | Tensor,
    lambda_: float | Tensor,
    after: Tensor | None = None,
) -> Tensor:
    """Return GAE: the temporal differences from a step on, summed with decay gamma * lambda.

        delta_t = r_t + gamma V_{t+1} - V_t,   A_t = sum_l (gamma lambda)^l delta_{t+l}

    rewards, values, mask: (R, L). after: (R,) value of the state after the last step, for rows that were cut off and
    not ended; without it that value is 0. gamma, lambda_: numbers, or (R, L) for discounts that differ from step to
    step, as inside a turn and across its end (`returns.by_boundary`): gamma_t lies between steps t and t + 1.
    Returns (R, L), in the unit of the rewards, 0 off the mask.
    Source: arXiv 1506.02438, equation 16; verl-project/verl:verl/trainer/ppo/core_algos.py (`gae`), which steps over
    environment tokens, too. What differs: not whitened here; exactly 0 off the mask, where verl's holds what it
    carries. Limits: lambda 1 is return-to-go minus V, a mere baseline; lambda 0 is the temporal difference.
    """
    deltas = _next_values(values, mask, after).mul_(gamma).add_(rewards).sub_(values)
    return discounted_suffix_sum(_masked(deltas, mask), gamma * lambda_)


def bilevel_advantages(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    ends: Tensor,
    inside: Decay,
    across: Decay,
    after: Tensor | None = None,
) -> Tensor:
    """Return GAE on two levels: over turns first, then inside each turn towards what the first level found.

        turns:   D_k = R_k + g V(e_{k+1}) - V(e_k),   H_k = D_k + g l H_{k+1},   e_k the last token of turn k
        tokens:  GAE inside each turn alone, nothing beyond its end, with the reward H_k + V(e_k) at e_k

    rewards: (R, L), paid at the ends (one that is paid inside a turn counts in that turn only). values, mask: (R, L).
    ends: (R, L) bool, the last token of each turn. across: g and l of the upper level, inside: those of the lower one.
    after: as in `generalized_advantages`, for the upper level. Returns (R, L), 0 off the mask.
    Source: RAGEN-AI/RAGEN:ragen/trainer/core_algos.py (bi-level GAE; g 0.95 between turns, everything else 1). What
    differs: boundaries are data; the code takes the tokens with a reward other than 0 for ends, and so passes over
    turns that are paid nothing. There, g and the lower level share one lambda. Limits: with every decay 1 it is the
    return-to-go less the value, as GAE is; with turns of one token it is GAE over turns.
    """
    turns = Packing.of(ends & mask)
    worth = turns.pack(values)
    upper = generalized_advantages(turns.pack(rewards), worth, turns.mask, across.gamma, across.lambda_, after)
    goals = torch.where(ends & mask, turns.unpack(upper + worth), rewards)
    gammas = by_boundary(ends, inside.gamma, 0.0, values)
    return generalized_advantages(goals, values, mask, gammas, inside.lambda_)


def lambda_returns(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    gamma: float | Tensor,
    lambda_: float | Tensor,
    after: Tensor | None = None,
) -> Tensor:
    """Return TD(lambda) targets: the mean of all n-step returns, the weight of n being (1 - lambda) lambda^(n-1).

        G_t = r_t + gamma ((1 - lambda) V_{t+1} + lambda G_{t+1}),   G = V after the last step

    Shapes and `after` as in `generalized_advantages`. Returns (R, L), 0 off the mask.
    Source: Sutton and Barto, Reinforcement Learning, second edition, equation 12.2, in its recursive form;
    pytorch/rl:torchrl/objectives/value/functional.py (`td_lambda_return_estimate`). What differs: rows, not `done`
    flags, say where an episode ends. Limits: lambda 1 is the discounted return-to-go; lambda 0 is r + gamma V'.
    G_t - V_t is the generalised advantage.
    """
    nexts = _next_values(values, mask, after)
    weighted = torch.where(last_steps(mask), nexts, (1 - lambda_) * nexts)
    return discounted_suffix_sum(_masked(rewards + gamma * weighted, mask), gamma * lambda_)


def _next_values(values: Tensor, mask: Tensor, after: Tensor | None) -> Tensor:
    nexts = torch.zeros_like(values)
    nexts[:, :-1] = values[:, 1:]
    nexts[:, :-1].mul_(mask[:, 1:].view(torch.uint8))
    return nexts if after is None else torch.where(last_steps(mask), after[:, None], nexts)


def _masked(fresh: Tensor, mask: Tensor) -> Tensor:
    """Zero a tensor that nobody else holds off the mask; as bytes, three times as fast as by bools."""
    return fresh.mul_(mask.view(torch.uint8))
