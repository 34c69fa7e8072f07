"""Every rule on one panel: its figures with standard errors, its cost, and its credit on the trajectory drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.errors import UserError
from cairn.evidence.fidelity import Cost, FidelityRow
from cairn.evidence.homes import REPRODUCTIONS, ids
from cairn.evidence.records import Provenance
from cairn.lab.cell import describe_object, describe_scorer
from cairn.lab.controls import ExactCredit, NullControl, ShuffledCredit
from cairn.lab.credit_figures import Exact, Figures, compare_credit, conservation_residual, jackknife, mean_figures
from cairn.lab.credit_figures import resampling as split_error
from cairn.lab.credit_panel import DRAW_STREAM, FIT_STREAM, CreditPanel, first_places
from cairn.lab.experiment import load_reproduction
from cairn.lab.fidelity import FIT_BATCHES, Batch, CreditSource, Given, Rule
from cairn.lab.guard import at_work
from cairn.lab.instance import Spoken, take
from cairn.lab.ledger import Ledger
from cairn.lab.loop import drop_rows
from cairn.lab.policy_gradient import cosine, update_direction
from cairn.lab.scorers import Scorer
from cairn.lab.services import TabularServices
from cairn.method import Method, overridden_stages
from cairn.methods import find, implemented_ids
from cairn.rollouts import Credit, NotCollectedError, Rollouts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
UNMEASURED = (UserError, NotCollectedError)  # what a rule meets on a task that has not what it needs
DRAWS = 2
DIRECTIONS_EVERY = 2  # batches: a direction takes a forward and a backward pass


@dataclass(frozen=True)
class RandomCredit(NullControl):
    """Gives every turn a number from a normal distribution, whatever happened in it."""

    def credit(self, credit: Credit, rollouts: Rollouts) -> Credit:
        """Draw with the batch's own dice."""
        generator = torch.Generator().manual_seed(rollouts.draw_seed)
        drawn = torch.randn(rollouts.turn_mask.shape, generator=generator, dtype=torch.float64)
        return Credit(rollouts.spread_turns(drawn.to(credit.advantages.dtype)))


@dataclass(frozen=True)
class Unscaled(ExactCredit):
    """Exact credit as it is: scaling it by its size in a batch would add the noise of that size."""

    def credit(self, rollouts: Rollouts) -> Credit:
        """Spread the exact advantages over the tokens of their turns."""
        return Credit(rollouts.spread_turns(rollouts.require("exact_advantages")))


REFERENCE = "exact"
ANCHORS = {
    REFERENCE: Rule(Unscaled()),
    "exact-shuffled": Rule(Unscaled(), ShuffledCredit()),
    "random": Rule(Method(), RandomCredit()),
}


def rules(panel: CreditPanel) -> dict[str, Rule]:
    """Return every implemented method at its defaults, then the anchors, by name.

    An anchor is a rule that no paper proposes. Those that ask for exact credit are left out where there is none.
    """
    methods = {one: Rule(find(one)(), scorer=_scorer_of(one)) for one in implemented_ids()}
    known = {name: rule for name, rule in ANCHORS.items() if panel.is_exact or "oracle" not in rule.method.needs}
    return {**methods, **known}


def _scorer_of(method_id: str) -> Scorer | None:
    """Return who scores for a method in its own reproduction: a method at its defaults names nobody."""
    if method_id not in ids(REPRODUCTIONS):
        return None
    arms = load_reproduction(method_id).arms
    return next((arm.scorer for arm in arms if arm.role == "method"), None)


def baseline() -> str:
    """Return the id of the method that changes no stage: the one whose cost is 1."""
    return next(one for one in implemented_ids() if not overridden_stages(find(one)))


def describe_rule(rule: Rule) -> dict[str, Any]:
    """Describe a rule as plain JSON."""
    rules = {"method": describe_object(rule.method), "null": describe_object(rule.null)}
    return {**rules, **describe_scorer(rule.scorer)}


class Direction(NamedTuple):
    """Where an update on one batch would go, compared with exact credit's there, and with the gradient of success."""

    batch_cosine: float | None
    return_cosine: float | None


@dataclass
class Heard:
    """What a rule said about a panel: N turns, D draws; M rollouts of all batches, in groups."""

    credits: FloatArray  # (D, N)
    sums: list[FloatArray] = field(default_factory=list)  # of the credits of each rollout's turns
    returns: list[FloatArray] = field(default_factory=list)
    groups: list[IntArray] = field(default_factory=list)  # batch * W + instance
    directions: list[Direction] = field(default_factory=list)  # of every second batch
    ledgers: list[Ledger] = field(default_factory=list)  # one whole update in each draw


