"""Running the cells of a reproduction: workers, failures, resuming, budgets."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from tests.lab.poison import poisonous_method

from cairn.errors import UserError
from cairn.evidence.records import Record, read_record, read_records, record_name, stable_bytes
from cairn.lab.backends import names, open_backend
from cairn.lab.backends.processes import Processes
from cairn.lab.cell import Cell
from cairn.lab.controls import ExactCredit, ShuffledCredit
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.plan import Key
from cairn.lab.protocol import Protocol, read_protocol
from cairn.lab.runner import TRIES, Plan, run
from cairn.method import Method
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.methods.vineppo import VinePPO

PAPER = Arm("paper", "method", "The rule.", VinePPO(continuations=2))
PLAIN = Arm("grpo", "control", "The control.", GRPO())
EQUAL = Arm("equal", "control", "The control, at the cost of the rule.", GRPO(), spends_like="paper")
ANCHORS = Arm("anchors", "variant", "Another rule, on two tasks.", GiGPO(), tasks=("quest", "quest-revisit=0"))
CEILING = Arm("exact", "ceiling", "The ceiling.", ExactCredit())
# No such number of continuations can be drawn: the cell raises.
BROKEN = Arm("broken", "variant", "It fails.", VinePPO(continuations=-1))
LIKE_BROKEN = Arm("like-broken", "control", "It waits for what never comes.", GRPO(), spends_like="broken")


@dataclasses.dataclass
class Witness:
    """Notes what it is told; kills all workers once, when `kill` is the arm that advances."""

    kill: str = ""
    done_: list[str] = dataclasses.field(default_factory=list)
    seen: list[tuple[str, str, int, int]] = dataclasses.field(default_factory=list)
    plan_: tuple[int, int] = (0, 0)
    kills: int = 0

    def planned(self, cells: int, finished: int) -> None:
        self.plan_ = cells, finished

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None:
        assert 0 <= success <= 1
        self.seen.append((task, arm, seed, update))
        if arm == self.kill and not self.kills:
            self.kills += 1
            for child in multiprocessing.active_children():
                os.kill(child.pid or 0, signal.SIGKILL)

    def done(self, record: Record) -> None:
        self.done_.append(record_name(record.task, record.arm, record.seed))


class Impatient(Witness):
    """Interrupts, as Ctrl-C does, once a cell is done."""

    def done(self, record: Record) -> None:
        super().done(record)
        raise KeyboardInterrupt


@pytest.fixture
def poisonous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Method]:
    """A rule that kills the process that computes it."""
    _forget_what_workers_imported()
    yield poisonous_method(tmp_path, monkeypatch)
    _forget_what_workers_imported()


def _forget_what_workers_imported() -> None:
    """Let the next worker see the environment as it then is; Python has no public name for this."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def _full_after(writes: int) -> Callable[[int], None]:
    """Return what stands in for fsync, where a full disk may show first."""
    left = itertools.repeat(None, writes)

    def sync(_: int) -> None:
        if next(left, True):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return sync


@pytest.fixture(scope="module")
def protocol() -> Protocol:
    """The protocol with a preset of a second a cell."""
    changes = {
        "updates": 2, "evaluate_every": 1, "knobs": {"horizon": 8, "forks": 1, "fog": 0.0}, "fidelity_rollouts": 2,
    }  # fmt: skip
    preset = read_protocol().preset("smoke").model_copy(update=changes)
    return read_protocol().model_copy(update={"presets": {"tiny": preset}})


def _plan(protocol: Protocol, out: Path, *arms: Arm, **changes: Any) -> Plan:
    reproduction = Reproduction("toy", "A toy", ("quest",), arms, ())
    plan = Plan(reproduction, protocol, "tiny", (101,), "cpu", out, resume=False, workers=1)
    return dataclasses.replace(plan, **changes)


def _stable(records: list[Record]) -> dict[str, bytes]:
    """Return the stable bytes of each record. The commit is left out: somebody may commit while the tests run."""
    unmoved = {"commit": None, "dirty": None}
    return {
        record_name(r.task, r.arm, r.seed): stable_bytes(
            r.model_copy(update={"provenance": r.provenance.model_copy(update=unmoved)})
        )
        for r in records
    }


