"""A small tree with two good entries and the real word lists, for each test its own copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from cairn.inventory import Finding, check
from cairn.paths import data_root

SAMPLES = Path(__file__).parent / "samples"
TODAY = date(2026, 2, 1)  # one month after the day in the samples


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a data root with alpha (method), base (background) and all word lists."""
    shutil.copytree(SAMPLES, tmp_path / "inventory")
    shutil.copytree(data_root() / "inventory" / "vocab", tmp_path / "inventory" / "vocab")
    return tmp_path


@pytest.fixture
def findings(tree: Path) -> Callable[[], list[Finding]]:
    """Return a function that checks the tree as of a fixed day."""
    return lambda: check(tree, today=TODAY)
