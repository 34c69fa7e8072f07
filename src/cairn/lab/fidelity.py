"""Fidelity: how close the credit that a rule hands out comes to exact credit, under one fixed policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from cairn.lab.controls import NullControl
from cairn.lab.critic import Critic
from cairn.lab.forms import prompt_form
from cairn.lab.instance import Instance
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, TrainSettings
from cairn.lab.model import LanguageModel
from cairn.lab.services import Models, TabularServices
from cairn.method import Method, overridden_stages
from cairn.rollouts import Rollouts

STREAM = 1_000_000_007  # keeps these draws apart from those of training
FIT_BATCHES = 20
NEGLIGIBLE = 1e-3  # exact advantages smaller than this, in success probability, have no sign worth judging


def measure_fidelity(
    model: LanguageModel,
    method: Method,
    null: NullControl,
    panel: Panel,
    settings: TrainSettings,
    group_size: int,
    seed: int,
) -> dict[str, float | None]:
    """Compare a rule's credit with exact credit on rollouts of the evaluation panel under the initial policy.

    The policy and the rollouts are the same for every arm with the same seed. A method with auxiliary models first
    fits them on `FIT_BATCHES` batches of the same policy. Returns, over all turns of the batch: rank_correlation
    (Spearman), sign_accuracy (on turns whose exact advantage is not negligible), bifurcation_precision (average
    precision of |credit| as a detector of the planted forks) beside bifurcation_share (what a blind detector gets),
    and flops, the cost of the measured batch with all that the rule asked for. None where a figure is undefined.
    Nothing is returned for a prompt form that has no exact credit.
    """
    critic = Critic(model, settings.critic_learning_rate, settings.clip_norm)
    models = Models(model, model, critic if "learned_critic" in method.needs else None)
    form = prompt_form(settings.prompt, model.tokenizer, settings.evaluation_episodes)
    if not form.has_exact_credit:
        return {}

    def open_services(
        instances: Sequence[Instance], rollouts_each: int, batch: int, ledger: Ledger
    ) -> TabularServices:
        stream = (seed, STREAM + batch)
        return TabularServices(
            models, form, ledger, method.needs, instances=instances, group_size=rollouts_each, seed=stream
        )

    if "fit" in overridden_stages(type(method)):
        for batch in range(1, FIT_BATCHES + 1):
            services = open_services(panel.train, 1, batch, Ledger())
            method.fit(method.reward(_collect(method, services)).declare(method.needs), services.door)
    ledger = Ledger()
    services = open_services(panel.evaluation, group_size, 0, ledger)
    rollouts = null.rollouts(method.reward(_collect(method, services)))
    credit = null.credit(method.credit(rollouts.declare(method.needs)), rollouts)
    mask = rollouts.turn_mask
    given = rollouts.mean_over_turns(credit.advantages)[mask].double().numpy()
    exact = services.exact_advantages(rollouts)[mask].double().numpy()
    forks = services.bifurcations()[mask.numpy()]
    return {**compare_credit(given, exact, forks), "flops": ledger.flops}


def _collect(method: Method, services: TabularServices) -> Rollouts:
    return services.attach(method.collect(services.door).replace(needs=None))


def compare_credit(
    given: NDArray[np.float64], exact: NDArray[np.float64], forks: NDArray[np.bool_]
) -> dict[str, float | None]:
    """Compare credits of N turns with the exact ones. given, exact: (N,); forks: (N,) bool."""
    matters = np.abs(exact) > NEGLIGIBLE
    varied = np.ptp(given) > 0 and np.ptp(exact) > 0
    return {
        "rank_correlation": float(spearmanr(given, exact).statistic) if varied else None,
        "sign_accuracy": float((np.sign(given) == np.sign(exact))[matters].mean()) if matters.any() else None,
        "bifurcation_precision": average_precision(np.abs(given), forks) if forks.any() else None,
        "bifurcation_share": float(forks.mean()),
    }


def average_precision(scores: NDArray[np.float64], relevant: NDArray[np.bool_]) -> float:
    """Area under the precision-recall steps; tied scores enter together, so that their order cannot matter."""
    levels, inverse = np.unique(-scores, return_inverse=True)
    hits = np.bincount(inverse, weights=relevant, minlength=levels.size).cumsum()
    seen = np.bincount(inverse, minlength=levels.size).cumsum()
    gained = np.diff(hits, prepend=0.0)
    return float((gained * hits / seen).sum() / relevant.sum())
