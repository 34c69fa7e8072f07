"""What runs on the server is what runs here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import yaml


def _sessions(root: Path) -> dict[str, bool]:
    """Return the sessions of the noxfile: name, and whether `nox` runs it without being asked."""
    found = {}
    for node in ast.parse((root / "noxfile.py").read_text(encoding="utf-8")).body:
        for decorator in getattr(node, "decorator_list", []):
            source = ast.unparse(decorator)
            if isinstance(node, ast.FunctionDef) and source.startswith("nox.session"):
                found[_session_name(decorator) or node.name] = "default=False" not in source
    return found


def _session_name(decorator: ast.expr) -> str | None:
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    given = [word.value for word in keywords if word.arg == "name"]
    return str(ast.literal_eval(given[0])) if given else None


def test_the_workflow_runs_the_default_sessions(root: Path) -> None:
    path = root / ".github" / "workflows" / "checks.yml"
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["nox"]["strategy"]["matrix"]["session"]
    assert matrix == [name for name, default in _sessions(root).items() if default]


def test_workflows_ask_for_no_right_and_use_no_moving_action(root: Path) -> None:
    for path in (root / ".github" / "workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["permissions"] == {}, path.name
        used = re.findall(r"^\s*-?\s*uses:\s*(\S+)", text, flags=re.MULTILINE)
        assert all(re.search(r"@[0-9a-f]{40}$", action) for action in used), path.name


def test_the_lock_pins_every_line_and_the_torch_of_one_release(root: Path) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin)] == []
    assert sum(pin.startswith("torch==") for pin in pins) == 1


def test_contributing_names_every_session(root: Path) -> None:
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [name for name in _sessions(root) if f"`{name}`" not in text] == []
