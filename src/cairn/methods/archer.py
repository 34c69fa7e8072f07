"""ArCHer: a critic of utterances, learnt off-policy by temporal differences, credits the tokens of a turn alike.

The upper level is a decision process whose actions are utterances: Q values what was said in its state, V the state.
The lower level is a policy gradient on tokens, in which all tokens of an utterance share its advantage.

    A(s, a) = min(Q1, Q2)(s, a) - min(V1, V2)(s)
    Q_i(s, a) -> r + gamma Vlag_i(s'), V = 0 after the end;   V_i(s) -> Qlag_i(s, a) with a from the current policy
    loss      = - mean over utterances of A times the sum over tokens of log pi

Shapes: values of actions and states (R, K, 2), rewards and advantages (R, K), credit (B, T). Source: arXiv 2402.19446,
read in YifeiZhou02/ArCHer:archer/algorithms/archer/trainer.py and scripts/config/default.yaml (gamma 0.95, 50 critic
steps on 256 utterances, 20 updates of warm-up, a copy that follows by 0.1; no ratio, clip, KL or normalisation). What
differs: the code samples a new utterance at each stored state for V's target and for the policy, 3 times an update;
here these learn on the newest batch, which the current policy has just said, and only Q learns from what is stored. A
batch of the critic is drawn half from the newest rollouts, half from stored ones. The critic is fitted after the
policy's step and so lags by one update. Its heads are linear and read the last state of the policy's own kind of body;
there they are MLPs on a RoBERTa encoder. A turn without tokens is stepped over; a truncated rollout counts as ended.
Limits: where V is the mean of Q under the policy, this is the policy gradient with a baseline; no other rule's limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cairn.method import ActionValues, Method, Services
from cairn.ops.batches import concatenate, select
from cairn.ops.packing import Packing
from cairn.rollouts import Credit, Rollouts


def utterance_advantages(values: ActionValues) -> Tensor:
    """Return the lower of the heads' opinions of what was said, less that of the state: (R, K)."""
    return values.actions.amin(-1) - values.states.amin(-1)


def temporal_targets(rewards: Tensor, spoken: Tensor, lagging: ActionValues, gamma: float) -> ActionValues:
    """Return what the heads shall learn, each from its own lagging twin, (R, K, 2); 0 where nothing was said.

    rewards: (R, K), paid at turns in which something was `spoken` (R, K) bool; the next state is that of the next one.
    """
    turns = Packing.of(spoken)
    heads = [turns.pack(lagging.states[..., i]) for i in range(lagging.states.shape[-1])]
    nexts = [turns.unpack(torch.nn.functional.pad(head, (0, 1))[:, 1:]) for head in heads]
    actions = (rewards[..., None] + gamma * torch.stack(nexts, -1)) * spoken[..., None]
    return ActionValues(actions, lagging.actions * spoken[..., None])


@dataclass(frozen=True)
class ArCHer(Method):
    """Utterance-level critic, token-level policy; see the module for the formulas."""

    gamma: float = 0.95  # YifeiZhou02/ArCHer:scripts/config/default.yaml
    critic_steps: int = 50  # in an update; the same
    critic_rollouts: int = 16  # in a step; the code draws 8 x 32 utterances, of dialogues of 20 turns at most
    warm_up: int = 20  # updates in which the critic learns alone; the same
    follow: float = 0.1  # the same, as `tau`
    stored_updates: int = 64  # what a buffer holds; 100,000 utterances in the code. 0: on-policy

    needs: ClassVar[frozenset[str]] = frozenset(
        {"learned_critic", "action_critic", "turn_boundaries", "off_policy_buffer"}
    )

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch and ask the critic about each turn."""
        rollouts = services.rollouts()
        return rollouts.replace(turn_scores=utterance_advantages(services.action_values(rollouts)))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Spread the critic's advantages over the tokens of their turns; train on none during the warm-up."""
        warm = rollouts.recall(0) >= self.warm_up
        return Credit(rollouts.spread_turns(rollouts.require("turn_scores")), rollouts.action_mask & warm)

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        """Policy gradient on tokens, summed in a turn and averaged over turns."""
        mask = credit.trained(rollouts.action_mask)
        turns = (mask & rollouts.turn_starts()).sum().clamp_min(1)
        return -(credit.advantages * logprobs * mask).sum() / turns

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Let the critic take its steps on rollouts drawn from this batch and from stored ones."""
        stored = services.replay(self.stored_updates)
        pool = concatenate([rollouts, *stored])
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        newest, all_ = len(rollouts.group_ids), len(pool.group_ids)
        for _ in range(self.critic_steps if newest else 0):
            half = torch.arange(self.critic_rollouts) * 2 < self.critic_rollouts
            fresh = half if stored else torch.ones_like(half)
            draw = torch.rand(self.critic_rollouts, generator=generator)
            index = torch.where(fresh, draw * newest, newest + draw * (all_ - newest)).long()
            self._step(select(pool, index), fresh, services)

    def remember(self, rollouts: Rollouts) -> int:
        """Count the updates."""
        return rollouts.recall(0) + 1

    def _step(self, batch: Rollouts, fresh: Tensor, services: Services) -> None:
        rewards, spoken = batch.sum_over_turns(batch.token_rewards()), batch.turn_tokens() > 0
        targets = temporal_targets(rewards, spoken, services.action_values(batch, lagging=True), self.gamma)
        services.fit_action_values(batch, targets, fresh, self.follow)
