"""What a number of seeds can show: the verdict rule, applied to simulated experiments.

Paired differences are taken as normal with a given standard deviation. The deviation known from a few seeds is itself
uncertain (from ten normal ones it may well be 30 % off), and real differences may be skewed; read a number of seeds
found here as an order, not as a promise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cairn.evidence.claims import Direction, label_of
from cairn.evidence.simulated import Bounds, standard_bounds
from cairn.evidence.stats import Floats
from cairn.evidence.summary import generator

TARGET = 0.8
MOST_SEEDS = 100
RESOLUTION = 20
SEED = 0
_HALVINGS = 30

Simulate = Callable[[int], Bounds]
"""From a number of seeds to the bounds for differences of mean 0 and deviation 1, the same each time."""


class Chances(NamedTuple):
    """How often an experiment ends in each verdict."""

    supported: float
    contradicted: float
    inconclusive: float


class Spread(NamedTuple):
    """What earlier paired differences show: standard deviation, mean, and how many there were."""

    deviation: float
    mean: float
    seeds: int


def simulations(seed: int = SEED) -> Simulate:
    """Return a function that simulates normal differences once for each number of seeds, from a generator for it."""
    return cache(lambda seeds: standard_bounds(seeds, generator(seed, "power", str(seeds))))


def power(
    spread: float | ArrayLike,
    margin: float,
    seeds: int,
    rng: np.random.Generator,
    *,
    effect: float,
    direction: Direction = "greater",
    min_seeds: int = 2,
) -> Chances:
    """Return how often the verdict rule says what, if the true difference arm - control is `effect`.

    spread: standard deviation of the paired difference, or earlier paired differences to take it from. margin,
    direction: of the claim, see `judge`. Below `min_seeds` every verdict is inconclusive. Raises ValueError as
    `spread_of`, and for a negative spread.
    """
    deviation = spread_of(spread).deviation if np.ndim(spread) else float(np.asarray(spread))
    if seeds < min_seeds:
        return Chances(0.0, 0.0, 1.0)
    return chances(standard_bounds(seeds, rng), deviation, effect, margin, direction)


def chances(bounds: Bounds, deviation: float, effect: float, margin: float, direction: Direction) -> Chances:
    """Return how often each verdict falls, given simulated bounds. Raises ValueError for a negative deviation."""
    if deviation < 0:
        raise ValueError("a standard deviation is not negative")
    lows, highs = (effect + deviation * side for side in bounds)
    labels = [label_of(direction, low, high, margin) for low, high in zip(lows.tolist(), highs.tolist(), strict=True)]
    shares = (labels.count(label) / len(labels) for label in ("supported", "contradicted", "inconclusive"))
    return Chances(*shares)


def detectable(
    bounds: Bounds, deviation: float, margin: float, direction: Direction, target: float = TARGET
) -> float | None:
    """Return the true difference nearest to the claim's bound that is supported with probability `target`.

    For `greater` that is margin + g, for `less` -margin - g, for `not_greater` margin - g, with the smallest such g at
    least 0; for `equivalent` it is the largest size of a difference of either sign, null where even 0 is not supported
    so often.
    """
    if direction == "equivalent":
        return _largest_equivalent(bounds, deviation, margin, target)
    reach = -bounds.low if direction == "greater" else bounds.high
    gap = deviation * max(float(np.quantile(reach, target)), 0.0)
    return {"greater": margin + gap, "less": -margin - gap, "not_greater": margin - gap}[direction]


def seeds_needed(
    simulate: Simulate,
    deviation: float,
    effect: float,
    margin: float,
    direction: Direction = "greater",
    *,
    target: float = TARGET,
    min_seeds: int = 2,
    most_seeds: int = MOST_SEEDS,
) -> int | None:
    """Return the fewest seeds, from `min_seeds` on, with which the claim is supported with probability `target`.

    Null where an exact measurement of the effect would not support the claim, or `most_seeds` are too few. More seeds
    are taken to help: the search goes up by doubling and down by halving, until it knows the number to one part in
    `RESOLUTION`; the simulation's chance moves it by about as much.
    """

    def enough(seeds: int) -> bool:
        return chances(simulate(seeds), deviation, effect, margin, direction).supported >= target

    if label_of(direction, effect, effect, margin) != "supported":
        return None
    few, many = min_seeds - 1, min_seeds
    while not enough(many):
        if many >= most_seeds:
            return None
        few, many = many, min(2 * many, most_seeds)
    while many - few > max(1, many // RESOLUTION):
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


def _largest_equivalent(bounds: Bounds, deviation: float, margin: float, target: float) -> float | None:
    def enough(size: float) -> bool:
        return chances(bounds, deviation, size, margin, "equivalent").supported >= target

    if not enough(0.0):
        return None
    inside, outside = (margin, margin) if enough(margin) else (0.0, margin)
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if enough(middle) else (inside, middle)
    return inside


def spread_of(differences: ArrayLike) -> Spread:
    """Return deviation (with n - 1), mean and number of paired differences. Raises ValueError for fewer than 2."""
    array: Floats = np.asarray(differences, dtype=np.float64)
    if array.ndim != 1 or array.size < 2 or not np.isfinite(array).all():
        raise ValueError("a spread needs at least 2 finite differences")
    return Spread(float(array.std(ddof=1)), float(array.mean()), array.size)
