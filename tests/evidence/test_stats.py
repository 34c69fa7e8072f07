from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from cairn.evidence import stats
from cairn.evidence.stats import (
    Interval,
    area_under_curve,
    bootstrap_band,
    bootstrap_interval,
    holm,
    iqm,
    nominal_coverage,
    paired_difference,
    probability_of_improvement,
    sign_flip_p,
    stratified_improvement,
    stratified_interval,
    value_at,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("values", "golden"),
    [
        # By hand: floor(n / 4) values leave at either end.
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([0.0, 100.0, 0.0, 0.0], 0.0),
        ([100.0, 1.0, 2.0, 4.0, 3.0], 3.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], 4.5),
    ],
)
def test_iqm_by_hand(values: list[float], golden: float) -> None:
    assert iqm(values) == pytest.approx(golden)


@pytest.mark.parametrize("size", range(1, 24))
def test_iqm_agrees_with_scipy(size: int) -> None:
    values = rng(size).normal(size=size)
    assert iqm(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25), rel=1e-12)


def test_bootstrap_of_two_values_by_hand() -> None:
    # The resampled mean of 0 and 1 is 0, 1/2 or 1 with probabilities 1/4, 1/2, 1/4: both tails lie on the ends.
    assert bootstrap_interval([0.0, 1.0], rng()) == Interval(0.5, 0.0, 1.0, 2)


def test_bootstrap_bounds_agree_with_the_binomial() -> None:
    # Resampling (0, 0, 0, 0, 1) gives Binomial(5, 1/5) / 5; scipy knows its quantiles.
    golden = scipy.stats.binom.ppf([0.025, 0.975], 5, 0.2) / 5
    found = bootstrap_interval([0.0, 0.0, 0.0, 0.0, 1.0], rng())
    assert (found.low, found.high) == pytest.approx(tuple(golden))


def test_bootstrap_of_the_iqm_resamples_the_iqm() -> None:
    # By hand: of 5 values the two ends go, so k ones in the draw give max(0, k - 1) / 3, at most 1. k is binomial.
    ones = scipy.stats.binom.ppf([0.025, 0.975], 5, 0.2)
    found = bootstrap_interval([0.0, 0.0, 0.0, 0.0, 1.0], rng(), statistic="iqm")
    assert ones.tolist() == [0.0, 3.0]
    assert (found.estimate, found.low, found.high) == pytest.approx((0.0, 0.0, 2 / 3))


def test_paired_difference_resamples_pairs() -> None:
    # A constant shift between noisy pairs is known exactly; unpaired resampling would smear it.
    control = rng().normal(size=8)
    assert paired_difference(control + 2.0, control, rng())[:3] == pytest.approx((2.0, 2.0, 2.0))


def test_interval_covers_about_as_often_as_stated() -> None:
    # Independent value: for normal data the interval is mean +- 1.96 sqrt((n-1)/n) standard errors, so a t tail.
    generator = rng(3)
    sizes = 5
    hits = []
    for _ in range(600):
        values = generator.normal(0.3, 1.0, size=sizes)
        found = bootstrap_interval(values, generator, replicates=500)
        hits.append(found.low <= 0.3 <= found.high)
    expected = 2 * scipy.stats.t.cdf(1.959964 * np.sqrt(0.8), 4) - 1
    assert nominal_coverage(sizes) == pytest.approx(expected, abs=1e-6)
    assert np.mean(hits) == pytest.approx(expected, abs=0.05)


def test_band_by_hand() -> None:
    centre, low, high = bootstrap_band([[0.0, 0.0], [1.0, 2.0]], rng())
    assert (centre.tolist(), low.tolist(), high.tolist()) == ([0.5, 1.0], [0.0, 0.0], [1.0, 2.0])


def test_band_agrees_with_the_interval_at_each_point() -> None:
    curves = rng(1).normal(size=(10, 3))
    _, low, high = bootstrap_band(curves, rng(2))
    for point in range(3):
        found = bootstrap_interval(curves[:, point], rng(4))
        assert (low[point], high[point]) == pytest.approx((found.low, found.high), abs=0.04)


def test_probability_of_improvement_by_hand() -> None:
    # Paired: a loss, a tie, a win. Unpaired: each of (1, 2, 3) meets 2 three times.
    for paired in (True, False):
        found = probability_of_improvement([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], rng(), paired=paired)
        assert (found.estimate, found.n) == (0.5, 3)
    assert probability_of_improvement([1.0, 5.0], [4.0, 0.0], rng()).estimate == 0.5
    assert probability_of_improvement([1.0, 5.0], [4.0, 0.0], rng(), paired=False).estimate == 0.75


