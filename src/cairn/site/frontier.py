"""Fidelity against cost: a point for each method, what it must spend along, how close its credit comes upwards."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cairn.site.charts import svg, text
from cairn.site.text import Html, element

WIDTH, HEIGHT = 560, 480
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 48
LETTER, LINE = 7.2, 15  # width and height that a name takes
DOT = 6  # half the width of a point with a little room around it
NUDGE = 3  # how finely a free place is looked for
STEPS = (1, 2, 3, 5, 7, 10)  # of a decade, on the axis of cost


@dataclass(frozen=True)
class Dot:
    """A method: cost over the baseline's, rank correlation and its standard error, where it leads."""

    name: str
    cost: float
    value: float
    error: float | None
    target: str | None


class _Span(NamedTuple):
    """What is taken of the height around `at`, from `left` to `right`."""

    at: float
    left: float
    right: float


@dataclass(frozen=True)
class _Frame:
    """From data to places: cost by its logarithm, value from `low` to 1."""

    most: float
    least: float
    low: float

    def x(self, cost: float) -> float:
        share = math.log(cost / self.least) / math.log(self.most / self.least)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value) / (1 - self.low)


def draw(dots: Sequence[Dot], label: str) -> str:
    """Return the figure. The line joins the methods that no other beats at equal or lower cost."""
    if not dots:
        return ""
    costs = [dot.cost for dot in dots]
    lowest = min(dot.value - (dot.error or 0) for dot in dots)
    frame = _Frame(max(*costs, 2.0) * 1.6, min(*costs, 1.0) / 1.1, min(0.0, math.floor(lowest * 10) / 10))
    parts = [element("title", label), *_axes(frame), _line(frontier(dots), frame)]
    taken = [_spot(frame.x(dot.cost), frame.y(dot.value)) for dot in dots]
    parts += [_dot(dot, frame, taken) for dot in sorted(dots, key=lambda one: -one.value)]
    picture = svg(WIDTH, HEIGHT, label, parts)
    return f'<figure class="cairn-chart cairn-frontier">\n{picture}\n{element("figcaption", label)}\n</figure>'


def frontier(dots: Sequence[Dot]) -> list[Dot]:
    """Return the methods whose value is above that of every method that costs as much or less, by cost."""
    found: list[Dot] = []
    for dot in sorted(dots, key=lambda one: (one.cost, -one.value)):
        if not found or dot.value > found[-1].value:
            found.append(dot)
    return found


def _line(found: Sequence[Dot], frame: _Frame) -> Html:
    steps = [f"H{frame.x(dot.cost):.1f}V{frame.y(dot.value):.1f}" for dot in found[1:]]
    first = f"M{frame.x(found[0].cost):.1f} {frame.y(found[0].value):.1f}"
    return Html(f'<path class="cairn-line cairn-c1" stroke-dasharray="2 4" d="{first}{"".join(steps)}"/>')


def _axes(frame: _Frame) -> list[Html]:
    bottom, right = frame.y(frame.low), WIDTH - RIGHT
    parts = []
    for value in (step / 5 for step in range(math.ceil(frame.low * 5), 6)):
        parts.append(Html(f'<path class="cairn-grid" d="M{LEFT} {frame.y(value):.1f}H{right}"/>'))
        parts.append(text(LEFT - 6, frame.y(value) + 5, f"{value:.1f}".replace("-", "−"), "end"))
    parts += [text(frame.x(cost), bottom + 18, f"{cost:g}") for cost in _costs(frame)]
    parts.append(Html(f'<path class="cairn-axis" d="M{LEFT} {TOP}V{bottom:.1f}H{right}"/>'))
    turned = f'<text transform="translate(14 {frame.y((1 + frame.low) / 2):.1f}) rotate(-90)" text-anchor="middle">'
    parts.append(text((LEFT + right) / 2, HEIGHT - 8, "FLOPs of an update, times the baseline's"))
    return [*parts, Html(f"{turned}rank correlation with exact credit</text>")]


def _costs(frame: _Frame) -> list[float]:
    decades = range(math.floor(math.log10(frame.least)), math.ceil(math.log10(frame.most)) + 1)
    steps = STEPS[:-1] if len(decades) <= 3 else (1, 3)
    return [
        step * 10.0**power for power in decades for step in steps if frame.least <= step * 10.0**power <= frame.most
    ]


def _dot(dot: Dot, frame: _Frame, taken: list[_Span]) -> Html:
    x, y, told = frame.x(dot.cost), frame.y(dot.value), f"{dot.name}: {dot.value:.3f}"
    error = "" if dot.error is None else f" ± {dot.error:.3f}"
    tip = element("title", f"{told}{error} at {dot.cost:.2f} times the cost")
    bar = ""
    if dot.error:
        ends = frame.y(min(dot.value + dot.error, 1.0)), frame.y(max(dot.value - dot.error, frame.low))
        bar = f'<path class="cairn-axis" d="M{x:.1f} {ends[0]:.1f}V{ends[1]:.1f}"/>'
    left, at = _room(dot.name, x, y, taken)
    end = left - 2 if left > x else left + LETTER * len(dot.name) + 2
    lead = f'<path class="cairn-grid" d="M{x:.1f} {y:.1f}L{end:.1f} {at:.1f}"/>' if abs(at - y) > 1 else ""
    mark = f'<circle class="cairn-dot cairn-c0" cx="{x:.1f}" cy="{y:.1f}" r="5">{tip}</circle>'
    inside = element("g", Html(lead + bar + mark), text(left, at + 4, dot.name, "start"))
    return inside if dot.target is None else element("a", inside, href=dot.target)


def _spot(x: float, y: float) -> _Span:
    """Return the place that a point itself takes: names keep off it."""
    return _Span(y, x - DOT, x + DOT)


def _room(name: str, x: float, y: float, taken: list[_Span]) -> tuple[float, float]:
    """Return where a name stands beside its point, right or left: as near as nothing else is in the way."""
    wide = LETTER * len(name)
    sides = [left for left in (x + 10, x - 10 - wide) if LEFT <= left <= WIDTH - wide] or [WIDTH - wide]
    for step in range(2 * HEIGHT // NUDGE):
        at = y + NUDGE * ((step + 1) // 2) * (1 if step % 2 else -1)
        free = [left for left in sides if TOP <= at <= HEIGHT - BOTTOM and _is_free(at, left, left + wide, taken)]
        if free:
            taken.append(_Span(at, free[0], free[0] + wide))
            return free[0], at
    return sides[0], y  # there are more names than places


def _is_free(at: float, left: float, right: float, taken: Sequence[_Span]) -> bool:
    return all(abs(at - other.at) >= LINE or right < other.left or left > other.right for other in taken)
