"""The figures by which credit is judged, from arrays alone. `docs/fidelity.md` says what each one means.

N turns of a fixed panel, D draws of all that is random besides them, M rollouts in groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Figures = dict[str, float | None]

NEGLIGIBLE = 1e-3  # exact advantages smaller than this, in success probability, have no sign worth judging
ERRORS = 2.0  # an estimated advantage has a sign if it is this many standard errors from 0
VANISHING = 1e-20  # squares below this are rounding


@dataclass(frozen=True)
class Exact:
    """What credit is compared with, for N turns. error: (N,) standard errors where it is an estimate, else None."""

    advantages: FloatArray  # (N,)
    forks: BoolArray  # (N,)
    error: FloatArray | None = None

    def of(self, chosen: BoolArray) -> Exact:
        """Return the part about some turns."""
        return Exact(self.advantages[chosen], self.forks[chosen], None if self.error is None else self.error[chosen])

    @property
    def mean_square(self) -> float:
        """Return the mean square of the advantages, without what the noise of an estimate adds."""
        noise = 0.0 if self.error is None else float(np.square(self.error).mean())
        return float(np.square(self.advantages).mean()) - noise


def compare_credit(given: FloatArray, exact: FloatArray, forks: BoolArray, error: FloatArray | None = None) -> Figures:
    """Compare credits of N turns with the exact ones. given, exact: (N,); forks: (N,) bool; error: see `Exact`."""
    matters = np.abs(exact) > (NEGLIGIBLE if error is None else np.maximum(NEGLIGIBLE, ERRORS * error))
    varied = np.ptp(given) > 0 and np.ptp(exact) > 0
    return {
        "rank_correlation": float(spearmanr(given, exact).statistic) if varied else None,
        "sign_accuracy": float((np.sign(given) == np.sign(exact))[matters].mean()) if matters.any() else None,
        "bifurcation_precision": average_precision(np.abs(given), forks) if forks.any() else None,
        "bifurcation_share": float(forks.mean()),
    }


def average_precision(scores: FloatArray, relevant: BoolArray) -> float:
    """Area under the precision-recall steps; tied scores enter together, so that their order cannot matter."""
    levels, inverse = np.unique(-scores, return_inverse=True)
    hits = np.bincount(inverse, weights=relevant, minlength=levels.size).cumsum()
    seen = np.bincount(inverse, minlength=levels.size).cumsum()
    gained = np.diff(hits, prepend=0.0)
    return float((gained * hits / seen).sum() / relevant.sum())


def resampling(draws: FloatArray, exact: Exact) -> Figures:
    """Split the error of credit into bias and variance over D draws of all that is random besides the turn itself.

        m_i = mean over draws of c_di,   v_i = unbiased variance over draws,   M = mean_i(m_i^2 - v_i / D)
        k = mean_i(m_i a_i) / M,  not below 0                          the scale that brings m closest to a
        squared_bias = 1 - mean_i(m_i a_i)^2 / (M A),   variance = k^2 mean_i(v_i) / A,   A = mean_i(a_i^2)
        noise_share = mean_i(v_i) / (M + mean_i(v_i))

    M is unbiased for the mean square of the expected credit, so that the figures do not depend on D but for their
    noise; where it is not positive, nothing but noise was seen, and there is no scale. draws: (D, N). None where a
    figure is undefined.
    """
    noise = float(draws.var(0, ddof=1).mean())
    mean = draws.mean(0)
    signal = float(np.square(mean).mean()) - noise / len(draws)
    size, agreement = exact.mean_square, max(float((mean * exact.advantages).mean()), 0.0)
    silent = float(np.square(draws).mean()) < VANISHING
    scaled = signal > VANISHING and size > VANISHING
    return {
        "squared_bias": min(max(1 - agreement**2 / (signal * size), 0.0), 1.0) if scaled else None,
        "variance": (agreement / signal) ** 2 * noise / size if scaled else None,
        "noise_share": None if silent else min(noise / (max(signal, 0.0) + noise), 1.0) if noise else 0.0,
    }


def conservation_residual(sums: FloatArray, returns: FloatArray, groups: IntArray) -> float | None:
    """Return the share of the credit sums' variance within groups that no multiple of the return explains.

        s_i = sum_k c_ik - group mean,   r_i = R_i - group mean,   residual = 1 - (s.r)^2 / (s.s r.r),  1 where s.r < 0

    0: the credit of each rollout's turns sums up to k (return - baseline of its group), one k for all. sums, returns,
    groups: (M,). None where no group has rollouts with different returns, or every sum is that of its group.
    """
    s, r = _within(sums, groups), _within(returns, groups)
    sizes, together = float((s**2).sum()) * float((r**2).sum()), float((s * r).sum())
    return None if sizes < VANISHING else 1 - max(together, 0.0) ** 2 / sizes


def _within(values: FloatArray, groups: IntArray) -> FloatArray:
    _, of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(values - (np.bincount(of, weights=values) / counts)[of])


def mean_figures(parts: list[Figures]) -> Figures:
    """Return the mean of each figure over the parts in which it is defined."""
    return {name: _mean([part[name] for part in parts]) for name in parts[0]}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def jackknife(figures: Callable[[BoolArray], Mapping[str, float | None]], instances: int) -> Figures:
    """Return the standard error of each figure over instances: delete-one jackknife.

    figures: takes which instances (W,) to use. None for a figure that is undefined on some of the subsets.
    """
    if instances < 2:
        return dict.fromkeys(figures(np.ones(instances, dtype=bool)), None)
    parts = [figures(np.arange(instances) != left_out) for left_out in range(instances)]
    return {name: _jackknife([part[name] for part in parts]) for name in parts[0]}


def _jackknife(values: list[float | None]) -> float | None:
    known = np.array([value for value in values if value is not None])
    if known.size < len(values):
        return None
    return float(np.sqrt((known.size - 1) * np.square(known - known.mean()).mean()))
