"""Inline SVG: learning curves and effects with their intervals. Colours are variables of the site's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cairn.evidence.report import ArmSummary, Band
from cairn.site.text import Content, Html, element, escape, join, scale_of, share, signed

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 52
COLOURS = 8
DASHES = ("", "7 4", "2 4", "9 3 2 3")
DASH_OF_ROLE = {"method": 0, "variant": 0, "control": 1, "null": 2, "ceiling": 3}


@dataclass(frozen=True)
class Key:
    """How an arm looks in a figure."""

    name: str
    colour: int
    dash: str


@dataclass(frozen=True)
class Line(Key):
    """One arm's curve with its look. `at` is in the unit of the axis."""

    at: tuple[float, ...]
    band: Band


@dataclass(frozen=True)
class Frame:
    """From data to places in the picture: x from 0 to `most`, y from 0 to 1."""

    most: float

    def x(self, value: float) -> float:
        """Return the horizontal place."""
        return LEFT + (WIDTH - LEFT - RIGHT) * value / (self.most or 1.0)

    def y(self, value: float) -> float:
        """Return the vertical place."""
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value)


def ticks(most: float, wanted: int = 5) -> list[float]:
    """Return round numbers from 0 up to `most`."""
    if most <= 0:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(most / wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if most / (power * factor) <= wanted)
    return [step * count for count in range(int(most / step + 1e-9) + 1)]


def curves(arms: Sequence[ArmSummary], axis: str, label: str) -> str:
    """Return the figure of success against `axis` (update or flops), one line and band for each arm, and its legend.

    An arm's place in `arms` fixes its colour, its role the dashes. label: what the figure is, in words.
    """
    bands = [(arm, band) for arm in arms for band in arm.curves if band.axis == axis]
    if not bands:
        return ""
    most = max(band.at[-1] for _, band in bands)
    divisor, unit = scale_of(most) if axis == "flops" else (1.0, "updates")
    title = f"metered compute of training ({unit})" if axis == "flops" else "updates of the policy"
    lines = [_line(arm, band, index, divisor) for index, (arm, band) in enumerate(bands)]
    frame = Frame(most / divisor)
    parts = [*_axes(frame, title), *(_draw_band(line, frame) for line in lines)]
    parts += [_draw_line(line, frame, unit) for line in lines]
    picture = svg(WIDTH, HEIGHT, label, parts)
    return f'<figure class="cairn-chart">\n{picture}\n{legend(lines)}\n{element("figcaption", label)}\n</figure>'


def _line(arm: ArmSummary, band: Band, index: int, divisor: float) -> Line:
    at = tuple(place / divisor for place in band.at)
    return Line(arm.arm, index % COLOURS, DASHES[DASH_OF_ROLE[arm.role]], at, band)


def svg(width: float, height: float, label: str, parts: Sequence[Html]) -> str:
    """Return a picture that scales with its place and says what it is to those who cannot see it."""
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
    return "\n".join([head, *parts, "</svg>"])


