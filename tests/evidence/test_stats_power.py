from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.stats
from tests.evidence.samples import sample_claim, sample_experiment, sample_records

from cairn.evidence.claims import Direction, judge
from cairn.evidence.planning import known_spread, outlooks, to_test
from cairn.evidence.power import chances, detectable, power, seeds_needed, simulations, spread_of
from cairn.evidence.report import Report, build_report
from cairn.evidence.simulated import Bounds, standard_bounds
from cairn.evidence.stats import paired_difference

DIRECTIONS: tuple[Direction, ...] = ("greater", "less", "equivalent", "not_greater")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("seeds", [5, 10])
def test_power_is_how_often_the_rule_itself_says_so(direction: Direction, seeds: int) -> None:
    # Independent: every experiment drawn by itself, its interval and verdict made by the functions that reports use.
    spread, margin, effect = (
        0.1,
        0.12,
        {"greater": 0.2, "less": -0.2, "equivalent": 0.02, "not_greater": 0.05}[direction],
    )
    claim = sample_claim(direction=direction, margin=margin)
    generator, labels = rng(seeds), Counter[str]()
    for _ in range(500):
        control = generator.normal(size=seeds)
        found = paired_difference(control + generator.normal(effect, spread, seeds), control, generator, replicates=300)
        labels[judge(claim, found, seeds=seeds, min_seeds=5, scale="").label] += 1
    golden = [labels[label] / 500 for label in ("supported", "contradicted", "inconclusive")]
    assert 0.3 < golden[0] < 1
    # Four standard errors of a share of 500.
    assert [*power(spread, margin, seeds, rng(1), effect=effect, direction=direction)] == pytest.approx(
        golden, abs=0.08
    )


def test_power_of_many_seeds_is_that_of_a_normal_test() -> None:
    # Independent formula: with many seeds the bound is 1.96 standard errors below the mean.
    seeds, effect = 80, 0.3
    golden = scipy.stats.norm.cdf(effect * np.sqrt(seeds) - 1.96)
    assert power(1.0, 0.0, seeds, rng(), effect=effect).supported == pytest.approx(golden, abs=0.05)


def test_a_spread_may_come_from_differences() -> None:
    # By hand: mean 2, squares 1 + 0 + 1, over 2.
    assert spread_of([1.0, 2.0, 3.0]) == pytest.approx((1.0, 2.0, 3))
    for bad in ([1.0], [1.0, float("nan")], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="at least 2 finite"):
            spread_of(bad)
    given, taken = (power(spread, 0.0, 6, rng(2), effect=0.9) for spread in (1.0, [1.0, 2.0, 3.0]))
    assert given == taken


def test_too_few_seeds_decide_nothing() -> None:
    assert power(0.1, 0.0, 4, rng(), effect=9.0, min_seeds=5) == (0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="not negative"):
        power(-0.1, 0.0, 4, rng(), effect=9.0)


@pytest.mark.parametrize(
    ("direction", "effect", "golden"),
    [
        ("greater", 0.1, (0, 0, 1)),
        ("greater", 0.11, (1, 0, 0)),
        ("equivalent", 0.1, (1, 0, 0)),
        ("less", 0.2, (0, 1, 0)),
        ("not_greater", 0.2, (0, 1, 0)),
    ],
)
def test_without_spread_the_rule_is_all(direction: Direction, effect: float, golden: tuple[float, ...]) -> None:
    # By hand from the table of `judge`, with low = high = effect and a margin of 0.1.
    assert power(0.0, 0.1, 5, rng(), effect=effect, direction=direction) == golden


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_what_is_detectable_is_supported_just_so_often(direction: Direction) -> None:
    bounds, spread, margin = standard_bounds(10, rng()), 0.1, 0.15
    found = detectable(bounds, spread, margin, direction)
    assert found is not None
    assert chances(bounds, spread, found, margin, direction).supported == pytest.approx(0.8, abs=0.005)
    nearer = found + {"greater": -0.02, "less": 0.02}.get(direction, 0.02)
    assert chances(bounds, spread, nearer, margin, direction).supported < 0.8


