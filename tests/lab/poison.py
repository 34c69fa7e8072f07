"""A method that kills the process that computes it, for tests of how a run survives that."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import cairn.methods
from cairn.method import Method

METHOD = """
import os
from dataclasses import dataclass

from cairn.methods.grpo import GRPO


@dataclass(frozen=True)
class Poison(GRPO):
    log: str = ""

    def credit(self, rollouts):
        with open(self.log, "a") as log:
            log.write("here\\n")
        os._exit(17)
"""
# Python imports a module of this name when it starts; so every child sees the method as one of the package.
SITE = "import cairn.methods\n\ncairn.methods.__path__.append({folder!r})\n"


def poisonous_method(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Method:
    """Return the method. Each of its deaths writes a line to `folder`/deaths."""
    (folder / "poison.py").write_text(METHOD)
    (folder / "sitecustomize.py").write_text(SITE.format(folder=str(folder)))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(cairn.methods, "__path__", [*cairn.methods.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, "cairn.methods.poison", raising=False)
    found: Method = importlib.import_module("cairn.methods.poison").Poison(log=str(folder / "deaths"))
    return found
