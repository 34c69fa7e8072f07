"""Workers that have imported everything before they begin."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
from tests.lab.forked import tell

from cairn.lab import forking

LINUX_ALONE = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a fork is not safe")


def _told(context: Any) -> tuple[int, bool, bool]:
    connection, other = context.Pipe()
    process = context.Process(target=tell, args=(other,), daemon=True)
    with forking.interrupts_blocked():
        process.start()
    told: tuple[int, bool, bool] = connection.recv()
    process.join()
    return told


@LINUX_ALONE
def test_workers_are_forked_off_one_that_has_imported_everything_and_is_not_this_process() -> None:
    parents = set()
    for _ in range(2):
        parent, imported, deaf = _told(forking.context("cpu"))
        assert imported
        assert deaf, "Ctrl-C reaches all processes of a terminal, and the main one ends the others"
        parents.add(parent)
    assert len(parents) == 1
    assert os.getpid() not in parents, "what this process has computed must not be forked with it"


@LINUX_ALONE
def test_a_worker_for_a_card_starts_afresh() -> None:
    assert forking.context("cuda").get_start_method() == "spawn"
    assert _told(forking.context("cuda")) == (os.getpid(), False, True)


def test_elsewhere_workers_start_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert forking.context("cpu").get_start_method() == "spawn"


def test_this_process_hears_interrupts_again() -> None:
    with forking.interrupts_blocked():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
