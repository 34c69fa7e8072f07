"""The statistics beside rliable and scipy, on the same numbers and, where chance plays a part, on the same resamples.

rliable fails beside the pandas of the lock, so these tests run in `nox -s oracle-stats` and are skipped elsewhere.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import scipy.stats

from cairn.evidence.stats import (
    Floats,
    bootstrap_interval,
    holm,
    iqm,
    paired_difference,
    probability_of_improvement,
    sign_flip_p,
    stratified_improvement,
    stratified_interval,
)

library: Any = pytest.importorskip("rliable.library", reason="rliable has a session of its own", exc_type=ImportError)
metrics: Any = pytest.importorskip("rliable.metrics", exc_type=ImportError)

REPLICATES = 400
SIZES = [(5, 1), (5, 3), (10, 4), (7, 6)]
EXACT = 1e-12


def scores(seeds: int, tasks: int, key: int = 0) -> Floats:
    """Success rates in steps of 1/16, so that there are ties."""
    return np.round(np.random.default_rng([seeds, tasks, key]).beta(2, 3, size=(seeds, tasks)) * 16) / 16


class Recorded:
    """Stands where a generator would, and hands out draws that rliable made."""

    def __init__(self, *draws: Floats) -> None:
        self.draws = list(draws)

    def integers(self, high: int, size: tuple[int, ...]) -> Any:
        drawn = self.draws.pop(0).reshape(size)
        assert 0 <= drawn.min() <= drawn.max() < high
        return drawn


def recorded(*draws: Floats) -> np.random.Generator:
    return cast("np.random.Generator", Recorded(*draws))


def rliable_interval(monkeypatch: pytest.MonkeyPatch, given: Any, statistic: Any) -> tuple[Floats, list[list[Floats]]]:
    """Return rliable's estimate and bounds, and the indices that each of its replicates drew, for each array given."""
    drawn: list[Floats] = []
    choice = np.random.choice  # rliable draws from the global state, whatever seed it is given

    def remember(*arguments: Any, **named: Any) -> Floats:
        drawn.append(choice(*arguments, **named))
        return drawn[-1]

    np.random.seed(17)  # noqa: NPY002
    with monkeypatch.context() as patch:
        patch.setattr(np.random, "choice", remember)
        points, intervals = library.get_interval_estimates({"arm": given}, statistic, reps=REPLICATES)
    sides = 1 if isinstance(given, np.ndarray) else len(given)
    found = np.concatenate([np.ravel(points["arm"]), np.ravel(intervals["arm"])])
    return found, [drawn[side::sides] for side in range(sides)]


@pytest.mark.parametrize(("seeds", "tasks"), SIZES)
def test_the_interquartile_mean(seeds: int, tasks: int) -> None:
    for key in range(20):
        array = scores(seeds, tasks, key)
        golden = metrics.aggregate_iqm(array)
        assert iqm(array.ravel()) == pytest.approx(golden, rel=EXACT)
        assert stratified_interval(array, np.random.default_rng(0), replicates=2).estimate == pytest.approx(golden)


@pytest.mark.parametrize(("seeds", "tasks"), SIZES)
@pytest.mark.parametrize("statistic", ["iqm", "mean"])
def test_the_stratified_interval_on_the_same_resamples(
    seeds: int, tasks: int, statistic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = scores(seeds, tasks)
    aggregate = {"iqm": metrics.aggregate_iqm, "mean": metrics.aggregate_mean}[statistic]
    golden, (drawn,) = rliable_interval(monkeypatch, array, lambda one: np.array([aggregate(one)]))
    assert len(drawn) == REPLICATES
    found = stratified_interval(array, recorded(np.stack(drawn)), statistic=statistic, replicates=REPLICATES)
    assert found[:3] == pytest.approx(golden, rel=EXACT)
    if tasks == 1:
        alone = bootstrap_interval(array[:, 0], recorded(np.stack(drawn)), statistic=statistic, replicates=REPLICATES)
        assert alone[:3] == pytest.approx(golden, rel=EXACT)


def test_the_paired_interval_on_the_same_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    arm, control = scores(10, 1, 1), scores(10, 1, 2)
    golden, (drawn,) = rliable_interval(monkeypatch, arm - control, lambda one: np.array([metrics.aggregate_mean(one)]))
    found = paired_difference(arm[:, 0], control[:, 0], recorded(np.stack(drawn)), replicates=REPLICATES)
    assert found[:3] == pytest.approx(golden, rel=EXACT)


@pytest.mark.parametrize(("seeds", "tasks"), SIZES)
def test_the_probability_of_improvement_on_the_same_resamples(
    seeds: int, tasks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    arm, control = scores(seeds, tasks, 3), scores(seeds + 2, tasks, 4)
    golden, drawn = rliable_interval(
        monkeypatch, (arm, control), lambda one, other: np.array([metrics.probability_of_improvement(one, other)])
    )
    draws = [np.stack(side) for side in drawn]
    found = stratified_improvement(arm, control, recorded(*draws), replicates=REPLICATES)
    assert found[:3] == pytest.approx(golden, rel=EXACT)
    if tasks == 1:
        alone = probability_of_improvement(
            arm[:, 0], control[:, 0], recorded(*draws), paired=False, replicates=REPLICATES
        )
        assert alone[:3] == pytest.approx(golden, rel=EXACT)


@pytest.mark.parametrize("pairs", [2, 5, 8, 12])
def test_sign_flips_beside_the_permutation_test_of_scipy(pairs: int) -> None:
    rng = np.random.default_rng(pairs)
    for _ in range(5):
        differences = np.round(rng.normal(0.3, 1.0, size=pairs), 2)
        golden = scipy.stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_p(differences) == pytest.approx(golden.pvalue, rel=EXACT)


def test_holm_beside_statsmodels() -> None:
    # statsmodels comes with rliable's bootstrap, and has an implementation of its own.
    multitest: Any = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(5)
    for tests in (1, 2, 7, 30):
        values = np.round(rng.beta(0.5, 2.0, size=tests), 2)
        golden = multitest.multipletests(values, method="holm")[1]
        assert holm(values) == pytest.approx(golden, rel=EXACT)