@pytest.mark.parametrize("seed", range(5))
def test_unpaired_probability_agrees_with_mann_whitney(seed: int) -> None:
    arm, control = rng(seed).integers(0, 6, size=9), rng(seed + 50).integers(0, 6, size=7)
    found = probability_of_improvement(arm, control, rng(), paired=False, replicates=200)
    golden = scipy.stats.mannwhitneyu(arm, control).statistic / (9 * 7)
    assert found.estimate == pytest.approx(golden)
    assert 0 <= found.low <= found.estimate <= found.high <= 1


@pytest.mark.parametrize(
    ("differences", "golden"),
    [
        # By hand over all sign patterns.
        ([1.0, 1.0, 1.0, 1.0, 1.0], 2 / 32),
        ([1.0, 2.0, 3.0], 2 / 8),
        ([1.0, -1.0], 1.0),
        ([3.0, 1.0, -1.0], 6 / 8),
        ([0.0, 0.0], 1.0),
        ([0.1, 0.2, -0.3, 0.3], 0.75),
    ],
)
def test_sign_flips_by_hand(differences: list[float], golden: float) -> None:
    assert sign_flip_p(differences) == pytest.approx(golden)


@pytest.mark.parametrize("seed", range(4))
def test_sign_flips_agree_with_scipy(seed: int) -> None:
    values = rng(seed).normal(0.5, size=7)
    golden = scipy.stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert sign_flip_p(values) == pytest.approx(golden)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04, and none below the one before it.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([]).size == 0


@pytest.mark.parametrize("seed", range(6))
def test_holm_agrees_with_the_closed_test(seed: int) -> None:
    # Independent formula (Marcus, Peritz and Gabriel 1976): a hypothesis is rejected when Bonferroni's test rejects
    # every intersection that it belongs to, so its adjusted value is the largest over all those subsets.
    values = np.round(rng(seed).beta(0.5, 2.0, size=6), 2)
    subsets = [one for size in range(1, 7) for one in itertools.combinations(range(6), size)]
    golden = [max(min(1.0, len(s) * values[list(s)].min()) for s in subsets if at in s) for at in range(6)]
    assert holm(values) == pytest.approx(golden)


def test_stratified_statistics_by_hand() -> None:
    # IQM of 0..7: the two lowest and the two highest go. Shifted tasks are not centred first.
    scores = [[0.0, 4.0], [1.0, 5.0], [2.0, 6.0], [3.0, 7.0]]
    assert stratified_interval(scores, rng()).estimate == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert stratified_interval(scores, rng(), statistic="mean").estimate == pytest.approx(3.5)
    # First task: always better; second: 1 of 4 comparisons won and 2 tied.
    found = stratified_improvement([[1.0, 2.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 2.0]], rng())
    assert (found.estimate, found.n) == ((1.0 + 2 / 4) / 2, 2)


def test_strata_are_resampled_by_themselves() -> None:
    # By hand: where each task has one value for all seeds, no resample within tasks can change anything; resampling
    # over tasks, or rows pooled, would.
    constant = np.tile([0.0, 1.0], (5, 1))
    assert stratified_interval(constant, rng(), statistic="mean") == Interval(0.5, 0.5, 0.5, 5)
    assert stratified_improvement(constant, constant[:4], rng()) == Interval(0.5, 0.5, 0.5, 4)
    # Tasks draw independently: with x and -x for the same seeds, whole rows would always sum to 0.
    x = rng(1).normal(size=8)
    found = stratified_interval(np.stack([x, -x], axis=1), rng(), statistic="mean")
    assert found.estimate == pytest.approx(0.0)
    assert found.low < -0.1 < 0.1 < found.high


def test_one_task_is_no_stratum() -> None:
    values = rng(2).normal(size=9)
    alone, one_task = bootstrap_interval(values, rng(3), statistic="iqm"), stratified_interval(values[:, None], rng(3))
    assert one_task == alone
    other = rng(4).normal(size=6)
    assert stratified_improvement(values[:, None], other[:, None], rng(5)) == probability_of_improvement(
        values, other, rng(5), paired=False
    )


@pytest.mark.parametrize(
    ("limit", "area", "height"),
    # By hand on (0, 0), (2, 1), (4, 1).
    [(4.0, 3 / 4, 1.0), (3.0, 2 / 3, 1.0), (2.0, 1 / 2, 1.0), (1.0, 1 / 4, 0.5), (0.0, 0.0, 0.0)],
)
def test_area_and_value_by_hand(limit: float, area: float, height: float) -> None:
    axis, values = [0.0, 2.0, 4.0], [0.0, 1.0, 1.0]
    assert area_under_curve(axis, values, limit) == pytest.approx(area)
    assert value_at(axis, values, limit) == pytest.approx(height)


