"""`cairn run`: the same again, resumed, killed, and refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import NOT_REPRODUCED, Command, contents

from cairn.commands import running
from cairn.evidence.records import Record, read_records, stable_bytes
from cairn.lab import cell
from cairn.lab.backends import serial
from cairn.lab.experiment import load_reproduction
from cairn.lab.pretrain import embedded_model
from cairn.paths import data_root

SMOKE = ("--preset", "smoke", "--device", "cpu")
REPRODUCTION = load_reproduction("gigpo")
CELLS = sum(len(arm.tasks or REPRODUCTION.tasks[:1]) for arm in REPRODUCTION.arms)


def _stable(folder: Path) -> dict[str, bytes]:
    """Return the stable bytes of each record. The commit is left out: somebody may commit while the tests run."""
    unmoved = {"commit": None, "dirty": None}
    records = [
        one.model_copy(update={"provenance": one.provenance.model_copy(update=unmoved)})
        for one in read_records(folder / "results")
    ]
    return {f"{one.task} {one.arm} {one.seed}": stable_bytes(one) for one in records}


def test_a_run_prints_arms_intervals_ledger_verdicts_and_scale(cairn: Command, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    outcome = cairn("run", "gigpo", *SMOKE, "--seeds", "2", "--workers", "1", "--out", tmp_path / "out", "--resume")
    assert outcome.code == 0, outcome.err
    for part in ("Arms on quest", "Ledger on quest", "Fidelity on quest", "Claims", "Checks", "at equal compute"):
        assert part in outcome.out
    assert str(tmp_path / "out" / "results") in outcome.out
    assert len(read_records(finished / "results")) == 2 * CELLS


def test_all_runs_each_reproduction_in_its_own_folder_and_prints_one_table(
    cairn: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "ids", lambda _: ["gigpo", "grpo"])
    shutil.copytree(finished, tmp_path / "gigpo")
    asked = ("run", "all", *SMOKE, "--seeds", "1", "--workers", "1", "--out", tmp_path)
    refused = cairn(*asked)
    assert refused.code == 2
    assert not (tmp_path / "grpo").exists()
    outcome = cairn(*asked, "--resume")
    assert outcome.code == 0, outcome.err
    assert "[2/2] grpo" in outcome.err
    assert [json.loads((tmp_path / one / "report.json").read_text())["id"] for one in ("gigpo", "grpo")] == [
        "gigpo",
        "grpo",
    ]
    assert all(text in outcome.out for text in ("places-carry-it", "rate-not-too-low"))


def test_the_same_seed_gives_the_same_bytes(cairn: Command, finished: Path, tmp_path: Path) -> None:
    outcome = cairn("run", "gigpo", *SMOKE, "--seeds", "1", "--workers", "1", "--out", tmp_path)
    assert outcome.code == 0, outcome.err
    again, first = _stable(tmp_path), _stable(finished)
    assert len(again) == CELLS
    assert again == {name: first[name] for name in again}


def test_resuming_a_finished_run_reruns_nothing(
    cairn: Command, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    before = contents(tmp_path / "out" / "results")

    def never(*_: object) -> Record:
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr(serial, "attempt", never)
    arguments = (
        "run",
        "gigpo",
        *SMOKE,
        "--seeds",
        "2",
        "--workers",
        "1",
        "--out",
        tmp_path / "out",
        "--resume",
        "--json",
    )
    outcome = cairn(*arguments)
    assert outcome.code == 0, outcome.err
    assert contents(tmp_path / "out" / "results") == before
    assert json.loads(outcome.out)["seeds"] == [101, 102]


def test_a_failed_cell_is_told_and_run_again(cairn: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Record:
        raise RuntimeError("no [memory] left")

    arguments = ("run", "gigpo", *SMOKE, "--seeds", "1", "--workers", "1", "--out", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cell, "run_cell", broken)
        outcome = cairn(*arguments)
    assert outcome.code == 1
    assert "no [memory] left" in outcome.err
    assert "--resume" in outcome.err
    assert cairn(*arguments, "--resume").code == 0
    assert {one.status for one in read_records(tmp_path / "results")} == {"ok"}


def test_records_that_are_there_are_not_overwritten(refused: Callable[..., str], finished: Path) -> None:
    assert "--resume" in refused("run", "gigpo", *SMOKE, "--seeds", "2", "--out", finished)


def test_records_of_another_configuration_are_not_mixed_in(
    refused: Callable[..., str], finished: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    before = contents(tmp_path)
    message = refused(
        "run", "gigpo", "--preset", "cpu", "--device", "cpu", "--seeds", "1", "--out", tmp_path / "out", "--resume"
    )
    assert "another configuration" in message
    assert contents(tmp_path) == before


def test_another_task_gets_the_arms_and_claims_of_the_first(cairn: Command, tmp_path: Path) -> None:
    outcome = cairn("run", "gigpo", *SMOKE, "--seeds", "1", "--out", tmp_path, "--task", "lake-slippery=yes", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert {arm["task"] for arm in report["arms"]} == {"lake-slippery=yes"}
    first = {arm.name for arm in REPRODUCTION.arms if not arm.tasks or REPRODUCTION.tasks[0] in arm.tasks}
    assert {arm["arm"] for arm in report["arms"]} == first
    assert 0 < len(report["claims"]) <= len(REPRODUCTION.claims)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gigpo", *SMOKE, "--task", "maze"], "Choose one of"),
        (["gigpo", *SMOKE, "--task", "lake-colour=1"], "unknown knob"),
        (["gigpo", *SMOKE, "--task", "lake-prompt=whole"], "unknown prompt form"),
        (["gigp"], "did you mean gigpo"),
        ([NOT_REPRODUCED], "no reproduction of this entry"),
        (["gigpo", "--preset", "smok"], "smoke, cpu, gpu"),
        (["gigpo", "--device", "tpu"], "auto, cpu or cuda"),
        (["gigpo", *SMOKE, "--model", "./nowhere"], "no such model folder"),
        (["gigpo", *SMOKE, "--model", "BARE"], "weights"),
        (["gigpo", *SMOKE, "--backend", "clay"], "Choose one of: processes, ray, serial"),
        (["gigpo", *SMOKE, "--ray-address", "127.0.0.1:6379"], "--backend ray"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    arguments: list[str], told: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(embedded_model("quest") / "config.json", bare)
    arguments = [str(bare) if one == "BARE" else one for one in arguments]
    assert told in refused("run", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cuda_is_refused_where_there_is_none(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "no CUDA device" in refused(
        "run", "gigpo", "--preset", "smoke", "--device", "cuda", "--out", tmp_path / "out"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_folder_that_cannot_be_written_is_refused(below: str, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / below
    assert "--out" in refused("run", "gigpo", *SMOKE, "--out", out)
    assert contents(tmp_path) == {"file": b"in the way"}


def test_an_option_that_does_not_exist_is_a_usage_error(cairn: Command) -> None:
    assert cairn("run", "gigpo", "--preest", "smoke").code == 2
    assert cairn("run", "gigpo", "--seeds", "0").code == 2


@pytest.mark.slow
def test_a_killed_run_loses_no_finished_cell(finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    script = data_root() / "reproductions" / "gigpo" / "reproduce.py"
    command = [sys.executable, str(script), *SMOKE, "--seeds", "2", "--workers", "2", "--out", str(tmp_path)]
    run = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(results, 3, run)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    kept = _stable(tmp_path)  # a torn file would be refused
    written = {path.name: path.stat().st_mtime_ns for path in results.glob("[!.]*.json")}
    assert 3 <= len(written) < 2 * CELLS
    assert len(kept) == len(written)
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{2 * CELLS} cells, {len(written)} of them finished before" in done.stderr
    assert {name: (results / name).stat().st_mtime_ns for name in written} == written
    assert _stable(tmp_path) == _stable(finished)


@pytest.mark.slow
def test_no_worker_outlives_a_killed_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cairn", "run", "gigpo", *SMOKE, "--seeds", "5", "--workers", "2"]
    run = subprocess.Popen([*command, "--out", str(tmp_path)], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        _wait_for(tmp_path / "results", 1, run)
        run.kill()
        run.wait()
        deadline = time.monotonic() + 20
        while _group_lives(run.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _group_lives(run.pid)
    finally:
        if _group_lives(run.pid):
            os.killpg(run.pid, signal.SIGKILL)


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cairn", "run", "gigpo", *SMOKE, "--seeds", "5", "--workers", "2"]
    # A shell starts what it puts into the background deaf to Ctrl-C, and that is inherited: not by this child.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    run = subprocess.Popen(
        [*command, "--out", str(tmp_path)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    signal.signal(signal.SIGINT, before)
    _wait_for(tmp_path / "results", 1, run)
    os.killpg(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "--resume" in told
    assert "Traceback" not in told


def _small_disk(inside: str, megabytes: int) -> list[str]:
    """Return a command that runs a line of shell in a folder of its own that has little room; nobody need be root."""
    script = f'mount -t tmpfs -o size={megabytes}m none "$0" && {inside}'
    return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_run_with_what_is_finished(tmp_path: Path) -> None:
    """A real file system, full once the first record is there."""
    run = f'{sys.executable} -m cairn run gigpo {" ".join(SMOKE)} --seeds 1 --workers 1 --out "$0/out"'
    fill = 'dd if=/dev/zero of="$0/ballast" bs=1k 2>/dev/null'
    wait = 'while ! ls "$0"/out/results/*.json >/dev/null 2>&1; do sleep 0.02; done'
    inside = f'{{ ({wait}; {fill}) & {run}; echo "code $?"; ls -A "$0/out/results"; rm "$0/ballast"; {run} --resume; }}'
    if subprocess.run([*_small_disk("true", 1), str(tmp_path)], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run([*_small_disk(inside, 2), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "code 2" in done.stdout
    assert done.stderr.count("No space left on device") == 1
    assert "--resume" in done.stderr
    kept = [line for line in done.stdout.splitlines() if line.endswith("--s101.json")]
    assert 1 <= len(kept) < CELLS
    assert ".tmp" not in done.stdout
    assert f"{CELLS} cells, {len(kept)} of them finished before" in done.stderr


def test_a_read_only_folder_is_refused_before_anything_runs(tmp_path: Path) -> None:
    """A real file system again: root may write into folders whose mode forbids it."""
    run = f'{sys.executable} -m cairn run gigpo {" ".join(SMOKE)} --seeds 1 --out "$0/out"'
    inside = f'mount -o remount,ro "$0" && {run}'
    if subprocess.run([*_small_disk("true", 1), str(tmp_path)], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    done = subprocess.run([*_small_disk(inside, 1), str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "the output folder cannot be written: Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr


def _wait_for(results: Path, count: int, run: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while len(list(results.glob("[!.]*.json"))) < count:
        assert run.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
