"""The part of a method page that a report answers: tests, arms, curves, fidelity, checks, audit, reproduction."""

from __future__ import annotations

from collections.abc import Sequence

from cairn.evidence.audit import audit_run
from cairn.evidence.checklist import load_items
from cairn.evidence.claims import CURVE_METRICS, SCALE, Claim
from cairn.evidence.comparison import ClaimReport, Comparison
from cairn.evidence.explanations import Attempt, is_open
from cairn.evidence.paragraph import methods_paragraph
from cairn.evidence.report import ArmSummary, Report
from cairn.site import charts
from cairn.site.marks import anchor, badge
from cairn.site.subject import Shown, Subject, file_of
from cairn.site.text import (
    Content,
    Html,
    bullets,
    cite,
    code,
    definitions,
    details,
    element,
    escape,
    flops,
    interval,
    join,
    link,
    notice,
    number,
    paragraph,
    prose,
    share,
    signed,
    table,
    words,
)

METRICS = {
    "auc_success": "mean success over training",
    "final_success": "success at the last place that both arms reached",
    "initial_success": "success before training",
    "bifurcation_share": "share of the turns that stand at a planted fork",
}
SUCCESS_METRICS = (*CURVE_METRICS, "initial_success")
AXES = {"update": "equal updates", "flops": "equal metered compute", "whole_run": "whole run"}
_DIRECTIONS = {
    "greater": "above {margin:g}",
    "less": "below {negative:g}",
    "equivalent": "within {margin:g} of zero",
    "not_greater": "at most {margin:g}",
}
_COUNTS = (
    ("generated_tokens", "generated tokens"),
    ("prompt_tokens", "prompt tokens"),
    ("scored_tokens", "scored tokens"),
    ("trained_tokens", "trained tokens"),
    ("environment_steps", "environment steps"),
    ("environment_resets", "environment resets"),
    ("judge_calls", "judge calls"),
)


def warnings(report: Report) -> list[str]:
    """Return boxes for everything that stands between the reader and the verdicts."""
    boxes = [notice("note", "Scale", SCALE)]
    if report.calibrated is False:
        boxes.append(
            notice("warning", "The protocol's own checks did not all hold", "Do not rely on the verdicts below yet.")
        )
    if report.stale:
        boxes.append(notice("warning", "Stale", "The code has changed since these records were made."))
    if report.dirty:
        boxes.append(
            notice("warning", "Uncommitted changes", "Some records come from a tree with uncommitted changes.")
        )
    if report.absent:
        rows = [(f"{one.task}, {one.arm}, seed {one.seed}", one.status, one.reason) for one in report.absent]
        boxes.append(notice("warning", "Cells without a result", f"{len(rows)} of the declared cells; see the table."))
        boxes.append(table(["Cell", "Status", "Reason"], rows))
    return boxes


def tests(subject: Shown, found: Sequence[ClaimReport]) -> str:
    """Return one block for each test: what was declared, what was found, the verdict with its scale."""
    return "\n\n".join(_test(subject, one) for one in found)


def _test(subject: Shown, found: ClaimReport) -> str:
    claim, verdict = found.claim, found.verdict
    head = f'<h3 id="{anchor(found)}">{element("span", claim.text)}</h3>'
    about = definitions(
        [
            ("Verdict", join([badge(verdict.label), f" {verdict.reason}."])),
            ("Scale", f"{verdict.scale}."),
            ("Declared before the run", _declaration(claim, found.task)),
            ("It stands for", _basis(subject, claim)),
            ("Because", claim.why),
            *([("Tried to explain it", _tried(subject.looked_into(found)))] if is_open(found) else []),
        ]
    )
    return "\n\n".join(part for part in [head, about, *_comparisons(found.comparisons)] if part)


def _tried(found: Sequence[Attempt]) -> Html:
    """Return what studies found that looked into an open verdict; the verdict itself stays as it is."""
    if not found:
        return escape("nothing yet: this is an open question.")
    return join((_attempt(one) for one in found), "<br>")


