"""Where a result comes from: packages, lock, commit, host."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from cairn.evidence.homes import SCRIPTS
from cairn.evidence.records import Host, Provenance
from cairn.paths import data_root, in_checkout

DECISIVE_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy", "pydantic")


@dataclass(frozen=True)
class Origin:
    """The code that asked for a result: its lock, its commit, and whether code or data differed from the commit."""

    lock_hash: str | None
    commit: str | None
    dirty: bool | None


@lru_cache(maxsize=1)
def describe_origin() -> Origin:
    """Return the origin of all that this process asks for: the files are looked at once."""
    commit, dirty = _commit()
    return Origin(_lock_hash(), commit, dirty)


def describe_provenance(
    origin: Origin,
    protocol_version: str,
    protocol_hash: str,
    panel_hash: str | None,
    model_hash: str | None,
    packages: Iterable[str] = (),
) -> Provenance:
    """Collect what decides a result. packages: those that the task needs besides the ones that every run needs."""
    return Provenance(
        protocol_version=protocol_version,
        protocol_hash=protocol_hash,
        panel_hash=panel_hash,
        model_hash=model_hash,
        packages={name: found for name in (*DECISIVE_PACKAGES, *packages) if (found := _version(name))},
        python=platform.python_version(),
        lock_hash=origin.lock_hash,
        commit=origin.commit,
        dirty=origin.dirty,
    )


def describe_host(device: str, started_utc: str, seconds: float) -> Host:
    """Collect what may differ between two runs of one cell."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"
    return Host(
        hostname=socket.gethostname(),
        platform=platform.platform(),
        cpu=_cpu(),
        threads=torch.get_num_threads(),
        device=name,
        started_utc=started_utc,
        finished_utc=utc_now(),
        seconds=seconds,
    )


def utc_now() -> str:
    """Return the time now, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        # The label after `+` names the build, which the lock leaves open.
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return None


def _lock_hash() -> str | None:
    lock = data_root() / "constraints.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit and whether code or data differ from it. Results do not count: they are written meanwhile."""
    if not in_checkout():
        return None, None
    head = _git("rev-parse", "HEAD")
    changed = _git(
        "status",
        "--porcelain",
        "--",
        "src",
        "inventory",
        "reproductions/protocol.yaml",
        *(f"{folder}/*/{script}" for folder, script in SCRIPTS.items()),
        "constraints.txt",
    )
    return (head or None), (None if changed is None else bool(changed))


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=data_root(), capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@lru_cache(maxsize=1)
def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
