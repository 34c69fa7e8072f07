from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from tests.evidence.coverage import BEGIN, END, PAGE, SEEDS, TRIALS, measure

from cairn.evidence.simulated import RARE, SHAPES, coverage, standard_bounds
from cairn.evidence.stats import bootstrap_interval, nominal_coverage

FEW = 2_000


def errors(share: float, trials: int) -> float:
    """Four standard errors, and half a point for fewer replicates of the bootstrap."""
    return 4 * float(np.sqrt(max(share * (1 - share), 0.01) / trials)) + 0.005


@pytest.mark.parametrize("shape", SHAPES)
def test_differences_have_mean_0_and_deviation_1(shape: str) -> None:
    drawn = SHAPES[shape](np.random.default_rng(1), (1000, 200))
    assert drawn.shape == (1000, 200)
    assert drawn.mean() == pytest.approx(0.0, abs=0.01)
    assert drawn.std() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("seeds", SEEDS)
def test_coverage_of_normal_differences_is_the_one_calculated(seeds: int) -> None:
    # Independent value: a tail of Student's t, see `nominal_coverage`. Skewness of the bootstrap costs a little more.
    found = measure("normal", seeds, FEW, 1_000)
    assert found.held == pytest.approx(nominal_coverage(seeds), abs=errors(found.held, FEW) + 0.005)
    assert sum(found) == pytest.approx(1.0)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize(("shape", "chance"), [("two-point, even", 0.5), ("two-point, rare", RARE)])
def test_coverage_of_two_points_is_the_one_calculated(shape: str, chance: float, seeds: int) -> None:
    # Independent value: with k upper values among n, the resampled count is Binomial(n, k / n), whose quantiles are the
    # bounds; the truth, n times the chance, lies within them or not; k is binomial itself.
    counts = np.arange(seeds + 1)
    weights = scipy.stats.binom.pmf(counts, seeds, chance)
    low, high = (scipy.stats.binom.ppf(tail, seeds, counts / seeds) for tail in (0.025, 0.975))
    truth = seeds * chance
    golden = [weights[side].sum() for side in ((low <= truth) & (truth <= high), low > truth, high < truth)]
    found = measure(shape, seeds, FEW, 1_000)
    for share, expected in zip(found, golden, strict=True):
        assert share == pytest.approx(expected, abs=errors(expected, FEW))


def test_simulated_bounds_are_those_of_the_interval() -> None:
    # One experiment at a time by the function that reports use, on fresh draws: same distribution of both bounds.
    rng = np.random.default_rng(3)
    bounds = standard_bounds(6, rng, shape="skewed", trials=FEW)
    alone = [bootstrap_interval(rng.standard_exponential(6) - 1, rng, replicates=300) for _ in range(600)]
    for found, golden in ((bounds.low, [one.low for one in alone]), (bounds.high, [one.high for one in alone])):
        assert scipy.stats.ks_2samp(found, golden).pvalue > 0.001


def test_trials_need_not_fill_a_batch() -> None:
    bounds = standard_bounds(4, np.random.default_rng(0), trials=333, replicates=50)
    assert bounds.low.shape == bounds.high.shape == (333,)
    assert (bounds.low <= bounds.high).all()
    assert coverage(bounds).held < 1
    with pytest.raises(ValueError, match="at least 2"):
        standard_bounds(1, np.random.default_rng(0))


def test_the_page_says_what_is_measured() -> None:
    written = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in written.splitlines() if "%" in line]
    assert [(shape, int(seeds)) for shape, seeds, *_ in cells] == [(shape, n) for shape in SHAPES for n in SEEDS]
    for shape, seeds, *shares in cells:
        found = measure(shape, int(seeds), FEW, 1_000)
        for share, told in zip(found, shares, strict=True):
            expected = float(told.removesuffix(" %")) / 100
            assert share == pytest.approx(expected, abs=errors(expected, FEW) + errors(expected, TRIALS))
