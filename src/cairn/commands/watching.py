"""How a run is watched: a live display on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from cairn.commands.numbers import duration
from cairn.commands.terminal import printable
from cairn.evidence.records import Record

SPEED_WINDOW_S = 3600.0  # cells take minutes; the remaining time must not rest on the last seconds alone


class LiveWatcher:
    """Draws the finished cells of all, and below them the running ones with update and success."""

    def __init__(self, console: Console, updates: int) -> None:
        """Prepare the display. updates: how many a cell without a budget of its own takes."""
        self._updates = updates
        self._running: dict[tuple[str, str, int], TaskID] = {}
        self._shares: dict[tuple[str, str, int], float] = {}
        self._total = self._done = 0
        name, note = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))
        columns = (name, BarColumn(bar_width=12), note)
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._overall = Progress(*columns, *times, console=console, speed_estimate_period=SPEED_WINDOW_S)
        self._cells = Progress(*columns, console=console)
        self._all = self._overall.add_task("cells", total=None, note="")
        self._live = Live(Group(self._overall, self._cells), console=console, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def planned(self, cells: int, finished: int) -> None:
        """Say how many cells there are and how many were finished before."""
        self._total, self._done = cells, finished
        self._overall.reset(self._all, total=cells, completed=finished, note=f"{finished} of {cells}")

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None:
        """Show where a cell is. A cell that must spend a budget may go beyond the usual number of updates."""
        key = (task, arm, seed)
        if key not in self._running:
            self._running[key] = self._cells.add_task(f"  {task} {arm} s{seed}", total=self._updates, note="")
        note = f"update {update}, success {success:.3f}"
        self._cells.update(self._running[key], completed=min(update, self._updates), note=note)
        self._shares[key] = min(update / self._updates, 1.0)
        self._count()

    def done(self, record: Record) -> None:
        """Take a cell off the list; a failure stays visible as a line."""
        key = (record.task, record.arm, record.seed)
        self._shares.pop(key, None)
        if key in self._running:
            self._cells.remove_task(self._running.pop(key))
        if record.status != "ok":
            line = f"{record.status}: {_name(record)}: {record.reason}"
            self._live.console.print(Text(printable(line)), soft_wrap=True)
        self._done += 1
        self._count()

    def _count(self) -> None:
        completed = self._done + sum(self._shares.values())
        self._overall.update(self._all, completed=completed, note=f"{self._done} of {self._total}")


class LineWatcher:
    """Prints a line for each finished cell."""

    def __init__(self, console: Console) -> None:
        """Prepare the count. console: where the lines go."""
        self._console = console
        self._cells = self._done = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Leave nothing behind."""

    def planned(self, cells: int, finished: int) -> None:
        """Say how many cells there are and how many were finished before."""
        self._cells, self._done = cells, finished
        self._console.print(f"{cells} cells, {finished} of them finished before", soft_wrap=True)

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None:
        """Say nothing: a log needs no news of half a cell."""

    def done(self, record: Record) -> None:
        """Print how the cell ended."""
        self._done += 1
        ended = f"success {record.curve[-1].success:.3f}" if record.curve else f"{record.status}: {record.reason}"
        spent = f"{duration(record.host.seconds)}; {duration(time.monotonic() - self._started)} in all"
        line = f"[{self._done}/{self._cells}] {_name(record)}: {ended} ({spent})"
        self._console.print(Text(printable(line)), soft_wrap=True)


def _name(record: Record) -> str:
    return f"{record.task} {record.arm} seed {record.seed}"


def watcher(console: Console, updates: int) -> LiveWatcher | LineWatcher:
    """Return what suits the stream."""
    return LiveWatcher(console, updates) if console.is_terminal else LineWatcher(console)
