"""What a process does with memory that it has freed."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

# From malloc.h of glibc: how much free memory at the end is given back, and from which size on a block is mapped alone.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 2**31 - 1  # the largest that mallopt takes


@cache
def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next tensor instead of asking the system for it again.

    A training step allocates and frees the same large tensors over and over; each time, the system would hand out
    pages of zeros one by one. No number changes. Only glibc is told; other libraries do as they are used to.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
