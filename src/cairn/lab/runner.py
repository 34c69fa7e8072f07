"""Runs the cells of a reproduction: in this process or in several, resumable, one record for each cell.

Cells whose budget is another arm's spending wait for that arm's record of the same seed. A worker process has one
torch thread: with more, two processes on two cores were measured far slower than one.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import torch

from cairn.errors import UserError
from cairn.evidence.records import Record, read_record, record_name, write_record
from cairn.lab.cell import Cell, Setup, failed_record, run_cell, specify
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.model import local_folder, weights_digest
from cairn.lab.pretrain import provide_model
from cairn.lab.protocol import Protocol as SharedProtocol
from cairn.lab.protocol import family_of, task_knobs
from cairn.lab.task import require
from cairn.lab.tasks import find


@dataclass(frozen=True)
class Plan:
    """What to run and where to put it. Records go to `out`/results.

    models: folder or hub name of the initial model for each task; else the preset's own model is taken.
    """

    reproduction: Reproduction
    protocol: SharedProtocol
    preset: str
    seeds: tuple[int, ...]
    device: str
    out: Path
    resume: bool
    workers: int
    models: Mapping[str, str] = field(default_factory=dict)

    def setup(self, task: str) -> Setup:
        """Return what all cells of a task share."""
        return self._setups[family_of(task)]

    @cached_property
    def _setups(self) -> dict[str, Setup]:
        """One for each task. The weights are hashed once."""
        folders = {
            family: local_folder(
                self.models.get(family) or preset_model(self.protocol, self.preset, family, self.device)
            )
            for family in self.reproduction.families
        }
        return {
            family: Setup(
                self.reproduction, self.protocol, self.preset, str(folder), weights_digest(folder), self.device
            )
            for family, folder in folders.items()
        }

    @property
    def results(self) -> Path:
        """Return the folder of the records."""
        return self.out / "results"


def preset_model(
    protocol: SharedProtocol,
    preset: str,
    family: str,
    device: str = "cpu",
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Return the folder of a preset's model for a task; see `provide_model`. progress: called after each lesson."""
    changes = protocol.preset(preset).recipe
    return provide_model(family, changes, task_knobs(protocol, preset, family), device, progress)


class Watcher(Protocol):
    """Is told how a run goes on. All calls come from the main process."""

    def planned(self, cells: int, finished: int) -> None:
        """Say how many cells there are and how many were finished before."""

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None:
        """Say that a running cell has reached an evaluation."""

    def done(self, record: Record) -> None:
        """Say that a cell has ended, one way or the other."""


def run(plan: Plan, watcher: Watcher) -> list[Record]:
    """Run every cell that is not finished yet; return all records of the plan.

    Raises UserError, before anything runs, when a task needs a package that is missing, when the folder cannot be
    written, when it holds finished cells and `resume` is off, when it holds cells of another configuration, or when a
    budget is the spending of an arm that does not run; and, later, when a worker process is killed.
    """
    slots = [
        (arm, task, seed)
        for seed in plan.seeds
        for arm in plan.reproduction.arms
        for task in arm.tasks or plan.reproduction.tasks[:1]
    ]
    for package in {package for family in plan.reproduction.families for package in find(family).packages}:
        require(package)
    _refuse_open_budgets(slots)
    _prepare(plan.results)
    records = _finished(plan, slots)
    watcher.planned(len(slots), len(records))
    todo = [slot for slot in slots if _key(*slot) not in records]
    run_all = _in_this_process if plan.workers == 1 else _in_processes
    for record in run_all(plan, todo, records, watcher):
        write_record(plan.results, record)
        records[record.task, record.arm, record.seed] = record
        watcher.done(record)
    return [records[_key(*slot)] for slot in slots]


Slot = tuple[Arm, str, int]
Key = tuple[str, str, int]
Records = dict[Key, Record]


def _key(arm: Arm, task: str, seed: int) -> Key:
    return task, arm.name, seed


def _refuse_open_budgets(slots: list[Slot]) -> None:
    leaders = {_key(*slot) for slot in slots if slot[0].spends_like is None}
    for arm, task, seed in slots:
        if arm.spends_like is not None and (task, arm.spends_like, seed) not in leaders:
            raise UserError(
                f"the budget of arm `{arm.name}` is the spending of an arm that does not run by itself on this task",
                value=f"{arm.spends_like} on {task}",
                repair="Name in `spends_like` an arm that runs on the same tasks and has no `spends_like` of its own.",
            )


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"the output folder cannot be written: {error.strerror}",
            file=folder,
            repair="Choose another folder with --out.",
        ) from error


