from __future__ import annotations

from typing import Any

import pytest
from tests.evidence.samples import sample_claim, sample_experiment, sample_records

from cairn.evidence.comparison import ClaimReport
from cairn.evidence.multiplicity import adjusted, judged, p_value
from cairn.evidence.report import build_report


def found(**changes: Any) -> ClaimReport:
    """A claim tested with the sample records; both axes have a p-value."""
    seeds = changes.pop("seeds", range(5))
    report = build_report(sample_experiment(claims=(sample_claim(**changes),)), sample_records(seeds), 1)
    return report.claims[0]


def with_p(value: float | None, claim: ClaimReport) -> ClaimReport:
    """The claim with another p-value on its own axis, and a misleading one on the other."""
    comparisons = tuple(
        one.model_copy(update={"sign_flip_p": value if one.axis == claim.claim.axis else 0.0})
        for one in claim.comparisons
    )
    return claim.model_copy(update={"comparisons": comparisons})


@pytest.mark.parametrize("axis", ["update", "flops"])
def test_the_p_value_is_that_of_the_comparison_that_the_verdict_rests_on(axis: str) -> None:
    claim = with_p(0.25, found(axis=axis))
    comparison = judged(claim)
    assert comparison is not None
    assert comparison.axis == axis
    assert p_value(claim) == 0.25


def test_a_number_of_the_whole_run_has_one_comparison() -> None:
    comparison = judged(found(metric="kl_final"))
    assert comparison is not None
    assert comparison.axis == "whole_run"


def test_values_are_adjusted_for_all_claims_in_their_order() -> None:
    # By hand: 0.01 * 3, 0.02 * 2, 0.5.
    claims = [with_p(value, found()) for value in (0.5, 0.01, 0.02)]
    assert adjusted(claims) == pytest.approx([0.5, 0.03, 0.04])
    assert adjusted([]) == []


def test_what_was_not_tested_does_not_count() -> None:
    # By hand: two tests remain, 0.01 * 2 and 0.5.
    untestable = with_p(0.001, found(not_testable="no such task here"))
    without_pairs = found(seeds=[])
    claims = [untestable, with_p(0.01, found()), without_pairs, with_p(0.5, found())]
    assert adjusted(claims) == [None, pytest.approx(0.02), None, pytest.approx(0.5)]


def test_a_test_without_a_value_counts_but_gets_none() -> None:
    # By hand: it stands for 1 among the three, so 0.01 * 3 and 0.02 * 2.
    claims = [with_p(None, found()), with_p(0.01, found()), with_p(0.02, found())]
    assert adjusted(claims) == [None, pytest.approx(0.03), pytest.approx(0.04)]


def test_nothing_of_it_is_stored() -> None:
    assert "adjusted" not in found().model_dump_json()
