"""Imports run one way, and what only reads data never reaches torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Each room of the package, and the rooms that it may import besides itself.
SMALL = {"errors", "paths"}
SHARED = SMALL | {"rollouts", "method"}
MAY_IMPORT = {
    "": set[str](),
    "errors": set[str](),
    "paths": {"errors"},
    "rollouts": SMALL,
    "ops": SMALL | {"rollouts"},
    "method": SMALL | {"rollouts", "ops"},
    "methods": SHARED | {"ops"},
    "inventory": SMALL,
    "evidence": SMALL | {"inventory"},
    "site": SMALL | {"inventory", "evidence"},
    "lab": SHARED | {"ops", "methods", "inventory", "evidence"},
    "bridges": SHARED | {"ops", "methods", "lab"},
    "interchange": SHARED | {"ops", "evidence"},
    "testing": SHARED | {"interchange", "ops", "methods", "inventory", "evidence", "lab"},
    "commands": SHARED | {"interchange", "ops", "methods", "inventory", "evidence", "site", "lab", "bridges"},
    "cli": SHARED | {"commands", "lab"},
    "__main__": {"cli"},
}
TORCH_FREE = ("errors", "paths", "inventory", "evidence", "site")
HEAVY = {"torch", "transformers", "safetensors", "tokenizers", "accelerate", "ray", "trl", "verl"}
# Optional, and never needed to start: exports import them when they are asked for.
SLOW = {"datasets", "pandas", "pyarrow", "numpy", "scipy"}


def _imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield each imported dotted name with its line, wherever the import stands: in a function too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports in full, beginning with `cairn.`"
            # `from cairn import paths` reaches cairn.paths, `from cairn.paths import x` does too.
            names = [alias.name for alias in node.names] if node.module == "cairn" else []
            yield from ((f"cairn.{name}", node.lineno) for name in names if not name.startswith("__"))
            if not names and node.module:
                yield node.module, node.lineno
        elif isinstance(node, ast.Call) and _is_import_call(node):
            yield ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else "?", node.lineno


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in {"import_module", "__import__"} and bool(node.args)


def _room(module: str) -> str:
    """Return the part after `cairn.`: the room a module lives in."""
    return [*module.split("."), ""][1]


def test_every_room_is_in_the_plan(modules: dict[str, ast.Module]) -> None:
    assert {_room(name) for name in modules} - set(MAY_IMPORT) == set()


def test_the_package_itself_imports_nothing(modules: dict[str, ast.Module]) -> None:
    assert list(_imported(modules["cairn"])) == []


def test_imports_run_one_way(modules: dict[str, ast.Module]) -> None:
    faults = []
    for name, tree in modules.items():
        # The package itself holds only the version, which anyone may print.
        allowed = MAY_IMPORT[_room(name)] | {_room(name), ""}
        for target, line in _imported(tree):
            if target.split(".")[0] == "cairn" and _room(target) not in allowed:
                faults.append(f"{name}:{line} imports {target}")
    assert faults == []


def test_rooms_that_read_data_never_name_torch(modules: dict[str, ast.Module]) -> None:
    faults = [
        f"{name}:{line} imports {target}"
        for name, tree in modules.items()
        if _room(name) in TORCH_FREE
        for target, line in _imported(tree)
        if target.split(".")[0] in HEAVY or target == "?"
    ]
    assert faults == []


def test_reading_data_and_starting_the_command_leave_torch_out(modules: dict[str, ast.Module], root: Path) -> None:
    light = [name for name in modules if _room(name) in {*TORCH_FREE, "commands", "cli"}]
    code = (
        f"import importlib, sys\nfor name in {light}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert outcome.stdout.strip() == "[]"


def test_the_inventory_starts_without_what_it_seldom_needs(modules: dict[str, ast.Module], root: Path) -> None:
    names = [name for name in modules if _room(name) == "inventory"] + ["cairn.evidence.catalogue"]
    code = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY | SLOW} & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert outcome.stdout.strip() == "[]"
