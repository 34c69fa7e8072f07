"""PPO with GAE: a learned critic's temporal differences, summed with decay gamma * lambda.

    delta_t = r_t + gamma V_{t+1} - V_t,   A_t = sum_l (gamma lambda)^l delta_{t+l},   then whitened over the batch

A time step is an action token; prompt and environment tokens are stepped over, so that neither reward nor value
decays across an observation (the semantics of volcengine/verl; other libraries differ, see the tests).
Shapes: values and advantages (B, T). Source: arXiv 1506.02438, equation 16; volcengine/verl:verl/trainer/ppo/
core_algos.py (gamma 1, lambda 1, whitening, value loss on action tokens). What differs: the terminal reward is paid at
the last action token and a turn reward at the last action token of its turn; no KL in the reward (it is in the loss,
as for every arm); the value loss is not clipped. Limits: lambda 1 is return-to-go minus V, a mere baseline; lambda 0
is the TD error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.values import generalized_advantages
from cairn.ops.whiten import whiten
from cairn.rollouts import Credit, Rollouts


@dataclass(frozen=True)
class PPOGAE(Method):
    """Token-level GAE with a learned critic; see the module for the formula."""

    gamma: float = 1.0  # verl; 0.99 in arXiv 1707.06347
    lambda_: float = 1.0  # verl; 0.95 in arXiv 1707.06347 and in TRL
    whiten: bool = True  # verl

    needs: ClassVar[frozenset[str]] = frozenset({"learned_critic", "reference_policy"})

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each action token with its generalised advantage."""
        advantages = self._advantages(rollouts)
        return Credit(whiten(advantages, rollouts.action_mask) if self.whiten else advantages)

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Regress the critic on advantage plus value, the lambda-return."""
        lambda_returns = self._advantages(rollouts) + rollouts.require("values")
        services.fit_critic(rollouts, lambda_returns * rollouts.action_mask)

    def _advantages(self, rollouts: Rollouts) -> Tensor:
        critic, index = rollouts.require("values"), rollouts.action_index()
        rewards, values = index.pack(rollouts.token_rewards()), index.pack(critic)
        return index.unpack(generalized_advantages(rewards, values, index.mask, self.gamma, self.lambda_))