class Gauge:
    """Measures rules on one panel; keeps what all of them are compared with."""

    def __init__(self, panel: CreditPanel, provenance: Provenance, draws: int = DRAWS) -> None:
        """Judge every turn of the panel `draws` times. provenance: goes into each row."""
        self.panel, self.draws, self._provenance = panel, draws, provenance
        self._exact_directions: dict[tuple[int, int], Tensor] = {}

    @property
    def steps(self) -> int:
        """Return how often `measure` says that it has advanced."""
        return self.draws * self.panel.rounds

    def measure(self, name: str, rule: Rule, advance: Callable[[], None] = lambda: None) -> FidelityRow:
        """Judge one rule.

        A rule whose batches cannot be followed, or that asks for what the task does not have, gets a row with the
        reason and no figures.
        """
        row = FidelityRow(
            rule=name,
            kind="method" if name in implemented_ids() else "anchor",
            spec=describe_rule(rule),
            provenance=self._provenance,
            reason="not measured yet",
        )
        try:
            heard = self._hear(rule, advance)
        except UNMEASURED as error:
            return row.model_copy(update={"reason": str(error)})
        found, errors = self._figures(heard)
        drawn = np.nonzero(self.panel.spoken.alive)[0] == self.panel.most_telling()
        measured = {
            "reason": None,
            "figures": found,
            "errors": errors,
            "cost": self._cost(heard.ledgers),
            "xray": tuple(heard.credits[0][drawn].tolist()),
            "unit": _root_mean_square(heard.credits[0]),
        }
        return FidelityRow(**{**dict(row), **measured})

    def xray(self, rule: Rule, trajectory: int) -> tuple[list[float], float]:
        """Return one trajectory's credits in the first draw, and the root mean square of the credits judged with it."""
        round_, own = trajectory % self.panel.rounds, trajectory // self.panel.rounds
        found = self._judged(self._ask(rule, 0, round_), round_)
        alive = self.panel.spoken.alive[self.panel.members(round_)]
        return found[own][alive[own]].tolist(), _root_mean_square(found[alive])

    def _hear(self, rule: Rule, advance: Callable[[], None]) -> Heard:
        panel = self.panel
        heard = Heard(np.zeros((self.draws, int(panel.spoken.alive.sum()))))
        for draw in range(self.draws):
            source = self._source(rule, draw)
            judged = np.zeros(panel.spoken.alive.shape)
            for round_ in range(panel.rounds):
                ledger = Ledger()
                services = self._open(source, draw, round_, ledger)
                given = source.ask(services)
                judged[panel.members(round_)] = self._judged(given, round_)
                _note_sums(heard, given, draw * panel.rounds + round_, len(panel.instances.evaluation))
                if round_ % DIRECTIONS_EVERY == 0:
                    heard.directions.append(self._direction(rule, given, draw, round_))
                advance()
            heard.credits[draw] = judged[panel.spoken.alive]
            for _ in range(rule.method.passes):
                services.bill_training(drop_rows(given.rollouts, given.credit)[0])
            at_work(rule.method).fit(given.rollouts, services.door)
            heard.ledgers.append(ledger)
        return heard

    def _source(self, rule: Rule, draw: int) -> CreditSource:
        source = CreditSource(self.panel.model, rule, self.panel.settings)
        source.prepare(self.panel.form, self.panel.instances.train, (self.panel.seed, FIT_STREAM + draw * FIT_BATCHES))
        return source

    def _open(self, source: CreditSource, draw: int, round_: int, ledger: Ledger) -> TabularServices:
        panel = self.panel
        dice = panel.seed, DRAW_STREAM + draw * panel.rounds + round_
        return source.open(Batch(panel.replay(round_), panel.instances.evaluation, panel.rounds, dice), ledger)

    def _judged(self, given: Given, round_: int) -> FloatArray:
        """Return the credits of a round's trajectories, (W, K). Raises UserError where they are not in their places."""
        members = take(self.panel.spoken, self.panel.members(round_))
        places = first_places(np.repeat(np.arange(len(members.rewards)), self.panel.rounds))
        if not _said_there(given.sampled, places, members):
            raise UserError(
                "the rule rearranges what it sampled, so that the panel's trajectories cannot be found again",
                repair="let `collect` keep the rollouts of its first call in front, in their order",
            )
        turns = given.turns()[places].double().numpy()
        found: FloatArray = np.zeros(members.alive.shape)
        width = min(turns.shape[1], members.alive.shape[1])
        found[:, :width] = turns[:, :width]
        return found

    def _direction(self, rule: Rule, given: Given, draw: int, round_: int) -> Direction:
        gradient = self.panel.return_gradient
        if gradient is None:
            return Direction(None, None)
        own = update_direction(self.panel.model, rule.method, given.rollouts, given.credit)
        return Direction(cosine(own, self._exact_direction(draw, round_)), cosine(own, gradient))

    def _exact_direction(self, draw: int, round_: int) -> Tensor:
        """Return what exact credit would do with a batch."""
        if (draw, round_) not in self._exact_directions:
            rule = Rule(Unscaled())
            given = self._ask(rule, draw, round_)
            direction = update_direction(self.panel.model, rule.method, given.rollouts, given.credit)
            self._exact_directions[draw, round_] = direction
        return self._exact_directions[draw, round_]

    def _ask(self, rule: Rule, draw: int, round_: int) -> Given:
        """Ask a rule about one batch alone."""
        source = self._source(rule, draw)
        return source.ask(self._open(source, draw, round_, Ledger()))

    @cached_property
    def _baseline(self) -> Ledger:
        heard = self._hear(Rule(find(baseline())()), lambda: None)
        return _mean_ledger(heard.ledgers)

    def _figures(self, heard: Heard) -> tuple[Figures, Figures]:
        """Return the figures and their standard errors: over instances, and for the cosines over batches."""
        instances = len(self.panel.instances.evaluation)
        exact, of_turn = self.panel.exact(), self.panel.instance_of_turn
        sums, returns, groups = (np.concatenate(parts) for parts in (heard.sums, heard.returns, heard.groups))

        def figures(chosen: BoolArray) -> Figures:
            turns, rollouts = chosen[of_turn], chosen[groups % instances]
            return {
                **_compared(heard.credits[:, turns], exact.of(turns)),
                **split_error(heard.credits[:, turns], exact.of(turns)),
                "conservation_residual": conservation_residual(sums[rollouts], returns[rollouts], groups[rollouts]),
            }

        over_batches = {
            name: _mean_and_error([getattr(one, name) for one in heard.directions]) for name in Direction._fields
        }
        found, errors = figures(np.ones(instances, dtype=bool)), jackknife(figures, instances)
        return (
            {**found, **{name: mean for name, (mean, _) in over_batches.items()}},
            {**errors, **{name: error for name, (_, error) in over_batches.items()}},
        )

    def _cost(self, ledgers: list[Ledger]) -> Cost:
        own, base = _mean_ledger(ledgers), self._baseline
        return Cost(
            flops=own.flops,
            flops_ratio=own.flops / base.flops,
            tokens_ratio=own.generated_tokens / base.generated_tokens,
            steps_ratio=own.environment_steps / base.environment_steps,
        )