def _finished(plan: Plan, slots: list[Slot]) -> Records:
    """Read what is there. Failed cells are run again."""
    found: Records = {}
    for arm, task, seed in slots:
        path = plan.results / record_name(task, arm.name, seed)
        if path.exists():
            found[_key(arm, task, seed)] = read_record(path)
    if found and not plan.resume:
        raise UserError(
            "the output folder already holds records",
            file=plan.results,
            value=f"{len(found)} cells",
            repair="Add --resume to keep finished cells, or choose another folder with --out.",
        )
    for slot in slots:
        _refuse_other_configuration(plan, slot, found)
    return {key: record for key, record in found.items() if record.status == "ok"}


def _refuse_other_configuration(plan: Plan, slot: Slot, found: Records) -> None:
    record = found.get(_key(*slot))
    if record is None or record.status == "skipped" or not _ready(slot, found) or _blocked(slot, found):
        return
    if record.spec_hash != _cell(plan, slot, found).spec_hash:
        arm, task, seed = slot
        raise UserError(
            "this record was made with another configuration (settings, model or seed list differ)",
            file=plan.results / record_name(task, arm.name, seed),
            repair="Choose another folder with --out, or move the old records away.",
        )


def _ready(slot: Slot, records: Records) -> bool:
    """Say whether the arm whose spending is the slot's budget, if there is one, has ended."""
    arm, task, seed = slot
    return arm.spends_like is None or (task, arm.spends_like, seed) in records


def _blocked(slot: Slot, records: Records) -> bool:
    """Say whether the arm whose spending is the slot's budget has ended without a result."""
    arm, task, seed = slot
    return arm.spends_like is not None and records[task, arm.spends_like, seed].status != "ok"


def _skip(plan: Plan, slot: Slot) -> Record:
    arm, task, seed = slot
    cell = specify(plan.setup(task), arm, task, seed)
    reason = f"the budget is the spending of arm `{arm.spends_like}`, which did not finish with this seed"
    return failed_record(cell, reason).model_copy(update={"status": "skipped"})


def _cell(plan: Plan, slot: Slot, records: Records) -> Cell:
    arm, task, seed = slot
    budget = None if arm.spends_like is None else records[task, arm.spends_like, seed].ledger.flops
    return specify(plan.setup(task), arm, task, seed, budget)


def _in_this_process(plan: Plan, todo: list[Slot], records: Records, watcher: Watcher) -> Iterator[Record]:
    torch.set_num_threads(1)
    for slot in sorted(todo, key=lambda s: s[0].spends_like is not None):
        if _blocked(slot, records):
            yield _skip(plan, slot)
            continue
        cell = _cell(plan, slot, records)
        yield attempt(cell, partial(watcher.advanced, cell.task, cell.arm, cell.seed))


def _in_processes(plan: Plan, todo: list[Slot], records: Records, watcher: Watcher) -> Iterator[Record]:
    context = multiprocessing.get_context("spawn")
    news: Any = context.Queue()
    waiting, running = list(todo), set[Future[Record]]()
    with ProcessPoolExecutor(plan.workers, context, _start_worker, (news,)) as pool:
        try:
            while waiting or running:
                ready = [slot for slot in waiting if _ready(slot, records)]
                for slot in [slot for slot in ready if _blocked(slot, records)]:
                    waiting.remove(slot)
                    ready.remove(slot)
                    yield _skip(plan, slot)
                for slot in ready[: 2 * plan.workers - len(running)]:
                    waiting.remove(slot)
                    running.add(pool.submit(_work, _cell(plan, slot, records)))
                finished, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                _tell(news, watcher)
                # What is finished is kept before the death of a worker is told.
                for future in sorted(finished, key=lambda f: f.exception() is not None):
                    yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed (by hand, or because memory ran out); finished cells are kept",
                file=plan.results,
                repair="Run the same command with --resume, perhaps with fewer workers.",
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def attempt(cell: Cell, report: Callable[[int, float], None]) -> Record:
    """Run a cell; an error inside it becomes a failed record, so that one bad cell cannot take the others down."""
    try:
        return run_cell(cell, lambda point: report(point.update, point.success))
    except Exception as error:  # noqa: BLE001 - whatever went wrong belongs into the record
        last = traceback.extract_tb(error.__traceback__)[-1]
        return failed_record(cell, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})")


_news: Any = None


def _start_worker(news: Any) -> None:
    global _news  # noqa: PLW0603 - a worker process has one channel, set once
    _news = news
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the main process is gone, however it went: nobody would take the result or send more work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(cell: Cell) -> Record:
    return attempt(cell, lambda update, success: _news.put((cell.task, cell.arm, cell.seed, update, success)))


def _tell(news: Any, watcher: Watcher) -> None:
    while True:
        try:
            watcher.advanced(*news.get_nowait())
        except queue.Empty:
            return
