from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.evidence.samples import (
    failed_record,
    sample_claim,
    sample_experiment,
    sample_provenance,
    sample_record,
    sample_records,
)

from cairn.errors import UserError
from cairn.evidence.base import pretty_json
from cairn.evidence.records import CurvePoint, Record, stable_bytes
from cairn.evidence.report import (
    ArmInfo,
    ClaimReport,
    Experiment,
    Fingerprint,
    Report,
    build_report,
    is_stale,
    read_report,
    write_report,
)


def curve(successes: list[float], flops: float) -> tuple[CurvePoint, ...]:
    """One point for each update, each costing the same."""
    return tuple(
        CurvePoint(update=at, flops=at * flops, generated_tokens=0, environment_steps=0, success=success)
        for at, success in enumerate(successes)
    )


def two_arms(seeds: int = 5) -> list[Record]:
    """`paper` climbs 0, 1, 1 at 2 FLOPs an update; `baseline` 0, 0, 0.5 at 1 FLOP."""
    found = []
    for seed in range(seeds):
        found.append(sample_record("paper", seed, curve=curve([0.0, 1.0, 1.0], 2.0)))
        found.append(sample_record("baseline", seed, curve=curve([0.0, 0.0, 0.5], 1.0)))
    return found


def by_id(report: Report) -> dict[str, ClaimReport]:
    return {found.claim.id: found for found in (*report.claims, *report.checks)}


def test_both_axes_by_hand() -> None:
    experiment = sample_experiment(
        claims=(sample_claim("auc"), sample_claim("final", metric="final_success")), checks=()
    )
    found = by_id(build_report(experiment, two_arms(), 0))
    updates, flops = found["auc"].comparisons
    # Equal updates, up to 2. paper: (1/2 + 1) / 2. baseline: (0 + 1/4) / 2.
    assert (updates.axis, updates.limits[0]) == ("update", 2.0)
    assert (updates.arm_values[0], updates.control_values[0]) == pytest.approx((0.75, 0.125))
    assert updates.difference.estimate == pytest.approx(0.625)
    # Equal compute: baseline spent 2 FLOPs in all, where paper is at its update 1: (1/2 * 2) / 2 against 1/8.
    assert (flops.axis, flops.limits[0]) == ("flops", 2.0)
    assert (flops.arm_values[0], flops.control_values[0]) == pytest.approx((0.5, 0.125))
    assert flops.difference.estimate == pytest.approx(0.375)
    assert (flops.probability.estimate, flops.sign_flip_p) == (1.0, 0.0625)
    updates, flops = found["final"].comparisons
    assert (updates.arm_values[0], updates.control_values[0]) == (1.0, 0.5)
    assert (flops.arm_values[0], flops.control_values[0]) == (1.0, 0.5)
    assert found["auc"].verdict.label == "supported"


def test_the_verdict_rests_on_the_claims_own_axis() -> None:
    # By hand, as above: the difference is 0.625 at equal updates, 0.375 at equal compute; the margin lies between.
    claims = (sample_claim("updates", margin=0.5), sample_claim("compute", margin=0.5, axis="flops"))
    found = by_id(build_report(sample_experiment(claims=claims, checks=()), two_arms(), 0))
    assert (found["updates"].verdict.label, found["compute"].verdict.label) == ("supported", "contradicted")


def test_arm_summary_by_hand() -> None:
    report = build_report(sample_experiment(), two_arms(), 0)
    paper, baseline = report.arms[:2]
    assert (paper.seeds, paper.statuses) == ((0, 1, 2, 3, 4), {"ok": 5})
    assert report.limits == {"toy": {"update": 2.0, "flops": 2.0}}
    assert paper.overhead is not None
    assert paper.overhead.flops_ratio.estimate == 2.0
    assert baseline.overhead is not None
    assert baseline.overhead.flops_ratio.estimate == 1.0
    assert {name: found.mean.estimate for name, found in paper.success.items()} == {
        "final_success": 1.0,
        "auc_success_update": 0.75,
        "auc_success_flops": 0.5,
    }
    update, flops = paper.curves
    assert (update.at, update.mean, update.low) == ((0, 1, 2), (0, 1, 1), (0, 1, 1))
    assert (flops.at[0], flops.at[-1], flops.mean[8], flops.seeds) == (0.0, 4.0, 0.5, 5)
    assert paper.fidelity["bias"] is None
    assert paper.ledger["environment_resets"] == 640


