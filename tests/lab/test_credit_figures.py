"""The figures of fidelity on arrays, against hand calculation."""

from __future__ import annotations

import numpy as np
import pytest

from cairn.lab.credit_figures import Exact, Figures, conservation_residual, jackknife, mean_figures, resampling


def _exact(*advantages: float, error: float | None = None) -> Exact:
    values = np.array(advantages)
    return Exact(values, np.zeros(values.size, dtype=bool), None if error is None else np.full(values.size, error))


def test_bias_and_variance_by_hand() -> None:
    """Four turns, two draws. Means m = (3, -1, 1, -3), variances v = (2, 2, 2, 2): each draw is m + 1 or m - 1.

    M = (9 + 1 + 1 + 9) / 4 - 2 / 2 = 4, A = (1 + 1 + 1 + 1) / 4 = 1, P = (3 + 1 + 1 + 3) / 4 = 2, k = 2 / 4.
    Squared bias 1 - 4 / (4 * 1) = 0 after the correction, variance 0.25 * 2 / 1, noise share 2 / (4 + 2).
    """
    mean = np.array([3.0, -1.0, 1.0, -3.0])
    found = resampling(np.stack([mean + 1, mean - 1]), _exact(1.0, -1.0, 1.0, -1.0))
    assert found == {"squared_bias": 0.0, "variance": pytest.approx(0.5), "noise_share": pytest.approx(1 / 3)}


def test_credit_equal_to_exact_credit_at_another_scale_has_no_error() -> None:
    exact = _exact(0.3, -0.1, 0.02, 0.0)
    found = resampling(np.stack([7 * exact.advantages] * 3), exact)
    assert found["squared_bias"] == pytest.approx(0, abs=1e-12)
    assert (found["variance"], found["noise_share"]) == (0, 0)


def test_a_bias_that_is_at_right_angles_by_hand() -> None:
    """m = a + e with e orthogonal to a and of the same size: M = 2 A, P = A, squared bias 1 - 1 / 2."""
    credit = np.array([1.0, 1.0]) + np.array([1.0, -1.0])
    assert resampling(np.stack([credit, credit]), _exact(1.0, 1.0))["squared_bias"] == pytest.approx(0.5)
    assert resampling(np.stack([credit, credit]), _exact(1.0, 0.0))["squared_bias"] == 0


def test_no_scale_may_turn_credit_round() -> None:
    found = resampling(np.array([[-1.0, 1.0], [-1.0, 1.0]]), _exact(1.0, -1.0))
    assert (found["squared_bias"], found["variance"]) == (1.0, 0.0)


def test_figures_do_not_depend_on_the_scale_of_credit_or_on_the_number_of_draws() -> None:
    rng = np.random.default_rng(0)
    advantages = rng.normal(size=4000)
    draws = advantages + 0.5 * rng.normal(size=(16, 4000))
    exact = Exact(advantages, np.zeros(4000, dtype=bool))
    few, many, scaled = resampling(draws[:2], exact), resampling(draws, exact), resampling(100 * draws, exact)
    for name in few:
        assert few[name] == pytest.approx(many[name], abs=0.03)
        assert scaled[name] == pytest.approx(many[name], abs=1e-9)
    assert many["variance"] == pytest.approx(0.25, abs=0.02)
    assert many["squared_bias"] == pytest.approx(0, abs=0.005)


def test_pure_noise_has_a_noise_share_of_one_and_no_scale() -> None:
    draws = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert resampling(draws, _exact(1.0, -1.0)) == {"squared_bias": None, "variance": None, "noise_share": 1.0}


def test_silence_is_not_defined() -> None:
    found = resampling(np.zeros((2, 2)), _exact(1.0, -1.0))
    assert found == {"squared_bias": None, "variance": None, "noise_share": None}


def test_the_noise_of_an_estimated_reference_is_taken_out() -> None:
    """a = truth + noise of variance 1: without the correction, exact credit would have squared bias 1 - 1 / 2."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=20_000)
    noisy = Exact(truth + rng.normal(size=truth.size), np.zeros(truth.size, dtype=bool), np.ones(truth.size))
    assert resampling(np.stack([truth, truth]), noisy)["squared_bias"] == pytest.approx(0, abs=0.03)
    raw = Exact(noisy.advantages, noisy.forks)
    assert resampling(np.stack([truth, truth]), raw)["squared_bias"] == pytest.approx(0.5, abs=0.03)


def test_conservation_by_hand() -> None:
    groups, returns = np.array([0, 0, 1, 1, 1]), np.array([1.0, 0.0, 1.0, 0.0, 0.0])
    baseline = np.array([0.2, 0.2, -4.0, -4.0, -4.0])
    assert conservation_residual(3 * (returns - baseline), returns, groups) == pytest.approx(0, abs=1e-12)
    assert conservation_residual(-returns, returns, groups) == 1
    # Within the groups r = (1, -1)/2, (2, -1, -1)/3 and s = (0, 0), (1, -1, 0): s.r = 1, s.s = 2, r.r = 1/2 + 2/3.
    found = conservation_residual(np.array([5.0, 5.0, 1.0, -1.0, 0.0]), returns, groups)
    assert found == pytest.approx(1 - 1 / (2 * (1 / 2 + 2 / 3)))
    assert conservation_residual(returns, np.ones(5), groups) is None
    assert conservation_residual(np.ones(5), returns, groups) is None


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(2).normal(size=9)

    def figures(chosen: np.ndarray) -> Figures:
        return {"mean": float(values[chosen].mean()), "never": None}

    found = jackknife(figures, 9)
    assert found["mean"] == pytest.approx(values.std(ddof=1) / 3)
    assert found["never"] is None
    assert jackknife(lambda chosen: {"size": float(chosen.sum())}, 1) == {"size": None}


def test_means_are_over_what_is_defined() -> None:
    parts: list[Figures] = [{"a": 1.0, "b": None}, {"a": 3.0, "b": None}, {"a": None, "b": None}]
    assert mean_figures(parts) == {"a": 2.0, "b": None}
