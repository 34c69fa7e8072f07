"""A credit assignment method, stated by what it changes in plain GRPO.

`Method` is GRPO (arXiv 2402.03300; defaults as in volcengine/verl:verl/trainer/ppo/core_algos.py). A method of the
catalogue subclasses it in `cairn/methods/<id_>.py`, adds its hyperparameters as fields and overrides only the stages
that its paper changes:

    collect -> filter -> reward -> credit -> loss,  and fit for auxiliary models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from cairn.ops.groups import standardise
from cairn.ops.losses import clipped_surrogate, low_variance_kl, masked_mean
from cairn.rollouts import Credit, Rollouts

STAGES = ("collect", "filter", "reward", "credit", "loss", "fit")


# What may be put before the rows of a batch before they are scored again.
Given = Literal["nothing", "outcome", "success", "failure", "hint", "answer"]


class ActionValues(NamedTuple):
    """What a critic of actions thinks of each turn, by each of two heads; 0 where nothing was said."""

    actions: Tensor  # (R, K, 2) of what was said, in its state
    states: Tensor  # (R, K, 2) of the state before it


class Services(Protocol):
    """The only door to anything that costs. Every call is billed to the arm's ledger."""

    def rollouts(self) -> Rollouts:
        """Sample one batch of rollouts from the current policy."""

    def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
        """Fork before every turn and play to the end `count` times with the current policy.

        Returns the returns-to-go, (R, K, count) float, 0 where the turn did not take place. Turns that start from the
        same state share their continuations, which are sampled (and billed) once. Needs `mc_continuations`.
        """

    def fork(self, rollouts: Rollouts, rollout: Tensor, turn: Tensor, *, after: bool = False) -> Rollouts:
        """Let new rollouts leave given ones, and play them to the end with the current policy.

        rollout, turn: (F,) long. New rollout f shares all turns of `rollouts` number `rollout[f]` before turn
        `turn[f]` and, with `after`, the action taken in that turn, which the environment answers anew. Turns that are
        named several times give several new rollouts. The batch that comes back holds the new rollouts alone, each
        whole: the turns that it took over, with their tokens and log-probs, and those that it played (which alone are
        billed). Its `parent_ids` and `fork_turns` say where each one left; `cairn.ops.batches.concatenate` joins it to
        the others. New rollouts can be forked again. Raises ValueError for a turn that did not take place, or for a
        rollout that was not sampled in this update. Needs `env_fork` or `tree_rollouts`.
        """

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """Take one optimiser step of the critic towards `targets` (B, T) on action tokens; return the squared error.

        A batch whose `action_mask` was narrowed is fitted there alone. Needs `learned_critic`.
        """

    def action_values(self, rollouts: Rollouts, *, lagging: bool = False) -> ActionValues:
        """Ask a critic of actions, or the copy that lags behind it, what it thinks of each turn.

        It starts from the initial policy's body, with heads that differ. Needs `action_critic`, and `learned_critic`
        beside it: the critic of this run is this one, so that no batch comes with `values`.
        """

    def fit_action_values(
        self, rollouts: Rollouts, targets: ActionValues, teaches_states: Tensor, follow: float
    ) -> float:
        """Take one optimiser step of the critic of actions towards `targets`, and let its copy follow.

        teaches_states: (R,) bool, the rollouts on which the heads of states learn; those of actions learn on all.
        follow: how much of the way to the critic its copy goes. Returns the squared error before the step, summed over
        heads. Needs `action_critic`.
        """

    def ablated(self, rollouts: Rollouts, absent: Tensor) -> Rollouts:
        """Play each rollout again, with the same dice, without some agents; the others speak anew.

        rollouts: as `rollouts()` returned them in this update. absent: bool, (R, A) or (A,), the agents who are left
        out of each; agents beyond the last one named, who need not have acted in the batch, are there. Returns as many
        rollouts in the same order, with the turns of those who were there and the return that they earned (no
        `state_handles`). Needs `agent_ids`.
        """

    def returns_without(self, rollouts: Rollouts, absent: Tensor) -> Tensor:
        """(R,) return of each rollout with the words of some agents taken out and everybody else's kept.

        Arguments, dice and need as of `ablated`. Nothing is generated; the environment is stepped.
        """

    def turn_scores(self, rollouts: Rollouts) -> Tensor:
        """Ask the arm's scorer, as a step PRM, for a score of each turn: (R, K), 0 where none took place.

        It is read with all turns before it; higher is better, 1 and 0 are right and wrong. Needs `prm`.
        """

    def rollout_scores(self, rollouts: Rollouts) -> Tensor:
        """Ask the arm's scorer, as a reward model, for a score of each rollout, (R,). Needs `reward_model`."""

    def marks(self, rollouts: Rollouts, votes: int) -> Tensor:
        """Ask the arm's scorer, as a judge, `votes` times which turns are right (1) and wrong (0).

        Returns (R, K, votes), 0 where no turn took place. Needs `judge`.
        """

    def rescored_logprobs(self, rollouts: Rollouts, given: Given) -> Tensor:
        """Score the action tokens again under the current policy, with a text of the task put before each row: (B, T).

        given: `success` or `failure` (that the task was, or was not, solved), `outcome` (whichever is true of the
        rollout: its return is above 0, or not), `hint` (what helps to solve it) or `answer` (the gold answer). With
        `nothing` no text is put before. 0 off action tokens. Raises UserError where the task has no such text. Needs
        `rescoring`.
        """

    def answer_logprobs(self, rollouts: Rollouts, of: Tensor | None = None) -> Tensor:
        """(R, K): how likely the policy thinks the gold answer, if it were given in place of turn k.

        Mean log-prob over the tokens of the answer, in nats, right behind the prompt of the turn; 0 where no turn took
        place or nothing was said in it. of: (R,) long, the rollout of whose task the answer is, for controls that put
        a wrong one; None for each rollout's own. Raises UserError where the task has no answer. Needs `rescoring`.
        """

    def second_logprobs(self, rollouts: Rollouts) -> Tensor:
        """Log-probs (B, T) of the action tokens under a second model; 0 off actions.

        It starts as the initial policy, and `fit_second` trains it. What it began as is the reference policy, whose
        log-probs the need `reference_policy` brings. Needs `prm` or `reward_model`.
        """

    def fit_second(self, rollouts: Rollouts, loss: Callable[[Tensor], Tensor], learning_rate: float) -> float:
        """Take one optimiser step of the second model down a loss of the method's own; return the loss before it.

        loss: from log-probs (B, T) with gradient to one number. One that does not depend on them makes no step.
        Raises FloatingPointError where loss or gradient is not finite. Needs `prm` or `reward_model`.
        """

    def replay(self, count: int) -> tuple[Rollouts, ...]:
        """Return what was sampled in the last `count` earlier updates of this run, oldest first, as it was sampled.

        There are fewer at the beginning of a run, and never more than `cairn.lab.buffer.CAPACITY` updates. They can be
        learnt from and scored; they cannot be forked or continued. Needs `off_policy_buffer`.
        """

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:
        """(R, K) exact advantages under the current policy. Only for controls: needs `oracle`."""


