"""The nodes of a Ray cluster, one CPU for each cell; or a cluster of this machine alone, made for the run.

A node needs Python, Ray and the packages of the extra `run` at the versions of the main process, and nothing else: this
package is shipped to it as it is when the run begins, and the files of the model travel through Ray's object store.
News come back over Ray. No file system is shared.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

import cairn
from cairn.errors import UserError
from cairn.evidence.records import Record
from cairn.lab.backends import Lost, News
from cairn.lab.cell import Cell, attempt
from cairn.lab.loop import Point
from cairn.lab.model import MODEL_FILES

CELLS_PER_CPU = 2  # handed over at a time, so that no CPU waits for the main process
CONNECT_S = 5.0


class Ray:
    """Submits each cell as a task that streams its news. Ray itself tries nothing again: the runner does."""

    def __init__(self, workers: int, address: str | None) -> None:
        """Connect to nothing yet. workers: CPUs of the cluster that is made where there is no address."""
        self._workers, self._address = workers, address
        self._running: dict[Any, Cell] = {}  # by the stream of its news
        self._models: dict[str, Any] = {}  # a reference to the files of each model, by its folder

    def __enter__(self) -> Self:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
        import ray

        self._ray = ray
        settings: dict[str, Any] = {"address": self._address}
        if self._address is None:
            settings = {"address": "local", "num_cpus": self._workers, "include_dashboard": False}
        else:
            _knock(self._address)
        (package,) = cairn.__path__
        shipped = {"py_modules": [package], "env_vars": {"OMP_NUM_THREADS": "1"}}
        try:
            ray.init(**settings, runtime_env=shipped, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _unreachable(self._address, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ray.shutdown()  # what the run has started ends with it, on all nodes

    def room(self) -> int:
        """Return how many cells the CPUs of the cluster, as it is now, have not been given."""
        cpus = int(self._ray.cluster_resources().get("CPU", 0))
        return CELLS_PER_CPU * max(cpus, 1) - len(self._running)

    def last(self) -> None:
        """Return nothing: Ray picks the worker."""

    def submit(self, cell: Cell) -> None:
        """Queue the cell in the cluster."""
        if cell.model not in self._models:
            self._models[cell.model] = self._ray.put(_read(Path(cell.model)))
        needed = {"num_cpus": 1, "num_gpus": int(cell.spec["device"].startswith("cuda"))}
        task = self._ray.remote(**needed, max_retries=0, num_returns="streaming")(_work)
        self._running[task.remote(cell, self._models[cell.model])] = cell

    def news(self) -> Iterator[tuple[Cell, News]]:
        """Wait for one cell's news, or for the end of its worker or node."""
        (stream,), _ = self._ray.wait([*self._running])
        cell, news = self._running[stream], self._next(stream)
        if not isinstance(news, Point):
            del self._running[stream]
        yield cell, news

    def _next(self, stream: Any) -> News:
        try:
            news: News = self._ray.get(next(stream))
        except StopIteration:
            return Lost("it ended without a record")
        except self._ray.exceptions.RayError as error:
            return Lost(f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
        return news


def _knock(address: str) -> None:
    """Raise UserError where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> UserError:
    return UserError(
        f"cannot connect to the Ray cluster: {next(iter(str(error).splitlines()), type(error).__name__)}",
        value=address,
        repair="Run this on a node of the cluster, with the HOST:PORT that `ray start --head` printed.",
    )


def _read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in MODEL_FILES for path in sorted(folder.glob(pattern))}


def _work(cell: Cell, files: dict[str, bytes]) -> Iterator[Point | Record]:
    """Compute a cell on a node, with the model's files in a folder that lasts as long."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        yield from attempt(dataclasses.replace(cell, model=folder))


def open_backend(workers: int, address: str | None) -> Ray:
    """Return the back end. Raises UserError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed", repair="Run: pip install 'cairn-credit[ray]'.")
    return Ray(workers, address)
