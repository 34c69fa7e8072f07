from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from tests.evidence.samples import sample_claim

from cairn.evidence.claims import Claim, describe_scale, judge
from cairn.evidence.stats import Interval

SCALE = describe_scale(310_000, "toy", 5, "cpu")
NAN = float("nan")


def label(direction: str, margin: float, low: float, high: float, **changes: Any) -> str:
    claim = sample_claim(direction=direction, margin=margin, **changes)
    return judge(claim, Interval((low + high) / 2, low, high, 5), seeds=5, min_seeds=5, scale=SCALE).label


@pytest.mark.parametrize(
    ("direction", "margin", "low", "high", "golden"),
    # By hand from the rule as it is stated, bounds that touch included.
    [
        ("greater", 0.0, 0.01, 0.2, "supported"),
        ("greater", 0.0, 0.0, 0.2, "inconclusive"),
        ("greater", 0.0, -0.1, 0.0, "inconclusive"),
        ("greater", 0.0, -0.2, -0.01, "contradicted"),
        ("greater", 0.05, 0.06, 0.2, "supported"),
        ("greater", 0.05, 0.05, 0.2, "inconclusive"),
        ("greater", 0.05, 0.01, 0.04, "contradicted"),
        ("less", 0.0, -0.2, -0.01, "supported"),
        ("less", 0.0, -0.2, 0.0, "inconclusive"),
        ("less", 0.0, 0.01, 0.2, "contradicted"),
        ("less", 0.05, -0.2, -0.06, "supported"),
        ("less", 0.05, -0.04, -0.01, "contradicted"),
        ("equivalent", 0.0, 0.0, 0.0, "supported"),
        ("equivalent", 0.1, -0.1, 0.1, "supported"),
        ("equivalent", 0.1, -0.1, 0.11, "inconclusive"),
        ("equivalent", 0.1, 0.11, 0.3, "contradicted"),
        ("equivalent", 0.1, -0.3, -0.11, "contradicted"),
        ("equivalent", 0.1, -0.3, 0.3, "inconclusive"),
        ("not_greater", 0.1, -0.9, 0.1, "supported"),
        ("not_greater", 0.1, -0.9, 0.2, "inconclusive"),
        ("not_greater", 0.1, 0.11, 0.2, "contradicted"),
    ],
)
def test_the_rule(direction: str, margin: float, low: float, high: float, golden: str) -> None:
    assert label(direction, margin, low, high) == golden


def test_an_effect_too_small_to_count_is_named_as_such() -> None:
    claim = sample_claim(margin=0.05)
    small = judge(claim, Interval(0.02, 0.01, 0.03, 5), seeds=5, min_seeds=5, scale=SCALE)
    wrong = judge(claim, Interval(-0.02, -0.03, -0.01, 5), seeds=5, min_seeds=5, scale=SCALE)
    assert (small.label, wrong.label) == ("contradicted", "contradicted")
    assert "claimed side of 0" in small.reason
    assert "claimed side of 0" not in wrong.reason
    assert "[0.01, 0.03]" in small.reason


@pytest.mark.parametrize(
    ("interval", "seeds", "problem", "reason"),
    [
        (Interval(0.5, 0.4, 0.6, 4), 4, None, "4 paired seeds; a verdict needs at least 5"),
        (Interval(0.5, 0.4, 0.6, 9), 9, "paper, seed 3: failed (loss became NaN)", "loss became NaN"),
        (Interval(0.5, NAN, NAN, 5), 5, None, "no finite bounds"),
        (Interval(NAN, NAN, NAN, 0), 0, None, "0 paired seeds"),
    ],
)
def test_what_stands_in_the_way_of_a_verdict(interval: Interval, seeds: int, problem: str | None, reason: str) -> None:
    verdict = judge(sample_claim(), interval, seeds=seeds, min_seeds=5, scale=SCALE, problem=problem)
    assert verdict.label == "inconclusive"
    assert reason in verdict.reason
    assert verdict.scale == SCALE


def test_what_cannot_be_tested_gets_no_other_verdict() -> None:
    claim = sample_claim(not_testable="needs a judge model")
    verdict = judge(claim, Interval(0.5, 0.4, 0.6, 9), seeds=9, min_seeds=5, scale=SCALE, problem="failed")
    assert (verdict.label, verdict.reason) == ("not_testable_here", "needs a judge model")


@pytest.mark.parametrize(
    ("parameters", "seeds", "golden"),
    [
        (310_000, 5, "0.31 M parameters, task toy, 5 seeds, preset cpu"),
        (7_615_616_512, 1, "7.62 B parameters, task toy, 1 seed, preset cpu"),
        (20_000_000, 10, "20 M parameters, task toy, 10 seeds, preset cpu"),
        (12_345, 5, "12,345 parameters, task toy, 5 seeds, preset cpu"),
        (None, 5, "model of unstated size, task toy, 5 seeds, preset cpu"),
    ],
)
def test_scale_in_words(parameters: int | None, seeds: int, golden: str) -> None:
    assert describe_scale(parameters, "toy", seeds, "cpu") == golden


@pytest.mark.parametrize("change", [{"margin": -0.1}, {"direction": "better"}, {"axis": "seconds"}, {"note": "x"}])
def test_a_malformed_claim_is_refused(change: dict[str, Any]) -> None:
    content = sample_claim().model_dump()
    with pytest.raises(ValidationError):
        Claim(**{**content, **change})