def text(x: float, y: float, content: Content, anchor: str = "middle", class_: str | None = None) -> Html:
    """Return a piece of text in a picture."""
    return element("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_)


def _axes(frame: Frame, title: str) -> list[Html]:
    bottom, right = frame.y(0), frame.x(frame.most)
    parts = []
    for height in ticks(1.0):
        parts.append(Html(f'<path class="cairn-grid" d="M{LEFT} {frame.y(height):.1f}H{right:.1f}"/>'))
        parts.append(text(LEFT - 6, frame.y(height) + 5, f"{height:g}", "end"))
    parts += [text(frame.x(place), bottom + 20, f"{place:g}") for place in ticks(frame.most)]
    parts.append(Html(f'<path class="cairn-axis" d="M{LEFT} {TOP}V{bottom:.1f}H{right:.1f}"/>'))
    middle = frame.y(0.5)
    turned = f'<text transform="translate(14 {middle:.1f}) rotate(-90)" text-anchor="middle">success (share)</text>'
    return [*parts, text((LEFT + right) / 2, HEIGHT - 8, title), Html(turned)]


def _points(line: Line, frame: Frame, values: Sequence[float | None]) -> list[str]:
    pairs = zip(line.at, values, strict=True)
    return [f"{frame.x(at):.1f} {frame.y(value):.1f}" for at, value in pairs if value is not None]


def _draw_band(line: Line, frame: Frame) -> Html:
    low, high = _points(line, frame, line.band.low), _points(line, frame, line.band.high)
    outline = "L".join([*low, *reversed(high)])
    return Html(f'<path class="cairn-band cairn-c{line.colour}" d="M{outline}Z"/>' if low and high else "")


def _draw_line(line: Line, frame: Frame, unit: str) -> Html:
    points = _points(line, frame, line.band.mean)
    if not points:
        return Html("")
    told = f"{line.name}: {share(line.band.mean[-1])} after {line.at[-1]:.3g} {unit}, {line.band.seeds} seeds"
    dash = f' stroke-dasharray="{line.dash}"' if line.dash else ""
    path = f'd="M{"L".join(points)}"{dash}'
    return Html(f'<path class="cairn-line cairn-c{line.colour}" {path}>{element("title", told)}</path>')


def legend(keys: Sequence[Key]) -> str:
    """Return the list that says which line is which."""
    return element("ul", join(_entry(key) for key in keys), class_="cairn-legend")


def _entry(key: Key) -> Html:
    dash = f' stroke-dasharray="{key.dash}"' if key.dash else ""
    stroke = f'<path class="cairn-line cairn-c{key.colour}" d="M1 6H33"{dash}/>'
    swatch = Html(f'<svg viewBox="0 0 34 12" aria-hidden="true">{stroke}</svg>')
    return element("li", swatch, key.name)


@dataclass(frozen=True)
class Effect:
    """A difference with its 95 % interval, and the smallest that counts."""

    name: str
    estimate: float
    low: float
    high: float
    margin: float


def effects(found: Sequence[Effect], label: str) -> str:
    """Return the figure of differences around zero, a row for each; what is shaded is too small to count."""
    if not found:
        return ""
    reach = max(max(abs(one.low), abs(one.high), one.margin) for one in found) * 1.08 or 1.0
    row, top = 44, 6
    height = top + row * len(found) + 40

    def place(value: float) -> float:
        return 20 + (WIDTH - 40) * (value + reach) / (2 * reach)

    bottom = height - 40
    parts: list[Html] = []
    for index, one in enumerate(found):
        # The line of no difference is drawn beside each bar only, so that it crosses no name.
        from_, to = top + row * (index + 0.42), top + row * (index + 0.94)
        parts.append(Html(f'<path class="cairn-axis" d="M{place(0):.1f} {from_:.1f}V{to:.1f}"/>'))
        parts += _effect(one, top + row * index, row, place(one.low), place(one.estimate), place(one.high))
        parts.append(_margin(one, top + row * index, row, place(-one.margin), place(one.margin)))
    marks = ticks(reach, 3)
    places = sorted({*marks, *(-mark for mark in marks)})
    parts += [text(place(value), bottom + 15, signed(value)) for value in places]
    parts.append(text(WIDTH / 2, height - 8, "difference in success (share), arm − control"))
    picture = svg(WIDTH, height, label, parts)
    return f'<figure class="cairn-chart cairn-effects">\n{picture}\n{element("figcaption", label)}\n</figure>'


def _effect(one: Effect, top: float, row: float, low: float, centre: float, high: float) -> list[Html]:
    middle = top + row * 0.68
    told = f"{one.name}: {signed(one.estimate)} [{signed(one.low)}, {signed(one.high)}]"
    tip = element("title", told)
    bar = f'<path class="cairn-line cairn-c0" d="M{low:.1f} {middle:.1f}H{high:.1f}">{tip}</path>'
    dot = f'<circle class="cairn-dot cairn-c0" cx="{centre:.1f}" cy="{middle:.1f}" r="5">{tip}</circle>'
    return [text(4, top + row * 0.32, one.name, "start"), Html(bar), Html(dot)]


def _margin(one: Effect, top: float, row: float, low: float, high: float) -> Html:
    if one.margin == 0:
        return Html("")
    return Html(
        f'<rect class="cairn-margin" x="{low:.1f}" y="{top + row * 0.45:.1f}" width="{high - low:.1f}" '
        f'height="{row * 0.46:.1f}"/>'
    )
