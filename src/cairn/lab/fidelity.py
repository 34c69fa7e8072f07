"""Fidelity: how close the credit that a rule hands out comes to exact credit, under one fixed policy."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
from torch import Tensor

from cairn.lab.controls import NullControl
from cairn.lab.credit_figures import compare_credit
from cairn.lab.critic import critic_for
from cairn.lab.forms import prompt_form
from cairn.lab.guard import at_work
from cairn.lab.instance import Instance
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, TrainSettings
from cairn.lab.model import LanguageModel
from cairn.lab.players import Player, PromptForm
from cairn.lab.scorers import Scorer, Site
from cairn.lab.services import Models, TabularServices
from cairn.lab.task import Prompt
from cairn.method import Method, overridden_stages
from cairn.rollouts import Credit, Rollouts

STREAM = 1_000_000_007  # keeps these draws apart from those of training
FIT_BATCHES = 20


@dataclass(frozen=True)
class Rule:
    """What hands out credit: a method, what a control does to it, and who scores for it."""

    method: Method
    null: NullControl = field(default_factory=NullControl)
    scorer: Scorer | None = None

    @property
    def learns(self) -> bool:
        """Say whether it has models or a memory of its own, which must grow before its credit means anything."""
        remembers = type(self.method).remember is not Method.remember
        return remembers or "fit" in overridden_stages(type(self.method))


@dataclass(frozen=True)
class Given:
    """A batch and the credit that a rule gave it.

    sampled: what was collected, R rollouts. kept: (R,) what the filter let pass. rollouts: those, as the loss reads
    them.
    """

    sampled: Rollouts
    kept: Tensor
    rollouts: Rollouts
    credit: Credit

    def turns(self) -> Tensor:
        """Return the mean credit over the tokens of each turn of what was sampled, (R, K).

        It is 0 where no credit reaches the loss: in rollouts that were dropped, and on tokens outside the loss mask.
        """
        advantages, mask = self.credit.advantages, self.credit.loss_mask
        left = self.rollouts.replace(needs=None).mean_over_turns(advantages if mask is None else advantages * mask)
        return left.new_zeros(self.sampled.turn_mask.shape).masked_scatter(self.kept[:, None], left)


@dataclass(frozen=True)
class Batch:
    """What is sampled: `group_size` rollouts in each instance, with the dice of `seed` = (run, batch)."""

    form: PromptForm[Any]
    instances: Sequence[Instance]
    group_size: int
    seed: tuple[int, int]


class FixedForm:
    """A prompt form for a policy that stays as it is: a set of instances is read once."""

    def __init__(self, form: PromptForm[Any], model: LanguageModel) -> None:
        """Read with `model`, whatever player is asked for later."""
        self._read = lru_cache(maxsize=2)(partial(form.player, model))
        self.has_exact_credit, self.evaluation = form.has_exact_credit, form.evaluation

    def player(self, model: LanguageModel, instances: Sequence[Any]) -> Player[Any]:  # noqa: ARG002 - the fixed one
        """See `PromptForm.player`."""
        return self._read(tuple(instances))


class CreditSource:
    """Asks one rule for credit, batch by batch, under a policy that stays as it is."""

    def __init__(self, model: LanguageModel, rule: Rule, settings: TrainSettings) -> None:
        """Give a rule that learns a fresh model of its own."""
        self.rule, self._group_size = rule, settings.group_size
        self._memory: Any = None  # the method's, as the last batch of `prepare` left it
        self._models = Models(
            model,
            model,
            critic_for(rule.method.needs, model, settings.critic_learning_rate, settings.clip_norm),
            critic_learning_rate=settings.critic_learning_rate,
        )

    def open(self, batch: Batch, ledger: Ledger) -> TabularServices:
        """Open the services of one batch."""
        return TabularServices(
            self._models,
            batch.form,
            ledger,
            self.rule.method.needs,
            instances=batch.instances,
            group_size=batch.group_size,
            seed=batch.seed,
        )

    def prepare(self, form: PromptForm[Any], instances: Sequence[Instance], seed: tuple[int, int]) -> None:
        """Open the scorer, and let a rule that learns fit its models and fill its memory.

        It does so on `FIT_BATCHES` batches of one rollout in each instance; a rule that learns from pairs, which only a
        group has, gets as many rollouts in groups of the size that it trains with. seed: of the first batch.
        """
        method, scorer = at_work(self.rule.method), self.rule.scorer
        if scorer is not None:
            live = scorer.open(Site(self._models.policy, form, instances, seed[0]))
            self._models = dataclasses.replace(self._models, scorer=live)
        if self.rule.learns:
            for number in range(FIT_BATCHES):
                services = self.open(self._lesson(form, instances, (seed[0], seed[1] + number)), Ledger())
                rollouts = method.collect(services.door).replace(needs=None, memory=self._memory)
                seen = method.reward(services.attach(rollouts)).declare(method.needs)
                method.fit(seen, services.door)
                self._memory = method.remember(seen)

    def _lesson(self, form: PromptForm[Any], instances: Sequence[Instance], seed: tuple[int, int]) -> Batch:
        if "preference_pairs" not in self.rule.method.needs:
            return Batch(form, instances, 1, seed)
        count = max(len(instances) // self._group_size, 1)
        chosen = np.random.default_rng(seed).choice(len(instances), count, replace=False)
        return Batch(form, [instances[i] for i in chosen], self._group_size, seed)

    def under(self, null: NullControl) -> CreditSource:
        """Return the same, with what it has learnt, under another control."""
        other = copy.copy(self)
        other.rule = dataclasses.replace(self.rule, null=null)
        return other

    def ask(self, services: TabularServices) -> Given:
        """Let the rule collect, filter and credit one batch, in the order of the training loop."""
        method, null = at_work(self.rule.method), self.rule.null
        sampled = method.collect(services.door).replace(needs=None, memory=self._memory)
        kept = method.filter(sampled.declare(method.needs))
        rollouts = null.rollouts(method.reward(services.attach(sampled.keep_rollouts(kept))))
        seen = rollouts.declare(method.needs)
        return Given(sampled, kept, seen, null.credit(method.credit(seen), rollouts))


@lru_cache(maxsize=2)
def fixed_form(model: LanguageModel, prompt: Prompt, evaluation_episodes: int) -> FixedForm:
    """Return the form for an initial model: what that says of a panel is the same in all cells of a run."""
    return FixedForm(prompt_form(prompt, model.tokenizer, evaluation_episodes), model)


@dataclass(frozen=True)
class Judged:
    """A rule that is ready to be compared with exact credit under the initial policy, whatever a control does to it.

    A method with auxiliary models has fitted them on `FIT_BATCHES` batches of that policy. source: None where the
    prompt form has no exact credit.
    """

    form: FixedForm
    source: CreditSource | None
    panel: Panel
    seed: int

    @staticmethod
    def of(model: LanguageModel, rule: Rule, panel: Panel, settings: TrainSettings, seed: int) -> Judged:
        """Fit what there is to fit."""
        form = fixed_form(model, settings.prompt, settings.evaluation_episodes)
        source = CreditSource(model, rule, settings) if form.has_exact_credit else None
        if source is not None:
            source.prepare(form, panel.train, (seed, STREAM + 1))
        return Judged(form, source, panel, seed)

    def figures(self, null: NullControl, group_size: int) -> dict[str, float | None]:
        """Compare the rule's credit, under a control, with exact credit on rollouts of the evaluation panel.

        The rollouts are the same for every arm with the same seed. Returns, over all turns of the batch:
        rank_correlation (Spearman), sign_accuracy (on turns whose exact advantage is not negligible),
        bifurcation_precision (average precision of |credit| as a detector of the planted forks) beside
        bifurcation_share (what a blind detector gets), and flops, the cost of the measured batch with all that the
        rule asked for. None where a figure is undefined. Nothing is returned where there is no exact credit.
        """
        if self.source is None:
            return {}
        ledger = Ledger()
        services = self.source.open(Batch(self.form, self.panel.evaluation, group_size, (self.seed, STREAM)), ledger)
        given = self.source.under(null).ask(services)
        mask = given.sampled.turn_mask
        turns, exact = given.turns()[mask], services.exact_advantages(given.sampled)[mask]
        forks = services.bifurcations(given.sampled)[mask.numpy()]
        return {**compare_credit(turns.double().numpy(), exact.double().numpy(), forks), "flops": ledger.flops}
