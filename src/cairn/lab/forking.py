"""Worker processes that have imported everything before they begin: they are forked off one that does nothing else.

To import torch and transformers takes seconds. Started afresh, each worker would do so, and only after the main
process has. Off Linux a fork after such imports is not safe, and a card that was looked at before a fork is lost to the
child: there, processes start afresh.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext, SpawnContext

IMPORTED = "cairn.lab.backends.processes"


def get_ready() -> None:
    """Begin to import for the workers, beside this process: worth a call as soon as it is known that there are any."""
    if sys.platform == "linux":
        multiprocessing.set_forkserver_preload([IMPORTED])
        with interrupts_blocked():
            forkserver.ensure_running()


def context(device: str) -> ForkServerContext | SpawnContext:
    """Return how to start processes that compute on a device."""
    if sys.platform != "linux" or device != "cpu":
        return multiprocessing.get_context("spawn")
    get_ready()
    return multiprocessing.get_context("forkserver")


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Let a child start deaf to Ctrl-C, which a terminal sends to all: the main process is the one that ends it.

    The tracker that multiprocessing starts with its first process lifts the block again, so it is started before.
    """
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
