"""What each arm did: counts, success with intervals, curves with bands, cost, fidelity."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from cairn.evidence.base import Evidence
from cairn.evidence.claims import Axis
from cairn.evidence.experiment import ArmInfo, Role
from cairn.evidence.records import Ledger, Record, Trajectory
from cairn.evidence.stats import (
    Floats,
    Interval,
    area_under_curve,
    bootstrap_band,
    bootstrap_interval,
    mean,
    value_at,
)

AXES: tuple[Axis, ...] = ("update", "flops")
GRID_POINTS = 33
BAND_REPLICATES = 2_000


class Estimate(Evidence):
    """An `Interval` as it is stored: null where a number does not exist."""

    estimate: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """Store an interval, NaN as null, ten digits."""
        estimate, low, high = (tidy(number) for number in interval[:3])
        return cls(estimate=estimate, low=low, high=high, n=interval.n)


class Summary(Evidence):
    """One number for each seed, put together in two ways."""

    mean: Estimate
    iqm: Estimate


class Band(Evidence):
    """A curve over seeds: mean success at each place, pointwise 95 % bootstrap band (null with one seed)."""

    axis: Axis
    at: tuple[float, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    seeds: int


class Overhead(Evidence):
    """FLOPs of an arm divided by those of the control after as many updates, over paired seeds."""

    control: str
    flops_ratio: Estimate


class ArmSummary(Evidence):
    """One arm on one task.

    success: `final_success` at the arm's own end; `auc_success_update` and `auc_success_flops` up to the limit that
        all arms of the task reached (`Report.limits`).
    ledger, metrics, fidelity: means over the finished seeds; nulls are left out of a mean.
    trajectory: mean of means, smallest minimum, median of medians, largest maximum.
    """

    task: str
    arm: str
    role: Role
    description: str
    granularity: str | None
    seeds: tuple[int, ...]
    statuses: dict[str, int]
    success: dict[str, Summary]
    curves: tuple[Band, ...]
    ledger: dict[str, float | None]
    overhead: Overhead | None
    metrics: dict[str, float | None]
    fidelity: dict[str, float | None]
    trajectory: Trajectory | None


def generator(seed: int, *key: str) -> np.random.Generator:
    """Return a generator of its own for each quantity, so that adding an arm or a claim moves no other number."""
    digest = hashlib.sha256("\0".join(key).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def rounded(number: float) -> float:
    """Return a number with ten digits, since the last bits depend on the machine."""
    return float(f"{number:.10g}")


def tidy(number: float) -> float | None:
    """Return a number with ten digits, null for NaN."""
    return None if math.isnan(number) else rounded(number)


def places(record: Record, axis: Axis) -> list[float]:
    """Return a curve's places on an axis."""
    return [float(getattr(point, axis)) for point in record.curve]


def heights(record: Record) -> list[float]:
    """Return a curve's success values."""
    return [point.success for point in record.curve]


def common_limits(records: Sequence[Record]) -> dict[str, float]:
    """Return for each axis the farthest place that every curve reached; empty without curves."""
    drawn = [record for record in records if record.status == "ok" and record.curve]
    return {axis: min(places(record, axis)[-1] for record in drawn) for axis in AXES} if drawn else {}


def summarise_arm(
    info: ArmInfo,
    task: str,
    records: Sequence[Record],
    control: tuple[str, Sequence[Record]] | None,
    limits: Mapping[str, float],
    seed: int,
) -> ArmSummary:
    """Return the summary of one arm on one task.

    records: all records of the arm there. control: name and records of the baseline there. limits: `common_limits` of
    all arms of the task. seed: of the bootstrap.
    """
    done = [record for record in records if record.status == "ok"]
    drawn = [record for record in done if record.curve]
    statuses = [record.status for record in records]
    return ArmSummary(
        task=task,
        arm=info.name,
        role=info.role,
        description=info.description,
        granularity=info.granularity,
        seeds=tuple(record.seed for record in done),
        statuses={status: statuses.count(status) for status in sorted(set(statuses))},
        success=_success(drawn, limits, seed) if drawn else {},
        curves=tuple(_band(drawn, axis, seed) for axis in AXES) if drawn else (),
        ledger={key: _mean([getattr(record.ledger, key) for record in done]) for key in Ledger.model_fields},
        overhead=_overhead(drawn, control, seed) if control else None,
        metrics=_means([record.metrics for record in done]),
        fidelity=_means([record.fidelity for record in done]),
        trajectory=_lengths([record.trajectory for record in done if record.trajectory]),
    )


