"""Small marks: which statuses an entry has reached, verdicts, reporting. Each is readable without its colour."""

from __future__ import annotations

from collections.abc import Sequence

from cairn.evidence.comparison import ClaimReport
from cairn.evidence.labels import Label
from cairn.evidence.status import STATUSES
from cairn.site.subject import Subject
from cairn.site.text import Html, element, join, words

_SIGNS: dict[str, str] = {
    "supported": "✓",
    "contradicted": "✕",
    "inconclusive": "?",
    "not_testable_here": "–",
    "yes": "✓",
    "partial": "◐",
    "no": "✕",
    "unknown": "?",
    "not-applicable": "–",
}


def sign(label: str) -> str:
    """Return the sign of a verdict or a reporting mark; a question mark for a word that has none."""
    return _SIGNS.get(label, "?")


def badge(label: Label | str) -> Html:
    """Return a verdict or a reporting mark: sign and word."""
    kind = label.replace("_", "-")
    return element("span", f"{sign(label)} {words(label)}", class_=f"cairn-badge cairn-{kind}")


def status_marks(subject: Subject) -> Html:
    """Return the four statuses, those reached and those not."""
    marks = [_status(status, status in subject.statuses) for status in STATUSES]
    return element("span", join(marks, " "), class_="cairn-statuses")


def _status(status: str, reached: bool) -> Html:
    told = "reached" if reached else "not reached"
    sign = "●" if reached else "○"
    return element("span", f"{sign} {status}", class_="cairn-on" if reached else "cairn-off", title=f"{status}: {told}")


def verdict_badges(subject: Subject, tests: Sequence[ClaimReport] | None = None) -> Html:
    """Return the verdicts of tests (default: all of the entry), each linked to its place on the page."""
    if subject.report is None or not subject.report.records:
        return Html("")
    shown = subject.tests if tests is None else tests
    links = [element("a", badge(test.verdict.label), href=f"#{anchor(test)}", title=test.claim.text) for test in shown]
    return join(links, " ")


def anchor(test: ClaimReport) -> str:
    """Return the id of a test's place on its page."""
    return f"test-{test.claim.id}"
