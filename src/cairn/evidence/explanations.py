"""What was tried to explain an open verdict: tests of later studies that say which earlier test they look into.

The declared test stays as it is, and so does its verdict; a study that looks into it stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cairn.evidence.comparison import ClaimReport
from cairn.evidence.labels import Label
from cairn.evidence.report import Report

OPEN: frozenset[Label] = frozenset({"contradicted", "inconclusive"})


class Attempt(NamedTuple):
    """One test of a study, made to explain a verdict of another experiment."""

    study: str
    title: str
    found: ClaimReport


Attempts = Mapping[str, tuple[Attempt, ...]]
"""Attempts by the test that they look into, `<experiment>#<claim>`."""


def attempts(studies: Iterable[Report]) -> Attempts:
    """Return what the claims of studies say that they look into, in the order of the studies."""
    found: dict[str, tuple[Attempt, ...]] = {}
    for report in studies:
        for test in report.claims:
            for key in test.claim.explains:
                found[key] = (*found.get(key, ()), Attempt(report.id, report.title, test))
    return found


def is_open(found: ClaimReport) -> bool:
    """Say whether a verdict asks for an explanation."""
    return found.verdict.label in OPEN


def key_of(experiment: str, found: ClaimReport) -> str:
    """Return the name under which a test is looked into."""
    return f"{experiment}#{found.claim.id}"
