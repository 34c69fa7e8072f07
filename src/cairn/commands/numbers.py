"""Numbers as a table shows them; what does not exist is a dash."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from cairn.commands.terminal import DASH

if TYPE_CHECKING:  # it brings numpy, which what only reads the inventory does without
    from cairn.evidence.summary import Estimate

_THOUSAND_STEPS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_LEAST_WITH_PREFIX = 1e4


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a fixed count of decimals."""
    return DASH if value is None else f"{value:.{digits}f}"


def interval(found: Estimate | None, digits: int = 3, *, signed: bool = False, mark: str = "", gap: str = " ") -> str:
    """Return an estimate with its 95 % interval, `0.712 [0.651, 0.770]`.

    Counts too long for that are given as `amount` gives them, `+1.23 M [+1.12 M, +1.34 M]`.
    mark: stands right behind the estimate. gap: stands before the interval, such as a line break.
    """
    if found is None or found.estimate is None:
        return DASH
    known = [value for value in (found.estimate, found.low, found.high) if value is not None]
    sign, large = "+" if signed else "", max(map(abs, known)) >= _LEAST_WITH_PREFIX
    texts = [amount(value, sign) if large else f"{value:{sign}.{digits}f}" for value in known]
    if found.low is None or found.high is None:
        return f"{texts[0]}{mark}"
    return f"{texts[0]}{mark}{gap}[{texts[1]}, {texts[2]}]"


def amount(value: float | None, sign: str = "") -> str:
    """Return a count with three digits and a prefix, `1.23 M`; small ones as they are. sign: `+` to show both signs."""
    if value is None:
        return DASH
    for size, prefix in _THOUSAND_STEPS:
        if abs(value) >= max(size, _LEAST_WITH_PREFIX):
            return f"{value / size:{sign}.3g} {prefix}"
    return f"{value:{sign},.0f}"


def duration(seconds: float | None) -> str:
    """Return seconds as `4.2 s`, `42 s` or, from 100 on, hours, minutes and seconds, `0:03:20`."""
    if seconds is None:
        return DASH
    if seconds < 100:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    return str(timedelta(seconds=round(seconds)))
