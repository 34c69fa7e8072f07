"""SPA-RL: the outcome, divided among the turns by an estimator whose shares add up to it, is PPO's reward.

A progress estimator reads the interaction up to the end of a turn and says what the turn contributed. It sees nothing
but outcomes: only the sum of its contributions is trained to be the outcome. What is left to it is which turns those
are that rollouts with another outcome do not have.

    loss of the estimator = (sum_k c_k - R)^2 for each rollout
    r_k = c_k + g_k,   g_k = 0.5 where the environment did something with the turn, else 0;   the last turn always 0.5
    A   = GAE over the tokens with r_k at the last token of turn k and nothing else, then whitened

Shapes: contributions, step rewards (R, K), advantages (B, T). Source: arXiv 2505.20732, abstract (the full text was not
read); WangHanLinHenry/SPA-RL-Agent:prm/train_our_progress_model.py (the loss; a linear layer at a turn's last token),
prm/rl_data_org.py (grounding), ppo/step_ppotrainer.py (where the rewards stand). gamma 1, lambda 0.95 and whitening are
those of trl 0.10.1, since the authors' PPO configuration is not public. What differs: estimator and critic are heads
of one copy of the initial policy's body, read at the end of a turn and before it (the value counts for all tokens of
the turn), which learns online, a step on each batch after it was asked; the authors have a model for each, and fit the
estimator once, on stored rollouts that they then annotate and train on. That nothing happened is read from a raw
observation that stays as it was; the code looks for a phrase. KL stands in the loss, as for every arm. The released
WebShop script puts the outcome less the mean of the task's other rollouts in the place of every c_k, and the released
trainer multiplies r_k by the turns that follow, so that the last turn gets 0 (`contributions`, `times_remaining`).
Limits: at gamma 1 and lambda 0, without grounding and with an estimator that fits, the advantages of a rollout's tokens
sum to R - V_0; with the outcome in the last turn (`contributions="outcome"`) and no grounding it is `ppo-gae`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import ActionValues, Services
from cairn.methods.ppo_gae import PPOGAE
from cairn.ops.groups import leave_one_out
from cairn.ops.returns import last_steps, rewards_at_turns
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
    """Return targets towards which squared error has, at c, the gradient of (sum_k c_k - R)^2 at every turn, twice.

    contributions: (R, K, 2), two heads whose mean is c. outcomes: (R,). Returns (R, K, 2). The squared error that is
    meant is summed over turns and heads.
    """
    excess = contributions.mean(-1).sum(1) - outcomes
    return contributions - excess[:, None, None]


@dataclass(frozen=True)
class SPARL(PPOGAE):
    """Contributions of a learned estimator and a grounding signal, as rewards of PPO; see the module."""

    lambda_: float = 0.95  # trl 0.10.1; the authors' configuration is not public
    grounding: float = 0.5  # WangHanLinHenry/SPA-RL-Agent:prm/rl_data_org.py
    # The paper; the released script; and two baselines, the outcome in the last turn and nothing at all.
    contributions: Literal["estimated", "leave_one_out", "outcome", "none"] = "estimated"
    times_remaining: bool = False  # arXiv 2505.20732, abstract; True in ppo/step_ppotrainer.py

    needs: ClassVar[frozenset[str]] = frozenset({"action_critic", "state_keys", "turn_boundaries"}) | PPOGAE.needs

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch, and ask what each turn contributed and what the state before it is worth."""
        rollouts = services.rollouts()
        said = services.action_values(rollouts)
        values = rollouts.spread_turns(said.states.mean(-1))
        return rollouts.replace(turn_scores=said.actions.mean(-1), values=values)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit as PPO does, where every turn is paid its own."""
        return super().credit(self.paid(rollouts))

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Step down the estimator's loss, and towards the lambda-return from the start of each turn."""
        said, values = services.action_values(rollouts), rollouts.require("values")
        shares = said.actions
        if self.contributions == "estimated":
            shares = sum_targets(shares, rollouts.returns.to(shares.dtype))
        returns = rollouts.first_of_turns(self._advantages(self.paid(rollouts)) + values)
        goals = ActionValues(shares, returns[..., None].expand(said.states.shape))
        services.fit_action_values(rollouts, goals, torch.ones_like(rollouts.truncated), 0.0)

    def paid(self, rollouts: Rollouts) -> Rollouts:
        """Return the batch in which each turn is paid r_k, and nothing else is paid."""
        rewards = self.step_rewards(rollouts).to(rollouts.turn_rewards.dtype)
        return rollouts.replace(turn_rewards=rewards, terminal_rewards=torch.zeros_like(rollouts.terminal_rewards))

    def step_rewards(self, rollouts: Rollouts) -> Tensor:
        """Return r_k, (R, K)."""
        mask = rollouts.turn_mask
        grounded = grounding_signal(rollouts.require("observation_keys"), mask, self.grounding)
        rewards = self._contributions(rollouts) * mask + grounded
        return rewards * remaining(mask) if self.times_remaining else rewards

    def _contributions(self, rollouts: Rollouts) -> Tensor:
        """Return c_k, (R, K)."""
        if self.contributions == "estimated":
            return rollouts.require("turn_scores")
        if self.contributions == "outcome":
            return rewards_at_turns(rollouts.turn_rewards, rollouts.terminal_rewards, rollouts.turn_mask)
        outcomes = torch.zeros_like(rollouts.returns)
        if self.contributions == "leave_one_out":
            outcomes = leave_one_out(rollouts.returns, rollouts.group_ids)
        return outcomes[:, None].expand(rollouts.turn_mask.shape)
