"""Discounted sums along time, without a loop over tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def discounted_suffix_sum(values: Tensor, decay: float) -> Tensor:
    """Return y with y_t = x_t + decay * y_{t+1} along the last axis; same shape.

    Doubling: after step s every y_t holds the 2^s terms that follow it, so log2(T) vector operations do.
    """
    total, reach = values.clone(), 1
    while reach < values.shape[-1]:
        shifted = torch.zeros_like(total)
        shifted[..., :-reach] = total[..., reach:]
        total, reach = total + decay**reach * shifted, reach * 2
    return total


def rewards_at_turns(turn_rewards: Tensor, terminal_rewards: Tensor, turn_mask: Tensor) -> Tensor:
    """Pay the terminal reward (R,) at each rollout's last turn, beside the turn rewards (R, K). Returns (R, K)."""
    last = turn_mask & ~torch.nn.functional.pad(turn_mask, (0, 1))[:, 1:]
    return turn_rewards * turn_mask + terminal_rewards[:, None] * last


def returns_to_go(turn_rewards: Tensor, terminal_rewards: Tensor, turn_mask: Tensor, gamma: float) -> Tensor:
    """Return G_k = sum over j >= k of gamma^(j-k) r_j, the terminal reward paid at the last turn.

    turn_rewards, turn_mask: (R, K); terminal_rewards: (R,). Returns (R, K), 0 at turns that did not take place.
    """
    rewards = rewards_at_turns(turn_rewards, terminal_rewards, turn_mask)
    return discounted_suffix_sum(rewards, gamma) * turn_mask