def test_detectable_by_hand() -> None:
    # Bounds of five experiments; four of five are supported when the second lowest low, -3, clears the margin.
    bounds = Bounds(np.array([-4.0, -3.0, -2.0, -1.0, 0.0]), np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert detectable(bounds, 0.1, 0.5, "greater", 0.75) == pytest.approx(0.5 + 0.3)
    assert detectable(bounds, 0.1, 0.5, "less", 0.75) == pytest.approx(-0.5 - 0.3)
    assert detectable(bounds, 0.1, 0.5, "not_greater", 0.75) == pytest.approx(0.5 - 0.3)
    # All five lie within 0.5 of a size up to 0.1; from then on the widest leaves, at 0.2 the second too.
    assert detectable(bounds, 0.1, 0.5, "equivalent", 0.8) == pytest.approx(0.2)
    assert detectable(bounds, 0.1, 0.05, "equivalent", 0.8) is None


def test_seeds_needed_is_where_the_power_passes_the_target() -> None:
    simulate = simulations()
    found = seeds_needed(simulate, 0.1, 0.1, 0.02)
    assert found is not None
    assert chances(simulate(found), 0.1, 0.1, 0.02, "greater").supported >= 0.8
    assert chances(simulate(found - 1), 0.1, 0.1, 0.02, "greater").supported < 0.8
    # Independent formula of the normal test, (1.96 + 0.84)^2 (s / gap)^2 = 12.3; the narrow interval needs fewer.
    assert 9 <= found <= 13


def test_seeds_needed_of_what_cannot_be() -> None:
    simulate = simulations()
    assert seeds_needed(simulate, 0.1, 0.02, 0.02) is None  # no more than the margin
    assert seeds_needed(simulate, 1.0, 0.03, 0.02, most_seeds=20) is None
    assert seeds_needed(simulate, 0.0, 0.0, 0.0, "equivalent", min_seeds=5) == 5


def test_simulations_are_the_same_each_time() -> None:
    first, second = simulations()(7), simulations()(7)
    assert np.array_equal(first.low, second.low)
    assert not np.array_equal(first.low, simulations(1)(7).low)


def sample_report(**changes: Any) -> Report:
    return build_report(sample_experiment(**changes), sample_records(range(6)), 1)


def test_the_known_spread_is_that_of_the_same_arms_metric_and_axis() -> None:
    report = sample_report()
    (first, _) = report.claims
    pairs = zip(first.comparisons[0].arm_values, first.comparisons[0].control_values, strict=True)
    golden = np.array([arm - control for arm, control in pairs])
    claim = sample_claim("another-name", margin=0.3)
    found = known_spread(report, claim, "toy")
    assert found == pytest.approx((golden.std(ddof=1), golden.mean(), 6))
    for changes in ({"arm": "exact", "axis": "flops"}, {"control": "shuffled"}, {"metric": "final_success"}):
        assert known_spread(report, sample_claim(**changes), "toy") is None
    assert known_spread(report, claim, "other") is None


def test_the_outlook_of_every_claim() -> None:
    report = sample_report()
    experiment = sample_experiment(claims=(sample_claim(), sample_claim("not-here", not_testable="no such task")))
    tests = to_test(experiment)
    assert [claim.id for claim, _ in tests] == ["faster", "exact-helps", "shuffled-does-not"]
    assert to_test(report) == to_test(sample_experiment())
    known, *_ = outlooks(tests, 10, 5, report)
    assert (known.known_from, known.supported, known.seeds_needed, known.fulfilled) == (6, 1.0, 5, True)
    given, *_ = outlooks(tests, 10, 5, report, deviation=5.0, effect=0.1)
    assert (given.known_from, given.deviation, given.effect, given.seeds_needed) == (None, 5.0, 0.1, None)
    assert given.detectable is not None
    assert given.detectable > 1
    few, *_ = outlooks(tests, 4, 5, report)
    assert (few.supported, few.detectable) == (0.0, None)
    for one in outlooks(tests, 10, 5, None):
        assert (one.deviation, one.detectable, one.supported, one.seeds_needed, one.fulfilled) == (*[None] * 4, False)
