"""The one training loop. What a method changes is in its stages; everything else is here and the same for all arms."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from cairn.lab.controls import NullControl
from cairn.lab.critic import critic_for
from cairn.lab.forms import prompt_form
from cairn.lab.guard import at_work
from cairn.lab.ledger import Ledger
from cairn.lab.model import LanguageModel
from cairn.lab.reading import action_logprobs
from cairn.lab.scorers import Scorer, Site
from cairn.lab.services import Models, TabularServices
from cairn.lab.task import Prompt
from cairn.method import Method
from cairn.ops.groups import group_std
from cairn.rollouts import Credit, Rollouts

EVALUATION = 1_000_000_009  # keeps the dice of evaluations apart from those of the services


@dataclass(frozen=True)
class TrainSettings:
    """What the protocol fixes for all arms alike."""

    updates: int
    tasks_per_update: int
    group_size: int
    learning_rate: float
    clip_norm: float
    evaluate_every: int  # updates
    critic_learning_rate: float
    prompt: Prompt = "windowed"  # the form of the prompt
    evaluation_episodes: int = 16  # in each instance, for each point of the curve; where success cannot be exact
    flops_budget: float | None = None  # stop at this many FLOPs instead of after `updates`
    max_updates: int | None = None  # where a budget in FLOPs would take too long


@dataclass(frozen=True)
class Point:
    """One evaluation on the curve; `success` is the success probability on the evaluation panel.

    It is exact where `extra` does not give its `success_standard_error`.
    """

    update: int
    success: float
    spent: dict[str, float | int]
    extra: dict[str, float]


@dataclass(frozen=True)
class Panel:
    """The fixed instances, of one kind: the arm draws its training from `train` and is evaluated on `evaluation`."""

    train: tuple[Any, ...]
    evaluation: tuple[Any, ...]


class Trainer:
    """Trains one arm. Iterate it to train; each item is a `Point`."""

    def __init__(
        self,
        model: LanguageModel,
        method: Method,
        null: NullControl,
        panel: Panel,
        settings: TrainSettings,
        seed: int,
        scorer: Scorer | None = None,
    ) -> None:
        """Take a fresh copy of the initial model; `model` itself stays the reference."""
        self.ledger = Ledger()
        self.turns: list[int] = []
        self.turn_tokens: list[int] = []
        self.gradient_norms: list[float] = []  # of each step of the policy, before it is clipped
        self._memory: Any = None  # the method's, from update to update
        self._updates = 0  # made so far
        self._curve: list[Point] = []
        self.method, self.null, self._panel, self._settings, self._seed = method, null, panel, settings, seed
        self.scorer, self._stages = scorer, at_work(method)
        self.form = prompt_form(settings.prompt, model.tokenizer, settings.evaluation_episodes)
        self._models = Models(
            policy=dataclasses.replace(model, network=copy.deepcopy(model.network)),
            reference=model,
            critic=critic_for(method.needs, model, settings.critic_learning_rate, settings.clip_norm),
            scorer=None if scorer is None else scorer.open(Site(model, self.form, panel.train, seed)),
            clip_norm=settings.clip_norm,
            critic_learning_rate=settings.critic_learning_rate,
        )
        self._optimiser = torch.optim.AdamW(
            self._models.policy.network.parameters(), lr=settings.learning_rate, weight_decay=0.0
        )

    @property
    def policy(self) -> LanguageModel:
        """Return the policy in training."""
        return self._models.policy

    def __iter__(self) -> Iterator[Point]:
        """Train to the end of the budget, yielding the curve from its beginning."""
        yield from tuple(self._curve)
        if not self._curve:
            yield self._mark({})
        while not self._spent():
            extra = self.step(self._updates)
            self._updates += 1
            if self._updates % self._settings.evaluate_every == 0 or self._spent():
                yield self._mark(extra)

    def extend(self, settings: TrainSettings) -> bool:
        """Take another budget, with which to go on as if it had been this one from the start.

        settings: those of now, but for the budget. Returns whether that is possible: False, and nothing has changed,
        where as much is spent already.
        """
        before, self._settings = self._settings, settings
        if self._spent():
            self._settings = before
            return False
        self._curve = [point for point in self._curve if point.update % settings.evaluate_every == 0]
        return True

    def _mark(self, extra: dict[str, float]) -> Point:
        self._curve.append(self.evaluate(self._updates, extra))
        return self._curve[-1]

    def step(self, update: int) -> dict[str, float]:
        """Make one update; return what a curve should show of it, nothing where the filter leaves no rollout.

        Where there is no token to be trained on, by the credit's loss mask or because nothing was said, the policy
        stays as it is and there is no `loss` to show; auxiliary models are fitted all the same.

        Raises FloatingPointError when the loss or its gradient is not finite.
        """
        services = self._services(update)
        rollouts = self._stages.collect(services.door).replace(needs=None, memory=self._memory)
        spread = _return_spread(rollouts)
        rollouts = rollouts.keep_rollouts(self._stages.filter(rollouts.declare(self.method.needs)))
        if not rollouts.group_ids.numel():
            return {}
        rollouts = self.null.rollouts(self._stages.reward(services.attach(rollouts)))
        seen = rollouts.declare(self.method.needs)
        credit = self.null.credit(self._stages.credit(seen), rollouts)
        learned = self._learn(*_for_the_loss(seen, credit, services), services, update)
        self._stages.fit(seen, services.door)
        self._memory = self._stages.remember(seen)
        self._note_lengths(rollouts)
        return {
            **learned,
            **services.notes,
            "batch_return": float(rollouts.returns.mean()),
            **spread,
            **_mean_entropy(rollouts),
            **_distance(rollouts),
        }

    def evaluate(self, update: int, extra: dict[str, float]) -> Point:
        """Measure success on the evaluation panel under the current policy. Not billed."""
        player = self.form.player(self._models.policy, self._panel.evaluation)
        success = player.success(np.random.default_rng([self._seed, update, EVALUATION]))
        error = success.standard_error
        stated = {} if error is None else {"success_standard_error": error}
        return Point(update, success.mean, self.ledger.totals(), {**extra, **stated})

    def _spent(self) -> bool:
        settings, update = self._settings, self._updates
        if settings.flops_budget is None:
            return update >= settings.updates
        return self.ledger.flops >= settings.flops_budget or update >= (settings.max_updates or update + 1)

    def _services(self, update: int) -> TabularServices:
        rng = np.random.default_rng([self._seed, update, len(self._panel.train)])
        chosen = rng.choice(len(self._panel.train), self._settings.tasks_per_update, replace=False)
        return TabularServices(
            self._models,
            self.form,
            self.ledger,
            self.method.needs,
            instances=[self._panel.train[i] for i in chosen],
            group_size=self._settings.group_size,
            seed=(self._seed, update),
        )

    def _learn(self, rollouts: Rollouts, credit: Credit, services: TabularServices, update: int) -> dict[str, float]:
        """Return loss and gradient norm of the last pass over the batch, nothing where no token is to be trained on."""
        learned: dict[str, float] = {}
        for _ in range(self.method.passes if credit.trained(rollouts.action_mask).any() else 0):
            loss, norm = self._step(rollouts, credit, update)
            services.bill_training(rollouts)
            self.gradient_norms.append(norm)
            learned = {"loss": loss, "gradient_norm": norm}
        return learned

    def _step(self, rollouts: Rollouts, credit: Credit, update: int) -> tuple[float, float]:
        logprobs = action_logprobs(self._models.policy.network, rollouts)
        loss = self._stages.loss(logprobs, rollouts, credit)
        self._optimiser.zero_grad()
        loss.backward()
        weights = self._models.policy.network.parameters()
        norm = nn.utils.clip_grad_norm_(weights, self._settings.clip_norm)
        if not (loss.isfinite() and norm.isfinite()):
            raise FloatingPointError(f"update {update}: loss {float(loss.detach())}, gradient norm {float(norm)}")
        self._optimiser.step()
        return float(loss.detach()), float(norm)

    def _note_lengths(self, rollouts: Rollouts) -> None:
        self.turns += rollouts.turn_mask.sum(1).tolist()
        tokens = torch.zeros(rollouts.group_ids.shape[0], dtype=torch.long)
        self.turn_tokens += tokens.index_add(0, rollouts.row_rollout, rollouts.action_mask.sum(1)).tolist()


def drop_rows(rollouts: Rollouts, credit: Credit) -> tuple[Rollouts, Credit]:
    """Leave out the rows of which the credit's loss mask keeps no token: nothing is learnt there."""
    if credit.loss_mask is None:
        return rollouts, credit
    rows = credit.trained(rollouts.action_mask).any(1)
    return rollouts.keep_rows(rows), credit.keep_rows(rows)


