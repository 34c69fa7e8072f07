"""Inline SVG: how each arm of an experiment fares from task to task, where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cairn.evidence.report import ArmSummary, Estimate
from cairn.site.charts import COLOURS, DASH_OF_ROLE, DASHES, Key, legend, svg, text, ticks
from cairn.site.text import Html, element, share

WIDTH, HEIGHT = 480, 320
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 52
MOST_TASKS = 6  # whose names have room beside each other
SPREAD = 0.5  # share of a task's room over which its arms stand side by side


@dataclass(frozen=True)
class Row:
    """One arm: its value on each task, None where it has none; its colour and dashes."""

    key: Key
    values: tuple[Estimate | None, ...]
    shift: float  # of its marks, as a share of a task's room


def over_tasks(arms: Sequence[ArmSummary], tasks: Sequence[str], metric: str, label: str) -> str:
    """Return the figure of a success metric on each task, one broken line with 95 % intervals for each arm.

    Empty where there are fewer than two tasks, more than have room, or the arms have no such metric.
    label: what the figure is, in words.
    """
    rows = _rows(arms, tasks, metric)
    if not 2 <= len(tasks) <= MOST_TASKS or not rows:
        return ""
    parts = [*_axes(tasks), *(part for row in rows for part in _draw(row, tasks))]
    picture = svg(WIDTH, HEIGHT, label, parts)
    keys = legend([row.key for row in rows])
    return f'<figure class="cairn-chart">\n{picture}\n{keys}\n{element("figcaption", label)}\n</figure>'


def _rows(arms: Sequence[ArmSummary], tasks: Sequence[str], metric: str) -> list[Row]:
    found = {(arm.task, arm.arm): arm for arm in arms if metric in arm.success}
    roles = {arm.arm: arm.role for arm in arms if metric in arm.success}
    rows = []
    for index, (name, role) in enumerate(roles.items()):
        values = tuple(found[task, name].success[metric].mean if (task, name) in found else None for task in tasks)
        shift = SPREAD * ((index + 0.5) / len(roles) - 0.5)
        rows.append(Row(Key(name, index % COLOURS, DASHES[DASH_OF_ROLE[role]]), values, shift))
    return rows


def _x(place: float, tasks: Sequence[str]) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(tasks)


def _y(value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value)


def _axes(tasks: Sequence[str]) -> list[Html]:
    parts = []
    for height in ticks(1.0):
        parts.append(Html(f'<path class="cairn-grid" d="M{LEFT} {_y(height):.1f}H{WIDTH - RIGHT}"/>'))
        parts.append(text(LEFT - 6, _y(height) + 5, f"{height:g}", "end"))
    parts += [text(_x(place, tasks), _y(0) + 20, task) for place, task in enumerate(_short(tasks))]
    parts.append(Html(f'<path class="cairn-axis" d="M{LEFT} {TOP}V{_y(0):.1f}H{WIDTH - RIGHT}"/>'))
    turned = f'<text transform="translate(14 {_y(0.5):.1f}) rotate(-90)" text-anchor="middle">success (share)</text>'
    return [*parts, Html(turned)]


def _short(tasks: Sequence[str]) -> list[str]:
    """Leave out of the names what all of them begin with."""
    parts = [task.split("-") for task in tasks]
    common = 0
    while all(len(one) > common + 1 and one[common] == parts[0][common] for one in parts):
        common += 1
    return ["-".join(one[common:]) for one in parts]


def _draw(row: Row, tasks: Sequence[str]) -> list[Html]:
    placed = [
        (_x(at + row.shift, tasks), task, one) for at, (task, one) in enumerate(zip(tasks, row.values, strict=True))
    ]
    points = [f"{x:.1f} {_y(one.estimate):.1f}" for x, _, one in placed if one and one.estimate is not None]
    dash = f' stroke-dasharray="{row.key.dash}"' if row.key.dash else ""
    look = f"cairn-c{row.key.colour}"
    line = Html(f'<path class="cairn-line cairn-thin {look}" d="M{"L".join(points)}"{dash}/>' if points else "")
    return [line, *(mark for x, task, one in placed if one for mark in _mark(row, x, task, one))]


def _mark(row: Row, x: float, task: str, found: Estimate) -> list[Html]:
    if found.estimate is None:
        return []
    low, high = (found.estimate if end is None else end for end in (found.low, found.high))
    told = f"{row.key.name}, {task}: {share(found.estimate)} [{share(low)}, {share(high)}], {found.n} seeds"
    tip, look = element("title", told), f"cairn-c{row.key.colour}"
    bar = f'<path class="cairn-line {look}" d="M{x:.1f} {_y(low):.1f}V{_y(high):.1f}">{tip}</path>'
    dot = f'<circle class="cairn-dot {look}" cx="{x:.1f}" cy="{_y(found.estimate):.1f}" r="4">{tip}</circle>'
    return [Html(bar), Html(dot)]
