"""Methods reach for nothing but what they are handed: read from their code, for what no guard sees while they run."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

# What the maths of a method may be made of, besides the package's own rooms.
MATHS = {
    "__future__", "abc", "collections", "dataclasses", "enum", "functools", "itertools", "math", "numpy", "operator",
    "torch", "types", "typing",
}  # fmt: skip
OWN = ("cairn.errors", "cairn.method", "cairn.methods", "cairn.ops", "cairn.rollouts")
# Ways around a name.
FORBIDDEN_CALLS = {
    "__import__", "compile", "delattr", "eval", "exec", "getattr", "globals", "locals", "open", "setattr", "vars",
}  # fmt: skip


def faults(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (f"imports {alias.name}" for alias in node.names if not _may_import(alias.name))
        elif isinstance(node, ast.ImportFrom):
            name = node.module or ""
            yield from () if _may_import(name) else (f"imports {name}",)
        elif isinstance(node, ast.Attribute) and _is_private(node):
            yield f"line {node.lineno}: reads {node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            yield f"line {node.lineno}: calls {node.func.id}"


def _may_import(name: str) -> bool:
    if name.startswith("cairn"):
        return any(name == room or name.startswith(f"{room}.") for room in OWN)
    return name.split(".", maxsplit=1)[0] in MATHS


def _is_private(node: ast.Attribute) -> bool:
    """A method may have private parts of its own, on `self` and `cls`; dunders of others are private, too."""
    own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    return node.attr.startswith("_") and not (own and not node.attr.startswith("__"))


def test_methods_reach_for_nothing_but_what_they_are_handed(modules: dict[str, ast.Module]) -> None:
    methods = {name: tree for name, tree in modules.items() if name.startswith("cairn.methods.")}
    assert methods
    assert [f"{name}: {fault}" for name, tree in methods.items() for fault in faults(tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import gc",
        "import inspect",
        "import threading",
        "from cairn.lab.model import load",
        "from cairn import lab",
        "import transformers",
        "services._inside",
        "services.rollouts.__closure__",
        "self.__class__.__subclasses__()",
        "rollouts.__dict__",
        "getattr(services, '_' + 'inside')",
        "vars(services)",
        "eval('1')",
        "open('weights')",
    ],
)
def test_each_way_around_is_seen(code: str) -> None:
    assert list(faults(ast.parse(code)))


@pytest.mark.parametrize("code", ["import torch.nn.functional", "self._advantages(x)", "from cairn.ops import whiten"])
def test_maths_is_let_through(code: str) -> None:
    assert not list(faults(ast.parse(code)))
