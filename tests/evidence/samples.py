"""Synthetic records for tests of evidence and site. The numbers are invented and stand for no method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cairn.evidence.claims import Claim
from cairn.evidence.experiment import ArmInfo, Experiment
from cairn.evidence.records import CurvePoint, Host, Ledger, Provenance, Record, Setting, Trajectory, spec_hash

METHOD = "sample"
TASK = "toy"
# For each arm: how fast success rises for each update, and the FLOPs of one update.
ARMS: Mapping[str, tuple[float, float]] = {
    "paper": (0.15, 2.0e9),
    "baseline": (0.05, 1.0e9),
    "shuffled": (0.05, 2.0e9),
    "exact": (0.25, 1.0e9),
}
UPDATES = 20
TOKENS_PER_UPDATE = 400


def sample_experiment(**changes: Any) -> Experiment:
    """Four arms on one task, two claims, two checks."""
    content: dict[str, Any] = {
        "id": METHOD,
        "title": "A sample rule",
        "tasks": (TASK,),
        "arms": (
            ArmInfo(name="paper", role="method", description="the rule as published"),
            ArmInfo(
                name="baseline", role="control", description="one advantage for each trajectory", granularity="episode"
            ),
            ArmInfo(name="shuffled", role="null", description="the rule's credits permuted inside each trajectory"),
            ArmInfo(name="exact", role="ceiling", description="exact credit under the current policy"),
        ),
        "claims": (sample_claim("faster"), sample_claim("frugal", axis="flops", margin=0.02)),
        "checks": (
            sample_claim("exact-helps", arm="exact"),
            sample_claim("shuffled-does-not", arm="shuffled", direction="not_greater", margin=0.02),
        ),
        "deviations": ("A small model stands in for the paper's.",),
        "min_seeds": 5,
    }
    return Experiment(**{**content, **changes})


def sample_claim(id: str = "faster", **changes: Any) -> Claim:
    content: dict[str, Any] = {
        "id": id,
        "text": "The rule learns faster than the baseline.",
        "arm": "paper",
        "control": "baseline",
        "basis": "invented",
        "why": "the same comparison with a small model",
    }
    return Claim(**{**content, **changes})


def sample_records(
    seeds: Sequence[int] = range(5), arms: Sequence[str] = tuple(ARMS), *, noise: float = 0.01, task: str = TASK
) -> list[Record]:
    """One finished record for each arm and seed; curves saturate at 1, with a little noise fixed by the seed."""
    return [sample_record(arm, seed, noise=noise, task=task) for arm in arms for seed in seeds]


def sample_record(
    arm: str = "paper", seed: int = 0, *, noise: float = 0.01, task: str = TASK, **changes: Any
) -> Record:
    rate, flops = ARMS[arm]
    shift = noise * float(np.random.default_rng([seed, list(ARMS).index(arm)]).standard_normal())
    curve = tuple(_point(update, rate, flops, shift) for update in range(0, UPDATES + 1, 2))
    spec = {"task": task, "arm": arm, "seed": seed, "updates": UPDATES, "learning_rate": 1e-3}
    content: dict[str, Any] = {
        "method": METHOD,
        "task": task,
        "arm": arm,
        "seed": seed,
        "preset": "cpu",
        "status": "ok",
        "spec": spec,
        "spec_hash": spec_hash(spec),
        "setting": sample_setting(),
        "ledger": Ledger(
            flops=curve[-1].flops,
            generated_tokens=curve[-1].generated_tokens,
            prompt_tokens=9000,
            trained_tokens=curve[-1].generated_tokens,
            environment_steps=curve[-1].environment_steps,
            environment_resets=640,
            seconds=3.5,
        ),
        "metrics": {"kl_final": 0.04},
        "curve": curve,
        "trajectory": sample_trajectory(),
        "fidelity": {"spearman": 0.5 + shift, "bias": None},
        "provenance": sample_provenance(),
        "host": sample_host(),
    }
    return Record(**{**content, **changes})


def failed_record(arm: str = "paper", seed: int = 0, reason: str = "loss became NaN") -> Record:
    return sample_record(arm, seed, status="failed", reason=reason, curve=(), metrics={}, fidelity={}, trajectory=None)


def sample_setting() -> Setting:
    return Setting(
        model="toy-lm, 2 layers of width 64",
        model_parameters=310_000,
        training_data="worlds drawn by the task's generator",
        training_items=640,
        filtering="none",
        benchmark="toy",
        split="training worlds from seeds 0-639, evaluation on a fixed panel of 64 other worlds",
        metric="share of evaluation episodes that reach the goal, one sampled episode for each world",
        evaluation="64 episodes",
    )


def sample_trajectory() -> Trajectory:
    return Trajectory(
        turns_mean=11.5,
        turns_min=4,
        turns_median=12,
        turns_max=24,
        tokens_mean=23.0,
        tokens_min=8,
        tokens_median=24,
        tokens_max=48,
    )


def sample_provenance() -> Provenance:
    return Provenance(
        protocol_version="1",
        protocol_hash="a" * 64,
        panel_hash="b" * 64,
        model_hash="c" * 64,
        packages={"numpy": "2.0.0"},
        python="3.11.0",
        lock_hash="d" * 64,
        commit="e" * 40,
        dirty=False,
    )


def sample_host() -> Host:
    return Host(
        hostname="host",
        platform="Linux",
        cpu="x86_64",
        threads=1,
        device="cpu",
        started_utc="2026-01-01T00:00:00Z",
        finished_utc="2026-01-01T00:00:09Z",
        seconds=9.0,
    )


def _point(update: int, rate: float, flops: float, shift: float) -> CurvePoint:
    success = 0.05 + 0.9 * (1 - math.exp(-rate * update)) + (shift if update else 0.0)
    return CurvePoint(
        update=update,
        flops=update * flops,
        generated_tokens=update * TOKENS_PER_UPDATE,
        environment_steps=update * 200,
        success=min(max(success, 0.0), 1.0),
        extra={"entropy": 1.0 / (1 + update)},
    )
