"""The back end on Ray: a cluster of two nodes of one CPU each, on this machine. `nox -s ray` runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.poison import poisonous_method

from cairn.errors import UserError
from cairn.evidence.records import Record, read_records, record_name, stable_bytes
from cairn.lab.backends import Lost, News, open_backend
from cairn.lab.backends.ray import Ray
from cairn.lab.cell import Cell
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.protocol import read_protocol
from cairn.lab.runner import TRIES, Plan, run
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO

pytest.importorskip("ray")

TASKS = ("quest", "quest-revisit=0")
PLAIN = Arm("grpo", "control", "The control.", GRPO(), tasks=TASKS)
ANCHORS = Arm("gigpo", "method", "The rule.", GiGPO(), tasks=TASKS)
GRID = 2 * 2 * 3


class Spy(Ray):
    """The back end, and what it was given and lost."""

    def __init__(self, address: str) -> None:
        super().__init__(1, address)
        self.submitted: list[str] = []
        self.lost: list[Lost] = []

    def submit(self, cell: Cell) -> None:
        self.submitted.append(record_name(cell.task, cell.arm, cell.seed))
        super().submit(cell)

    def news(self) -> Iterator[tuple[Cell, News]]:
        for cell, news in super().news():
            self.lost += [news] if isinstance(news, Lost) else []
            yield cell, news


class Witness:
    """Notes the cells that have ended; takes away a node when `kill_after` of them have and another is half-way."""

    def __init__(self, cluster: Any = None, node: Any = None, kill_after: int = 0) -> None:
        self.cluster, self.node, self.kill_after = cluster, node, kill_after
        self.done_: list[str] = []

    def planned(self, cells: int, finished: int) -> None:
        """Not of interest."""

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None:
        del task, arm, seed, success
        if self.node is not None and update > 0 and len(self.done_) >= self.kill_after:
            self.cluster.remove_node(self.node, allow_graceful=False)
            self.node = None

    def done(self, record: Record) -> None:
        self.done_.append(record_name(record.task, record.arm, record.seed))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A head and another node. Neither sees the checkout: the package is shipped to them."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # else a token is written into the home folder
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    from ray.cluster_utils import Cluster

    quiet = {"num_cpus": 1, "include_log_monitor": False}
    made = Cluster(initialize_head=True, head_node_args={**quiet, "include_dashboard": False})
    made.other = made.add_node(**quiet)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def _plan(out: Path, *arms: Arm, updates: int = 6, **changes: Any) -> Plan:
    protocol = read_protocol()
    small = {"updates": updates, "evaluate_every": 1, "fidelity_rollouts": 2}
    preset = protocol.preset("smoke").model_copy(update=small)
    protocol = protocol.model_copy(update={"presets": {"tiny": preset}})
    reproduction = Reproduction("toy", "A toy", ("quest",), arms, ())
    plan = Plan(reproduction, protocol, "tiny", (101, 102, 103), "cpu", out, resume=False, workers=1)
    return dataclasses.replace(plan, **changes)


def _stable(records: list[Record]) -> dict[str, bytes]:
    return {record_name(r.task, r.arm, r.seed): stable_bytes(r) for r in records}


def test_two_nodes_find_what_one_process_finds_though_one_of_them_is_killed(cluster: Any, tmp_path: Path) -> None:
    plan = _plan(tmp_path / "ray", PLAIN, ANCHORS)
    spy, witness = Spy(cluster.address), Witness(cluster, cluster.other, kill_after=4)
    records = run(plan, witness, spy)
    assert witness.node is None, "the node was killed"
    assert len(spy.lost) >= 1, "with what it was computing"
    assert len(spy.submitted) == GRID + len(spy.lost)
    assert sorted(witness.done_) == sorted(set(spy.submitted)), "nothing is lost and nothing is told twice"
    alone = run(dataclasses.replace(plan, out=tmp_path / "serial"), Witness())
    assert len(alone) == GRID
    assert _stable(records) == _stable(alone)
    assert _stable(read_records(tmp_path / "ray" / "results")) == _stable(alone)
    assert {r.status for r in records} == {"ok"}
    again = Spy(cluster.address)
    assert _stable(run(dataclasses.replace(plan, resume=True), Witness(), again)) == _stable(alone)
    assert again.submitted == []


def test_a_cell_that_kills_its_worker_each_time_is_recorded_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Arm("poison", "variant", "It kills.", poisonous_method(tmp_path, monkeypatch))
    like_poison = Arm("like-poison", "control", "It waits for it.", GRPO(), spends_like="poison")
    plan = _plan(tmp_path / "out", poison, like_poison, PLAIN, updates=2, seeds=(101,))
    records = run(plan, Witness(), open_backend("ray", workers=2))
    assert [r.status for r in records] == ["failed", "skipped", "ok", "ok"]
    assert (records[0].reason or "").startswith(f"its worker went away {TRIES} times; the last time, WorkerCrashed")
    assert len((tmp_path / "deaths").read_text().splitlines()) == TRIES


def test_a_cluster_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot connect to the Ray cluster"):
        run(_plan(tmp_path, PLAIN), Witness(), open_backend("ray", 1, "127.0.0.1:1"))
    assert read_records(tmp_path / "results") == []
