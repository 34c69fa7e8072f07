"""Each claim put to the test: paired differences at equal updates and at equal metered compute, then the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from cairn.evidence.base import Evidence
from cairn.evidence.claims import CURVE_METRICS, CURVE_STATISTICS, Claim, Verdict, describe_scale, judge
from cairn.evidence.records import Ledger, Record
from cairn.evidence.stats import (
    MOST_SIGN_FLIPS,
    Interval,
    area_under_curve,
    paired_difference,
    probability_of_improvement,
    sign_flip_p,
    value_at,
)
from cairn.evidence.summary import AXES, Estimate, generator, heights, places, rounded, tidy

Basis = Literal["update", "flops", "whole_run"]


class Comparison(Evidence):
    """Arm against control on one metric, seed by seed.

    axis: what the two have equal; `whole_run` for a metric that is one number for the run.
    limits: for each seed the place on the axis up to which both are measured, the smaller of the two totals.
    difference: mean of arm - control. probability: P(arm > control) + P(tie) / 2 over the pairs.
    sign_flip_p: exact two-sided p-value, secondary; null without pairs or with too many to enumerate.
    """

    axis: Basis
    seeds: tuple[int, ...]
    limits: tuple[float, ...]
    arm_values: tuple[float, ...]
    control_values: tuple[float, ...]
    difference: Estimate
    probability: Estimate
    sign_flip_p: float | None


class ClaimReport(Evidence):
    """A claim, what was found, and the verdict, which rests on the comparison on the claim's own axis."""

    claim: Claim
    task: str
    comparisons: tuple[Comparison, ...]
    problems: tuple[str, ...]
    verdict: Verdict


def examine(claim: Claim, task: str, records: Sequence[Record], min_seeds: int, seed: int) -> ClaimReport:
    """Return the report on one claim. A failed, skipped or missing cell of either arm makes it inconclusive."""
    arm = _by_seed(records, task, claim.arm)
    control = _by_seed(records, claim.control_task or task, claim.control)
    problems = _problems(claim, arm, control)
    pairs = [(arm[one], control[one]) for one in sorted(arm.keys() & control.keys())]
    pairs = [pair for pair in pairs if all(_usable(record, claim.metric) for record in pair)]
    bases: tuple[Basis, ...] = AXES if claim.metric in CURVE_METRICS else ("whole_run",)
    found = {axis: _compare(claim, axis, pairs, seed) for axis in bases}
    judged = found[claim.axis if claim.axis in found else "whole_run"][1]
    verdict = judge(
        claim,
        judged,
        seeds=judged.n,
        min_seeds=min_seeds,
        scale=_scale(task, [*arm.values(), *control.values()], judged.n),
        problem="; ".join(problems) or None,
    )
    comparisons = tuple(comparison for comparison, _ in found.values())
    return ClaimReport(claim=claim, task=task, comparisons=comparisons, problems=tuple(problems), verdict=verdict)


def _by_seed(records: Sequence[Record], task: str, arm: str) -> dict[int, Record]:
    return {record.seed: record for record in records if record.task == task and record.arm == arm}


def _problems(claim: Claim, arm: Mapping[int, Record], control: Mapping[int, Record]) -> list[str]:
    expected = sorted(arm.keys() | control.keys())
    if not expected:
        return [f"no record of {claim.arm} or {claim.control}"]
    sides = ((claim.arm, arm), (claim.control, control))
    found = (_problem(name, side.get(seed), seed, claim.metric) for name, side in sides for seed in expected)
    return [problem for problem in found if problem is not None]


def _problem(arm: str, record: Record | None, seed: int, metric: str) -> str | None:
    if record is None:
        return f"{arm}, seed {seed}: missing"
    if record.status != "ok":
        return f"{arm}, seed {seed}: {record.status} ({record.reason})"
    return None if _usable(record, metric) else f"{arm}, seed {seed}: no value of {metric}"


def _usable(record: Record, metric: str) -> bool:
    if record.status != "ok":
        return False
    return bool(record.curve) if metric in CURVE_METRICS else _whole_run(record, metric) is not None


def _whole_run(record: Record, metric: str) -> float | None:
    """Return a number of the whole run: from the metrics, else the fidelity, the ledger, or what the curve shows."""
    for place in (record.metrics, record.fidelity):
        if metric in place:
            return place[metric]
    return float(getattr(record.ledger, metric)) if metric in Ledger.model_fields else _of_curve(record, metric)


def _of_curve(record: Record, metric: str) -> float | None:
    statistic, _, name = metric.partition("_of_")
    numbers = [p.success if name == "success" else p.extra.get(name) for p in record.curve]
    shown = [number for number in numbers if number is not None]
    return CURVE_STATISTICS[statistic](shown) if shown and statistic in CURVE_STATISTICS else None


def _compare(
    claim: Claim, axis: Basis, pairs: Sequence[tuple[Record, Record]], seed: int
) -> tuple[Comparison, Interval]:
    limits = [] if axis == "whole_run" else [min(places(one, axis)[-1] for one in pair) for pair in pairs]
    arm, control = (
        [_value(pair[side], claim.metric, axis, limits, at) for at, pair in enumerate(pairs)] for side in (0, 1)
    )
    key = (claim.id, axis)
    difference = paired_difference(arm, control, generator(seed, *key, "difference"))
    comparison = Comparison(
        axis=axis,
        seeds=tuple(pair[0].seed for pair in pairs),
        limits=tuple(limits),
        arm_values=tuple(rounded(value) for value in arm),
        control_values=tuple(rounded(value) for value in control),
        difference=Estimate.of(difference),
        probability=Estimate.of(probability_of_improvement(arm, control, generator(seed, *key, "probability"))),
        sign_flip_p=_sign_flip(arm, control),
    )
    return comparison, difference


def _value(record: Record, metric: str, axis: Basis, limits: Sequence[float], index: int) -> float:
    if axis == "whole_run":
        value = _whole_run(record, metric)
        return float("nan") if value is None else value
    measure = area_under_curve if metric == "auc_success" else value_at
    return measure(places(record, axis), heights(record), limits[index])


def _sign_flip(arm: Sequence[float], control: Sequence[float]) -> float | None:
    if len(arm) > MOST_SIGN_FLIPS:
        return None
    return tidy(sign_flip_p([one - other for one, other in zip(arm, control, strict=True)]))


def _scale(task: str, records: Sequence[Record], seeds: int) -> str:
    sizes = {record.setting.model_parameters for record in records}
    presets = {record.preset for record in records}
    return describe_scale(
        sizes.pop() if len(sizes) == 1 else None, task, seeds, presets.pop() if len(presets) == 1 else "unknown"
    )
