"""Discounted sums along time, without a loop over tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from cairn.rollouts import Rollouts


def discounted_suffix_sum(values: Tensor, decay: float | Tensor) -> Tensor:
    """Return y with y_t = x_t + decay_t * y_{t+1} along the last axis; same shape.

    decay: one number, or one for each step in a tensor of the shape of `values` (see `by_boundary`).
    Doubling: after step s every y_t holds the 2^s terms that follow it, so log2(T) vector operations do.
    """
    if isinstance(decay, Tensor):
        return _varying_suffix_sum(values, decay)
    total, reach = values.clone(), 1
    while reach < values.shape[-1]:
        # The right-hand side is complete before the sum is written, so that it may be written in place.
        total[..., :-reach] += decay**reach * total[..., reach:]
        reach *= 2
    return total


def _varying_suffix_sum(values: Tensor, decays: Tensor) -> Tensor:
    total, factor, reach = values.clone(), decays, 1
    while reach < values.shape[-1]:
        total[..., :-reach] += factor[..., :-reach] * total[..., reach:]
        factor = factor * torch.nn.functional.pad(factor[..., reach:], (0, reach))
        reach *= 2
    return total


def by_boundary(ends: Tensor, inside: float, across: float, like: Tensor) -> Tensor:
    """Return a discount (or lambda) for each step: `across` from a step that ends a turn to the next, else `inside`.

    ends: bool, of the shape of `like`, which gives the type. With inside = across it is that number everywhere.
    """
    return torch.full_like(like, inside).masked_fill_(ends, across)


def last_steps(mask: Tensor) -> Tensor:
    """Mark the last step of each row. mask: (R, K) bool, True first, then False. Returns (R, K) bool."""
    return mask & ~torch.nn.functional.pad(mask, (0, 1))[:, 1:]


def token_returns(rollouts: Rollouts, gamma: float | Tensor = 1.0) -> Tensor:
    """Return the discounted return-to-go from each action token on: (B, T), 0 elsewhere.

        G_t = r_t + gamma_t G_{t+1} over the rollout's action tokens, r as `Rollouts.token_rewards` pays it

    A reward that a method gives to tokens can become credit in two ways, and papers do not always say in which. The
    first is this: an action earns what is paid from it on. The second takes the token's own reward for its advantage
    (`Rollouts.token_rewards` itself): an action earns what is paid for it, and nothing that it makes possible. They
    agree on the last token only; and a comparison of whole rollouts sees nothing but the sum, so that there a reward
    that is merely spread over the tokens is the sparse reward again (tests/ops/test_returns.py).
    gamma: a number, or (R, L) for each step of `Rollouts.action_index` (see `by_boundary`).
    """
    index = rollouts.action_index()
    return index.unpack(discounted_suffix_sum(index.pack(rollouts.token_rewards()), gamma))


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
