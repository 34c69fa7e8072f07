"""The interval that verdicts rest on, taken of made-up differences whose true mean is known.

Differences are drawn with mean 0 and standard deviation 1. The percentile interval of a mean moves and scales with its
data, so the bounds for differences of mean e and standard deviation s are e + s low and e + s high: one simulation for
each number of seeds answers every effect, spread and margin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cairn.evidence.stats import Floats, bootstrap_band

TRIALS = 1_000
REPLICATES = 1_000
AT_ONCE = 200
ROUNDING = 1e-9

Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]


def _two_point(rare: float) -> Draw:
    """Return draws of a high value with probability `rare` and a low one otherwise, with mean 0 and deviation 1."""
    high, low = np.sqrt((1 - rare) / rare), -np.sqrt(rare / (1 - rare))
    return lambda rng, size: np.where(rng.random(size) < rare, high, low)


RARE = 0.1
SHAPES: dict[str, Draw] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "skewed": lambda rng, size: rng.standard_exponential(size) - 1.0,
    "two-point, even": _two_point(0.5),
    "two-point, rare": _two_point(RARE),
}
"""Distributions of a paired difference. `skewed`: exponential. `two-point, even`: either value half of the time;
`two-point, rare`: the high value with probability `RARE`, as when few seeds take off and the others tie."""


class Bounds(NamedTuple):
    """Bounds of the 95 % interval in each simulated experiment [trials], for differences of mean 0 and deviation 1."""

    low: Floats
    high: Floats


class Coverage(NamedTuple):
    """Shares of experiments: the interval holds the true mean; lies wholly above it; lies wholly below it."""

    held: float
    above: float
    below: float


def standard_bounds(
    seeds: int,
    rng: np.random.Generator,
    *,
    shape: str = "normal",
    trials: int = TRIALS,
    replicates: int = REPLICATES,
) -> Bounds:
    """Return the bounds of the percentile bootstrap interval of the mean in `trials` experiments of so many seeds.

    The resamples are shared by `AT_ONCE` experiments and drawn anew for the next ones. Raises ValueError below 2 seeds,
    where there are no bounds, and KeyError for an unknown shape.
    """
    if seeds < 2:
        raise ValueError("an interval needs at least 2 seeds")
    draw = SHAPES[shape]
    sizes = [min(AT_ONCE, trials - done) for done in range(0, trials, AT_ONCE)]
    bands = [bootstrap_band(draw(rng, (seeds, size)), rng, replicates=replicates) for size in sizes]
    return Bounds(*(np.concatenate([band[side] for band in bands]) for side in (1, 2)))


def coverage(bounds: Bounds) -> Coverage:
    """Return how often the interval held the true mean, 0, and to which side it missed it.

    A bound that is 0 but for rounding holds it: with two-point differences the bounds lie on a lattice through 0.
    """
    above, below = float(np.mean(bounds.low > ROUNDING)), float(np.mean(bounds.high < -ROUNDING))
    return Coverage(1.0 - above - below, above, below)
