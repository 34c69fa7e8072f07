"""The evidence in the repository: reports are what the records and today's code give, and the task can judge credit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cairn.evidence.homes import REPRODUCTIONS, home, ids, scripts
from cairn.evidence.records import read_records
from cairn.evidence.report import Report, read_report
from cairn.lab.cell import Setup, panel_of, specify
from cairn.lab.experiment import load_reproduction
from cairn.lab.judge import make_report
from cairn.lab.model import weights_digest
from cairn.lab.pretrain import embedded_model
from cairn.lab.protocol import family_of, panel_digest, read_protocol
from cairn.paths import data_root

# An sdist carries the reports, but not the records that they were made from.
PUBLISHED = [one for one, script in scripts().items() if (script.parent / "results").is_dir()]


def folder_of(method: str) -> Path:
    return home(method)


def report_of(method: str) -> Report:
    return read_report(folder_of(method) / "report.json")


def test_something_is_published() -> None:
    assert any(data_root().glob("reproductions/*/report.json"))


@pytest.mark.parametrize("method", PUBLISHED)
def test_the_report_is_what_the_records_give_and_the_code_has_not_moved(method: str, tmp_path: Path) -> None:
    shutil.copytree(folder_of(method) / "results", tmp_path / "results")
    shutil.copy(folder_of(method) / "report.json", tmp_path)
    report = make_report(load_reproduction(method), read_protocol(), tmp_path, fresh=False)
    assert report.stale is False, "the method's fingerprint has moved: its records need a rerun"
    assert (tmp_path / "report.json").read_text() == (folder_of(method) / "report.json").read_text()


@pytest.mark.parametrize("method", PUBLISHED)
def test_the_records_belong_to_the_protocol_and_to_one_clean_commit(method: str) -> None:
    records = read_records(folder_of(method) / "results")
    digest = read_protocol().digest(load_reproduction(method).families)
    assert {record.provenance.protocol_hash for record in records} == {digest}
    assert len({record.provenance.commit for record in records}) == 1
    assert not any(record.provenance.dirty for record in records)


@pytest.mark.parametrize("method", PUBLISHED)
def test_a_resumed_run_would_recognise_every_finished_cell(method: str) -> None:
    """The specification that today's code makes of a cell, hashed, is the one that its record carries; so its panel."""
    reproduction, protocol = load_reproduction(method), read_protocol()
    records = {(r.task, r.arm, r.seed): r for r in read_records(folder_of(method) / "results")}
    digests = {family: weights_digest(embedded_model(family)) for family in reproduction.families}
    for (task, name, seed), record in records.items():
        arm, digest = reproduction.arm(name), digests[family_of(task)]
        setup = Setup(reproduction, protocol, record.preset, "anywhere", digest, record.spec["device"])
        budget = None if arm.spends_like is None else records[task, arm.spends_like, seed].ledger.flops
        assert specify(setup, arm, task, seed, budget).spec_hash == record.spec_hash
    for record in {record.task: record for record in records.values()}.values():
        panel = panel_of(family_of(record.task), record.spec)
        assert panel_digest(panel) == record.provenance.panel_hash


@pytest.mark.parametrize("method", PUBLISHED)
def test_no_seed_of_an_arm_is_left_out(method: str) -> None:
    report = report_of(method)
    first = read_protocol().first_seed + load_reproduction(method).later_seeds
    assert report.seeds == tuple(range(first, first + len(report.seeds)))
    assert not report.absent
    assert not report.undeclared


@pytest.mark.parametrize("method", [one for one in PUBLISHED if one in ids(REPRODUCTIONS)])
def test_the_task_tells_exact_from_misplaced_credit(method: str) -> None:
    assert report_of(method).calibrated


@pytest.mark.parametrize("task", ["quest", "lake", "chain", "relay"])
def test_the_tasks_that_judge_credit_are_calibrated_at_the_protocols_setting(task: str) -> None:
    """Other studies may come out as they do: that a setting cannot judge credit is worth knowing too."""
    report = report_of(f"calibration-{task}")
    assert report.tasks == (task,)
    assert report.calibrated
    assert len(report.seeds) == 10


def test_the_plain_baseline_climbs_without_saturating() -> None:
    arms = {arm.role: arm for arm in report_of("grpo").arms}
    final, ceiling = (arms[role].success["final_success"].mean for role in ("method", "ceiling"))
    initial = arms["method"].metrics["initial_success"]
    assert initial is not None
    assert final.low is not None
    assert final.high is not None
    assert ceiling.low is not None
    assert final.low > 3 * initial
    assert final.high < ceiling.low
