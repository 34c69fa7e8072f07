"""The reporting checklist applied to a run of our own: each mark is computed from the report, none is typed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cairn.evidence.base import Evidence
from cairn.evidence.checklist import Item, load_items
from cairn.evidence.claims import describe_parameters
from cairn.evidence.comparison import ClaimReport, Comparison
from cairn.evidence.records import Setting
from cairn.evidence.report import ArmSummary, Report
from cairn.inventory.models import NONE, UNKNOWN, Entry

Status = Literal["yes", "partial", "no"]
LEAST_SEEDS_FOR_VARIANCE = 3


class Labels(Evidence):
    """What the inventory knows about the method and a run does not: null where it is unknown."""

    name: str
    granularity: str | None = None
    methodology: str | None = None


def labels_of(entry: Entry) -> Labels:
    """Return what the checklist asks of an entry; null where the inventory does not know it."""
    labels = entry.labels
    known = [word for word in labels.granularity if word not in (NONE, UNKNOWN)]
    methodology = labels.methodology if labels.methodology not in (NONE, UNKNOWN) else None
    return Labels(name=entry.bibliography.name, granularity=", ".join(known) or None, methodology=methodology)


class Mark(Evidence):
    """One item of the checklist for one run: its status, what shows it, and the field it was read from."""

    item: Item
    status: Status
    evidence: str
    field: str


@dataclass(frozen=True)
class Run:
    """A report and the labels, with the parts that several items and the methods paragraph look at."""

    report: Report
    labels: Labels

    @property
    def task(self) -> str:
        """Return the experiment's first task."""
        return self.report.tasks[0]

    @cached_property
    def setting(self) -> Setting:
        """Return the setting of the first task; all null without records."""
        return self.report.settings.get(self.task, Setting())

    def arms(self, *roles: str) -> list[ArmSummary]:
        """Return the arms of some roles on the first task that have at least one finished seed."""
        return [arm for arm in self.report.arms if arm.task == self.task and arm.role in roles and arm.seeds]

    @cached_property
    def main(self) -> ArmSummary | None:
        """Return the arm that is the method as published, or null when no seed of it has finished."""
        return next(iter(self.arms("method")), None)

    @cached_property
    def matched(self) -> list[tuple[ClaimReport, Comparison]]:
        """Return the claims that set an arm against a control arm at equal metered compute, with paired seeds."""
        controls = {arm.arm for arm in self.report.arms if arm.role == "control"}
        return [
            (claim, comparison)
            for claim in self.report.claims
            for comparison in claim.comparisons
            if comparison.axis == "flops" and comparison.seeds and claim.claim.control in controls
        ]


def audit_run(report: Report, labels: Labels) -> list[Mark]:
    """Return the 14 marks of a run, in the order of the checklist."""
    run = Run(report, labels)
    return [_mark(item, run) for item in load_items()]


def _mark(item: Item, run: Run) -> Mark:
    judge, field = _RULES[item.key]
    status, evidence = judge(run)
    return Mark(item=item, status=status, evidence=evidence, field=field)


def _share(parts: dict[str, str | None]) -> tuple[Status, str]:
    """Return yes with all parts there, partial with some, no with none; the evidence lists what is there and not."""
    there = [text for text in parts.values() if text]
    lacking = [name for name, text in parts.items() if not text]
    status: Status = "yes" if not lacking else "partial" if there else "no"
    return status, "; ".join([*there, *(f"{name} not stated" for name in lacking)])


def _base_model(run: Run) -> tuple[Status, str]:
    size, hashes = run.setting.model_parameters, run.report.model_hashes
    parts = {
        "name": run.setting.model,
        "size": describe_parameters(size) if size else None,
        "version": f"weights SHA-256 {', '.join(one[:12] for one in hashes)}" if hashes else None,
    }
    return _share(parts)


def _training_data(run: Run) -> tuple[Status, str]:
    items, filtering = run.setting.training_items, run.setting.filtering
    parts = {
        "source": run.setting.training_data,
        "size": f"{items:,} items" if items else None,
        "filtering": f"filtering: {filtering}" if filtering else None,
    }
    return _share(parts)


def _granularity(run: Run) -> tuple[Status, str]:
    return _share({"granularity": run.labels.granularity})


def _methodology(run: Run) -> tuple[Status, str]:
    return _share({"family": run.labels.methodology})


def _episode_level_baseline(run: Run) -> tuple[Status, str]:
    controls = run.arms("control")
    episodic = [arm.arm for arm in controls if arm.granularity == "episode"]
    if not controls:
        return "no", "no control arm has finished a seed"
    if not episodic:
        return "partial", f"control {controls[0].arm} is not said to give credit to whole episodes"
    if not _one_start(run.report):
        return "partial", f"control {episodic[0]}; that all arms start from the same weights is not shown"
    return "yes", f"control {', '.join(episodic)}, from the same weights"


def _one_start(report: Report) -> bool:
    """Say whether all arms of a task start from the same weights.

    Tasks may have models of their own. Which record has which is not in a report, but arms that start from the same
    weights have the same success before training.
    """
    starts = {(arm.task, arm.metrics.get("initial_success")) for arm in report.arms if arm.seeds}
    if len(report.model_hashes) == 1:
        return True
    known = all(success is not None for _, success in starts)
    return known and 1 < len(report.model_hashes) <= len(report.tasks) == len(starts)


def _compute_controlled(run: Run) -> tuple[Status, str]:
    if run.matched:
        claim, comparison = run.matched[0]
        pairs = f"{claim.claim.arm} against {claim.claim.control}, {len(comparison.seeds)} paired seeds"
        return "yes", f"{pairs}, each up to the FLOPs that both spent"
    if run.main and run.main.overhead:
        return "partial", f"only the ratio of FLOPs to {run.main.overhead.control} is known"
    return "no", "no comparison with a control arm at equal metered compute"


