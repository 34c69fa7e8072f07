"""Comparing credits with exact ones, against hand calculation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from cairn.lab.controls import ExactCredit, NullControl, ShuffledCredit
from cairn.lab.credit_figures import average_precision, compare_credit
from cairn.lab.fidelity import FIT_BATCHES, Judged, Rule
from cairn.lab.loop import Panel, TrainSettings
from cairn.lab.model import LanguageModel
from cairn.method import Method, Services
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.spro import SPRO
from cairn.methods.vineppo import VinePPO
from cairn.rollouts import Rollouts

SETTINGS = TrainSettings(
    updates=1, tasks_per_update=1, group_size=4, learning_rate=1e-3, clip_norm=1.0, evaluate_every=1,
    critic_learning_rate=1e-3,
)  # fmt: skip


def _fidelity(
    model: LanguageModel, panel: Panel, method: Method, null: NullControl | None = None, seed: int = 0
) -> dict[str, float | None]:
    return Judged.of(model, Rule(method), panel, SETTINGS, seed).figures(null or NullControl(), 8)


def test_comparison_by_hand() -> None:
    """Ranks of the given credits: 4, 1, 3, 2, 5; of the exact ones: 5, 1, 3, 2, 4.

    Rank differences 1, 0, 0, 0, 1, so that Spearman is 1 - 6 * 2 / (5 * 24) = 0.9. The second exact credit, -0.5, and
    the first, 0.4, and the last, 0.2, and the fourth, -0.002, matter; the third is negligible. Signs agree on three of
    those four. Sizes of the given credits in order: 5th, 1st, 2nd (not a fork), 3rd, 4th.
    """
    given = np.array([0.5, -0.2, 0.1, 0.01, 0.9])
    exact = np.array([0.4, -0.5, 0.0005, -0.002, 0.2])
    forks = np.array([True, False, False, True, True])
    found = compare_credit(given, exact, forks)
    assert found["rank_correlation"] == pytest.approx(0.9)
    assert found["sign_accuracy"] == pytest.approx(3 / 4)
    # Forks at ranks 1 (0.9), 2 (0.5) and 5 (0.01): the mean of 1/1, 2/2 and 3/5.
    assert found["bifurcation_precision"] == pytest.approx((1 + 1 + 3 / 5) / 3)
    assert found["bifurcation_share"] == pytest.approx(3 / 5)


def test_average_precision_with_ties_by_hand() -> None:
    """Two fives, one of them relevant: precision 1/2 gains half of the recall. Then a 3: relevant, 2 of 3."""
    scores, relevant = np.array([5.0, 3.0, 5.0, 1.0]), np.array([True, True, False, False])
    expected = 0.5 * (1 / 2) + 0.5 * (2 / 3)
    assert average_precision(scores, relevant) == pytest.approx(expected)
    order = [2, 3, 0, 1]
    assert average_precision(scores[order], relevant[order]) == pytest.approx(expected), "order cannot matter"


def test_a_blind_detector_gets_the_share_of_forks() -> None:
    forks = np.arange(40) % 4 == 0
    assert average_precision(np.ones(40), forks) == pytest.approx(0.25)
    assert average_precision(forks.astype(float), forks) == 1.0


def test_figures_that_are_not_defined_are_none() -> None:
    flat, varied, none = np.zeros(3), np.array([0.1, 0.2, 0.3]), np.zeros(3, dtype=bool)
    assert compare_credit(flat, varied, none) == {
        "rank_correlation": None, "sign_accuracy": 0.0, "bifurcation_precision": None, "bifurcation_share": 0.0,
    }  # fmt: skip
    found = compare_credit(varied, flat, ~none)
    assert (found["rank_correlation"], found["sign_accuracy"]) == (None, None)


def test_exact_credit_agrees_with_itself(model: LanguageModel, panel: Panel) -> None:
    found = _fidelity(model, panel, ExactCredit())
    assert found["rank_correlation"] == pytest.approx(1, abs=1e-6)
    assert found["sign_accuracy"] == 1.0


def test_credit_by_log_ratios_is_nothing_under_the_initial_policy(model: LanguageModel, panel: Panel) -> None:
    """Policy and reference are one: with rounding between them, half of the signs would be right by chance."""
    assert _fidelity(model, panel, SPRO(outcome_weight=0.0))["sign_accuracy"] == 0.0
    assert _fidelity(model, panel, SPRO()) == _fidelity(model, panel, GRPO())


def test_rules_are_ordered_as_they_must_be(model: LanguageModel, panel: Panel) -> None:
    """Many continuations come closer than few, and misplacing exact credit costs most of it."""
    many, few = (_fidelity(model, panel, VinePPO(continuations=k))["rank_correlation"] for k in (64, 1))
    shuffled = _fidelity(model, panel, ExactCredit(), ShuffledCredit())["rank_correlation"]
    assert many is not None
    assert few is not None
    assert shuffled is not None
    assert 1 > many > few > shuffled
    assert shuffled < 0.5


def test_every_arm_is_judged_on_the_same_rollouts(model: LanguageModel, panel: Panel) -> None:
    found = [_fidelity(model, panel, method) for method in (GRPO(), GiGPO(), VinePPO(continuations=1))]
    assert len({figures["bifurcation_share"] for figures in found}) == 1
    assert found[0]["flops"] == found[1]["flops"]
    assert (found[2]["flops"] or 0) > (found[0]["flops"] or 0)
    assert _fidelity(model, panel, GRPO(), seed=1)["bifurcation_share"] != found[0]["bifurcation_share"]


def test_a_critic_is_fitted_before_it_is_judged(model: LanguageModel, panel: Panel) -> None:
    """Unfitted, with all values 0, lambda = 0 would give credit to nothing but the last token of a success."""
    found = _fidelity(model, panel, PPOGAE(lambda_=0.0, gamma=1.0, whiten=False))
    assert found["sign_accuracy"] is not None
    assert found["sign_accuracy"] > 0.3


@dataclass(frozen=True)
class Lessons(Method):
    """Notes the sizes of the groups that it is fitted on."""

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy"})
    seen: ClassVar[list[list[int]]] = []

    def fit(self, rollouts: Rollouts, services: Services) -> None:  # noqa: ARG002 - a stage
        self.seen.append(rollouts.group_ids.unique(return_counts=True)[1].tolist())


@dataclass(frozen=True)
class LessonsInPairs(Lessons):
    """The same, for a rule that needs rollouts of one task to compare."""

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy", "preference_pairs"})


def test_a_rule_that_learns_from_pairs_is_fitted_on_groups(model: LanguageModel, panel: Panel) -> None:
    for method, sizes in (
        (Lessons(), [1] * len(panel.train)),
        (LessonsInPairs(), [SETTINGS.group_size] * max(len(panel.train) // SETTINGS.group_size, 1)),
    ):
        Lessons.seen.clear()
        _fidelity(model, panel, method)
        assert Lessons.seen == [sizes] * FIT_BATCHES


def test_measuring_changes_nothing(model: LanguageModel, panel: Panel) -> None:
    before = [w.clone() for w in model.network.parameters()]
    assert _fidelity(model, panel, PPOGAE()) == _fidelity(model, panel, PPOGAE())
    assert all((a == b).all() for a, b in zip(before, model.network.parameters(), strict=True))
