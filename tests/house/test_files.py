"""Files stay short, name no machine and no method where they should not, and type no version."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

import cairn

MOST_LINES = 400
PYTHONS_OWN = {"PurePath", "PurePosixPath"}  # names of the standard library that hold a method's id
# The slash is joined on here, so that this file passes its own test.
MACHINE_PATH = re.compile(rb"(?<![\w.~/<$}-])/" + rb"(?:work|root|home|Users|mnt)/[A-Za-z0-9_.]")


def test_python_files_are_short(kept_files: list[Path], root: Path) -> None:
    lengths = {path.relative_to(root).as_posix(): _lines(path) for path in kept_files if path.suffix == ".py"}
    assert {name: lines for name, lines in lengths.items() if lines >= MOST_LINES} == {}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_names_a_path_of_one_machine(kept_files: list[Path], root: Path) -> None:
    faults = []
    for path in kept_files:
        found = MACHINE_PATH.search(path.read_bytes())
        if found:
            faults.append(f"{path.relative_to(root)}: {found.group().decode()}")
    assert faults == []


def test_machine_paths_are_recognised() -> None:
    slash = b"/"
    assert MACHINE_PATH.search(b'open("' + slash + b'home/ada/model")')
    assert not MACHINE_PATH.search(b"https://example.org" + slash + b"home/ada and src" + slash + b"work/file")


def test_shared_modules_name_no_method(modules: dict[str, ast.Module], root: Path) -> None:
    listed = {path.stem for kind in ("methods", "background") for path in (root / "inventory" / kind).glob("*.yaml")}
    implemented = {path.stem.replace("_", "-") for path in (root / "src/cairn/methods").glob("*.py")}
    # Some ids that are only listed are words of Python or of English (`int`, `red`); joined ones are not.
    ids = {method for method in listed if method in implemented or "-" in method}
    assert ids, "the inventory is empty"
    faults = [
        f"{name}:{line} names {method}: {text}"
        for name, tree in modules.items()
        if not name.startswith("cairn.methods.")
        for text, line in _spoken(tree)
        for method in sorted(ids)
        if _names(text, method)
    ]
    assert faults == []


def test_method_names_are_recognised() -> None:
    for text in ("ppo-gae", "ppo_gae", "fit_ppo_gae", "PpoGae", "PPO-GAE", "an arm of PPO-GAE"):
        assert _names(text, "ppo-gae"), text
    for text in ("ppo", "gae", "vppo_gaex"):
        assert not _names(text, "ppo-gae"), text


def _names(text: str, method: str) -> bool:
    """Say whether an identifier or a string holds a method's id as whole words, in any usual spelling."""
    if text in PYTHONS_OWN:
        return False
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", text).lower()
    return f"-{method}-" in f"-{words}-"


def _spoken(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the identifiers and strings of a module with their lines.

    Docstrings and comments are left out: there, a paper may be named as the source of a formula.
    """
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value, node.lineno
        for field in ("id", "attr", "arg", "name", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value, getattr(node, "lineno", 0)


def test_the_citation_types_no_version_of_its_own(root: Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation.get("version", cairn.__version__) == cairn.__version__


def test_the_licence_files_say_which_covers_what(root: Path) -> None:
    assert "Apache License" in (root / "LICENSE").read_text(encoding="utf-8")
    data = (root / "LICENSE-DATA").read_text(encoding="utf-8")
    assert "Attribution 4.0 International Public License" in data
    for folder in ("inventory/", "reproductions/", "schemas/", "checklist/"):
        assert folder in data


def test_the_tree_in_the_readme_is_the_tree(root: Path) -> None:
    tree = (root / "README.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    parent, named = "", []
    for line in tree.splitlines():
        name = line.split()[0]
        named.append(parent + name if line.startswith("  ") else name)
        parent = parent if line.startswith("  ") else name
    assert [name for name in named if not (root / name).exists()] == []
    assert {f"src/cairn/{path.name}/" for path in (root / "src/cairn").iterdir() if _holds_python(path)} <= {*named}


def _holds_python(path: Path) -> bool:
    return (path / "__init__.py").is_file()