def _attempt(one: Attempt) -> Html:
    claim = one.found.claim
    rests = [each.difference for each in one.found.comparisons if each.axis in {claim.axis, "whole_run"}]
    effect = f" {claim.compared.replace(' - ', ' − ')}: {interval(rests[0], 'signed')}." if rests else ""
    place = f"../studies/{one.study}.html#{anchor(one.found)}"
    return join([badge(one.found.verdict.label), " ", element("span", claim.text), effect, " ", link(one.title, place)])


def _basis(subject: Shown, claim: Claim) -> Html:
    """Return the paper's claim that a test stands for, in words."""
    found = subject.stands_for(claim)
    return join(["the paper's claim: ", element("em", found)]) if found else escape(claim.basis)


def _declaration(claim: Claim, task: str) -> Html:
    wanted = _DIRECTIONS[claim.direction].format(margin=claim.margin, negative=-claim.margin)
    where = f", compared at {AXES[claim.axis]}" if claim.metric in CURVE_METRICS else ""
    metric = METRICS.get(claim.metric, claim.metric)
    return join(
        [
            f"task {task}; arm ",
            element("code", claim.arm),
            " against ",
            element("code", claim.control),
            join([" on task ", element("code", claim.control_task)]) if claim.control_task else "",
            f"; {metric}{where}; the whole interval of arm − control must lie {wanted}.",
        ]
    )


def _comparisons(found: Sequence[Comparison]) -> list[str]:
    if not found:
        return []
    rows = [
        (
            AXES[one.axis],
            interval(one.difference, "signed"),
            interval(one.probability),
            number(one.sign_flip_p),
            str(len(one.seeds)),
        )
        for one in found
    ]
    head = ["Compared at", "Arm − control [95 %]", "P(arm better) [95 %]", "Sign-flip p", "Paired seeds"]
    seeds = [
        (f"{AXES[one.axis]}, seed {seed}", share(mine), share(other), signed(mine - other))
        for one in found
        for seed, mine, other in zip(one.seeds, one.arm_values, one.control_values, strict=True)
    ]
    each = table(["Compared at", "Arm", "Control", "Difference"], seeds)
    return [table(head, rows), details("Each seed", each)]


def glance(report: Report, found: Sequence[ClaimReport]) -> str:
    """Return one figure with the effect of each test on success, on the axis that its verdict rests on."""
    drawn = []
    for test in found:
        for one in test.comparisons:
            effect = one.difference
            if test.claim.metric not in SUCCESS_METRICS or one.axis not in {test.claim.axis, "whole_run"}:
                continue
            if effect.estimate is None or effect.low is None or effect.high is None:
                continue
            asked = test.claim.compared.replace(" - ", " − ")
            name = f"{words(test.verdict.label)}: {asked}, {AXES[one.axis]}, {test.task}"
            drawn.append(charts.Effect(name, effect.estimate, effect.low, effect.high, test.claim.margin))
    label = "Difference in success with its 95 % paired-bootstrap interval over seeds; grey: within the declared margin"
    return charts.effects(drawn, f"{label}; preset {report.preset}")


def arms(subject: Shown, report: Report) -> str:
    """Return for each task what every arm did, what it cost, and the learning curves."""
    parts = ["## Arms"]
    for task in report.tasks:
        found = [arm for arm in report.arms if arm.task == task]
        if not found:
            continue
        parts += [f"<h3>Task {element('code', task)}</h3>", _results(found), _ledger(found), *_curves(found)]
    data = f"../data/{subject.id}/curves.csv"
    parts.append(
        paragraph("Data of the curves: ", link("curves.csv", data), "; of the tables: ", _report_link(subject))
    )
    return "\n\n".join(parts)


def _report_link(subject: Shown) -> Html:
    return link("report.json", f"../data/{subject.id}/report.json")


