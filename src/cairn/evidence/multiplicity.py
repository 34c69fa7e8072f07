"""Many claims, one family: p-values adjusted for their number, computed where they are shown.

They stand beside the verdicts and change none. Nothing of this is stored in a report, since an adjusted value depends
on which claims are looked at together: those of one report, or all on one leaderboard.
"""

from __future__ import annotations

from collections.abc import Sequence

from cairn.evidence.comparison import ClaimReport, Comparison
from cairn.evidence.stats import holm

SIGN_FLIP = (
    "p is the exact sign-flip test of no difference at all, on the comparison that the verdict rests on; it asks "
    "neither about the margin nor about the direction, so where a claim says that there is no difference, a small p "
    "speaks against it. Beside it stands the value adjusted by Holm's method for all claims of the table together. "
    "Neither enters a verdict."
)
"""Stands wherever these values are shown."""


def judged(found: ClaimReport) -> Comparison | None:
    """Return the comparison that the verdict rests on: on the claim's own axis, or over the whole run."""
    return next((one for one in found.comparisons if one.axis in (found.claim.axis, "whole_run")), None)


def p_value(found: ClaimReport) -> float | None:
    """Return the sign-flip p-value of the comparison that the verdict rests on; null where there is none."""
    comparison = judged(found)
    return comparison.sign_flip_p if comparison else None


def adjusted(claims: Sequence[ClaimReport]) -> list[float | None]:
    """Return the Holm-adjusted p-value of each claim, for the family of all claims given, in their order.

    A claim without pairs, or declared not testable, is no test and counts for nothing. One with pairs but without a
    p-value (more of them than sign flips can be enumerated) counts as p = 1, which can only raise the values of the
    others; its own place holds null.
    """
    tested = [at for at, found in enumerate(claims) if _is_test(found)]
    values = [p_value(claims[at]) for at in tested]
    corrected = holm([1.0 if value is None else value for value in values])
    answers: list[float | None] = [None] * len(claims)
    for at, value, answer in zip(tested, values, corrected, strict=True):
        answers[at] = None if value is None else float(answer)
    return answers


def _is_test(found: ClaimReport) -> bool:
    comparison = judged(found)
    return found.claim.not_testable is None and comparison is not None and bool(comparison.seeds)
