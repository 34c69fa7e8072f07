"""The command line, called in this process; what a run needs seconds for is made once for each module."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from cairn.cli import main
from cairn.evidence.homes import scripts
from cairn.inventory import load


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]
NOT_REPRODUCED = next(entry.id for entry in load() if entry.id not in scripts())  # in the order of the inventory


def call(*arguments: str | Path) -> Outcome:
    """Run `cairn` with some arguments, as the installed command does."""
    out, err = io.StringIO(), io.StringIO()
    code: int | str | None = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(one) for one in arguments])
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int | None)
    return Outcome(code or 0, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def cairn() -> Command:
    """The command line."""
    return call


@pytest.fixture
def refused(cairn: Command) -> Callable[..., str]:
    """Call a command that must refuse its input: exit code 2, nothing on standard output, one message; return it."""

    def refuse(*arguments: str | Path) -> str:
        outcome = cairn(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("Error: ")
        assert outcome.err.count("\n") == 1
        assert "Traceback" not in outcome.err
        return outcome.err

    return refuse


@pytest.fixture(scope="session")
def finished(cairn: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished run of two seeds; nobody may change it."""
    folder = tmp_path_factory.mktemp("finished")
    arguments = ("run", "gigpo", "--preset", "smoke", "--seeds", "2", "--workers", "1", "--device", "cpu")
    outcome = cairn(*arguments, "--out", folder)
    assert outcome.code == 0, outcome.err
    before = contents(folder)
    yield folder
    assert contents(folder) == before


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
