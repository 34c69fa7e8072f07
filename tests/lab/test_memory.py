"""Freed memory that a process keeps: counted in the pages that the system has to hand out."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import torch
from cairn.lab.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
def again(times):
    for _ in range(times):
        torch.empty(9_000_000)[::512].fill_(1)  # every page is touched
again(40)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
again(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(keep: bool) -> int:
    code = COUNT.format(keep=keep)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_large_tensors_take_few_new_pages_once_memory_is_kept() -> None:
    pages = 20 * 9_000_000 * 4 // 4096
    assert _page_faults(keep=False) > 0.9 * pages
    assert _page_faults(keep=True) < 0.5 * pages, "a few: the heap still grows where small blocks came in between"