def test_the_common_limit_is_that_of_each_pair() -> None:
    # Seed 0 of the arm stops after one update; only its own pair is cut there.
    records = [sample_record("paper", 0, curve=curve([0.0, 1.0], 2.0)), *two_arms()[1:]]
    updates = by_id(build_report(sample_experiment(), records, 0))["faster"].comparisons[0]
    assert updates.limits == (1.0, 2.0, 2.0, 2.0, 2.0)


def test_report_depends_on_records_and_seed_only() -> None:
    records = sample_records()
    first = pretty_json(build_report(sample_experiment(), records, 0))
    random.Random(4).shuffle(records)
    assert pretty_json(build_report(sample_experiment(), records, 0)) == first
    assert build_report(sample_experiment(), records, 1).arms != build_report(sample_experiment(), records, 0).arms


def test_another_arm_moves_no_number() -> None:
    few = build_report(sample_experiment(), sample_records(arms=["paper", "baseline"]), 0)
    many = build_report(sample_experiment(), sample_records(), 0)
    assert by_id(few)["faster"] == by_id(many)["faster"]
    assert few.arms[0] == many.arms[0]


def test_sample_experiment_is_calibrated() -> None:
    report = build_report(sample_experiment(), sample_records(), 0)
    assert report.calibrated is True
    assert [found.verdict.label for found in report.claims] == ["supported", "supported"]
    assert build_report(sample_experiment(checks=()), sample_records(), 0).calibrated is None
    swapped = [
        sample_record(one.arm, one.seed, curve=sample_record("baseline", one.seed).curve) for one in sample_records()
    ]
    assert build_report(sample_experiment(), swapped, 0).calibrated is False


def test_a_missing_cell_is_listed_and_leaves_its_claim_open() -> None:
    records = [one for one in sample_records(range(6)) if (one.arm, one.seed) != ("paper", 5)]
    report = build_report(sample_experiment(), records, 0)
    assert [(cell.arm, cell.seed, cell.status) for cell in report.absent] == [("paper", 5, "missing")]
    found = by_id(report)
    assert found["faster"].verdict.label == "inconclusive"
    assert "paper, seed 5: missing" in found["faster"].verdict.reason
    assert len(found["faster"].comparisons[0].seeds) == 5
    assert found["exact-helps"].verdict.label == "supported"


def test_a_failed_cell_gives_its_reason() -> None:
    records = [*[one for one in sample_records(range(6)) if (one.arm, one.seed) != ("paper", 2)], failed_record(seed=2)]
    report = build_report(sample_experiment(), records, 0)
    assert [(cell.status, cell.reason) for cell in report.absent] == [("failed", "loss became NaN")]
    assert "paper, seed 2: failed (loss became NaN)" in by_id(report)["faster"].verdict.reason
    assert report.arms[0].statuses == {"failed": 1, "ok": 5}


def test_no_record_at_all() -> None:
    report = build_report(sample_experiment(), [], 0)
    assert {found.verdict.label for found in report.claims} == {"inconclusive"}
    assert (report.preset, report.protocol_hash, report.seeds) == (None, None, ())


def test_only_failures() -> None:
    report = build_report(sample_experiment(), [failed_record(seed=seed) for seed in range(5)], 0)
    assert report.arms[0].success == {}
    assert len(report.absent) == 4 * 5


def test_one_seed_gives_values_without_bounds(tmp_path: Path) -> None:
    report = build_report(sample_experiment(), sample_records([7]), 0)
    found = by_id(report)["faster"]
    assert found.verdict.label == "inconclusive"
    assert found.comparisons[0].difference.low is None
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


