"""The tree as the house rules see it: the files that git would keep, and the package's modules."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout, or of an unpacked sdist."""
    return ROOT


@pytest.fixture(scope="session")
def kept_files() -> list[Path]:
    """The files that are, or may become, part of a commit; in an unpacked sdist, all of them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listing.stdout.split("\0") if listing.returncode == 0 else ROOT.rglob("*")
    paths = {ROOT / name for name in names if str(name)}
    return sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts)


@pytest.fixture(scope="session")
def modules() -> dict[str, ast.Module]:
    """The parsed source of each module of the package, by its dotted name (`cairn.lab.loop`)."""
    parsed = {}
    for path in sorted((ROOT / "src" / "cairn").rglob("*.py")):
        parts = path.relative_to(ROOT / "src").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        parsed[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    return parsed
