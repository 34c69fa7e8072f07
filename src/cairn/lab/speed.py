"""Two implementations of one credit function, timed side by side on the same tensors.

Which functions, and against what, stands in `reproductions/<id>/bench.py`: a tuple `PAIRS`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from cairn.errors import UserError
from cairn.paths import data_root

ROLLOUTS_IN_GROUP = 8
CALLS_IN_ROW = 3
SETTLING_BYTES = 24 * 2**20  # below the 32 MiB from which on glibc learns nothing
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names and numbers of malloc.h
KEPT_BYTES = 2**31 - 1
Run = Callable[[], Tensor]


@dataclass(frozen=True)
class Batch:
    """What both sides of a pair get: rows of float32 tokens with holes in the mask, and unequal lengths.

    rewards, values: (B, T), rewards paid at each row's last action token; mask: (B, T) bool; groups: (B,) long, equal
    for the rows of one task.
    """

    rewards: Tensor
    values: Tensor
    mask: Tensor
    groups: Tensor


@dataclass(frozen=True)
class Pair:
    """Our function and what a user would pick instead.

    name: of the credit function. against: the other implementation, in words. package: the distribution that it needs
    beside torch, with its release; None where it is written out in the script. prepare: makes the two from a batch;
    both return credits (B, T), and it may import the package.
    """

    name: str
    against: str
    package: str | None
    prepare: Callable[[Batch], tuple[Run, Run]]

    @property
    def installed(self) -> bool:
        """Say whether the package can be imported."""
        return self.package is None or importlib.util.find_spec(self.package.partition("==")[0]) is not None


@dataclass(frozen=True)
class Timing:
    """Medians in processor seconds, the ratio of each run, the greatest difference of credits on action tokens."""

    ours_s: float
    theirs_s: float
    ratios: tuple[float, ...]
    difference: float

    @property
    def ratio(self) -> float:
        """How many times as fast ours is: the ratio of the medians."""
        return self.theirs_s / self.ours_s


def make_batch(rows: int, tokens: int, seed: int = 0) -> Batch:
    """Return a batch whose lengths are between a fifth of `tokens` and all, with every fifth token inside a hole."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(max(tokens // 5, 1), tokens + 1, (rows, 1), generator=rng)
    mask = (torch.rand(rows, tokens, generator=rng) < 0.8) & (torch.arange(tokens) < lengths)
    mask[:, 0] = True
    last = (torch.arange(tokens) * mask).amax(1)
    rewards = torch.zeros(rows, tokens)
    rewards[torch.arange(rows), last] = torch.rand(rows, generator=rng)
    values = torch.rand(rows, tokens, generator=rng)
    return Batch(rewards, values, mask, torch.arange(rows) // ROLLOUTS_IN_GROUP)


def measure(pair: Pair, batch: Batch, runs: int) -> Timing:
    """Time both sides in turn, `runs` times after a first time that does not count, on one thread.

    The time is what the thread spent on a processor, system calls included: on one thread that is the time on an idle
    machine, and on a busy one it does not hold the waiting. Each time is the mean of a few calls in a row: after the
    other side has run, the caches are cold, and the first call of a function of half a millisecond measures them.
    """
    ours, theirs = pair.prepare(batch)
    settle_memory()
    with one_thread():
        difference = float(((ours() - theirs()) * batch.mask).abs().max())
        times = [(_seconds(ours), _seconds(theirs)) for _ in range(runs)]
    medians = [statistics.median(side) for side in zip(*times, strict=True)]
    return Timing(medians[0], medians[1], tuple(theirs / ours for ours, theirs in times), difference)


def find_pairs() -> dict[str, tuple[Pair, ...]]:
    """Return the pairs of every `reproductions/<id>/bench.py` by id. This runs the scripts: they are our own code.

    Raises UserError for a script without `PAIRS`.
    """
    found = {}
    for path in sorted((data_root() / "reproductions").glob("*/bench.py")):
        method = path.parent.name
        spec = importlib.util.spec_from_file_location(f"bench_{method.replace('-', '_')}", path)
        if spec is None or spec.loader is None:
            raise UserError("the script cannot be imported", file=path, repair="restore the file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        pairs = getattr(module, "PAIRS", None)
        if not isinstance(pairs, tuple) or not all(isinstance(pair, Pair) for pair in pairs):
            raise UserError("the script declares no PAIRS", file=path, repair="set PAIRS = (Pair(...), ...)")
        found[method] = pairs
    return found


def _seconds(run: Run) -> float:
    started = time.thread_time()
    for _ in range(CALLS_IN_ROW):
        run()
    return (time.thread_time() - started) / CALLS_IN_ROW


def settle_memory() -> None:
    """Free a large tensor once, as any process has that trains: from then on the C library keeps what is freed.

    Before that, glibc gives each freed tensor back to the system, and the page faults of taking it again are most of
    what is timed.
    """
    torch.zeros(SETTLING_BYTES, dtype=torch.uint8)


def keep_memory() -> bool:
    """Let the C library keep all that is freed, however large, until the process ends; say whether it can.

    By default glibc gives blocks of 32 MiB and more back at once, and each new tensor of that size is taken from the
    system page by page, which takes longer than to fill it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return all(bool(library.mallopt(option, KEPT_BYTES)) for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
