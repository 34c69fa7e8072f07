"""The methods paragraph: what the checklist asks for, in prose, every number read from the report."""

from __future__ import annotations

from cairn.evidence.audit import Labels, Mark, Run, audit_run, device_hours
from cairn.evidence.claims import CURVE_METRICS, describe_parameters, describe_scale
from cairn.evidence.comparison import ClaimReport
from cairn.evidence.report import ArmSummary, Report
from cairn.evidence.stats import nominal_coverage
from cairn.evidence.summary import Estimate


def methods_paragraph(report: Report, labels: Labels) -> str:
    """Return one paragraph for a paper: the 14 facts, then the limits of what they show.

    A fact that the run does not give is not made up: the paragraph names the open items at its end.
    """
    if not any(arm.seeds for arm in report.arms):
        return "No cell of this experiment has finished: there is nothing to report yet."
    run = Run(report, labels)
    sentences = [
        _method(run),
        _data(run),
        _evaluation(run),
        _baselines(run),
        _compute_control(run),
        _ablation(run),
        _seeds(run),
        *_results(run),
        _cost(run),
        _lengths(run),
        _limits(run),
        _open_items(audit_run(report, labels)),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _method(run: Run) -> str:
    setting, hashes = run.setting, run.report.model_hashes
    model = setting.model or "a model that the run does not name"
    version = f"; weights SHA-256 {', '.join(one[:12] for one in hashes)}" if hashes else ""
    kind = f", a rule that gives credit by {run.labels.granularity}" if run.labels.granularity else ""
    family = f" (family: {run.labels.methodology})" if run.labels.methodology else ""
    size = describe_parameters(setting.model_parameters)
    return f"We trained {model} ({size}{version}) with {run.labels.name}{kind}{family}."


def _data(run: Run) -> str:
    setting = run.setting
    if setting.training_data is None:
        return ""
    items = f"{setting.training_items:,} items" if setting.training_items else "number of items not stated"
    return f"Training data: {setting.training_data} ({items}; filtering: {setting.filtering or 'not stated'})."


def _evaluation(run: Run) -> str:
    setting = run.setting
    if setting.benchmark is None or setting.metric is None:
        return ""
    measured = f" ({setting.evaluation})" if setting.evaluation else ""
    split = setting.split or "split not stated"
    return f"Evaluation: {setting.benchmark}, {split}; success is {setting.metric}{measured}."


def _baselines(run: Run) -> str:
    controls = run.arms("control")
    if not controls:
        return "No control arm has finished."
    names = " and ".join(f"{arm.arm} ({_phrase(arm.description)}{_level(arm)})" for arm in controls)
    same = ", from the same initial weights" if len(run.report.model_hashes) == 1 else ""
    return f"Control: {names}{same} and with paired seeds."


def _phrase(sentence: str) -> str:
    """Fit a sentence into another one: no full stop, and no capital unless it opens an acronym or a name like it."""
    capital = sentence[:1].isupper() and (sentence[1:2].islower() or sentence[:2] == "A ")
    return (sentence[:1].lower() + sentence[1:] if capital else sentence).rstrip(".")


def _level(arm: ArmSummary) -> str:
    return f"; credit by {arm.granularity}" if arm.granularity else ""


def _compute_control(run: Run) -> str:
    if not run.matched:
        return ""
    return (
        "Arms are compared after equally many updates and, along their curves, at equal metered compute: for each "
        "seed both are read up to the FLOPs that the cheaper of the two spent in all."
    )


def _ablation(run: Run) -> str:
    arms = run.arms("variant", "null")
    listed = "; ".join(f"{arm.arm} ({_phrase(arm.description)})" for arm in arms)
    return f"To isolate the credit rule we also ran {listed}." if arms else ""


def _seeds(run: Run) -> str:
    counts = sorted({len(arm.seeds) for arm in run.report.arms if arm.task == run.task and arm.seeds})
    if not counts or run.main is None:
        return ""
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"Each arm was run with {seeds} seed{'' if counts == [1] else 's'}"
    if counts[0] < 2:
        return f"{text}, too few for an interval."
    coverage = round(100 * nominal_coverage(counts[0]))
    return (
        f"{text}; brackets are 95 % percentile bootstrap intervals over seeds ({run.report.method.replicates:,} "
        f"replicates), which with {counts[0]} seeds cover about {coverage} % for normally distributed values."
    )


def _results(run: Run) -> list[str]:
    shown = [*run.arms("method"), *run.arms("control")]
    finals = [f"{arm.arm} {_number(arm.success['final_success'].mean)}" for arm in shown if arm.success]
    sentences = [f"Mean final success, each arm at its own end: {', '.join(finals)}."] if finals else []
    return [*sentences, *(_verdict(found) for found in run.report.claims)]


def _verdict(found: ClaimReport) -> str:
    axes = {"update": ", judged at equal updates", "flops": ", judged at equal metered compute"}
    axis = axes[found.claim.axis] if found.claim.metric in CURVE_METRICS else ""
    label = found.verdict.label.replace("_", " ")
    return f'Verdict on "{found.claim.text.rstrip(".")}"{axis}: {label} ({found.verdict.reason}).'


def _number(estimate: Estimate) -> str:
    if estimate.estimate is None or estimate.low is None or estimate.high is None:
        return "without an interval" if estimate.estimate is None else f"{estimate.estimate:.3f}"
    return f"{estimate.estimate:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _cost(run: Run) -> str:
    hours = device_hours(run.report)
    parts = [f"Compute: {hours}."] if hours else []
    ratio = run.main.overhead.flops_ratio if run.main and run.main.overhead else None
    if run.main and run.main.overhead and ratio and ratio.estimate is not None:
        ledger = run.main.ledger
        spent = ", ".join(
            f"{ledger.get(key) or 0:,.0f} {key.replace('_', ' ')}"
            for key in ("generated_tokens", "scored_tokens", "environment_resets", "judge_calls")
        )
        parts.append(
            f"After equally many updates {run.main.arm} had spent {_number(ratio)} times the FLOPs of "
            f"{run.main.overhead.control}; in all it used {spent} for each seed."
        )
    return " ".join(parts)


def _lengths(run: Run) -> str:
    lengths = run.main.trajectory if run.main else None
    if lengths is None:
        return ""
    return (
        f"Training trajectories had {lengths.turns_mean:.3g} turns on average (minimum, median, maximum "
        f"{lengths.turns_min:g}, {lengths.turns_median:g}, {lengths.turns_max:g}) and {lengths.tokens_mean:.3g} "
        f"generated tokens ({lengths.tokens_min:g}, {lengths.tokens_median:g}, {lengths.tokens_max:g})."
    )


def _limits(run: Run) -> str:
    report = run.report
    seeds = len(run.main.seeds) if run.main else 0
    scale = describe_scale(run.setting.model_parameters, run.task, seeds, report.preset or "unknown")
    parts = [f"These results hold for this scale ({scale}) and say nothing about others."]
    if report.deviations:
        parts.append(f"Departures from the paper: {'; '.join(_phrase(text) for text in report.deviations)}.")
    if report.calibrated is False:
        parts.append("The protocol's own checks did not all hold, so the verdicts above are not yet to be relied on.")
    if report.stale:
        parts.append("The code has changed since these records were made.")
    if report.dirty:
        parts.append("Some records were made from a working tree with uncommitted changes.")
    if report.absent:
        parts.append(f"{len(report.absent)} of the declared cells did not finish or were not run.")
    return " ".join(parts)


def _open_items(marks: list[Mark]) -> str:
    lacking = [f"{mark.item.text[0].lower()}{mark.item.text[1:]}" for mark in marks if mark.status != "yes"]
    return f"Not or only partly reported: {'; '.join(lacking)}." if lacking else ""
