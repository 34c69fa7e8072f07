"""Runs the cells of an experiment on a back end: resumable, one record for each cell.

A cell whose budget is another arm's spending waits for that arm's record of the same seed. A cell whose worker went
away (killed, out of memory, its machine gone) is tried again; one that takes its worker with it each time is recorded
as failed, and the rest goes on. Records are written here, in the main process, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from cairn.errors import UserError
from cairn.evidence.records import Record, write_record
from cairn.lab.backends import Backend, News, open_backend
from cairn.lab.cell import Cell, failed_record
from cairn.lab.loop import Point
from cairn.lab.plan import Key, Plan, Slot, finished, in_common, key_of, prepare, preset_model
from cairn.lab.tasks import find

__all__ = ["TRIES", "Plan", "Watcher", "preset_model", "run"]

TRIES = 3  # of a cell whose worker goes away


class Watcher(Protocol):
    """Is told how a run goes on. All calls come from the main process."""

    def planned(self, cells: int, finished: int) -> None:
        """Say how many cells there are and how many were finished before."""

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None:
        """Say that a running cell has reached an evaluation."""

    def done(self, record: Record) -> None:
        """Say that a cell has ended, one way or the other."""


def run(plan: Plan, watcher: Watcher, backend: Backend | None = None) -> list[Record]:
    """Run every cell that is not finished yet; return all records of the plan, in its order.

    backend: where; by default this process, or as many processes as the plan has workers.
    Raises UserError, before anything runs, when a task needs a package that is missing, when the folder cannot be
    written, when it holds finished cells and `resume` is off, when it holds cells of another configuration, or when a
    budget is the spending of an arm that does not run; and, later, when a record cannot be written.
    """
    for family in plan.reproduction.families:
        find(family).require_packages()
    slots = plan.slots()
    prepare(plan.results)
    records = finished(plan, slots)
    watcher.planned(len(slots), len(records))
    waiting = [slot for slot in slots if key_of(slot) not in records]
    if waiting:
        with backend or open_backend(None, plan.workers) as opened:
            _Run(plan, watcher, opened, waiting, records).to_the_end()
    return [records[key_of(slot)] for slot in slots]


class _Run:
    """The cells that wait, those that run, and the records so far."""

    def __init__(
        self, plan: Plan, watcher: Watcher, backend: Backend, waiting: list[Slot], records: dict[Key, Record]
    ) -> None:
        self._plan, self._watcher, self._backend = plan, watcher, backend
        self._waiting, self._records = waiting, records
        self._slots = {key_of(slot): slot for slot in waiting}
        self._running: dict[Key, Slot] = {}
        self._losses = Counter[Key]()

    def to_the_end(self) -> None:
        while self._waiting or self._running:
            self._submit()
            if self._running:
                for cell, news in self._backend.news():
                    self._take((cell.task, cell.arm, cell.seed), cell, news)

    def _submit(self) -> None:
        """Skip what has become impossible, and hand over what is ready as far as there is room."""
        for slot in [slot for slot in self._ready() if self._plan.blocked(slot, self._records)]:
            self._waiting.remove(slot)
            self._keep(self._plan.skipped(slot))
        while self._backend.room() > 0 and (ready := self._ready()):
            slot = self._best(ready)
            self._waiting.remove(slot)
            self._running[key_of(slot)] = slot
            self._backend.submit(self._plan.cell(slot, self._records))

    def _ready(self) -> list[Slot]:
        return [slot for slot in self._waiting if self._plan.ready(slot, self._records)]

    def _best(self, ready: list[Slot]) -> Slot:
        """Pick what has most in common with what the next worker computed last; for a new one, a seed of its own.

        Among equals the first is picked, in the order of the plan.
        """
        last = self._backend.last()
        before = self._slots.get((last.task, last.arm, last.seed)) if last else None
        taken = {seed for _, _, seed in self._running.values()}
        return max(ready, key=lambda slot: (in_common(slot, before), slot[2] not in taken))

    def _take(self, key: Key, cell: Cell, news: News) -> None:
        if isinstance(news, Point):
            self._watcher.advanced(*key, news.update, news.success)
            return
        slot = self._running.pop(key)
        if isinstance(news, Record):
            self._keep(news)
            return
        self._losses[key] += 1
        if self._losses[key] < TRIES:
            self._waiting.insert(0, slot)
        else:
            self._keep(failed_record(cell, f"its worker went away {TRIES} times; the last time, {news.reason}"))

    def _keep(self, record: Record) -> None:
        try:
            write_record(self._plan.results, record)
        except UserError as error:
            raise UserError(
                f"{error.message}; the cells that were finished before are kept",
                file=error.file,
                repair="Make room, or make the folder writable; then run the same command with --resume.",
            ) from error
        self._records[record.task, record.arm, record.seed] = record
        self._watcher.done(record)