def _said_there(rollouts: Rollouts, places: IntArray, spoken: Spoken) -> bool:
    """Say whether the rollouts in certain places are those of a play, word for word."""
    index = rollouts.action_index()
    if places[-1] >= len(index.mask):
        return False
    mask, said = index.mask[places], np.arange(spoken.tokens.shape[2]) < spoken.lengths[..., None]
    tokens = rollouts.token_ids.flatten()[index.flat[places][mask]]
    same_lengths = np.array_equal(mask.numpy().sum(1), spoken.lengths.sum(1))
    return same_lengths and np.array_equal(tokens, spoken.tokens[said])


def _note_sums(heard: Heard, given: Given, batch: int, instances: int) -> None:
    heard.sums.append(given.turns().sum(1).double().numpy())
    heard.returns.append(given.sampled.returns.double().numpy())
    heard.groups.append(batch * instances + given.sampled.group_ids.numpy())


def _compared(credits_: FloatArray, exact: Exact) -> Figures:
    """Compare each draw with the reference; return the means over draws."""
    return mean_figures([compare_credit(one, exact.advantages, exact.forks, exact.error) for one in credits_])


def _mean_ledger(ledgers: list[Ledger]) -> Ledger:
    totals = [ledger.totals() for ledger in ledgers]
    return Ledger(**{name: sum(one[name] for one in totals) / len(totals) for name in totals[0]})  # type: ignore[arg-type]


def _mean_and_error(values: list[float | None]) -> tuple[float | None, float | None]:
    """Return the mean and its standard error over batches; of those that are defined."""
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return None, None
    return float(known.mean()), float(known.std(ddof=1) / np.sqrt(known.size)) if known.size > 1 else None


def _root_mean_square(values: FloatArray) -> float:
    return float(np.sqrt(np.square(values).mean()))
