"""The report of an experiment: a function of its declaration, its records and one bootstrap seed, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from cairn.errors import UserError
from cairn.evidence.base import Evidence, pretty_json, read_model, write_atomically
from cairn.evidence.comparison import ClaimReport, Comparison, examine
from cairn.evidence.experiment import ArmInfo, Experiment, Fingerprint
from cairn.evidence.records import Record, Setting, record_hash, record_name
from cairn.evidence.stats import LEVEL, REPLICATES, nominal_coverage
from cairn.evidence.summary import (
    ArmSummary,
    Band,
    Estimate,
    Overhead,
    Summary,
    common_limits,
    summarise_arm,
    tidy,
)

__all__ = [
    "ArmInfo",
    "ArmSummary",
    "Band",
    "Cell",
    "ClaimReport",
    "Comparison",
    "Estimate",
    "Experiment",
    "Fingerprint",
    "Method",
    "Overhead",
    "Report",
    "Summary",
    "build_report",
    "is_stale",
    "read_report",
    "write_report",
]

_REPAIR = "build it again with `cairn report`"


class Cell(Evidence):
    """One cell that the report lacks: never run (`missing`), failed or skipped, with the reason."""

    task: str
    arm: str
    seed: int
    status: Literal["missing", "failed", "skipped"]
    reason: str | None = None


class Method(Evidence):
    """How the intervals were made, for the reader of the file.

    nominal_coverage: true coverage to expect of a "95 %" interval with `min_seeds` normal differences.
    """

    interval: str = "percentile bootstrap over paired seeds"
    level: float = LEVEL
    replicates: int = REPLICATES
    seed: int
    min_seeds: int
    nominal_coverage: float


class Report(Evidence):
    """Everything that is shown about an experiment.

    preset, protocol_version, protocol_hash: shared by all records; null without records.
    model_hashes, panel_hashes, commits: the distinct values found in the records.
    device_seconds: wall-clock seconds of all cells, failed ones too, summed for each device.
    limits: for each task and axis, the farthest place that every arm's curves reached.
    calibrated: whether every check is supported; null when none is declared. While it is not true, the protocol has
        not shown that it can judge the claims.
    absent: cells without a result. undeclared: records of arms or tasks that the experiment does not declare, unused.
    records: file name and `record_hash` of each record used.
    stale: the code gives another fingerprint now than when the records were made; null where that was not checked.
    """

    schema_version: Literal[1] = 1
    id: str
    title: str
    preset: str | None
    protocol_version: str | None
    protocol_hash: str | None
    model_hashes: tuple[str, ...]
    panel_hashes: tuple[str, ...]
    commits: tuple[str, ...]
    dirty: bool
    device_seconds: dict[str, float]
    settings: dict[str, Setting]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    limits: dict[str, dict[str, float]]
    method: Method
    arms: tuple[ArmSummary, ...]
    claims: tuple[ClaimReport, ...]
    checks: tuple[ClaimReport, ...]
    calibrated: bool | None
    deviations: tuple[str, ...]
    absent: tuple[Cell, ...]
    undeclared: tuple[str, ...]
    records: dict[str, str]
    fingerprint: Fingerprint | None
    stale: bool | None


def build_report(
    experiment: Experiment,
    records: Sequence[Record],
    seed: int,
    *,
    fingerprint: Fingerprint | None = None,
    fresh_fingerprint: Fingerprint | None = None,
) -> Report:
    """Return the report; the order of the records does not matter.

    seed: of the bootstrap. fingerprint: what the code gave when the records were made. fresh_fingerprint: what it
    gives now. Missing arms and seeds are listed and make claims inconclusive. Raises UserError when a cell is given
    twice or the records mix methods, presets or protocols, since their numbers cannot stand side by side.
    """
    ordered = sorted(records, key=lambda record: (record.task, record.arm, record.seed))
    _refuse_mixture(experiment, ordered)
    declared = set(experiment.cells())
    used = [record for record in ordered if (record.task, record.arm) in declared]
    claims, checks = (
        tuple(examine(claim, experiment.task_of(claim), used, experiment.min_seeds, seed) for claim in group)
        for group in (experiment.claims, experiment.checks)
    )
    limits = {task: common_limits([one for one in used if one.task == task]) for task in experiment.tasks}
    first = used[0] if used else None
    return Report(
        id=experiment.id,
        title=experiment.title,
        preset=first.preset if first else None,
        protocol_version=first.provenance.protocol_version if first else None,
        protocol_hash=first.provenance.protocol_hash if first else None,
        model_hashes=_distinct([record.provenance.model_hash for record in used]),
        panel_hashes=_distinct([record.provenance.panel_hash for record in used]),
        commits=_distinct([record.provenance.commit for record in used]),
        dirty=any(record.provenance.dirty for record in used),
        device_seconds=_device_seconds(used),
        settings={record.task: record.setting for record in reversed(used)},
        tasks=experiment.tasks,
        seeds=tuple(sorted({record.seed for record in used})),
        limits=limits,
        method=_method(experiment, seed),
        arms=_arms(experiment, used, limits, seed),
        claims=claims,
        checks=checks,
        calibrated=all(check.verdict.label == "supported" for check in checks) if checks else None,
        deviations=experiment.deviations,
        absent=_absent(experiment, used),
        undeclared=tuple(_name(record) for record in ordered if (record.task, record.arm) not in declared),
        records={_name(record): record_hash(record) for record in used},
        fingerprint=fingerprint,
        stale=None if fingerprint is None or fresh_fingerprint is None else not fingerprint.matches(fresh_fingerprint),
    )


def is_stale(report: Report, fresh: Fingerprint) -> bool:
    """Say whether the code no longer gives the fingerprint kept in the report; a report without one is stale."""
    return report.fingerprint is None or not report.fingerprint.matches(fresh)


def write_report(path: Path, report: Report) -> None:
    """Write `report.json` atomically. Raises UserError when it cannot be written."""
    write_atomically(path, pretty_json(report))


def read_report(path: Path) -> Report:
    """Read `report.json`. Raises UserError when it is torn or invalid."""
    return read_model(path, Report, _REPAIR)


def _name(record: Record) -> str:
    return record_name(record.task, record.arm, record.seed)


def _distinct(found: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(sorted({one for one in found if one is not None}))


def _device_seconds(used: Sequence[Record]) -> dict[str, float]:
    devices = sorted({record.host.device for record in used})
    return {
        device: tidy(sum(record.host.seconds for record in used if record.host.device == device)) or 0.0
        for device in devices
    }


def _method(experiment: Experiment, seed: int) -> Method:
    coverage = tidy(round(nominal_coverage(experiment.min_seeds), 3)) or 0.0
    return Method(seed=seed, min_seeds=experiment.min_seeds, nominal_coverage=coverage)


def _arms(
    experiment: Experiment, used: Sequence[Record], limits: dict[str, dict[str, float]], seed: int
) -> tuple[ArmSummary, ...]:
    found = []
    infos = {arm.name: arm for arm in experiment.arms}
    for task, name in experiment.cells():
        control = experiment.control_on(task)
        baseline = None if control is None else (control, _of(used, task, control))
        found.append(summarise_arm(infos[name], task, _of(used, task, name), baseline, limits[task], seed))
    return tuple(found)


def _of(records: Sequence[Record], task: str, arm: str) -> list[Record]:
    return [record for record in records if record.task == task and record.arm == arm]


def _absent(experiment: Experiment, used: Sequence[Record]) -> tuple[Cell, ...]:
    """Return what is missing, failed or skipped, where every declared cell should have every seed of its task."""
    cells = []
    for task, arm in experiment.cells():
        there = {record.seed: record for record in _of(used, task, arm)}
        for seed in sorted({record.seed for record in used if record.task == task}):
            record = there.get(seed)
            if record is None:
                cells.append(Cell(task=task, arm=arm, seed=seed, status="missing"))
            elif record.status != "ok":
                cells.append(Cell(task=task, arm=arm, seed=seed, status=record.status, reason=record.reason))
    return tuple(cells)


def _refuse_mixture(experiment: Experiment, records: Sequence[Record]) -> None:
    names = [_name(record) for record in records]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError("a cell is given twice", value=twice[0], repair="keep one record for each cell")
    shared = {
        "methods": {record.method for record in records} | {experiment.id},
        "presets": {record.preset for record in records},
        "protocols": {record.provenance.protocol_hash for record in records},
    }
    for what, values in shared.items():
        if len(values) > 1:
            raise UserError(
                f"the records mix several {what}",
                value=sorted(values),
                repair=f"keep each of the {what} in a results folder of its own, or run all cells again",
            )
