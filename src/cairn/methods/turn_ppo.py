"""Turn-PPO: PPO on a decision process whose steps are turns.

The whole response of a turn is one action, and the critic gives one value to the state before it. So credit does not
decay with the length of a turn, and no value is asked for in the middle of one.

    delta_h = r_h + gamma V(s_{h+1}) - V(s_h),   A_h = sum_l (gamma lambda)^l delta_{h+l},   V = 0 after the last turn
    rho_h   = product over the tokens of turn h of pi / mu,   loss = -mean_h min(rho_h A_h, clip(rho_h) A_h)

Shapes: turn rewards, values, advantages (R, K); credit (B, T), A_h at every action token of turn h. Source: arXiv
2512.17008, of which only the abstract and accounts by third parties could be read, and no code is public: our reading.
gamma 0.99, lambda 0.9 and a ratio for each turn, clipped as one, are theirs; they differ in whether it is the product
of the token ratios or their geometric mean (`ratio`). Our reading alone: V is read before a turn's first token and
fitted there alone, advantages are whitened over turns as PPO whitens over tokens, a turn counts once in the loss.
What differs: the critic learns at the protocol's rate, not at a higher one than the policy's; one pass over a batch,
in which every ratio is 1. A turn without tokens is stepped over; its reward goes to the turn before it. Limits: with
turns of one token it is PPO with GAE; with lambda 1 an advantage is the return-to-go less the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.losses import mean_over_units, surrogate, unit_log_ratios
from cairn.ops.packing import Packing
from cairn.ops.values import generalized_advantages
from cairn.ops.whiten import whiten
from cairn.rollouts import Credit, Rollouts


def turn_advantages(rewards: Tensor, values: Tensor, spoken: Tensor, gamma: float, lambda_: float) -> Tensor:
    """Return GAE over the turns in which something was said. All (R, K); `spoken` may have holes. 0 off `spoken`."""
    turns = Packing.of(spoken)
    packed = generalized_advantages(turns.pack(rewards), turns.pack(values), turns.mask, gamma, lambda_)
    return turns.unpack(packed)


@dataclass(frozen=True)
class TurnPPO(Method):
    """GAE, ratio and clip by turn, with a learned critic; see the module for the formula."""

    gamma: float = 0.99  # about, by third-party summaries of arXiv 2512.17008
    lambda_: float = 0.9  # the same
    ratio: Literal["product", "geometric_mean"] = "product"  # a third party's code; an aggregator has the other
    whiten: bool = True  # our reading

    needs: ClassVar[frozenset[str]] = frozenset({"learned_critic", "turn_boundaries", "reference_policy"})

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each turn with its generalised advantage."""
        advantages = self._advantages(rollouts)
        spoken = rollouts.turn_tokens() > 0
        return Credit(rollouts.spread_turns(whiten(advantages, spoken) if self.whiten else advantages))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        """Clipped surrogate with one ratio for each turn, plus KL; each turn counts once."""
        mask, turns = credit.trained(rollouts.action_mask), rollouts.units("turn")
        reduce: Literal["sum", "mean"] = "sum" if self.ratio == "product" else "mean"
        ratio = unit_log_ratios(logprobs, rollouts.logprobs_behaviour, mask, turns, reduce).exp()
        per_token = surrogate(ratio, credit.advantages, self.clip_ratio, self.clip_ratio)
        return mean_over_units(self.with_kl(per_token, logprobs, rollouts), mask, turns)

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Regress the critic on advantage plus value, before the first token of each turn and nowhere else."""
        targets = rollouts.spread_turns(self._advantages(rollouts) + self._values(rollouts))
        services.fit_critic(rollouts.replace(action_mask=rollouts.turn_starts()), targets)

    def _values(self, rollouts: Rollouts) -> Tensor:
        return rollouts.first_of_turns(rollouts.require("values"))

    def _advantages(self, rollouts: Rollouts) -> Tensor:
        rewards = rollouts.sum_over_turns(rollouts.token_rewards())
        spoken = rollouts.turn_tokens() > 0
        return turn_advantages(rewards, self._values(rollouts), spoken, self.gamma, self.lambda_)
