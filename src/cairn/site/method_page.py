"""One page for each entry, in an order that never changes."""

from __future__ import annotations

from cairn.inventory import bibtex
from cairn.site import facts_page, family_part, run_page
from cairn.site.part import Part, Whole
from cairn.site.subject import Subject
from cairn.site.text import paragraph


def make(whole: Whole) -> Part:
    """Return the page of every entry."""
    return Part({f"methods/{subject.id}.md": _render(subject, whole) for subject in whole.subjects})


def _render(subject: Subject, whole: Whole) -> str:
    entry, inventory = subject.entry, whole.inventory
    blocks = [
        facts_page.lead(subject, inventory),
        facts_page.rule(entry, inventory),
        facts_page.example(subject, whole.names),
        facts_page.needs(subject, inventory),
        family_part.render(entry, inventory),
        facts_page.labels(entry, inventory),
        facts_page.claims(subject),
        *_evidence(subject),
        run_page.reporting(subject),
        run_page.paragraph_to_paste(subject),
        *_reproduction(subject),
        facts_page.sources(entry, inventory),
        facts_page.citation(bibtex(entry), f"cairn cite {entry.id}"),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _evidence(subject: Subject) -> list[str]:
    report = subject.report
    if report is None or not report.records:
        return [paragraph("We have not run this method yet: there is no result of ours on this page.")]
    return [
        *run_page.warnings(report),
        "### Our tests",
        run_page.glance(report, report.claims),
        run_page.tests(subject, report.claims),
        run_page.arms(subject, report),
        run_page.fidelity(report),
        run_page.checks(subject, report),
        run_page.deviations(report),
    ]


def _reproduction(subject: Subject) -> list[str]:
    report = subject.report
    return [run_page.reproduce(subject, report)] if report is not None and report.records else []
