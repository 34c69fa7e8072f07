"""What planned seeds can show about the claims of an experiment, from the spread of earlier records.

The difference found earlier is an estimate, and one that stood out is likely to be too large: seeds planned for it are
rather too few.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cairn.evidence.base import Evidence
from cairn.evidence.claims import Claim, label_of
from cairn.evidence.comparison import ClaimReport
from cairn.evidence.experiment import Experiment
from cairn.evidence.multiplicity import judged
from cairn.evidence.power import (
    MOST_SEEDS,
    TARGET,
    Simulate,
    Spread,
    chances,
    detectable,
    seeds_needed,
    simulations,
    spread_of,
)
from cairn.evidence.report import Report
from cairn.evidence.summary import rounded


class Outlook(Evidence):
    """What `seeds` paired seeds can show about one claim. What does not follow from what is known is null.

    deviation: standard deviation of the paired difference, assumed or from `known_from` earlier seeds.
    detectable: the true difference nearest to the claim's bound at which the verdict is *supported* with probability
        `target`, see `cairn.evidence.power.detectable`.
    effect: the true difference assumed from here on: the one given, else the mean of the earlier seeds.
    supported: probability of the verdict *supported* if that is true.
    seeds_needed: the fewest seeds with which that reaches `target`; null too if the effect does not fulfil the claim,
        or `most_seeds` are too few.
    """

    claim: Claim
    task: str
    seeds: int
    min_seeds: int
    target: float = TARGET
    most_seeds: int = MOST_SEEDS
    deviation: float | None = None
    known_from: int | None = None
    detectable: float | None = None
    effect: float | None = None
    supported: float | None = None
    seeds_needed: int | None = None

    @property
    def fulfilled(self) -> bool:
        """Say whether the effect, measured exactly, would support the claim; without one, no."""
        claim, effect = self.claim, self.effect
        return effect is not None and label_of(claim.direction, effect, effect, claim.margin) == "supported"


Test = tuple[Claim, str]
"""A claim and the task that it is tested on."""


def to_test(declared: Experiment | Report) -> list[Test]:
    """Return the testable claims and then the checks, in the order of their declaration."""
    if isinstance(declared, Report):
        found = [(one.claim, one.task) for one in (*declared.claims, *declared.checks)]
    else:
        found = [(claim, declared.task_of(claim)) for claim in (*declared.claims, *declared.checks)]
    return [(claim, task) for claim, task in found if claim.not_testable is None]


def outlooks(
    tests: Iterable[Test],
    seeds: int,
    min_seeds: int,
    report: Report | None,
    *,
    deviation: float | None = None,
    effect: float | None = None,
) -> Iterator[Outlook]:
    """Yield what `seeds` seeds can show about each test, in the order given.

    min_seeds: that a verdict needs. report: of earlier records at the same preset and model, null without. deviation,
    effect: to be assumed of every claim instead of what the report shows.
    """
    simulate = simulations()
    for claim, task in tests:
        plain = Outlook(claim=claim, task=task, seeds=seeds, min_seeds=min_seeds)
        known = known_spread(report, claim, task) if report else None
        assumed = known.mean if effect is None and known else effect
        if deviation is not None:
            yield _foresee(plain, deviation, assumed, simulate)
        elif known is not None:
            yield _foresee(plain, known.deviation, assumed, simulate).model_copy(update={"known_from": known.seeds})
        else:
            yield plain


def _foresee(plain: Outlook, deviation: float, effect: float | None, simulate: Simulate) -> Outlook:
    margin, direction = plain.claim.margin, plain.claim.direction
    enough = plain.seeds >= plain.min_seeds
    found: dict[str, float | int | None] = {"deviation": rounded(deviation)}
    if enough:
        found["detectable"] = detectable(simulate(plain.seeds), deviation, margin, direction)
    if effect is not None:
        now = chances(simulate(plain.seeds), deviation, effect, margin, direction).supported if enough else 0.0
        needed = seeds_needed(simulate, deviation, effect, margin, direction, min_seeds=plain.min_seeds)
        found |= {"effect": rounded(effect), "supported": now, "seeds_needed": needed}
    return plain.model_copy(update=found)


def known_spread(report: Report, claim: Claim, task: str) -> Spread | None:
    """Return what a report shows of the same arms on the same task, metric and axis; null where it shows nothing."""
    wanted = _compared(claim, task)
    for found in (*report.claims, *report.checks):
        if _compared(found.claim, found.task) == wanted and (differences := _differences(found)):
            return spread_of(differences)
    return None


def _compared(claim: Claim, task: str) -> tuple[str, ...]:
    return claim.arm, claim.control, claim.metric, claim.axis, task, claim.control_task or task


def _differences(found: ClaimReport) -> list[float]:
    """Return arm - control for each seed of the comparison that the verdict rests on; nothing with a single seed."""
    comparison = judged(found)
    if comparison is None or len(comparison.seeds) < 2:
        return []
    return [arm - control for arm, control in zip(comparison.arm_values, comparison.control_values, strict=True)]
