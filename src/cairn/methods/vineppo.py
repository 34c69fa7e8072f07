"""VinePPO: a step is credited with the change in Monte Carlo value that it caused.

From every boundary the current policy plays on K times; the mean return is an unbiased value of that state, so no
critic has to be learnt.

    V(s_k) = mean of K returns of continuations from s_k,   V(terminal) = 0
    A_k    = r_k + gamma V(s_{k+1}) - V(s_k), copied to the action tokens of step k, then whitened over the batch

Shapes: turn values (R, K), advantages (B, T). Source: arXiv 2410.01679, read in McGill-NLP/VinePPO:src/treetune/
episode_generators/math_episode_generator_with_mc_advantages.py (K 9, gamma 1, identical prefixes sampled once,
whitening over response tokens). What differs: the boundaries here are turns, the paper's are reasoning steps, which
are the turns of the task `chain`. A prefix counts as identical when environment state and prompt agree. The code
whitens within each backward pass, a part of the batch. The released cap is off unless `max_valued_steps` is set: then
the start and the states after so many steps are valued, and the realised return stands in for later values. The step
after the last valued state thus takes all that is still to come, and those behind it get 0.
Limits: with gamma 1 the advantages of a rollout telescope to its return minus V(s_0).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.returns import returns_to_go, rewards_at_turns
from cairn.ops.whiten import whiten
from cairn.rollouts import Credit, Rollouts


def value_differences(rewards: Tensor, values: Tensor, turn_mask: Tensor, gamma: float) -> Tensor:
    """Return r_k + gamma V_{k+1} - V_k with V = 0 after the last turn. All (R, K)."""
    after = torch.nn.functional.pad(values * turn_mask, (0, 1))[:, 1:]
    return (rewards + gamma * after - values) * turn_mask


@dataclass(frozen=True)
class VinePPO(Method):
    """Monte Carlo values at turn boundaries; see the module for the formula."""

    continuations: int = 9  # K, McGill-NLP/VinePPO configs
    gamma: float = 1.0  # McGill-NLP/VinePPO configs
    kl_coefficient: float = 1e-4  # McGill-NLP/VinePPO configs
    whiten: bool = True  # McGill-NLP/VinePPO:src/treetune/trainers/ppo_trainer.py
    max_valued_steps: int | None = None  # 20, or 25 for GSM8K, in McGill-NLP/VinePPO configs

    needs: ClassVar[frozenset[str]] = frozenset({"mc_continuations", "segmenting", "reference_policy"})
    invariants: ClassVar[frozenset[str]] = frozenset({"telescopes"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch, then K continuations from the start of every turn."""
        rollouts = services.rollouts()
        return rollouts.replace(turn_values=services.continuations(rollouts, self.continuations).mean(-1))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit each turn with its value difference."""
        mask = rollouts.turn_mask
        rewards = rewards_at_turns(rollouts.turn_rewards, rollouts.terminal_rewards, mask)
        advantages = rollouts.spread_turns(value_differences(rewards, self._values(rollouts), mask, self.gamma))
        return Credit(whiten(advantages, rollouts.action_mask) if self.whiten else advantages)

    def _values(self, rollouts: Rollouts) -> Tensor:
        values = rollouts.require("turn_values")
        if self.max_valued_steps is None:
            return values
        realised = returns_to_go(rollouts.turn_rewards, rollouts.terminal_rewards, rollouts.turn_mask, self.gamma)
        valued = torch.arange(realised.shape[1], device=realised.device) <= self.max_valued_steps
        return torch.where(valued, values, realised)
