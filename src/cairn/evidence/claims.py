"""Claims declared before a run, and the one rule that turns an interval into a verdict.

A verdict belongs to a claim at a scale (model, task, seeds, preset), never to a paper or a person.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Annotated, Literal

from pydantic import Field

from cairn.evidence.base import SLUG, Evidence
from cairn.evidence.labels import Label
from cairn.evidence.stats import Interval

Name = Annotated[str, Field(pattern=SLUG, max_length=80)]
TestKey = Annotated[str, Field(pattern=rf"{SLUG.removesuffix('$')}#{SLUG.removeprefix('^')}")]
Direction = Literal["greater", "less", "equivalent", "not_greater"]
Axis = Literal["update", "flops"]
CURVE_METRICS = ("auc_success", "final_success")
CURVE_STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {"mean": fmean, "lowest": min, "highest": max}
SCALE = "Small models on synthetic tasks test the mechanism; they do not reproduce the paper's benchmark numbers."
"""Stands wherever verdicts are shown."""


class Claim(Evidence):
    """A statement about the difference `arm - control` of one metric, fixed before the run.

    metric: `auc_success` or `final_success` (from the curve, up to the common limit on `axis`), else a key of the
        record's metrics, fidelity or ledger, or `mean_of_`, `lowest_of_` or `highest_of_` and the name of what the
        points of the curve show, such as `mean_of_entropy_nats` (then `axis` plays no part).
    axis: what the two arms have equal: `update`, or `flops` (metered compute).
    direction, margin: see `judge`; the margin is in the metric's unit and is the smallest difference that counts.
    basis: the claim of the paper that this stands for (its key in the inventory, or its words).
    why: why this test stands for it, at this size.
    task: the task it is tested on; null means the experiment's first.
    control_task: the task of the control, where a claim is about the tasks themselves; left out, it is the same one.
    explains: the tests of other experiments, `<experiment>#<claim>`, whose open verdicts this one looks into.
    not_testable: the reason, when the claim cannot be tested with what we have; it then gets no other verdict.
    """

    id: Name
    text: str
    arm: Name
    control: Name
    metric: str = "auc_success"
    axis: Axis = "update"
    direction: Direction = "greater"
    margin: Annotated[float, Field(ge=0)] = 0.0
    basis: str
    why: str
    task: Name | None = None
    control_task: Annotated[Name | None, Field(exclude_if=lambda task: task is None)] = None
    explains: Annotated[tuple[TestKey, ...], Field(exclude_if=lambda explains: not explains)] = ()
    not_testable: str | None = None

    @property
    def compared(self) -> str:
        """Return the difference that it speaks of, in words."""
        return f"{self.arm} - {self.control}" + (f" on {self.control_task}" if self.control_task else "")


class Verdict(Evidence):
    """A label with its reason in words and the scale at which it was found."""

    label: Label
    reason: str
    scale: str


def judge(
    claim: Claim,
    interval: Interval,
    *,
    seeds: int,
    min_seeds: int,
    scale: str,
    problem: str | None = None,
) -> Verdict:
    """Return the verdict on a claim from the 95 % interval [low, high] of the difference d = arm - control.

    direction     supported when              contradicted when
    greater       low > margin                high < margin
    less          high < -margin              low > -margin
    equivalent    -margin <= low and          low > margin or
                  high <= margin              high < -margin
    not_greater   high <= margin              low > margin

    In every other case the verdict is inconclusive. So *contradicted* means that every value in the interval denies
    the statement as it was declared, margin included: for `greater` with a margin above 0 this covers a difference on
    the claimed side that is too small to count, and the reason then says so.

    Before that, in this order: a claim declared `not_testable` is not_testable_here; a `problem` (failed or missing
    cells), fewer paired seeds than `min_seeds`, or an interval without finite bounds make it inconclusive.

    seeds: number of paired seeds behind the interval. scale: see `describe_scale`.
    """
    if claim.not_testable is not None:
        return Verdict(label="not_testable_here", reason=claim.not_testable, scale=scale)
    obstacle = _obstacle(interval, seeds, min_seeds, problem)
    if obstacle is not None:
        return Verdict(label="inconclusive", reason=obstacle, scale=scale)
    label = label_of(claim.direction, interval.low, interval.high, claim.margin)
    return Verdict(label=label, reason=_reason(claim, interval, label), scale=scale)


def _obstacle(interval: Interval, seeds: int, min_seeds: int, problem: str | None) -> str | None:
    if problem is not None:
        return problem
    if seeds < min_seeds:
        return f"{seeds} paired seed{'' if seeds == 1 else 's'}; a verdict needs at least {min_seeds}"
    if not all(math.isfinite(bound) for bound in (interval.low, interval.high)):
        return "the interval has no finite bounds"
    return None


def label_of(direction: Direction, low: float, high: float, margin: float) -> Label:
    """Return what the table in `judge` says of an interval with finite bounds."""
    held, denied = {
        "greater": (low > margin, high < margin),
        "less": (high < -margin, low > -margin),
        "equivalent": (low >= -margin and high <= margin, low > margin or high < -margin),
        "not_greater": (high <= margin, low > margin),
    }[direction]
    return "supported" if held else "contradicted" if denied else "inconclusive"


def _reason(claim: Claim, interval: Interval, label: Label) -> str:
    bounds = f"95 % interval of {claim.compared}: [{interval.low:.4g}, {interval.high:.4g}]"
    wanted = {
        "greater": f"above {claim.margin:g}",
        "less": f"below {-claim.margin:g}",
        "equivalent": f"within {claim.margin:g} of 0" if claim.margin else "to be exactly 0",
        "not_greater": f"at most {claim.margin:g}",
    }[claim.direction]
    found = {
        "supported": "all of it is",
        "contradicted": "none of it is",
        "inconclusive": "it touches or crosses that bound",
    }
    small = "; it lies on the claimed side of 0 but below the margin" if _too_small(claim, interval, label) else ""
    return f"{bounds}; the claim needs it {wanted}: {found[label]}{small}"


def _too_small(claim: Claim, interval: Interval, label: Label) -> bool:
    claimed_side = {"greater": interval.low > 0, "less": interval.high < 0}.get(claim.direction, False)
    return label == "contradicted" and claimed_side


def describe_scale(model_parameters: int | None, task: str, seeds: int, preset: str) -> str:
    """Return the scale of a verdict in words, such as `0.31 M parameters, task quest, 5 seeds, preset cpu`."""
    plural = "" if seeds == 1 else "s"
    return f"{describe_parameters(model_parameters)}, task {task}, {seeds} seed{plural}, preset {preset}"


def describe_parameters(count: int | None) -> str:
    """Return a model's size in words, three digits, such as `0.31 M parameters` or `7.62 B parameters`."""
    if count is None:
        return "model of unstated size"
    for unit, size, smallest in (("B", 10**9, 10**9), ("M", 10**6, 10**5)):
        if count >= smallest:
            return f"{count / size:.3g} {unit} parameters"
    return f"{count:,} parameters"