def test_two_workers_find_what_one_finds(protocol: Protocol, tmp_path: Path) -> None:
    arms = (PAPER, LIKE_BROKEN, BROKEN, EQUAL, ANCHORS, CEILING)
    one = run(_plan(protocol, tmp_path / "one", *arms), Witness())
    witness = Witness()
    two = run(_plan(protocol, tmp_path / "two", *arms, workers=2), witness)
    assert _stable(one) == _stable(two)
    assert [r.arm for r in one] == [r.arm for r in two], "in the order of the plan"
    assert _stable(read_records(tmp_path / "two" / "results")) == _stable(two)
    assert sorted(witness.done_) == sorted(_stable(two))
    assert [r.status for r in two] == ["ok", "skipped", "failed", "ok", "ok", "ok", "ok"]
    assert {r.host.threads for r in two if r.status == "ok"} == {1}
    assert {(arm, update) for _, arm, _, update in witness.seen} >= {("paper", 0), ("paper", 2), ("exact", 1)}


def test_a_worker_goes_on_with_what_has_most_in_common_with_its_last_cell(protocol: Protocol, tmp_path: Path) -> None:
    """Seed by seed; behind each arm those that differ from it in a control or a budget alone."""
    shuffled = Arm("shuffled", "null", "The rule's credit, misplaced.", PAPER.method, null=ShuffledCredit())
    witness = Witness()
    run(_plan(protocol, tmp_path, PAPER, CEILING, PLAIN, shuffled, EQUAL, seeds=(101, 102)), witness)
    found = [name.removesuffix(".json").split("--")[1:] for name in witness.done_]
    order = ("paper", "shuffled", "exact", "grpo", "equal")
    assert found == [[arm, seed] for seed in ("s101", "s102") for arm in order]


class Watched(Processes):
    """Notes to which process each cell goes, and what it was said to have computed last."""

    def __init__(self) -> None:
        super().__init__(workers=2)
        self.given: list[tuple[int | None, Key]] = []
        self.said: list[Key | None] = []

    def submit(self, cell: Cell) -> None:
        last = self.last()
        super().submit(cell)
        process, _ = [*self._busy.values()][-1]
        self.said.append(_key(last) if last else None)
        self.given.append((process.pid, _key(cell)))


def _key(cell: Cell) -> Key:
    return cell.task, cell.arm, cell.seed


def test_each_of_two_workers_has_a_seed_of_its_own_and_goes_on_with_it(protocol: Protocol, tmp_path: Path) -> None:
    """Which of them ends a cell first is chance; what it is given then is not."""
    shuffled = Arm("shuffled", "null", "The rule's credit, misplaced.", PAPER.method, null=ShuffledCredit())
    workers = Watched()
    run(_plan(protocol, tmp_path, PAPER, CEILING, shuffled, seeds=(101, 102), workers=2), Witness(), workers)
    (one, first), (other, second), (free, third), *_ = workers.given
    assert one != other
    assert (first, second) == (("quest", "paper", 101), ("quest", "paper", 102))
    assert third == ("quest", "shuffled", {one: 101, other: 102}[free])


def test_a_process_is_said_to_have_computed_last_what_it_did(protocol: Protocol, tmp_path: Path) -> None:
    workers = Watched()
    run(_plan(protocol, tmp_path, PLAIN, CEILING, seeds=(101, 102), workers=2), Witness(), workers)
    before: dict[int | None, Key] = {}
    for (process, cell), said in zip(workers.given, workers.said, strict=True):
        assert said == before.get(process)
        before[process] = cell
    assert len(before) == 2


def test_a_cell_that_raises_becomes_a_record_and_the_others_finish(protocol: Protocol, tmp_path: Path) -> None:
    broken, plain = run(_plan(protocol, tmp_path, BROKEN, PLAIN), Witness())
    assert (broken.status, plain.status) == ("failed", "ok")
    assert broken.reason is not None
    assert broken.reason.startswith("ValueError: negative dimensions")
    assert broken.curve == ()
    assert read_record(tmp_path / "results" / "quest--broken--s101.json") == broken


def test_the_same_run_twice_gives_the_same_bytes(protocol: Protocol, tmp_path: Path) -> None:
    first, second = (run(_plan(protocol, tmp_path / name, PAPER), Witness()) for name in "ab")
    assert _stable(first) == _stable(second)
    assert _stable(first) != _stable(run(_plan(protocol, tmp_path / "c", PAPER, seeds=(102,)), Witness()))


