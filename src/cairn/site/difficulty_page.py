"""What the knobs of each task move: a small figure for each knob, made from what `cairn difficulty` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cairn.evidence.base import pretty_json
from cairn.evidence.difficulty import MEASURES, DifficultyTable, KnobEffect, Level
from cairn.site.charts import svg, text, ticks
from cairn.site.part import VERSION, DataFile, Part, Whole
from cairn.site.text import Html, element, link, paragraph, table

WIDTH, HEIGHT = 320, 220
LEFT, RIGHT, TOP, BOTTOM = 54, 18, 14, 46
GOES = {"up": "should rise", "down": "should fall"}


def make(whole: Whole) -> Part:
    """Return the page and the file of each task that was measured."""
    files = tuple(
        DataFile(
            f"{VERSION}/difficulty/{task}.json",
            f"What the knobs of {task} move",
            "Each knob at several values, and the measure that it is named after.",
            pretty_json(found),
        )
        for task, found in whole.difficulty.items()
    )
    return Part({"difficulty/index.md": render(whole.difficulty)}, files)


def render(tables: Mapping[str, DifficultyTable]) -> str:
    """Return the page as Markdown."""
    about = paragraph(
        "Each knob of a task is named after something that makes credit assignment hard. Here each is turned alone, "
        "and the measure that it is named after is computed on the instances themselves: no model is asked, and "
        "nothing is learnt. Whether a learner feels it is another question, which the ",
        link("studies", "../studies/index.html"),
        " ask. Knob, measure, direction and values stand in the task's code; a knob ",
        element("em", "moves"),
        " its measure if it goes on from value to value in that direction and the 95 % intervals of the first and the "
        "last value lie apart. The skilled walker of the measures is the task's own faultless teacher, who knows every "
        "rule and reads what the prompt holds.",
    )
    parts = [_task(found) for found in tables.values()] or [paragraph("Nothing has been measured yet.")]
    return "\n\n".join(["# What the knobs move", about, *parts]) + "\n"


def _task(found: DifficultyTable) -> str:
    sizes = (
        f"{found.instances} instances (those that the protocol trains on), preset {found.preset}, all other knobs as "
        f"the protocol has them; bars: 95 % bootstrap over instances, often narrower than the mark."
    )
    used = dict.fromkeys(effect.measure for effect in found.effects)
    command = f"cairn difficulty {found.task} --preset {found.preset} --out reproductions/difficulty"
    figures = "\n".join(chart(effect) for effect in found.effects)
    parts = [
        f"## {found.task}",
        paragraph(sizes),
        f'<div class="cairn-charts">\n{figures}\n</div>',
        table(["Knob", "Measure", "Declared", "From", "To", "Moves"], [_row(effect) for effect in found.effects]),
        table(["Measure", "What it is"], [(MEASURES[name].name, MEASURES[name].meaning) for name in used]),
        paragraph(
            "Make it again: ",
            element("code", command),
            ". For programs: ",
            link(f"{found.task}.json", f"../data/{VERSION}/difficulty/{found.task}.json"),
            ".",
        ),
    ]
    return "\n\n".join(parts)


def _row(effect: KnobEffect) -> tuple[Html | str, ...]:
    first, last = effect.levels[0], effect.levels[-1]
    told = "yes" if effect.moves else "no"
    ends = (f"{level.estimate:.3f} at {level.value}" for level in (first, last))
    return (element("code", effect.knob), MEASURES[effect.measure].name, GOES[effect.direction], *ends, told)


def chart(effect: KnobEffect) -> str:
    """Return the figure of one knob: values side by side, in their order."""
    most = max(level.high for level in effect.levels) or 1.0
    label = f"{MEASURES[effect.measure].name} against {effect.knob}; it {GOES[effect.direction]}"
    parts = [*_axes(effect, most), *_line(effect.levels, most)]
    picture = svg(WIDTH, HEIGHT, label, parts)
    caption = element("figcaption", element("code", effect.knob), f": {MEASURES[effect.measure].name}")
    return f'<figure class="cairn-chart">\n{picture}\n{caption}\n</figure>'


def _x(place: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / count


def _y(value: float, most: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / (most * 1.05))


def _axes(effect: KnobEffect, most: float) -> list[Html]:
    parts = []
    for height in ticks(most, 4):
        parts.append(Html(f'<path class="cairn-grid" d="M{LEFT} {_y(height, most):.1f}H{WIDTH - RIGHT}"/>'))
        parts.append(text(LEFT - 6, _y(height, most) + 5, f"{height:g}", "end"))
    count = len(effect.levels)
    parts += [text(_x(at, count), _y(0, most) + 19, f"{one.value}") for at, one in enumerate(effect.levels)]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, effect.knob))
    return [*parts, Html(f'<path class="cairn-axis" d="M{LEFT} {TOP}V{_y(0, most):.1f}H{WIDTH - RIGHT}"/>')]


def _line(levels: Sequence[Level], most: float) -> list[Html]:
    points = [f"{_x(at, len(levels)):.1f} {_y(one.estimate, most):.1f}" for at, one in enumerate(levels)]
    marks = [mark for at, one in enumerate(levels) for mark in _mark(_x(at, len(levels)), one, most)]
    return [Html(f'<path class="cairn-line cairn-thin cairn-c0" d="M{"L".join(points)}"/>'), *marks]


def _mark(x: float, level: Level, most: float) -> tuple[Html, Html]:
    tip = element("title", f"{level.value}: {level.estimate:.3f} [{level.low:.3f}, {level.high:.3f}]")
    bar = f'<path class="cairn-line cairn-c0" d="M{x:.1f} {_y(level.low, most):.1f}V{_y(level.high, most):.1f}"/>'
    dot = f'<circle class="cairn-dot cairn-c0" cx="{x:.1f}" cy="{_y(level.estimate, most):.1f}" r="4">{tip}</circle>'
    return Html(bar), Html(dot)
