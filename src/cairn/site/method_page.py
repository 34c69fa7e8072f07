"""One page for each entry, in an order that never changes."""

from __future__ import annotations

from collections.abc import Mapping

from cairn.inventory import Inventory, bibtex
from cairn.site import facts_page, run_page
from cairn.site.subject import Subject
from cairn.site.text import paragraph


def render(subject: Subject, inventory: Inventory, names: Mapping[str, str]) -> str:
    """Return the page of an entry as Markdown. names: how each entry is called, by id."""
    entry = subject.entry
    blocks = [
        facts_page.lead(subject),
        facts_page.rule(entry),
        facts_page.example(subject, names),
        facts_page.needs(subject, inventory),
        facts_page.family(entry, inventory),
        facts_page.labels(entry),
        facts_page.claims(subject),
        *_evidence(subject),
        run_page.reporting(subject),
        run_page.paragraph_to_paste(subject),
        *_reproduction(subject),
        facts_page.sources(entry),
        facts_page.citation(bibtex(entry)),
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
