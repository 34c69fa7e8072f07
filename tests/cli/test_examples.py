"""The examples of the documentation run, in their order, in one folder; `expression  # -> value` is checked."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Command

from cairn.paths import data_root

ROOT = data_root()
PAGES = [ROOT / "docs" / "query.md"]
WITH_SPANS = [*PAGES, ROOT / "docs" / "index.md", ROOT / "README.md"]
READING = ("list", "show", "cite", "validate", "recommend")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the fenced examples of a page: (language, code)."""
    return re.findall(
        r"^```(python|bash)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def run_python(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, "example", "exec"), names)  # noqa: S102
    for line in code.splitlines():
        expression, arrow, expected = line.partition("# -> ")
        if arrow:
            assert repr(eval(expression, names)) == expected, line  # noqa: S307


def run_shell(code: str, folder: Path) -> None:
    # The installed command of this very interpreter, whatever else is on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", "-e", "-o", "pipefail", "-c", code]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    names: dict[str, Any] = {}
    found = blocks(page)
    assert {language for language, _ in found} == {"python", "bash"}
    for language, code in found:
        if language == "python":
            run_python(code, names)
        else:
            run_shell(code, tmp_path)


def test_a_wrong_example_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run_python("1 + 1  # -> 3", {})
    with pytest.raises(AssertionError):
        run_shell("cairn list --need nothing-of-the-kind | cat", tmp_path)


@pytest.mark.parametrize("page", WITH_SPANS, ids=lambda page: page.name)
def test_commands_named_in_passing_work(page: Path, cairn: Command) -> None:
    text = page.read_text(encoding="utf-8")
    spans = {span for span in re.findall(r"`cairn ([^`]+)`", text) if shlex.split(span)[0] in READING}
    lines = {line for language, code in blocks(page) if language == "bash" for line in code.splitlines()}
    spans |= {line[6:] for line in lines if page not in PAGES and line.split()[:1] == ["cairn"] and "jsonl" not in line}
    for span in sorted(span for span in spans if not re.search(r"\b(ID|FILE|PATH)\b", span)):
        outcome = cairn(*shlex.split(span, comments=True))
        assert outcome.code == 0, f"cairn {span}: {outcome.err}"
