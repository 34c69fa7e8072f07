from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.evidence.samples import (
    ARMS,
    sample_claim,
    sample_experiment,
    sample_host,
    sample_provenance,
    sample_record,
    sample_records,
    sample_setting,
    sample_trajectory,
)

from cairn.evidence.audit import Labels, audit_run
from cairn.evidence.checklist import load_items
from cairn.evidence.claims import Claim
from cairn.evidence.paragraph import methods_paragraph
from cairn.evidence.records import Record
from cairn.evidence.report import ArmInfo, Experiment, Report, build_report
from cairn.paths import data_root

LABELS = Labels(name="Sample", granularity="turn", methodology="Monte Carlo")
KEYS = [
    "base_model",
    "training_data",
    "credit_granularity",
    "methodology_family",
    "episode_level_baseline",
    "compute_controlled_baseline",
    "ca_ablation",
    "benchmarks_and_splits",
    "metric_definition",
    "variance",
    "gpu_hours",
    "ca_overhead",
    "avg_trajectory_length",
    "trajectory_length_distribution",
]


def records(seeds: int = 5, arms: list[str] | None = None, **changes: Any) -> list[Record]:
    return [sample_record(arm, seed, **changes) for arm in arms or list(ARMS) for seed in range(seeds)]


def statuses(report: Report, labels: Labels = LABELS) -> dict[str, str]:
    return {mark.item.key: mark.status for mark in audit_run(report, labels)}


def report_of(found: list[Record], experiment: Experiment | None = None) -> Report:
    return build_report(experiment or sample_experiment(), found, 0)


def test_the_items_are_those_of_the_survey() -> None:
    items = load_items()
    assert [item.key for item in items] == KEYS
    priorities = [item.priority for item in items]
    assert (priorities.count("required"), priorities.count("recommended")) == (10, 4)


def test_items_point_at_fields_that_exist() -> None:
    roots = {
        "record": Record.model_json_schema(),
        "report": Report.model_json_schema(mode="serialization"),
        "labels": Labels.model_json_schema(),
    }
    for item in load_items():
        for field in item.fields:
            root, *path = field.split(".")
            assert _has(roots[root], roots[root], path), field


def _has(schema: dict[str, Any], node: dict[str, Any], path: list[str]) -> bool:
    if "$ref" in node:
        return _has(schema, schema["$defs"][node["$ref"].rpartition("/")[2]], path)
    choices = [*node.get("anyOf", []), *([node["items"]] if "items" in node else [])]
    if not path:
        return True
    if path[0] in node.get("properties", {}):
        return _has(schema, node["properties"][path[0]], path[1:])
    return any(_has(schema, choice, path) for choice in choices)


def test_a_complete_run_reports_all_items() -> None:
    assert statuses(report_of(records())) == dict.fromkeys(KEYS, "yes")


def test_nothing_run_reports_nothing() -> None:
    found = statuses(report_of([]), Labels(name="Sample"))
    assert found == {**dict.fromkeys(KEYS, "no"), "ca_ablation": "partial"}


@pytest.mark.parametrize(
    ("key", "status", "changes"),
    [
        ("base_model", "partial", {"setting": sample_setting().model_copy(update={"model_parameters": None})}),
        ("base_model", "partial", {"provenance": sample_provenance().model_copy(update={"model_hash": None})}),
        ("training_data", "partial", {"setting": sample_setting().model_copy(update={"filtering": None})}),
        ("benchmarks_and_splits", "partial", {"setting": sample_setting().model_copy(update={"split": None})}),
        (
            "metric_definition",
            "partial",
            {"setting": sample_setting().model_copy(update={"evaluation": None})},
        ),
        ("metric_definition", "partial", {"setting": sample_setting().model_copy(update={"metric": ""})}),
        ("gpu_hours", "no", {"host": sample_host().model_copy(update={"seconds": 0.0})}),
        ("avg_trajectory_length", "no", {"trajectory": None}),
        ("trajectory_length_distribution", "no", {"trajectory": None}),
        (
            "trajectory_length_distribution",
            "no",
            {"trajectory": sample_trajectory().model_copy(update={"turns_min": 99.0})},
        ),
        ("compute_controlled_baseline", "no", {"curve": ()}),
        ("variance", "no", {"curve": ()}),
        ("ca_overhead", "partial", {"curve": ()}),
    ],
)
def test_a_field_that_is_not_there_lowers_its_mark(key: str, status: str, changes: dict[str, Any]) -> None:
    assert statuses(report_of(records(**changes)))[key] == status


@pytest.mark.parametrize(("seeds", "status"), [(1, "no"), (2, "partial"), (3, "yes")])
def test_variance_needs_three_seeds(seeds: int, status: str) -> None:
    assert statuses(report_of(records(seeds)))["variance"] == status


def test_variance_counts_the_arm_with_fewest_seeds() -> None:
    found = [*records(5, ["paper"]), *records(2, ["baseline"])]
    assert statuses(report_of(found))["variance"] == "partial"


def test_baselines_and_ablation() -> None:
    alone = statuses(report_of(records(arms=["paper", "exact"])))
    assert (alone["episode_level_baseline"], alone["compute_controlled_baseline"]) == ("no", "no")
    assert (alone["ca_ablation"], alone["ca_overhead"]) == ("partial", "partial")


@pytest.mark.parametrize(
    "claims",
    [(), (sample_claim(control="shuffled"),), (sample_claim(metric="spearman"),)],
    ids=["none", "null", "axis"],
)
def test_compute_control_needs_a_control_arm_on_the_compute_axis(claims: tuple[Claim, ...]) -> None:
    found = statuses(report_of(records(), sample_experiment(claims=claims)))
    assert found["compute_controlled_baseline"] == "partial"