def _ablation(run: Run) -> tuple[Status, str]:
    finished = [arm.arm for arm in run.arms("variant", "null")]
    declared = [arm.arm for arm in run.report.arms if arm.role in ("variant", "null")]
    if run.main and finished:
        return "yes", f"beside {run.main.arm}: {', '.join(finished)}"
    return (
        ("partial", f"declared, not finished: {', '.join(declared)}") if declared else ("no", "no arm ablates a part")
    )


def _benchmarks(run: Run) -> tuple[Status, str]:
    return _share({"benchmark": run.setting.benchmark, "split": run.setting.split})


def _metric(run: Run) -> tuple[Status, str]:
    return _share({"definition": run.setting.metric, "how often it was measured": run.setting.evaluation})


def _variance(run: Run) -> tuple[Status, str]:
    compared = [*run.arms("method"), *run.arms("control")]
    seeds = min((len(arm.seeds) for arm in compared), default=0)
    if run.main is None or seeds < 2 or not run.main.success:
        return "no", "fewer than 2 finished seeds with a curve"
    text = f"{seeds} seeds for each of {', '.join(arm.arm for arm in compared)}, with 95 % intervals"
    return ("yes" if seeds >= LEAST_SEEDS_FOR_VARIANCE else "partial"), text


def _gpu_hours(run: Run) -> tuple[Status, str]:
    hours = device_hours(run.report)
    return ("yes", hours) if hours else ("no", "no time was recorded")


def device_hours(report: Report) -> str | None:
    """Return the device-hours of all cells in words, CPU named as CPU; null without recorded time."""
    spent = {device: seconds for device, seconds in report.device_seconds.items() if seconds > 0}
    gpus = [f"{seconds / 3600:.3g} hours on {device}" for device, seconds in spent.items() if not _is_cpu(device)]
    cpu = sum(seconds for device, seconds in spent.items() if _is_cpu(device)) / 3600
    parts = [*gpus, *([f"{cpu:.3g} process-hours on CPU"] if cpu else [])]
    if not parts:
        return None
    return " and ".join(parts) + ("" if gpus else " (0 GPU-hours)") + ", all arms and seeds, evaluation included"


def _is_cpu(device: str) -> bool:
    return device.lower().startswith("cpu")


def _overhead(run: Run) -> tuple[Status, str]:
    if run.main is None:
        return "no", "the method's arm has not finished a seed"
    extra = extra_costs(run)
    ratio = run.main.overhead.flops_ratio.estimate if run.main.overhead else None
    if run.main.overhead is None or ratio is None:
        return "partial", f"{extra}; no control arm to compare with"
    return "yes", f"{ratio:.3g} times the FLOPs of {run.main.overhead.control} at equal updates; {extra}"


def extra_costs(run: Run) -> str:
    """Return what the method's arm spent on a run, in words: resets, scored tokens, judge calls."""
    ledger = run.main.ledger if run.main else {}
    kinds = ("environment_resets", "scored_tokens", "judge_calls")
    return ", ".join(f"{ledger.get(kind) or 0:,.0f} {kind.replace('_', ' ')}" for kind in kinds) + " for each seed"


def _mean_length(run: Run) -> tuple[Status, str]:
    lengths = run.main.trajectory if run.main else None
    if lengths is None or lengths.turns_mean <= 0 or lengths.tokens_mean <= 0:
        return "no", "no lengths were recorded"
    return "yes", f"{lengths.turns_mean:.3g} turns and {lengths.tokens_mean:.3g} generated tokens"


def _length_distribution(run: Run) -> tuple[Status, str]:
    lengths = run.main.trajectory if run.main else None
    if lengths is None:
        return "no", "no lengths were recorded"
    turns = (lengths.turns_min, lengths.turns_median, lengths.turns_max)
    tokens = (lengths.tokens_min, lengths.tokens_median, lengths.tokens_max)
    sensible = list(turns) == sorted(turns) and list(tokens) == sorted(tokens) and turns[2] > 0 and tokens[2] > 0
    if not sensible:
        return "no", "the recorded lengths contradict each other"
    words = "; ".join(
        f"{unit} {low:g} / {mid:g} / {high:g}" for unit, (low, mid, high) in (("turns", turns), ("tokens", tokens))
    )
    return "yes", f"minimum / median / maximum: {words}"


_RULES: dict[str, tuple[Callable[[Run], tuple[Status, str]], str]] = {
    "base_model": (_base_model, "report.settings, report.model_hashes"),
    "training_data": (_training_data, "report.settings"),
    "credit_granularity": (_granularity, "labels.granularity"),
    "methodology_family": (_methodology, "labels.methodology"),
    "episode_level_baseline": (_episode_level_baseline, "report.arms, report.model_hashes"),
    "compute_controlled_baseline": (_compute_controlled, "report.claims.comparisons"),
    "ca_ablation": (_ablation, "report.arms"),
    "benchmarks_and_splits": (_benchmarks, "report.settings"),
    "metric_definition": (_metric, "report.settings"),
    "variance": (_variance, "report.arms.success"),
    "gpu_hours": (_gpu_hours, "report.device_seconds"),
    "ca_overhead": (_overhead, "report.arms.overhead, report.arms.ledger"),
    "avg_trajectory_length": (_mean_length, "report.arms.trajectory"),
    "trajectory_length_distribution": (_length_distribution, "report.arms.trajectory"),
}
