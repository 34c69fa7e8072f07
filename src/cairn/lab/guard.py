"""Nothing that costs happens while a method's own code runs, unless inside a billed call.

The loop runs every stage of a method in `stage`; the door opens `billed` around each service. In between, these raise
UnbilledComputeError: the forward pass of any network (of any `torch.nn.Module`, whoever made it), an operation on the
weights of one, a backward pass, a step of an environment, and a write to the ledger. Outside of stages nothing is
checked, and inside a billed call nothing either, so that neither costs time. It is a guard against mistakes and
shortcuts, not a sandbox: `tests/house/test_reach.py` reads the methods for what it cannot see, such as threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from cairn.method import Method

BACKWARD = (Tensor.backward, torch.autograd.backward, torch.autograd.grad)


class UnbilledComputeError(Exception):
    """A method computed with a model, or stepped an environment, without a billed call."""


class _State(threading.local):
    """Whether a method's code runs in this thread, and whether a service works for it."""

    watching = False


_STATE = _State()


def refuse_unbilled(what: str) -> None:
    """Raise UnbilledComputeError if a method's own code is at work and no service called for this."""
    if _STATE.watching:
        raise UnbilledComputeError(f"{what}, in a stage of a method and outside of a billed call")


@contextmanager
def stage() -> Iterator[None]:
    """Watch what a method's own code does."""
    with _watching(now=True):
        yield


@contextmanager
def billed() -> Iterator[None]:
    """Let a service compute for the method that called it."""
    with _watching(now=False):
        yield


def at_work(method: Method) -> Method:
    """Return the method with every function of it watched."""
    return cast(Method, _AtWork(method))


def watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a method's that is watched wherever it is called."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with stage():
            return function(*args, **kwargs)

    return run


class _AtWork:
    def __init__(self, method: Method) -> None:
        self._method = method

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._method, name)
        return watched(value) if callable(value) else value


@contextmanager
def _watching(now: bool) -> Iterator[None]:
    before = _STATE.watching
    if before == now:
        yield
        return
    (_raise_guard if now else _drop_guard)()
    try:
        yield
    finally:
        (_drop_guard if now else _raise_guard)()


class _Weights(TorchFunctionMode):
    """Refuses operations on weights, and backward passes."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if _STATE.watching:
            if func in BACKWARD:
                refuse_unbilled("a backward pass")
            for value in (*args, *(kwargs or {}).values()):
                for part in value if isinstance(value, (list, tuple)) else (value,):
                    if type(part) is not Tensor and isinstance(part, nn.Parameter):  # the latter is slow
                        refuse_unbilled("an operation on the weights of a network")
        return func(*args, **(kwargs or {}))


def _refuse_forward(module: nn.Module, _: Any) -> None:
    refuse_unbilled(f"a forward pass of {type(module).__name__}")


_WEIGHTS = _Weights()
_HOOKS: list[Any] = []


def _raise_guard() -> None:
    _STATE.watching = True
    _HOOKS.append(register_module_forward_pre_hook(_refuse_forward))
    _WEIGHTS.__enter__()  # type: ignore[no-untyped-call]


def _drop_guard() -> None:
    _WEIGHTS.__exit__(None, None, None)  # type: ignore[no-untyped-call]
    _HOOKS.pop().remove()
    _STATE.watching = False