def test_metrics_of_the_whole_run() -> None:
    claims = (
        sample_claim("resets", metric="environment_resets", direction="equivalent"),
        sample_claim("spearman", metric="spearman", arm="exact", margin=0.5, direction="equivalent"),
        sample_claim("bias", metric="bias"),
        sample_claim("nothing", metric="no-such-number"),
    )
    found = by_id(build_report(sample_experiment(claims=claims, checks=()), sample_records(), 0))
    assert [comparison.axis for comparison in found["resets"].comparisons] == ["whole_run"]
    assert found["resets"].verdict.label == "supported"
    assert found["spearman"].verdict.label == "supported"
    assert "no value of bias" in found["bias"].verdict.reason
    assert "no value of no-such-number" in found["nothing"].verdict.reason


def test_claims_about_what_a_curve_shows() -> None:
    # The sample's curves have points at 0, 2, ..., and show an entropy of 1 / (1 + update) there.
    record = sample_record()
    ends = 1 / (1 + record.curve[-1].update)
    claims = (
        sample_claim("mean", metric="mean_of_entropy"),
        sample_claim("lowest", metric="lowest_of_entropy"),
        sample_claim("highest", metric="highest_of_success"),
        sample_claim("unknown", metric="mean_of_nothing"),
        sample_claim("statistic", metric="median_of_entropy"),
    )
    found = by_id(build_report(sample_experiment(claims=claims, checks=()), sample_records([0], noise=0.0), 0))
    assert list(found["lowest"].comparisons[0].arm_values) == [pytest.approx(ends)]
    mean = sum(1 / (1 + point.update) for point in record.curve) / len(record.curve)
    assert list(found["mean"].comparisons[0].arm_values) == [pytest.approx(mean)]
    best = max(point.success for point in sample_record(noise=0.0).curve)
    assert list(found["highest"].comparisons[0].arm_values) == [pytest.approx(best)]
    assert "no value of mean_of_nothing" in found["unknown"].verdict.reason
    assert "no value of median_of_entropy" in found["statistic"].verdict.reason


def test_undeclared_cells_are_named_and_not_used() -> None:
    stranger = sample_record("paper", 0, task="elsewhere")
    report = build_report(sample_experiment(), [*sample_records(), stranger], 0)
    assert report.undeclared == ("elsewhere--paper--s0.json",)
    assert "elsewhere--paper--s0.json" not in report.records


def test_a_claim_may_compare_one_arm_on_two_tasks() -> None:
    """By hand: on the second task 0, 0, 0.5, an area of 0.25 / 2; on the first 0, 1, 1, an area of 1.5 / 2."""
    arm = ArmInfo(name="paper", role="method", description="the rule", tasks=("toy", "toy-slip=1"))
    claim = sample_claim("slip", control="paper", task="toy-slip=1", control_task="toy", direction="less", margin=0.5)
    experiment = sample_experiment(arms=(arm,), tasks=("toy", "toy-slip=1"), claims=(claim,), checks=())
    easy = [sample_record("paper", seed, curve=curve([0.0, 1.0, 1.0], 1.0)) for seed in range(5)]
    hard = [sample_record("paper", s, curve=curve([0.0, 0.0, 0.5], 1.0), task="toy-slip=1") for s in range(5)]
    found = by_id(build_report(experiment, [*easy, *hard], 0))["slip"]
    assert found.comparisons[0].difference.estimate == pytest.approx(0.125 - 0.75)
    assert found.verdict.label == "supported"
    assert "paper - paper on toy:" in found.verdict.reason
    unknown = claim.model_copy(update={"control_task": "elsewhere"})
    with pytest.raises(ValidationError, match="elsewhere / paper"):
        sample_experiment(arms=(arm,), tasks=("toy", "toy-slip=1"), claims=(unknown,), checks=())


def test_a_claim_on_one_task_is_stored_as_before() -> None:
    assert "control_task" not in sample_claim().model_dump(mode="json")


