"""SPA-RL: the outcome, divided among the turns by an estimator whose shares add up to it, is PPO's reward.

A progress estimator reads the interaction up to the end of a turn and says what the turn contributed. It sees nothing
but outcomes: only the sum of its contributions is trained to be the outcome. What is left to it is which turns those
are that rollouts with another outcome do not have.

    loss of the estimator = (sum_k c_k - R)^2 for each rollout
    r_k = c_k + g_k,   g_k = 0.5 where the environment did something with the turn, else 0;   the last turn always 0.5
    A_k = sum_l (gamma lambda)^l (r_{k+l} + gamma V_{k+l+1} - V_{k+l}), copied to the tokens of turn k, then whitened

Shapes: contributions, step rewards (R, K), values and advantages (B, T). Source: arXiv 2505.20732, abstract (the full
text was not read); WangHanLinHenry/SPA-RL-Agent:prm/train_our_progress_model.py (loss, the last token of the turn is
read), prm/rl_data_org.py (grounding), ppo/step_ppotrainer.py. gamma 1, lambda 0.95 and whitening are those of trl
0.10.1, since the authors' PPO configuration is not public. What differs: a network with one head gives the value at a
turn's first token and the contribution at its last one, where the paper has a critic and an estimator; it learns
online, a step on each batch, where the estimator is fitted once, offline. A turn of one token contributes 0. That
nothing happened is read from a raw observation that stays as it was; the code looks for a phrase. KL stands in the
loss, as for every arm, and GAE steps from turn to turn. The released WebShop script puts the outcome less the mean of
the task's other rollouts in the place of every c_k, and the released trainer multiplies r_k by the turns that follow,
so that the last turn gets 0 (`contributions`, `times_remaining`). Limits: at gamma 1 and lambda 0, without grounding
and with an estimator that fits, the advantages of a rollout sum to R - V_0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.groups import leave_one_out
from cairn.ops.returns import by_boundary, last_steps
from cairn.ops.values import generalized_advantages
from cairn.ops.whiten import whiten
from cairn.rollouts import Credit, Rollouts


def grounding_signal(observations: Tensor, turn_mask: Tensor, worth: float) -> Tensor:
    """Return g: `worth` for each turn after which another observation came, and for the last one. All (R, K)."""
    changed = torch.ones_like(turn_mask)
    changed[:, :-1] = observations[:, 1:] != observations[:, :-1]
    return worth * ((changed | last_steps(turn_mask)) & turn_mask)


def remaining(turn_mask: Tensor) -> Tensor:
    """Return how many turns follow each turn, (R, K) long, 0 off the mask."""
    return (turn_mask.sum(1, keepdim=True) - turn_mask.cumsum(1)) * turn_mask


def sum_targets(contributions: Tensor, outcomes: Tensor) -> Tensor:
    """Return targets (R, K) towards which squared error has, at c, the gradient of (sum_k c_k - R)^2 at every turn.

    contributions: (R, K). outcomes: (R,). The squared error that is meant is the sum over turns of (c_k - target_k)^2.
    """
    return contributions - (contributions.sum(1) - outcomes)[:, None]


@dataclass(frozen=True)
class SPARL(Method):
    """Contributions of a learned estimator and a grounding signal, as rewards of PPO; see the module."""

    gamma: float = 1.0  # trl 0.10.1; the authors' configuration is not public
    lambda_: float = 0.95  # the same
    whiten: bool = True  # the same
    grounding: float = 0.5  # WangHanLinHenry/SPA-RL-Agent:prm/rl_data_org.py
    contributions: Literal["estimated", "leave_one_out", "none"] = "estimated"  # paper; the second is released
    times_remaining: bool = False  # arXiv 2505.20732, abstract; True in ppo/step_ppotrainer.py

    needs: ClassVar[frozenset[str]] = frozenset({"learned_critic", "turn_boundaries", "state_keys", "reference_policy"})

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each turn with its generalised advantage over the step rewards."""
        advantages = self._advantages(rollouts)
        return Credit(whiten(advantages, rollouts.action_mask) if self.whiten else advantages)

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Regress first tokens on the lambda-return, and step down the estimator's loss at last tokens."""
        values, starts = rollouts.require("values"), rollouts.turn_starts()
        returns = self._advantages(rollouts) + self._values(rollouts)
        contributed = self._estimated(rollouts)
        shares = rollouts.spread_turns(sum_targets(contributed, rollouts.returns.to(contributed.dtype)))
        targets = torch.where(starts, returns, torch.where(self._read(rollouts), shares, values))
        services.fit_critic(rollouts, targets * rollouts.action_mask)

    def step_rewards(self, rollouts: Rollouts) -> Tensor:
        """Return r_k, (R, K): contribution plus grounding."""
        mask = rollouts.turn_mask
        given = self._contributions(rollouts) * mask
        rewards = given + grounding_signal(rollouts.require("observation_keys"), mask, self.grounding)
        return rewards * remaining(mask) if self.times_remaining else rewards

    def _contributions(self, rollouts: Rollouts) -> Tensor:
        if self.contributions == "estimated":
            return self._estimated(rollouts)
        outcomes = rollouts.returns
        alike = leave_one_out(outcomes, rollouts.group_ids) if self.contributions == "leave_one_out" else 0 * outcomes
        return alike[:, None].expand(rollouts.turn_mask.shape)

    def _estimated(self, rollouts: Rollouts) -> Tensor:
        return rollouts.sum_over_turns(rollouts.require("values") * self._read(rollouts))

    def _read(self, rollouts: Rollouts) -> Tensor:
        """Mark where the estimator is read: the last token of each turn, unless it is the first one, too."""
        return rollouts.turn_ends() & ~rollouts.turn_starts()

    def _values(self, rollouts: Rollouts) -> Tensor:
        """(B, T) the value before each turn, at all of its tokens."""
        return rollouts.spread_turns(rollouts.first_of_turns(rollouts.require("values")))

    def _advantages(self, rollouts: Rollouts) -> Tensor:
        index, ends = rollouts.action_index(), rollouts.turn_ends()
        rewards = index.pack(rollouts.spread_turns(self.step_rewards(rollouts)) * ends)
        values, last = index.pack(self._values(rollouts)), index.pack(ends)
        gammas, lambdas = (by_boundary(last, 1.0, across, values) for across in (self.gamma, self.lambda_))
        return index.unpack(generalized_advantages(rewards.to(values.dtype), values, index.mask, gammas, lambdas))
