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
        # The right-hand side is complete before the sum is written, so that it may be written in place.
        total[..., :-reach] += decay**reach * total[..., reach:]
        reach *= 2
    return total


def last_steps(mask: Tensor) -> Tensor:
    """Mark the last step of each row. mask: (R, K) bool, True first, then False. Returns (R, K) bool."""
    return mask & ~torch.nn.functional.pad(mask, (0, 1))[:, 1:]


def kl_penalised_rewards(
    rewards: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, coefficient: float
) -> Tensor:
    """Charge each action token for its distance from the reference policy, as a part of its reward.

        r'_t = r_t - beta (log pi(a_t) - log pi_ref(a_t)),   0 off the mask

    A return of r' thus holds the cost of all later tokens: the KL is credited, not only regularised. All (B, T);
    log-probs in nats, coefficient (beta) in reward per nat. The estimate is the one-sample log ratio ("k1"), unbiased
    and of either sign. Source: arXiv 2501.03262 (REINFORCE++, token-level KL); verl-project/verl:verl/trainer/ppo/
    ray_trainer.py (`apply_kl_penalty`); OpenRLHF/OpenRLHF:openrlhf/models/utils.py (`compute_reward`). What differs:
    verl masks the penalty and leaves rewards off the mask where they are; OpenRLHF masks both in the next function.
    Limit: coefficient 0 is the reward on action tokens.
    """
    return (rewards - coefficient * (logprobs - reference)) * mask


def rewards_at_turns(turn_rewards: Tensor, terminal_rewards: Tensor, turn_mask: Tensor) -> Tensor:
    """Pay the terminal reward (R,) at each rollout's last turn, beside the turn rewards (R, K). Returns (R, K)."""
    return turn_rewards * turn_mask + terminal_rewards[:, None] * last_steps(turn_mask)


def returns_to_go(turn_rewards: Tensor, terminal_rewards: Tensor, turn_mask: Tensor, gamma: float) -> Tensor:
    """Return G_k = sum over j >= k of gamma^(j-k) r_j, the terminal reward paid at the last turn.

    turn_rewards, turn_mask: (R, K); terminal_rewards: (R,). Returns (R, K), 0 at turns that did not take place.
    """
    rewards = rewards_at_turns(turn_rewards, terminal_rewards, turn_mask)
    return discounted_suffix_sum(rewards, gamma) * turn_mask
