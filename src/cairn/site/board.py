"""Leaderboards: one for each task and preset, rows are arms beside their own control; there is no score over all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cairn.evidence.claims import SCALE
from cairn.evidence.comparison import ClaimReport, Comparison
from cairn.evidence.report import ArmSummary, Report
from cairn.site.marks import anchor, badge
from cairn.site.part import Part, Whole
from cairn.site.subject import Subject
from cairn.site.tables import Column, Row, live
from cairn.site.text import Content, Html, element, interval, join, link, notice, number, paragraph, table

Key = tuple[str, str]
_COLUMNS = (
    Column("Method"),
    Column("Arm"),
    Column("Compared with"),
    Column("Effect at equal updates [95 %]", numeric=True),
    Column("Effect at equal compute [95 %]", numeric=True),
    Column("P(better) at equal compute", numeric=True),
    Column("Verdict"),
    Column("Final success, IQM [95 %]", numeric=True),
    Column("Rank correlation with exact credit", numeric=True),
    Column("FLOPs, times control", numeric=True),
    Column("Seconds a seed", numeric=True),
    Column("Seeds", numeric=True),
    Column("Protocol"),
)


def make(whole: Whole) -> Part:
    """Return the boards and the page that lists them."""
    found = boards(whole.subjects)
    pages = {f"leaderboard/{file_of(key)}.md": render(key, among) for key, among in found.items()}
    return Part({"leaderboard/index.md": index(found), **pages})


def boards(subjects: Iterable[Subject]) -> dict[Key, list[Subject]]:
    """Return the subjects with records for each (task, preset), in order."""
    found: dict[Key, list[Subject]] = {}
    for subject in subjects:
        report = subject.report
        if report is not None and report.preset is not None:
            for task in report.tasks:
                found.setdefault((task, report.preset), []).append(subject)
    return dict(sorted(found.items()))


def file_of(key: Key) -> str:
    """Return the name of a board's page, without its ending."""
    return f"{key[0]}--{key[1]}"


def index(found: Mapping[Key, Sequence[Subject]]) -> str:
    """Return the page that lists the boards."""
    rows = [
        (
            link(f"{key[0]}, preset {key[1]}", f"{file_of(key)}.html"),
            join((link(one.entry.bibliography.name, f"../methods/{one.id}.html") for one in subjects), ", "),
        )
        for key, subjects in found.items()
    ]
    about = paragraph(
        "One board for each task and preset. An effect is always the difference to the control of the same experiment, "
        "run on the same panel with paired seeds; there is no score over all tasks and no rank over all methods."
    )
    listed = table(["Board", "Methods on it"], rows) if rows else paragraph("No experiment has been run yet.")
    return "\n\n".join(["# Leaderboards", notice("note", "Scale", SCALE), about, listed]) + "\n"


def render(key: Key, subjects: Sequence[Subject]) -> str:
    """Return the page of one board as Markdown."""
    reports = [(subject, subject.report) for subject in subjects if subject.report is not None]
    rows = [
        _row(subject, report, arm, test)
        for subject, report in reports
        for arm in report.arms
        if arm.task == key[0] and arm.role in ("method", "variant")
        for test in _tests(report, arm)
    ]
    parts = [
        "---\nhide: [toc]\n---",
        f"# Task {key[0]}, preset {key[1]}",
        notice("note", "Scale", SCALE),
        paragraph(
            "One row for each declared claim: an arm beside the control that the claim names. The verdict rests on the "
            "comparison that was declared, at equal updates or at equal compute; it leads to the test. Evidence tier "
            "of every number here: ours, at small scale."
        ),
        live("board", _COLUMNS, rows),
        _absent(key, reports),
    ]
    return "\n\n".join(parts) + "\n"


def _tests(report: Report, arm: ArmSummary) -> Sequence[ClaimReport | None]:
    """Return the tests of an arm; None alone when no claim is about it, so that it still has a row."""
    return [test for test in report.claims if test.claim.arm == arm.arm and test.task == arm.task] or [None]


def _row(subject: Subject, report: Report, arm: ArmSummary, test: ClaimReport | None) -> Row:
    provisional = " provisional" if len(arm.seeds) < report.method.min_seeds else ""
    updates, compute = _comparison(test, "update"), _comparison(test, "flops")
    cells: list[Content] = [
        element("code", arm.arm),
        element("code", test.claim.control) if test else None,
        interval(updates.difference, "signed") if updates else None,
        interval(compute.difference, "signed") if compute else None,
        interval(compute.probability) if compute else None,
        _verdict(subject, test) if test else "no claim declared",
        interval(arm.success["final_success"].iqm) if arm.success else None,
        number(arm.fidelity.get("rank_correlation")),
        number(arm.overhead.flops_ratio.estimate) if arm.overhead else None,
        number(arm.ledger.get("seconds")),
        f"{len(arm.seeds)}{provisional}",
        f"version {report.protocol_version}",
    ]
    name = link(subject.entry.bibliography.name, f"../methods/{subject.id}.html")
    return Row([name, *cells])


def _comparison(test: ClaimReport | None, axis: str) -> Comparison | None:
    return next((one for one in test.comparisons if one.axis == axis), None) if test else None


def _verdict(subject: Subject, test: ClaimReport) -> Html:
    target = f"../methods/{subject.id}.html#{anchor(test)}"
    return element("a", badge(test.verdict.label), href=target, title=test.claim.text)


def _absent(key: Key, reports: Sequence[tuple[Subject, Report]]) -> str:
    rows = [
        (subject.entry.bibliography.name, one.arm, str(one.seed), one.status, one.reason)
        for subject, report in reports
        for one in report.absent
        if one.task == key[0]
    ]
    head = "## Failed, skipped and missing cells"
    if not rows:
        return "\n\n".join([head, paragraph("None: every declared cell of these experiments finished.")])
    return "\n\n".join([head, table(["Method", "Arm", "Seed", "Status", "Reason"], rows)])