def test_a_control_must_be_episodic_and_start_from_the_same_weights() -> None:
    arms = tuple(ArmInfo(**{**arm.model_dump(), "granularity": None}) for arm in sample_experiment().arms)
    assert statuses(report_of(records(), sample_experiment(arms=arms)))["episode_level_baseline"] == "partial"
    other = sample_provenance().model_copy(update={"model_hash": "9" * 64})
    found = [*records(arms=["paper"]), *records(arms=["baseline"], provenance=other)]
    assert statuses(report_of(found))["episode_level_baseline"] == "partial"


@pytest.mark.parametrize(
    ("start_of_control", "mark"),
    [({"initial_success": 0.1}, "yes"), ({"initial_success": 0.2}, "partial"), ({}, "partial")],
)
def test_tasks_with_models_of_their_own_start_alike_where_success_before_training_says_so(
    start_of_control: dict[str, float], mark: str
) -> None:
    tasks = ("toy", "other")
    arms = tuple(arm.model_copy(update={"tasks": tasks}) for arm in sample_experiment().arms[:2])
    other = sample_provenance().model_copy(update={"model_hash": "9" * 64})
    found = [
        *records(arms=["paper", "baseline"], metrics={"initial_success": 0.3}),
        *records(arms=["paper"], task="other", provenance=other, metrics={"initial_success": 0.1}),
        *records(arms=["baseline"], task="other", provenance=other, metrics=start_of_control),
    ]
    report = report_of(found, sample_experiment(tasks=tasks, arms=arms, checks=()))
    assert statuses(report)["episode_level_baseline"] == mark


def test_labels_come_from_the_inventory() -> None:
    found = statuses(report_of(records()), Labels(name="Sample"))
    assert (found["credit_granularity"], found["methodology_family"]) == ("no", "no")


def evidence(report: Report, key: str) -> str:
    return next(mark.evidence for mark in audit_run(report, LABELS) if mark.item.key == key)


def test_hours_by_hand_and_cpu_named_as_cpu() -> None:
    # 4 arms x 5 seeds x 9 s = 180 s = 0.05 h.
    assert evidence(report_of(records()), "gpu_hours").startswith("0.05 process-hours on CPU (0 GPU-hours)")
    # 20 cells x 1,800 s = 10 h.
    host = sample_host().model_copy(update={"device": "NVIDIA H100 80GB HBM3", "seconds": 1800.0})
    assert evidence(report_of(records(host=host)), "gpu_hours").startswith("10 hours on NVIDIA H100 80GB HBM3,")


def test_overhead_by_hand() -> None:
    # An update of `paper` costs 2e9 FLOPs, one of `baseline` 1e9.
    assert evidence(report_of(records()), "ca_overhead").startswith("2 times the FLOPs of baseline at equal updates")


def test_the_paragraph_holds_the_facts() -> None:
    text = methods_paragraph(report_of(records()), LABELS)
    for fact in [
        "toy-lm, 2 layers of width 64 (0.31 M parameters; weights SHA-256 cccccccccccc)",
        "640 items; filtering: none",
        "credit by turn (family: Monte Carlo)",
        "Control: baseline",
        "from the same initial weights",
        "equal metered compute",
        "we also ran shuffled",
        "training worlds from seeds 0-639",
        "share of evaluation episodes that reach the goal",
        "Each arm was run with 5 seeds",
        "cover about 85 %",
        "0.05 process-hours on CPU (0 GPU-hours)",
        "2.000 [2.000, 2.000] times the FLOPs of baseline",
        "11.5 turns on average (minimum, median, maximum 4, 12, 24)",
        "23 generated tokens (8, 24, 48)",
        "say nothing about others",
    ]:
        assert fact in text
    assert "Not or only partly reported" not in text
    assert "\n" not in text


def test_departures_fit_into_their_sentence() -> None:
    declared = "A small model stands in.", "KL stands in the loss.", "Rollouts are fresh.", "SPA-RL has one head."
    report = report_of(records()).model_copy(update={"deviations": declared})
    text = methods_paragraph(report, LABELS)
    assert "a small model stands in; KL stands in the loss; rollouts are fresh; SPA-RL has one head." in text


def test_the_paragraph_admits_what_is_open() -> None:
    found = records(1, trajectory=None)
    text = methods_paragraph(report_of(found), LABELS)
    assert "1 seed, too few for an interval" in text
    assert "Not or only partly reported:" in text
    assert "mean trajectory length" in text
    assert "checks did not all hold" in text
    assert re.search(r"\bnan\b|None", text) is None


def test_the_paragraph_says_when_there_is_nothing() -> None:
    assert methods_paragraph(report_of([]), LABELS).startswith("No cell of this experiment has finished")


def test_the_paragraph_names_dirty_trees_and_absent_cells() -> None:
    dirty = sample_provenance().model_copy(update={"dirty": True})
    text = methods_paragraph(report_of(records(provenance=dirty)[:-1]), LABELS)
    assert "uncommitted changes" in text
    assert "1 of the declared cells" in text


def test_templates_hold_every_item() -> None:
    # The texts are read from the source without the code under test.
    items = yaml.safe_load((data_root() / "checklist/items.yaml").read_text(encoding="utf-8"))
    for name in ("template.md", "template.tex"):
        text = (data_root() / "checklist" / name).read_text(encoding="utf-8")
        assert all(item["text"] in text for item in items)
    template = yaml.safe_load((data_root() / "checklist/template.yaml").read_text(encoding="utf-8"))
    assert list(template["items"]) == [item["key"] for item in items]


def test_samples_are_the_ones_others_use() -> None:
    assert {record.arm for record in sample_records()} == set(ARMS)