def test_resuming_runs_only_what_is_missing_or_failed(protocol: Protocol, tmp_path: Path) -> None:
    arms = (PAPER, BROKEN, EQUAL, PLAIN)
    run(_plan(protocol, tmp_path, *arms), Witness())
    kept = tmp_path / "results" / "quest--paper--s101.json"
    before = kept.stat().st_mtime_ns, kept.read_bytes()
    (tmp_path / "results" / "quest--grpo--s101.json").unlink()
    witness = Witness()
    records = run(_plan(protocol, tmp_path, *arms, resume=True), witness)
    assert witness.plan_ == (4, 2)
    assert sorted(witness.done_) == ["quest--broken--s101.json", "quest--grpo--s101.json"]
    assert (kept.stat().st_mtime_ns, kept.read_bytes()) == before
    assert [r.status for r in records] == ["ok", "failed", "ok", "ok"]


def test_an_arm_spends_what_another_spent_within_one_update(protocol: Protocol, tmp_path: Path) -> None:
    equal, paper = run(_plan(protocol, tmp_path, EQUAL, PAPER), Witness())
    budget = paper.ledger.flops
    assert equal.spec["settings"]["flops_budget"] == budget
    assert equal.curve[-2].flops < budget <= equal.curve[-1].flops
    assert equal.curve[-1].update > paper.curve[-1].update


def test_an_arm_whose_budget_failed_is_skipped_and_run_once_there_is_one(protocol: Protocol, tmp_path: Path) -> None:
    _, skipped = run(_plan(protocol, tmp_path, BROKEN, LIKE_BROKEN), Witness())
    assert skipped.status == "skipped"
    assert skipped.reason is not None
    assert "`broken`, which did not finish" in skipped.reason
    again = run(_plan(protocol, tmp_path, BROKEN, LIKE_BROKEN, resume=True), Witness())
    assert [r.status for r in again] == ["failed", "skipped"]
    (tmp_path / "results" / "quest--broken--s101.json").unlink()
    mended = dataclasses.replace(BROKEN, method=GRPO())
    records = run(_plan(protocol, tmp_path, mended, LIKE_BROKEN, resume=True), Witness())
    assert [r.status for r in records] == ["ok", "ok"]
    assert records[1].curve[-1].flops >= records[0].ledger.flops > 0


@pytest.mark.parametrize("leader", ["nobody", "anchors-elsewhere", "equal"])
def test_a_budget_that_will_never_be_known_is_refused_before_anything_runs(
    protocol: Protocol, tmp_path: Path, leader: str
) -> None:
    elsewhere = dataclasses.replace(PLAIN, name="anchors-elsewhere", tasks=("quest-revisit=0",))
    chained = Arm("chained", "control", "It waits.", GRPO(), spends_like=leader)
    with pytest.raises(UserError, match=f"arm `chained`.*got '{leader} on quest'"):
        run(_plan(protocol, tmp_path / "out", PAPER, EQUAL, elsewhere, chained, workers=2), Witness())
    assert not (tmp_path / "out").exists()


def test_a_torn_record_is_named(protocol: Protocol, tmp_path: Path) -> None:
    run(_plan(protocol, tmp_path, PLAIN), Witness())
    path = tmp_path / "results" / "quest--grpo--s101.json"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"quest--grpo--s101\.json") as caught:
        run(_plan(protocol, tmp_path, PLAIN, resume=True), Witness())
    assert caught.value.repair


def test_finished_cells_are_not_overwritten_unasked(protocol: Protocol, tmp_path: Path) -> None:
    run(_plan(protocol, tmp_path, PLAIN), Witness())
    with pytest.raises(UserError, match=r"already holds records.*--resume"):
        run(_plan(protocol, tmp_path, PLAIN), Witness())


@pytest.mark.parametrize("what", ["method", "rate", "preset", "leader"])
def test_records_of_another_configuration_are_refused(protocol: Protocol, tmp_path: Path, what: str) -> None:
    run(_plan(protocol, tmp_path, PAPER, EQUAL), Witness())
    small = protocol.presets["tiny"]
    changed, arms = protocol, (PAPER, EQUAL)
    if what == "method":
        arms = (dataclasses.replace(PAPER, method=VinePPO(continuations=3)), EQUAL)
    elif what == "rate":
        changed = protocol.model_copy(update={"learning_rate": 1e-3})
    elif what == "preset":
        changed = protocol.model_copy(update={"presets": {"tiny": small.model_copy(update={"group_size": 5})}})
    else:
        arms = (PAPER, dataclasses.replace(EQUAL, learning_rate_factor=2.0))
    with pytest.raises(UserError, match="another configuration"):
        run(_plan(changed, tmp_path, *arms, resume=True), Witness())