def _results(found: Sequence[ArmSummary]) -> str:
    rows = [
        (_arm(arm), _seeds(arm), *(_success(arm, metric, kind) for metric, kind in _SHOWN), _cost(arm)) for arm in found
    ]
    control = next((arm.overhead.control for arm in found if arm.overhead), "control")
    head = [
        "Arm",
        "Seeds",
        "Final success, mean [95 %]",
        "Final success, IQM [95 %]",
        "Mean success, equal updates [95 %]",
        "Mean success, equal compute [95 %]",
        f"FLOPs ÷ {control}",
    ]
    return table(head, rows)


def _arm(arm: ArmSummary) -> Html:
    what = element("span", prose(f"{arm.role}: {arm.description}"), class_="cairn-what")
    return join([element("code", arm.arm), what], "<br>")


_SHOWN = (
    ("final_success", "mean"),
    ("final_success", "iqm"),
    ("auc_success_update", "mean"),
    ("auc_success_flops", "mean"),
)


def _success(arm: ArmSummary, metric: str, kind: str) -> str | None:
    return interval(getattr(arm.success[metric], kind)) if metric in arm.success else None


def _seeds(arm: ArmSummary) -> str:
    others = [f"{count} {status}" for status, count in arm.statuses.items() if status != "ok"]
    return ", ".join([str(len(arm.seeds)), *others])


def _cost(arm: ArmSummary) -> str | None:
    return None if arm.overhead is None else number(arm.overhead.flops_ratio.estimate)


def _ledger(found: Sequence[ArmSummary]) -> str:
    used = [(key, name) for key, name in _COUNTS if any(arm.ledger.get(key) for arm in found)]
    rows = [
        (
            element("code", arm.arm),
            flops(arm.ledger.get("flops")),
            *(number(arm.ledger.get(key)) for key, _ in used),
            number(arm.ledger.get("seconds")),
        )
        for arm in found
    ]
    return table(["Ledger, mean of a seed", "FLOPs", *(name.capitalize() for _, name in used), "Seconds"], rows)


def _curves(found: Sequence[ArmSummary]) -> list[str]:
    main = [arm for arm in found if arm.role != "variant"]
    variants = [arm for arm in found if arm.role in ("method", "variant")]
    figures = []
    for group, what in ((main, "the method and its controls"), (variants, "the method and its variants")):
        if len(group) < 2:
            continue
        for axis in ("update", "flops"):
            label = f"Success during training, {what}, at {AXES[axis]}; line: mean over seeds, band: 95 % bootstrap"
            figures.append(charts.curves(group, axis, label))
    return ['<div class="cairn-charts">\n' + "\n".join(filter(None, figures)) + "\n</div>"] if any(figures) else []


def fidelity(report: Report) -> str:
    """Return how close each arm's credit comes to the exact credit, where that was measured."""
    measured = [arm for arm in report.arms if any(value is not None for value in arm.fidelity.values())]
    head = "## Is the credit right?"
    if not measured:
        return "\n\n".join([head, paragraph("Not measured in this run.", class_="cairn-quiet")])
    keys = sorted({key for arm in measured for key in arm.fidelity})
    rows = [(element("code", arm.arm), arm.task, *(number(arm.fidelity.get(key)) for key in keys)) for arm in measured]
    about = paragraph(
        "The credit that each arm's rule gives on a fixed panel of trajectories of the initial policy, beside the "
        "exact credit under that policy; means over seeds. ",
        link("What each measure is", "../verdicts.html#exact-credit"),
        ".",
    )
    return "\n\n".join([head, about, table(["Arm", "Task", *(words(key) for key in keys)], rows)])


def checks(subject: Shown, report: Report) -> str:
    """Return the checks of the protocol itself, apart from the claims of the paper."""
    if not report.checks:
        return ""
    state = {True: "All of them hold here.", False: "Not all of them hold here.", None: ""}[report.calibrated]
    about = paragraph(
        "These say nothing about the method. They ask whether this task can tell good credit from bad: a protocol that "
        f"cannot, cannot judge a method. {state}"
    )
    return "\n\n".join(
        ["## Checks of the protocol", about, glance(report, report.checks), tests(subject, report.checks)]
    )