def test_a_second_task_has_its_own_arms() -> None:
    arms = (
        ArmInfo(name="paper", role="method", description="", tasks=("toy", "flat")),
        ArmInfo(name="baseline", role="control", description="", tasks=("toy", "flat")),
    )
    claims = (sample_claim("same", task="flat", direction="equivalent", margin=0.9),)
    experiment = sample_experiment(tasks=("toy", "flat"), arms=arms, claims=claims, checks=())
    records = [*sample_records(arms=["paper", "baseline"]), *sample_records(arms=["paper", "baseline"], task="flat")]
    report = build_report(experiment, records, 0)
    assert [(arm.task, arm.arm) for arm in report.arms] == [
        ("toy", "paper"),
        ("flat", "paper"),
        ("toy", "baseline"),
        ("flat", "baseline"),
    ]
    assert report.claims[0].verdict.scale == "0.31 M parameters, task flat, 5 seeds, preset cpu"


@pytest.mark.parametrize(
    ("odd", "complaint"),
    [
        ({"preset": "smoke"}, "several presets"),
        ({"method": "another"}, "several methods"),
        ({"provenance": sample_provenance().model_copy(update={"protocol_hash": "f" * 64})}, "several protocols"),
        ({"seed": 0}, "given twice"),
    ],
)
def test_what_cannot_stand_side_by_side_is_refused(odd: dict[str, Any], complaint: str) -> None:
    record = sample_record(**{"arm": "paper", "seed": 9, **odd})
    with pytest.raises(UserError, match=complaint) as caught:
        build_report(sample_experiment(), [*sample_records(), record], 0)
    assert caught.value.repair


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"claims": (sample_claim(arm="ghost"),)}, "toy / ghost"),
        ({"claims": (sample_claim(task="flat"),)}, "flat / "),
        ({"claims": (sample_claim(), sample_claim())}, "claim declared twice"),
        ({"arms": (ArmInfo(name="paper", role="method", description="", tasks=("flat",)),)}, "names task"),
        ({"arms": ()}, "at least 1"),
        ({"min_seeds": 1}, "greater than or equal to 2"),
    ],
)
def test_a_declaration_that_does_not_hold_together(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        sample_experiment(**change)


def test_hashes_name_what_was_used() -> None:
    records = sample_records()
    report = build_report(sample_experiment(), records, 0)
    assert len(report.records) == len(records)
    later = records[0].model_copy(update={"host": records[0].host.model_copy(update={"hostname": "b"})})
    assert stable_bytes(later) == stable_bytes(records[0])
    assert build_report(sample_experiment(), [later, *records[1:]], 0).records == report.records


@pytest.mark.parametrize(
    ("values", "golden"),
    [
        ((1.0, 0.0), True),
        ((1.0 + 1e-5, 1e-7), True),  # rounding in float32, grown by twenty updates
        ((1.001, 0.0), False),
        ((1.0, 1e-5), False),
        ((1.0,), False),
    ],
)
def test_fingerprints(values: tuple[float, ...], golden: bool) -> None:
    kept, fresh = Fingerprint(values=(1.0, 0.0)), Fingerprint(values=values)
    assert kept.matches(fresh) is golden
    report = build_report(sample_experiment(), [], 0, fingerprint=kept, fresh_fingerprint=fresh)
    assert report.stale is not golden
    assert is_stale(report, fresh) is not golden


def test_staleness_unknown_without_a_fingerprint() -> None:
    report = build_report(sample_experiment(), [], 0)
    assert report.stale is None
    assert is_stale(report, Fingerprint(values=(1.0,)))


@pytest.mark.parametrize("text", ["{", "{}", '{"id": NaN}'])
def test_a_torn_report_is_a_user_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"report\.json"):
        read_report(tmp_path / "report.json")


def test_report_json_is_plain_and_sorted(tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", build_report(sample_experiment(), sample_records(), 0))
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert "NaN" not in text


def test_declared_order_of_arms_is_kept() -> None:
    experiment: Experiment = sample_experiment()
    assert [arm.arm for arm in build_report(experiment, [], 0).arms] == [arm.name for arm in experiment.arms]