def _success(drawn: Sequence[Record], limits: Mapping[str, float], seed: int) -> dict[str, Summary]:
    # The draw does not depend on the arm: arms with equal numbers get equal intervals.
    values = {"final_success": [heights(record)[-1] for record in drawn]}
    for axis in AXES:
        values[f"auc_success_{axis}"] = [
            area_under_curve(places(record, axis), heights(record), limits[axis]) for record in drawn
        ]
    return {name: _summary(numbers, seed, name) for name, numbers in values.items()}


def _summary(numbers: Sequence[float], seed: int, name: str) -> Summary:
    return Summary(
        mean=Estimate.of(bootstrap_interval(numbers, generator(seed, name, "mean"))),
        iqm=Estimate.of(bootstrap_interval(numbers, generator(seed, name, "iqm"), statistic="iqm")),
    )


def _band(drawn: Sequence[Record], axis: Axis, seed: int) -> Band:
    grid = _grid(drawn, axis)
    curves = [[value_at(places(record, axis), heights(record), at) for at in grid] for record in drawn]
    centre, low, high = bootstrap_band(curves, generator(seed, axis, "band"), replicates=BAND_REPLICATES)
    return Band(
        axis=axis,
        at=tuple(float(at) for at in grid),
        mean=_tidy_all(centre),
        low=_tidy_all(low),
        high=_tidy_all(high),
        seeds=len(drawn),
    )


def _grid(drawn: Sequence[Record], axis: Axis) -> list[float]:
    """Return the updates that were evaluated, or an even grid of FLOPs, up to where the shortest curve ends."""
    end = min(places(record, axis)[-1] for record in drawn)
    if axis == "update":
        return sorted({at for record in drawn for at in places(record, axis) if at <= end})
    return sorted({rounded(end * step / (GRID_POINTS - 1)) for step in range(GRID_POINTS - 1)} | {end})


def _overhead(drawn: Sequence[Record], control: tuple[str, Sequence[Record]], seed: int) -> Overhead | None:
    name, records = control
    others = {record.seed: record for record in records if record.status == "ok" and record.curve}
    pairs = [(record, others[record.seed]) for record in drawn if record.seed in others]
    ratios = [_flops_ratio(mine, other) for mine, other in pairs]
    if not ratios or any(math.isnan(ratio) for ratio in ratios):
        return None
    return Overhead(control=name, flops_ratio=Estimate.of(bootstrap_interval(ratios, generator(seed, "overhead"))))


def _flops_ratio(mine: Record, other: Record) -> float:
    end = min(mine.curve[-1].update, other.curve[-1].update)
    spent = [value_at(places(record, "update"), places(record, "flops"), end) for record in (mine, other)]
    return spent[0] / spent[1] if spent[1] > 0 else float("nan")


def _lengths(found: Sequence[Trajectory]) -> Trajectory | None:
    if not found:
        return None
    return Trajectory(**{name: _combine(name, found) for name in Trajectory.model_fields})


def _combine(name: str, found: Sequence[Trajectory]) -> float:
    numbers = np.asarray([getattr(one, name) for one in found], dtype=np.float64)
    what = name.rpartition("_")[2]
    combined = {"mean": numbers.mean(), "min": numbers.min(), "median": np.median(numbers), "max": numbers.max()}[what]
    return rounded(float(combined))


def _means(found: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    keys = sorted({key for one in found for key in one})
    return {key: _mean([value for one in found if (value := one.get(key)) is not None]) for key in keys}


def _mean(numbers: Sequence[float]) -> float | None:
    return tidy(mean(numbers))


def _tidy_all(numbers: Floats) -> tuple[float | None, ...]:
    return tuple(tidy(float(number)) for number in numbers)