def _for_the_loss(rollouts: Rollouts, credit: Credit, services: TabularServices) -> tuple[Rollouts, Credit]:
    """Drop rows; the reference then reads those that are left as the policy will, among themselves."""
    kept, credit = drop_rows(rollouts, credit)
    return (kept if len(kept.row_rollout) == len(rollouts.row_rollout) else services.refer(kept)), credit


def _return_spread(rollouts: Rollouts) -> dict[str, float]:
    """Standard deviation of the returns inside a group, mean over what was collected; without it there is no signal."""
    if not rollouts.group_ids.numel():
        return {}
    return {"return_spread": float(group_std(rollouts.returns, rollouts.group_ids).mean())}


def _mean_entropy(rollouts: Rollouts) -> dict[str, float]:
    spoken = rollouts.require("entropies")[rollouts.action_mask]
    return {"entropy_nats": float(spoken.mean())} if spoken.numel() else {}


def _distance(rollouts: Rollouts) -> dict[str, float]:
    """KL to the initial policy, nats a rollout, where its log-probs are there: the mean of the rollouts' log-ratios."""
    reference = rollouts.logprobs_reference
    if reference is None:
        return {}
    return {"kl_nats": float(rollouts.sum_over_rollouts(rollouts.logprobs_behaviour - reference).mean())}
