"""Statistics over seeds. Every random draw comes from the generator that the caller passes in.

Degenerate inputs, the same for all functions here: no value gives NaN, with n = 0; one value gives the value itself
with NaN bounds, since one seed says nothing about spread; NaN or infinity among the values raises ValueError, because
only the caller knows what a missing result means.

With few seeds the percentile bootstrap is coarse and too narrow. For normal differences its 95 % interval of the mean
covers with the probability that a t variable with n - 1 degrees of freedom stays below 1.96 sqrt((n - 1) / n): about
0.85 at n = 5 and 0.90 at n = 10 (`nominal_coverage`). Read `sign_flip_p` beside it: it is exact at any n, and with
5 seeds cannot fall below 2 / 2^5 = 0.0625. How often the interval covers for other shapes than the normal one is in
`docs/statistics.md`, computed with `cairn.evidence.simulated`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats as scipy_stats

Floats = NDArray[np.float64]
Statistic = Literal["mean", "iqm"]

REPLICATES = 10_000
LEVEL = 0.95
MOST_SIGN_FLIPS = 20


class Interval(NamedTuple):
    """A point estimate with the bounds of its 95 % interval and the number of seeds (pairs) behind it."""

    estimate: float
    low: float
    high: float
    n: int


def mean(values: ArrayLike) -> float:
    """Return the arithmetic mean; NaN of nothing."""
    array = _vector(values)
    return float(array.mean()) if array.size else float("nan")


def iqm(values: ArrayLike) -> float:
    """Return the interquartile mean: floor(n / 4) values are dropped at either end; NaN of nothing.

    It equals `scipy.stats.trim_mean(values, 0.25)`; Agarwal et al. 2021 (arXiv 2108.13264) recommend it over runs.
    """
    array = _vector(values)
    return float(_iqm(array[None, :])[0]) if array.size else float("nan")


def bootstrap_interval(
    values: ArrayLike, rng: np.random.Generator, *, statistic: Statistic = "mean", replicates: int = REPLICATES
) -> Interval:
    """Return the statistic with its 95 % percentile bootstrap interval, resampling the values (one for each seed)."""
    array = _vector(values)
    compute = _STATISTICS[statistic]
    if array.size < 2:
        return _degenerate(array)
    estimate = float(compute(array[None, :])[0])
    return Interval(estimate, *_bounds(compute(array[_draws(array.size, rng, replicates)])), array.size)


def paired_difference(
    arm: ArrayLike, control: ArrayLike, rng: np.random.Generator, *, replicates: int = REPLICATES
) -> Interval:
    """Return the mean of `arm - control` over paired seeds with its 95 % interval, resampling whole pairs.

    Raises ValueError when the two differ in length.
    """
    return bootstrap_interval(_differences(arm, control), rng, replicates=replicates)


def bootstrap_band(
    curves: ArrayLike, rng: np.random.Generator, *, replicates: int = REPLICATES
) -> tuple[Floats, Floats, Floats]:
    """Return mean, lower and upper 95 % bound at each point of curves [seeds, points], resampling whole curves.

    The band is pointwise: it holds at each point, not for the curve as a whole. One curve gives NaN bounds.
    """
    array = _finite(np.asarray(curves, dtype=np.float64))
    seeds, points = array.shape
    if seeds < 2:
        empty = np.full(points, np.nan)
        return (array[0].copy() if seeds else empty), empty, empty.copy()
    # How often each seed is drawn is multinomial, so a replicate of the whole curve is one matrix product.
    weights = rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=replicates) / seeds
    low, high = np.quantile(weights @ array, _TAILS, axis=0)
    return array.mean(axis=0), low, high


def probability_of_improvement(
    arm: ArrayLike,
    control: ArrayLike,
    rng: np.random.Generator,
    *,
    paired: bool = True,
    replicates: int = REPLICATES,
) -> Interval:
    """Return P(arm > control) + P(arm = control) / 2 with a 95 % percentile bootstrap interval.

    paired: compares seed with its own pair (raises ValueError when lengths differ). Unpaired, every run of one is
    compared with every run of the other, the Mann-Whitney U divided by n m, and the two are resampled independently;
    `n` is then the smaller of the two.
    """
    if paired:
        return bootstrap_interval(_win(_differences(arm, control)), rng, replicates=replicates)
    first, second = _vector(arm), _vector(control)
    wins = _win(first[:, None] - second[None, :])
    fewest = min(first.size, second.size)
    if fewest < 2:
        return Interval(float(wins.mean()) if fewest else float("nan"), float("nan"), float("nan"), fewest)
    rows, columns = _draws(first.size, rng, replicates), _draws(second.size, rng, replicates)
    resampled = wins[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    return Interval(float(wins.mean()), *_bounds(resampled), fewest)


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the exact two-sided p-value of "the paired differences are symmetric about 0", over all 2^n sign flips.

    It is the share of sign patterns whose absolute sum reaches the observed one, the observed pattern included; NaN of
    nothing. Raises ValueError above `MOST_SIGN_FLIPS` pairs, where enumeration no longer is the right tool.
    """
    array = _vector(differences)
    if array.size == 0:
        return float("nan")
    if array.size > MOST_SIGN_FLIPS:
        raise ValueError(f"{array.size} pairs are too many to enumerate; at most {MOST_SIGN_FLIPS}")
    sums = np.zeros(1)
    for size in np.abs(array):
        sums = np.concatenate([sums + size, sums - size])
    # Sums of the same numbers in another order differ in the last bits; those are ties.
    tolerance = 1e-12 * float(np.abs(array).sum())
    return float(np.mean(np.abs(sums) >= abs(float(array.sum())) - tolerance))


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values adjusted for all tests of a family together, in the order given [tests].

    With the m values sorted upwards, the k-th becomes max over j <= k of min(1, (m - j + 1) p_(j)). Rejecting where the
    adjusted value is at most a keeps the chance of any false rejection in the family at most a, however the tests
    depend on each other. Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70. Raises ValueError for a value
    outside [0, 1].
    """
    array = _vector(p_values)
    if np.any((array < 0) | (array > 1)):
        raise ValueError("a p-value lies outside [0, 1]")
    order = np.argsort(array, kind="stable")
    stepped = array[order] * np.arange(array.size, 0, -1)
    adjusted = np.empty_like(array)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def stratified_interval(
    scores: ArrayLike,
    rng: np.random.Generator,
    *,
    statistic: Statistic = "iqm",
    replicates: int = REPLICATES,
) -> Interval:
    """Return a statistic of all scores [seeds, tasks] pooled, with its 95 % stratified percentile bootstrap interval.

    The interquartile mean drops floor(N K / 4) of the N K scores at either end and averages the rest: what counts is
    the score, not which task it came from, so scores must share one scale. A replicate draws N seeds with replacement
    within each task, independently from task to task: the interval knows the spread over seeds and takes the tasks as
    given. With one task it is `bootstrap_interval`. Source: Agarwal et al. 2021 (arXiv 2108.13264), section 4.

    For a paired comparison give the differences arm - control of equal seeds. `n` is the number of seeds. Raises
    ValueError unless the scores are a matrix.
    """
    array = _matrix(scores)
    seeds, tasks = array.shape
    compute = _STATISTICS[statistic]
    estimate = float(compute(array.reshape(1, -1))[0]) if array.size else float("nan")
    if seeds < 2 or not tasks:
        return Interval(estimate, float("nan"), float("nan"), seeds)
    drawn = np.take_along_axis(array[None], rng.integers(seeds, size=(replicates, seeds, tasks)), axis=1)
    return Interval(estimate, *_bounds(compute(drawn.reshape(replicates, -1))), seeds)


def stratified_improvement(
    arm: ArrayLike, control: ArrayLike, rng: np.random.Generator, *, replicates: int = REPLICATES
) -> Interval:
    """Return the probability of improvement averaged over tasks, with its 95 % stratified percentile interval.

    arm [N, tasks], control [M, tasks]. On each task every run of one meets every run of the other: P = (wins + ties /
    2) / (N M), the Mann-Whitney U divided by N M; the tasks weigh alike. A replicate draws runs with replacement within
    each task, of arm and control independently. `n` is the smaller of N and M. Source: Agarwal et al. 2021
    (arXiv 2108.13264), section 4. Raises ValueError when the numbers of tasks differ.
    """
    first, second = _matrix(arm), _matrix(control)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"the numbers of tasks differ: {first.shape[1]} and {second.shape[1]}")
    fewest, tasks = min(len(first), len(second)), first.shape[1]
    wins = [_win(first[:, task, None] - second[None, :, task]) for task in range(tasks)]
    estimate = float(np.mean([each.mean() for each in wins])) if fewest and tasks else float("nan")
    if fewest < 2 or not tasks:
        return Interval(estimate, float("nan"), float("nan"), fewest)
    rows, columns = (rng.integers(len(side), size=(replicates, *side.shape)) for side in (first, second))
    # Task by task: all at once would need replicates x N x M x tasks numbers.
    resampled = [
        each[rows[:, :, None, task], columns[:, None, :, task]].mean(axis=(1, 2)) for task, each in enumerate(wins)
    ]
    return Interval(estimate, *_bounds(np.mean(resampled, axis=0)), fewest)


def value_at(axis: ArrayLike, values: ArrayLike, at: float) -> float:
    """Return a curve's value at a place on its axis, linear between its points.

    Raises ValueError when the axis falls or does not start at 0, or the place lies outside it: nothing is extrapolated.
    Where several points share one place on the axis, the last of them counts.
    """
    places, heights = _curve(axis, values, at)
    right = int(np.searchsorted(places, at, side="right"))
    if right == places.size or places[right - 1] == at:
        return float(heights[right - 1])
    return float(np.interp(at, places[right - 1 : right + 1], heights[right - 1 : right + 1]))


def area_under_curve(axis: ArrayLike, values: ArrayLike, limit: float) -> float:
    """Return the area under a curve from 0 to `limit`, divided by `limit`: its mean height there.

    Trapezoids on the given points, and one interpolated at the limit. At limit 0 it is the value there. Raises
    ValueError as `value_at` does.
    """
    places, heights = _curve(axis, values, limit)
    last = value_at(axis, values, limit)
    if limit == 0:
        return last
    inside = places <= limit
    cut_places, cut_heights = np.append(places[inside], limit), np.append(heights[inside], last)
    return float((np.diff(cut_places) * (cut_heights[1:] + cut_heights[:-1]) / 2).sum() / limit)


def nominal_coverage(n: int) -> float:
    """Return the coverage of the 95 % percentile interval of a mean of n normal values (see the module's text)."""
    if n < 2:
        return float("nan")
    quantile = float(scipy_stats.norm.ppf(0.5 + LEVEL / 2)) * np.sqrt((n - 1) / n)
    return float(2 * scipy_stats.t.cdf(quantile, n - 1) - 1)


_TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


def _iqm(rows: Floats) -> Floats:
    dropped = rows.shape[-1] // 4
    return np.asarray(np.sort(rows, axis=-1)[..., dropped : rows.shape[-1] - dropped].mean(axis=-1))


def _mean(rows: Floats) -> Floats:
    return np.asarray(rows.mean(axis=-1))


_STATISTICS = {"mean": _mean, "iqm": _iqm}


def _degenerate(array: Floats) -> Interval:
    estimate = float(array[0]) if array.size else float("nan")
    return Interval(estimate, float("nan"), float("nan"), array.size)


def _draws(size: int, rng: np.random.Generator, replicates: int) -> NDArray[np.int64]:
    return rng.integers(size, size=(replicates, size))


def _bounds(replicated: Floats) -> tuple[float, float]:
    low, high = np.quantile(replicated, _TAILS)
    return float(low), float(high)


def _win(differences: Floats) -> Floats:
    return np.asarray((np.sign(differences) + 1) / 2)


def _differences(arm: ArrayLike, control: ArrayLike) -> Floats:
    first, second = _vector(arm), _vector(control)
    if first.size != second.size:
        raise ValueError(f"paired values differ in number: {first.size} and {second.size}")
    return first - second


def _curve(axis: ArrayLike, values: ArrayLike, at: float) -> tuple[Floats, Floats]:
    places, heights = _vector(axis), _vector(values)
    if places.size != heights.size or places.size == 0:
        raise ValueError(f"a curve needs as many values as places: {heights.size} and {places.size}")
    if places[0] != 0 or np.any(np.diff(places) < 0):
        raise ValueError("the axis of a curve starts at 0 and never falls")
    if not 0 <= at <= places[-1]:
        raise ValueError(f"{at} lies outside the curve, which ends at {places[-1]}")
    return places, heights


def _vector(values: ArrayLike | Sequence[float]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"expected one value for each seed, got an array of shape {array.shape}")
    return _finite(array)


def _matrix(scores: ArrayLike) -> Floats:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"expected scores [seeds, tasks], got an array of shape {array.shape}")
    return _finite(array)


def _finite(array: Floats) -> Floats:
    if not np.isfinite(array).all():
        raise ValueError("NaN or infinity among the values")
    return array