@dataclass(frozen=True)
class Method:
    """Plain GRPO in every stage. Fields are hyperparameters, each with the source of its default."""

    clip_ratio: float = 0.2  # verl and TRL default
    kl_coefficient: float = 0.001  # verl default for the KL term in the loss
    scale_by_std: bool = True  # arXiv 2402.03300, section 4.1.2; False is the form of Dr. GRPO
    epsilon: float = 1e-6  # verl

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy"})
    invariants: ClassVar[frozenset[str]] = frozenset()
    limits: ClassVar[tuple[Limit, ...]] = ()

    def collect(self, services: Services) -> Rollouts:
        """Return the batch that the update learns from, with whatever extra estimates the method pays for."""
        return services.rollouts()

    def filter(self, rollouts: Rollouts) -> Tensor:
        """Return (R,) bool: the rollouts that are kept. The others leave the batch before rewards are compared."""
        return torch.ones_like(rollouts.terminal_rewards, dtype=torch.bool)

    def reward(self, rollouts: Rollouts) -> Rollouts:
        """Return the batch with its rewards replaced, where a method reshapes them."""
        return rollouts

    def credit(self, rollouts: Rollouts) -> Credit:
        """Give every action token of a rollout the group-standardised return of the rollout."""
        advantages = standardise(rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon)
        return Credit(rollouts.spread_rollouts(advantages))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        """Clipped surrogate plus KL to the initial policy, averaged over the action tokens of the batch.

        logprobs: (B, T) of the policy being trained, with gradient. Returns a scalar to be minimised.
        """
        per_token = clipped_surrogate(logprobs, rollouts.logprobs_behaviour, credit.advantages, self.clip_ratio)
        return masked_mean(self.with_kl(per_token, logprobs, rollouts), credit.trained(rollouts.action_mask))

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Train auxiliary models on the batch. Plain GRPO has none."""

    def remember(self, rollouts: Rollouts) -> Any:
        """Return what the next update shall know: a running baseline, a moving average, the place in a curriculum.

        rollouts: the batch as `credit` saw it, with what was remembered before (`Rollouts.recall`). The result, best a
        frozen dataclass, stands in the next batch for every stage from `filter` on, and is never written into. It
        belongs to one run and ends with it. Where `filter` leaves no rollout it stays as it was. Plain GRPO keeps
        nothing. Not a stage of its own: what is remembered changes a batch only through the stage that recalls it.
        """

    @property
    def passes(self) -> int:
        """How many steps of the optimiser are taken on one batch, each billed.

        Past the first one the policy has left the one that sampled: only there do ratios and clipping speak. A method
        whose paper takes more than one gives `passes` as a field.
        """
        return 1

    def with_kl(self, per_token: Tensor, logprobs: Tensor, rollouts: Rollouts) -> Tensor:
        """Add the KL to the initial policy to a loss (B, T); for those who override `loss`."""
        if not self.kl_coefficient:
            return per_token
        return per_token + self.kl_coefficient * low_variance_kl(logprobs, rollouts.require("logprobs_reference"))


@dataclass(frozen=True)
class Limit:
    """A setting in which a rule gives the credit of another one on every batch.

    settings: hyperparameters by name, on top of the defaults. becomes: the other rule.
    """

    settings: Mapping[str, Any]
    becomes: Method


def overridden_stages(method: type[Method]) -> tuple[str, ...]:
    """Return the stages that a method changes, in pipeline order: its `hooks`."""
    return tuple(stage for stage in STAGES if getattr(method, stage) is not getattr(Method, stage))
