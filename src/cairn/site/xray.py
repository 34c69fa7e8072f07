"""The credit x-ray: the turns of one trajectory as columns, and a row of coloured cells for each rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cairn.evidence.fidelity import STRONGEST_AT, FidelityTable, Xray, XrayTurn, shade
from cairn.site.charts import svg, text
from cairn.site.text import Content, Html, details, element, join, number, signed, table

CELL, ROW, GAP = 22, 22, 3
LETTER, HEAD, FOOT = 6.4, 96, 8  # width of a letter of a name; room for what was said, written upwards; below
MOST_LETTERS = 16
LONGEST_NAME = 22
MARKED = 0.12  # below this strength a cell is as good as empty and carries no sign
OPACITY = 0.85


def draw(found: FidelityTable, names: Mapping[str, str]) -> str:
    """Return the picture of a table's trajectory and the same numbers as a table. names: how methods are called."""
    drawn = found.panel.xray
    rows = {_name(one.rule, names): (one.xray, one.unit) for one in found.rows if one.xray and not found.repeats(one)}
    rows[_reference(found)] = tuple(turn.exact for turn in drawn.turns), drawn.unit
    picture = _picture(drawn, rows, f"Credit x-ray on the task {found.panel.task}")
    sized = f'<div tabindex="0">{picture}</div>'
    caption = element("figcaption", _caption(drawn))
    figure = f'<div class="cairn-strips cairn-xray">\n<figure>\n{sized}\n{caption}\n</figure>\n</div>'
    return f"{figure}\n\n{details('The same as a table, with what stood before each turn', _numbers(drawn, rows))}"


def _name(rule: str, names: Mapping[str, str]) -> str:
    """Return what a row is called: a name that is long gives way to the id."""
    name = names.get(rule, rule.replace("-", " "))
    return name if len(name) <= LONGEST_NAME else rule


def _reference(found: FidelityTable) -> str:
    return "Exact advantage" if found.panel.reference == "exact" else "Estimated advantage"


def _caption(drawn: Xray) -> str:
    return (
        f"Trajectory {drawn.trajectory} of the panel, {len(drawn.turns)} turns, reward {drawn.reward:g}. Blue (+) is "
        f"credit above zero, orange (−) below; the colour is full at {STRONGEST_AT:g} times the root mean square that "
        "the rule's credit has on the whole panel. A diamond marks a fork. Point at a cell for its number."
    )


def _picture(drawn: Xray, rows: Mapping[str, tuple[Sequence[float], float]], title: str) -> str:
    gutter = 12 + LETTER * max(map(len, rows))
    width, height = gutter + CELL * len(drawn.turns) + 70, HEAD + len(rows) * (ROW + GAP) + 2 * GAP + FOOT
    told = f"{title}: the credit of {len(drawn.turns)} turns by {len(rows) - 1} rules, above their exact advantages."
    parts: list[Html] = [element("title", title), element("desc", told)]
    for place, turn in enumerate(drawn.turns):
        parts += _head(place, turn, gutter + CELL * place)
    last = len(rows) - 1
    for at, (name, (credit, unit)) in enumerate(rows.items()):
        # The row that all others are compared with stands a little apart.
        top = HEAD + at * (ROW + GAP) + (2 * GAP if at == last else 0)
        parts.append(text(gutter - 8, top + 15, name, "end", "cairn-on" if at == last else None))
        parts += [_cell(gutter + CELL * i, top, one, unit, f"{name}, turn {i + 1}") for i, one in enumerate(credit)]
    drawing = svg(width, height, told, parts)
    # The picture keeps its size: on a phone it scrolls.
    return drawing.replace("<svg ", f'<svg width="{width:g}" height="{height:g}" ', 1)


def _head(place: int, turn: XrayTurn, left: float) -> list[Html]:
    """Return a column's head: what was said, upwards, and the turn's number, with a diamond where it is a fork."""
    x, said = left + CELL / 2, _shortened(turn.said)
    tip = element("title", f"turn {place + 1}{', a fork' if turn.fork else ''}: {turn.said} after: {turn.sees}")
    place_of_words = f"translate({x + 3:.1f} {HEAD - 32}) rotate(-55)"
    words = element("text", element("tspan", said), tip, transform=place_of_words)
    parts = [words, text(x, HEAD - 5, str(place + 1), class_="cairn-quiet")]
    if turn.fork:
        parts.append(Html(f'<path class="cairn-fork" d="M{x:g} {HEAD - 29}l5 5l-5 5l-5 -5Z">{tip}</path>'))
    return parts


def _shortened(said: str) -> str:
    bare = said.strip(" .")
    return bare if len(bare) <= MOST_LETTERS else f"{bare[: MOST_LETTERS - 1].rstrip()}…"


def _cell(x: float, y: float, value: float, unit: float, told: str) -> Html:
    strength = shade(value, unit)
    place = f'x="{x:g}" y="{y:g}" width="{CELL - 2}" height="{ROW}" rx="2"'
    inside = [element("title", f"{told}: {_credit(value, unit)}"), Html(f'<rect class="cairn-cell" {place}/>')]
    if strength > 0:
        kind = "cairn-plus" if value > 0 else "cairn-minus"
        inside.append(Html(f'<rect class="{kind}" {place} fill-opacity="{OPACITY * strength:.2f}"/>'))
    if strength > MARKED:
        inside.append(text(x + (CELL - 2) / 2, y + 16, "+" if value > 0 else "−"))
    return element("g", *inside)


def _credit(value: float, unit: float) -> str:
    return f"{signed(value)}, {signed(value / unit)} root mean squares" if unit else signed(value)


def _numbers(drawn: Xray, rows: Mapping[str, tuple[Sequence[float], float]]) -> str:
    estimated = any(turn.error is not None for turn in drawn.turns)
    head = ["Turn", "Fork", "Before it", "Said", *rows, *(["Standard error"] if estimated else [])]
    return table(head, _number_rows(drawn, rows, estimated=estimated))


def _number_rows(
    drawn: Xray, rows: Mapping[str, tuple[Sequence[float], float]], *, estimated: bool
) -> Iterable[Sequence[Content]]:
    for place, turn in enumerate(drawn.turns):
        given = [signed(credit[place]) for credit, _ in rows.values()]
        fork = "yes" if turn.fork else "no"
        error = [number(turn.error)] if estimated else []
        yield [str(place + 1), fork, join([turn.sees]), turn.said, *given, *error]