def test_a_folder_that_cannot_be_written_is_refused(protocol: Protocol, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run(_plan(protocol, tmp_path / "file", PLAIN), Witness())


def test_a_cell_whose_worker_is_killed_is_tried_again(protocol: Protocol, tmp_path: Path) -> None:
    """Both workers are killed while they compute: the kill comes when the budget arm starts, after its leader."""
    plan = _plan(protocol, tmp_path, PAPER, EQUAL, PLAIN, seeds=(101, 102), workers=2)
    witness = Witness(kill="equal")
    records = run(plan, witness)
    assert witness.kills == 1
    assert {r.status for r in records} == {"ok"}
    assert sorted(witness.done_) == sorted(_stable(records)), "nothing is lost and nothing is told twice"
    assert _stable(records) == _stable(run(dataclasses.replace(plan, out=tmp_path / "calm", workers=1), Witness()))


def test_a_cell_that_kills_its_worker_each_time_is_recorded_and_the_rest_goes_on(
    protocol: Protocol, tmp_path: Path, poisonous: Method
) -> None:
    poison = Arm("poison", "variant", "It kills.", poisonous)
    like_poison = dataclasses.replace(EQUAL, name="like-poison", spends_like="poison")
    records = run(_plan(protocol, tmp_path, poison, like_poison, PLAIN, workers=2), Witness())
    assert [r.status for r in records] == ["failed", "skipped", "ok"]
    assert records[0].reason == "its worker went away 3 times; the last time, it left with exit code 17"
    assert len((tmp_path / "deaths").read_text().splitlines()) == TRIES


def test_a_run_in_this_process_needs_no_other(protocol: Protocol, tmp_path: Path) -> None:
    run(_plan(protocol, tmp_path, PLAIN), Witness())
    assert multiprocessing.active_children() == []


def test_a_full_disk_is_one_clear_error_and_finished_cells_are_kept(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = _plan(protocol, tmp_path, PAPER, PLAIN, CEILING)
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", _full_after(2))  # the probe and one record still find room
        with pytest.raises(UserError, match=r"No space left on device.*are kept.*--resume") as caught:
            run(plan, Witness())
    assert caught.value.file is not None
    finished = read_records(plan.results)  # a torn one would be refused
    assert len(finished) == 1
    assert len(list(plan.results.iterdir())) == 1, "nothing half-written stays behind"
    witness = Witness()
    records = run(dataclasses.replace(plan, resume=True), witness)
    assert witness.plan_ == (3, 1)
    assert [r.status for r in records] == ["ok", "ok", "ok"]


def test_a_full_disk_is_found_before_anything_is_computed(
    protocol: Protocol, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", _full_after(0))
    witness = Witness()
    with pytest.raises(UserError, match=r"cannot be written: No space left on device"):
        run(_plan(protocol, tmp_path, PLAIN), witness)
    assert (witness.plan_, witness.seen) == ((0, 0), [])
    assert [*(tmp_path / "results").iterdir()] == []


def test_an_interrupt_ends_the_workers_and_keeps_what_is_finished(protocol: Protocol, tmp_path: Path) -> None:
    plan = _plan(protocol, tmp_path, PAPER, PLAIN, CEILING, workers=2)
    with pytest.raises(KeyboardInterrupt):
        run(plan, Impatient())
    assert multiprocessing.active_children() == []
    assert len(read_records(plan.results)) == 1
    witness = Witness()
    run(dataclasses.replace(plan, resume=True), witness)
    assert witness.plan_ == (3, 1)
    assert len(witness.done_) == 2


def test_back_ends_are_found_by_name() -> None:
    assert {"serial", "processes", "ray"} <= set(names())
    with pytest.raises(UserError, match=r"unknown back end.*serial"):
        open_backend("clay", 1)
    with pytest.raises(UserError, match="no cluster"):
        open_backend("processes", 2, "127.0.0.1:6379")


def test_a_loss_that_is_not_finite_is_a_failed_record_with_its_reason(protocol: Protocol, tmp_path: Path) -> None:
    wild = dataclasses.replace(PAPER, name="wild", learning_rate_factor=1e33)
    failed, plain = run(_plan(protocol, tmp_path, wild, PLAIN), Witness())
    assert failed.status == "failed"
    assert failed.reason is not None
    assert failed.reason.startswith("FloatingPointError: update 1: loss ")
    assert plain.status == "ok"


def test_an_arm_may_sample_larger_groups_and_pays_for_them(protocol: Protocol, tmp_path: Path) -> None:
    doubled = dataclasses.replace(PLAIN, name="doubled", group_size_factor=2)
    plain, large = run(_plan(protocol, tmp_path, PLAIN, doubled), Witness())
    assert large.ledger.environment_resets == 2 * plain.ledger.environment_resets
