"""A report as a person reads it: arms, claims, checks, ledger, fidelity, and at what scale all that holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cairn.commands.numbers import amount, duration, interval, number
from cairn.commands.terminal import DASH, NARROW_CHARACTERS, add, folded, heading, printable, table
from cairn.evidence.claims import SCALE, describe_scale
from cairn.evidence.comparison import Basis, ClaimReport, Comparison
from cairn.evidence.explanations import Attempt, Attempts, is_open, key_of
from cairn.evidence.multiplicity import SIGN_FLIP, adjusted, judged, p_value
from cairn.evidence.report import ArmSummary, Report

JUDGED = "*"
WHOLE = "\N{DAGGER}"
LEGEND = (
    f"arm - control, mean with 95 % interval; the verdict rests on the one marked {JUDGED}; {WHOLE}: of the whole run"
)
P_DIGITS = 4
FIDELITY = ("rank_correlation", "sign_accuracy", "bifurcation_precision", "bifurcation_share")


def print_report(console: Console, report: Report, attempts: Attempts | None = None) -> None:
    """Print all tables of a report, then remarks on what limits them.

    attempts: what was tried to explain open verdicts; None where that is not asked, as right after a run.
    """
    heading(console, f"{report.title} ({scale(report)})")
    for task in report.tasks:
        _print_task(console, report, [arm for arm in report.arms if arm.task == task and arm.statuses])
    if report.claims:
        _print_claims(console, "Claims", report.claims)
        _print_tests(console, [(report.id, found) for found in report.claims])
    if attempts is not None:
        _print_attempts(console, report, attempts)
    if report.checks:
        _print_claims(console, "Checks of the protocol itself, by the same rule", report.checks)
    for remark in (*remarks(report), f"{SCALE} The verdicts hold at this scale: {scale(report)}."):
        console.print(f"\n{printable(remark)}")


def scale(report: Report) -> str:
    """Return model size, seeds and preset in words."""
    setting = report.settings.get(report.tasks[0])
    size = setting.model_parameters if setting else None
    return describe_scale(size, report.tasks[0], len(report.seeds), report.preset or "unknown")


def _print_task(console: Console, report: Report, arms: Sequence[ArmSummary]) -> None:
    if not arms:
        return
    task, seeds = arms[0].task, len(report.seeds)
    heading(console, f"Arms on {task}: success, interquartile mean over seeds with 95 % interval")
    console.print(_arms(arms, seeds, console))
    heading(console, f"Ledger on {task}: mean for each seed; FLOPs / control after as many updates")
    console.print(_ledger(arms, seeds, console))
    heading(console, f"Fidelity on {task}: the rule's credit beside exact credit, under the initial policy")
    console.print(_fidelity(arms, seeds, console))


def _arms(arms: Sequence[ArmSummary], seeds: int, console: Console) -> Table:
    columns = ("arm", "role", "updates", "final success", "area under curve")
    rows = table(*columns, right=columns[2:], whole=["role"])
    for arm in arms:
        final, area = (arm.success.get(name) for name in ("final_success", "auc_success_update"))
        gap = _gap(console)
        add(rows, _name(arm, seeds, console), arm.role, amount(arm.metrics.get("updates")),
            interval(final.iqm if final else None, gap=gap), interval(area.iqm if area else None, gap=gap))  # fmt: skip
    return rows


def _name(arm: ArmSummary, seeds: int, console: Console) -> str:
    name = folded(arm.arm, console)
    return name if len(arm.seeds) == seeds else f"{name}\n({len(arm.seeds)} of {seeds} seeds)"


def _gap(console: Console) -> str:
    return " " if console.width >= NARROW_CHARACTERS else "\n"


def _ledger(arms: Sequence[ArmSummary], seeds: int, console: Console) -> Table:
    kinds = {"flops": "GFLOPs", "ratio": "FLOPs\n/control", "generated_tokens": "tokens\nmade",
             "scored_tokens": "tokens\nscored", "trained_tokens": "tokens\ntrained", "environment_steps": "env\nsteps",
             "environment_resets": "env\nresets", "judge_calls": "judge\ncalls", "seconds": "time"}  # fmt: skip
    spent = [(arm, arm.ledger | {"ratio": arm.overhead.flops_ratio.estimate if arm.overhead else None}) for arm in arms]
    shown = [kind for kind in kinds if any(ledger.get(kind) for _, ledger in spent)]
    headings = [kinds[kind] for kind in shown]
    rows = table("arm", *headings, right=headings)
    for arm, ledger in spent:
        add(rows, _name(arm, seeds, console), *(_spent(kind, ledger.get(kind)) for kind in shown))
    return rows


def _spent(kind: str, value: float | None) -> str:
    if kind == "seconds":
        return duration(value)
    if kind == "ratio":
        return number(value)
    return amount(value / 1e9 if kind == "flops" and value is not None else value)


def _fidelity(arms: Sequence[ArmSummary], seeds: int, console: Console) -> Table:
    columns = ("rank\ncorrelation", "sign\naccuracy", "forks\nfound", "share of\nforks")
    rows = table("arm", *columns, right=columns)
    for arm in arms:
        add(rows, _name(arm, seeds, console), *(number(arm.fidelity.get(name), 3) for name in FIDELITY))
    return rows


def _print_claims(console: Console, title: str, claims: Sequence[ClaimReport]) -> None:
    columns = ("claim", "at equal updates", "at equal compute", "P(better)", "verdict")
    rows = table(*columns, right=columns[1:4])
    for found in claims:
        add(rows, folded(found.claim.id, console), *effects(found, _gap(console)), probability(found), label(found))
    heading(console, f"{title}: {LEGEND}")
    console.print(rows)
    for found in claims:
        console.print(Padding(Text(printable(_explained(found)), style="dim"), (0, 0, 0, 2)))


def _print_attempts(console: Console, report: Report, attempts: Attempts) -> None:
    """Print what studies found that looked into open verdicts, each finding once, behind the tests that it is about."""
    wanting = [found for found in report.claims if is_open(found)]
    if not wanting:
        return
    tests: dict[str, list[str]] = {}
    for found in wanting:
        tried = [_attempt(one) for one in attempts.get(key_of(report.id, found), ())]
        for line in tried or ["nothing yet"]:
            tests.setdefault(line, []).append(found.claim.id)
    heading(console, "Tried to explain open verdicts, which stay as they are")
    for line, names in tests.items():
        console.print(Padding(Text(printable(f"{', '.join(names)}: {line}")), (0, 0, 0, 2)))


def _attempt(one: Attempt) -> str:
    effect = " or ".join(text for text in effects(one.found) if JUDGED in text) or DASH
    return f"{one.found.claim.text} {label(one.found)}, {effect} ({one.study}#{one.found.claim.id})"


def _print_tests(console: Console, named: Sequence[tuple[str, ClaimReport]]) -> None:
    """Print the p-values of claims, each with the id of its report, adjusted for all of them together."""
    claims = [found for _, found in named]
    several = len({name for name, _ in named}) > 1
    numbers = ("pairs", "p", "p, adjusted")
    rows = table(*(["method"] if several else []), "claim", *numbers, "verdict", right=numbers, whole=["method"])
    for (name, found), corrected in zip(named, adjusted(claims), strict=True):
        comparison = judged(found)
        pairs = None if comparison is None else str(len(comparison.seeds))
        values = (number(value, P_DIGITS) for value in (p_value(found), corrected))
        add(rows, *([name] if several else []), folded(found.claim.id, console), pairs, *values, label(found))
    heading(console, "Beside the verdicts: the sign-flip test of no difference, adjusted for the number of claims")
    console.print(rows)
    console.print(Padding(Text(SIGN_FLIP, style="dim"), (0, 0, 0, 2)))


def _explained(found: ClaimReport) -> str:
    claim = found.claim
    where = "" if claim.task is None else f" on {claim.task}"
    return f"{claim.id}: {claim.text} ({claim.compared}, {claim.metric}{where}) {found.verdict.reason}."


def effects(found: ClaimReport, gap: str = " ") -> tuple[str, str]:
    """Return the effect at equal updates and at equal compute; a number of the whole run stands in the first place."""
    whole = _on(found, "whole_run")
    if whole is not None:
        return interval(whole.difference, signed=True, mark=f"{JUDGED}{WHOLE}", gap=gap), DASH
    first, second = (_effect(found, axis, gap) for axis in ("update", "flops"))
    return first, second


def _effect(found: ClaimReport, axis: Basis, gap: str) -> str:
    comparison = _on(found, axis)
    mark = JUDGED if found.claim.axis == axis else ""
    return interval(comparison.difference if comparison else None, signed=True, mark=mark, gap=gap)


def _on(found: ClaimReport, axis: Basis) -> Comparison | None:
    return next((one for one in found.comparisons if one.axis == axis), None)


def probability(found: ClaimReport) -> str:
    """Return P(improvement) of the comparison that the verdict rests on."""
    comparison = judged(found)
    return number(comparison.probability.estimate if comparison else None)


def label(found: ClaimReport) -> str:
    """Return the verdict in words."""
    return found.verdict.label.replace("_", " ")


def remarks(report: Report) -> Iterator[str]:
    """Yield what a reader must know before relying on the tables, beside the scale."""
    if report.absent:
        first = report.absent[0]
        reason = f": {first.reason}" if first.reason else ""
        yield (
            f"{len(report.absent)} cells have no result, the first {first.task} {first.arm} seed {first.seed} "
            f"({first.status}{reason})."
        )
    if len(report.seeds) < report.method.min_seeds:
        yield f"A verdict needs {report.method.min_seeds} seeds; here are {len(report.seeds)}."
    elif report.calibrated is False:
        yield "Not every check of the protocol held: it has not shown here that it can judge these claims."
    if report.stale:
        yield "Stale: the code gives another fingerprint now than when the records were made. Run again."


def print_reports(console: Console, reports: Sequence[Report]) -> None:
    """Print one table over the claims of several methods."""
    columns = ("method\n  claim", "overhead\nat equal updates", "fidelity\nat equal compute", "\nverdict")
    rows = table(*columns, right=columns[1:3], whole=columns[3:])
    for report in reports:
        main = next((arm for arm in report.arms if arm.role == "method" and arm.task == report.tasks[0]), None)
        ratio = main.overhead.flops_ratio.estimate if main and main.overhead else None
        add(rows, report.id, number(ratio), number(main.fidelity.get(FIDELITY[0]) if main else None), "")
        for found in report.claims:
            name = Padding(Text(printable(folded(found.claim.id, console))), (0, 0, 0, 2))
            add(rows, name, *effects(found, _gap(console)), label(found))
        rows.add_section()
    heading(console, f"Claims: {LEGEND}")
    console.print(rows)
    console.print(
        "Overhead (FLOPs / control) and fidelity (rank correlation with exact credit): of the method's own arm."
    )
    _print_tests(console, [(report.id, found) for report in reports for found in report.claims])
    console.print(f"\n{SCALE} Each verdict holds at this scale:")
    for report in reports:
        console.print(f"{printable(report.id)}: {scale(report)}.")
        for remark in remarks(report):
            console.print(Padding(Text(printable(remark)), (0, 0, 0, 2)))
