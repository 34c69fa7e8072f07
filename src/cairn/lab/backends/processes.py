"""Several processes on this machine, each with one torch thread and one cell at a time.

With more threads, two processes on two cores were measured far slower than one. The processes are started and watched
here and not by a pool, which breaks as a whole when one of them dies and does not say which cell it was computing.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

import torch

from cairn.evidence.records import Record
from cairn.lab import forking
from cairn.lab.backends import Lost, News, refuse_address
from cairn.lab.cell import Cell, attempt
from cairn.lab.loop import Point


class Processes:
    """Starts a process when a cell comes and none is idle, and goes on with it for the next cell."""

    def __init__(self, workers: int) -> None:
        """Start nothing yet. workers: processes at a time."""
        self._workers = workers
        self._idle: dict[Connection, tuple[BaseProcess, Cell]] = {}  # with what each computed last
        self._busy: dict[Connection, tuple[BaseProcess, Cell]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process, _ in (*self._idle.values(), *self._busy.values()):
            process.kill()
            process.join()

    def room(self) -> int:
        """Return how many processes are idle or may still be started."""
        return self._workers - len(self._busy)

    def last(self) -> Cell | None:
        """Return the last cell of the process that has become idle last."""
        return next((cell for _, cell in reversed(self._idle.values())), None)

    def submit(self, cell: Cell) -> None:
        """Give the cell to a process."""
        if self._idle:
            connection, (process, _) = self._idle.popitem()
        else:
            connection, process = _hire(cell.spec["device"])
        self._busy[connection] = process, cell
        with suppress(OSError):  # it died while it was idle: that is told with the next news
            connection.send(cell)

    def news(self) -> Iterator[tuple[Cell, News]]:
        """Wait for a message, or for the end of a process."""
        due = wait([*self._busy])
        for connection in [one for one in self._busy if one in due]:
            process, cell = self._busy[connection]
            news = _receive(connection, process)
            if not isinstance(news, Point):
                del self._busy[connection]
            if isinstance(news, Record):
                self._idle[connection] = process, cell
            yield cell, news


def _receive(connection: Connection, process: BaseProcess) -> News:
    try:
        news: News = connection.recv()
    except (EOFError, OSError):
        connection.close()
        process.join()
        return Lost(_end(process.exitcode or 0))
    return news


def _end(code: int) -> str:
    """Say how a process ended: multiprocessing gives a signal as a negative code."""
    if code >= 0:
        return f"it left with exit code {code}"
    name = signal.Signals(-code).name
    return f"it was killed by {name}" + (", as when memory runs out" if -code == signal.SIGKILL else "")


def _hire(device: str) -> tuple[Connection, BaseProcess]:
    context = forking.context(device)
    connection, other = context.Pipe()
    process: BaseProcess = context.Process(target=_work, args=(other,), daemon=True)
    with forking.interrupts_blocked():
        process.start()
    other.close()  # so that the end of the process is the end of the stream
    return connection, process


def _work(connection: Connection) -> None:
    torch.set_num_threads(1)
    gc.freeze()  # what was imported stays, and need not be searched for garbage again and again
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError):  # the main process has closed its end: there is no more to do
        while True:
            for news in attempt(connection.recv()):
                connection.send(news)


def _end_with_parent() -> None:
    """Leave when the main process is gone, however it went: nobody would take the result or send more work."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def open_backend(workers: int, address: str | None) -> Processes:
    """Return the back end."""
    refuse_address("processes", address)
    return Processes(workers)
