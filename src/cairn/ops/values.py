"""Advantages and returns that lean on a state value.

All functions take steps side by side, `mask` True first, then False: (R, L) action tokens (`packing.Packing`,
`Rollouts.action_index`) or (R, K) turns. A step is whatever the caller says it is; nothing decays between two steps.
Fresh tensors are changed in place: at a thousand tokens a row, giving memory back and forth is most of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cairn.ops.returns import discounted_suffix_sum, last_steps


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lambda_: float, after: Tensor | None = None
) -> Tensor:
    """Return GAE: the temporal differences from a step on, summed with decay gamma * lambda.

        delta_t = r_t + gamma V_{t+1} - V_t,   A_t = sum_l (gamma lambda)^l delta_{t+l}

    rewards, values, mask: (R, L). after: (R,) value of the state after the last step, for rows that were cut off and
    not ended; without it that value is 0. Returns (R, L), in the unit of the rewards, 0 off the mask.
    Source: arXiv 1506.02438, equation 16; verl-project/verl:verl/trainer/ppo/core_algos.py (`gae`), which steps over
    environment tokens, too. What differs: not whitened here; exactly 0 off the mask, where verl's holds what it
    carries. Limits: lambda 1 is return-to-go minus V, a mere baseline; lambda 0 is the temporal difference.
    """
    deltas = _next_values(values, mask, after).mul_(gamma).add_(rewards).sub_(values)
    return discounted_suffix_sum(_masked(deltas, mask), gamma * lambda_)


def lambda_returns(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lambda_: float, after: Tensor | None = None
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