def deviations(report: Report) -> str:
    """Return where the reproduction departs from the paper."""
    found = bullets(report.deviations) if report.deviations else paragraph("None was declared.")
    return f"## Where our run departs from the paper\n\n{found}"


def reporting(subject: Subject) -> str:
    """Return the 14 items: what the paper reports, and what our own run reports, with what shows it."""
    paper = dict(subject.entry.reporting.marks())
    ours = {mark.item.key: mark for mark in audit_run(subject.report, subject.labels)} if subject.report else {}
    rows: list[list[Content]] = []
    for item in load_items():
        seen = [join([f"{words(one.account)}: {one.text} ", cite(one.from_)]) for one in paper[item.key].evidence]
        named = element("span", item.text, id=place_of(item.key))
        row: list[Content] = [named, item.priority, _marked(paper[item.key].status, seen)]
        if ours:
            row.append(_marked(ours[item.key].status, [ours[item.key].evidence]))
        rows.append(row)
    head = ["Item", "Priority", "The paper", *(["Our run"] if ours else [])]
    return "\n\n".join(["## Reporting checklist", table(head, rows)])


def place_of(item: str) -> str:
    """Return the id of a reporting item's row on a method page."""
    return f"reporting-{item}"


def _marked(status: str, evidence: Sequence[Content]) -> Html:
    return join([badge(status), *map(prose, evidence)], "<br>")


def paragraph_to_paste(subject: Subject) -> str:
    """Return the methods paragraph made from the report."""
    if subject.report is None:
        return ""
    text = methods_paragraph(subject.report, subject.labels)
    about = paragraph("Made from the report; every number in it is read from there.")
    quoted = element("blockquote", paragraph(text))
    return f"### A methods paragraph for this run\n\n{about}\n\n{quoted}"


def reproduce(subject: Shown, report: Report) -> str:
    """Return the command, where it ran, how long it took, and the raw records."""
    command = f"cairn run {subject.id} --preset {report.preset} --seeds {len(report.seeds)}"
    hosts = sorted({f"{one.host.cpu}, {one.host.device}, {one.host.threads} thread(s)" for one in subject.records})
    spent = "; ".join(f"{number(seconds)} s on {device}" for device, seconds in report.device_seconds.items())
    facts: list[tuple[Content, Content]] = [
        ("Hardware", "; ".join(hosts) or None),
        ("Time, all cells added", spent or None),
        ("Commit", ", ".join(one[:12] for one in report.commits) or None),
        ("Protocol", f"version {report.protocol_version}, SHA-256 {(report.protocol_hash or '')[:12]}"),
        ("Interval", _bootstrap(report)),
        ("Report", _report_link(subject)),
    ]
    return "\n\n".join(["## Reproduce it", code(command), definitions(facts), _raw(subject, report)])


def _bootstrap(report: Report) -> str:
    found = report.method
    return (
        f"{found.interval}, {found.replicates:,} replicates, bootstrap seed {found.seed}; called {found.level:.0%}, it "
        f"covers about {found.nominal_coverage:.0%} with {found.min_seeds} seeds and normally distributed values"
    )


def _raw(subject: Shown, report: Report) -> str:
    if not subject.records:
        return paragraph(f"The {len(report.records)} raw records are in the repository, not in this copy of the site.")
    rows = [
        (
            link(file_of(one), f"../data/{subject.id}/results/{file_of(one)}"),
            one.status,
            number(one.host.seconds),
            element("code", one.spec_hash[:12]),
        )
        for one in subject.records
    ]
    inside = table(["Record", "Status", "Seconds", "Configuration, SHA-256"], rows)
    return details(f"{len(rows)} raw records", inside)