def test_a_jump_at_no_cost() -> None:
    # By hand: two points at 0; the later counts, and no area lies under the jump.
    assert value_at([0.0, 0.0, 2.0], [0.0, 1.0, 0.0], 0.0) == 1.0
    assert area_under_curve([0.0, 0.0, 2.0], [0.0, 1.0, 0.0], 2.0) == pytest.approx(0.5)
    assert area_under_curve([0.0, 0.0], [0.2, 0.6], 0.0) == 0.6
    assert area_under_curve([0.0, 2.0, 2.0], [0.0, 0.0, 1.0], 2.0) == 0.0


@pytest.mark.parametrize(
    ("axis", "values", "at"),
    [
        ([0.0, 1.0], [0.0, 1.0], 1.5),
        ([0.0, 1.0], [0.0, 1.0], -0.1),
        ([1.0, 2.0], [0.0, 1.0], 1.5),
        ([0.0, 2.0, 1.0], [0.0, 1.0, 1.0], 1.0),
        ([0.0, 1.0], [0.0], 0.5),
        ([], [], 0.0),
        ([0.0, 1.0], [0.0, float("nan")], 0.5),
    ],
)
def test_nothing_is_extrapolated_or_guessed(axis: list[float], values: list[float], at: float) -> None:
    for measure in (value_at, area_under_curve):
        with pytest.raises(ValueError, match=r"curve|NaN"):
            measure(axis, values, at)


INTERVALS: list[Callable[[Any], Interval]] = [
    lambda values: bootstrap_interval(values, rng()),
    lambda values: bootstrap_interval(values, rng(), statistic="iqm"),
    lambda values: paired_difference(values, np.zeros(len(values)), rng()),
]


@pytest.mark.parametrize("interval", INTERVALS)
def test_degenerate_inputs(interval: Callable[[Any], Interval]) -> None:
    assert np.isnan(interval([])[:3]).all()
    assert interval([]).n == 0
    one = interval([0.5])
    assert (one.estimate, one.n) == (0.5, 1)
    assert np.isnan([one.low, one.high]).all()
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="NaN or infinity"):
            interval([0.5, bad])


@pytest.mark.parametrize("paired", [True, False])
def test_degenerate_probabilities(paired: bool) -> None:
    nothing = probability_of_improvement([], [], rng(), paired=paired)
    assert np.isnan(nothing[:3]).all()
    assert nothing.n == 0
    one = probability_of_improvement([1.0], [0.0], rng(), paired=paired)
    assert (one.estimate, one.n) == (1.0, 1)
    assert np.isnan([one.low, one.high]).all()


def test_degenerate_rest() -> None:
    assert np.isnan([stats.mean([]), iqm([]), sign_flip_p([]), nominal_coverage(1)]).all()
    assert sign_flip_p([2.0]) == 1.0
    centre, low, _ = bootstrap_band([[0.5, 0.6]], rng())
    assert centre.tolist() == [0.5, 0.6]
    assert np.isnan(low).all()
    with pytest.raises(ValueError, match="outside"):
        holm([1.5])
    with pytest.raises(ValueError, match="too many"):
        sign_flip_p(np.ones(21))
    with pytest.raises(ValueError, match="differ in number"):
        paired_difference([1.0, 2.0], [1.0], rng())
    with pytest.raises(ValueError, match="one value for each seed"):
        stats.mean([[1.0]])


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (4, 0)])
def test_degenerate_matrices(shape: tuple[int, int]) -> None:
    scores = np.full(shape, 0.5)
    for found in (stratified_interval(scores, rng()), stratified_improvement(scores, scores, rng())):
        assert np.isnan([found.low, found.high]).all()
        assert found.estimate == 0.5 if scores.size else np.isnan(found.estimate)
        assert found.n == shape[0]


def test_matrices_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="numbers of tasks differ"):
        stratified_improvement(np.zeros((3, 2)), np.zeros((3, 1)), rng())
    with pytest.raises(ValueError, match="seeds, tasks"):
        stratified_interval([0.5, 0.6], rng())
    with pytest.raises(ValueError, match="NaN or infinity"):
        stratified_interval([[float("nan")]], rng())


def test_the_generator_is_the_only_source_of_chance() -> None:
    values = rng(9).normal(size=6)
    np.random.seed(1)  # noqa: NPY002  (that the global state plays no part is the point)
    first = bootstrap_interval(values, rng(5), replicates=100)
    np.random.seed(2)  # noqa: NPY002
    assert bootstrap_interval(values, rng(5), replicates=100) == first
    assert bootstrap_interval(values, rng(6), replicates=100) != first
