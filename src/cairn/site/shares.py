"""Inline SVG: how a total divides, a bar for each of several things; parts keep their order and show their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cairn.site.charts import svg, text
from cairn.site.text import Html, element, join, words

_WIDTH, _LEFT, _ROW, _TOP = 560, 210, 24, 6
_LEAST = 18  # a part narrower than this has no room for its number, which its title still tells

Bar = tuple[str, Mapping[str, int]]


def shares(bars: Sequence[Bar], parts: Sequence[str], label: str) -> str:
    """Return the figure of bars whose parts, in the order of `parts`, add up to the same total; and its legend."""
    drawn = [piece for at, bar in enumerate(bars) for piece in _bar(bar, parts, _TOP + at * _ROW)]
    picture = svg(_WIDTH, _TOP * 2 + _ROW * len(bars), label, drawn)
    keys = join(element("li", _swatch(part), words(part)) for part in parts)
    legend = element("ul", keys, class_="cairn-legend")
    caption = element("figcaption", label)
    return f'<figure class="cairn-chart cairn-shares">\n{picture}\n{legend}\n{caption}\n</figure>'


def _bar(bar: Bar, parts: Sequence[str], top: float) -> list[Html]:
    name, counts = bar
    total = sum(counts.get(part, 0) for part in parts) or 1
    pieces: list[Html] = [text(_LEFT - 8, top + _ROW * 0.66, name, "end")]
    left = float(_LEFT)
    for part in parts:
        wide = (_WIDTH - _LEFT) * counts.get(part, 0) / total
        if wide:
            pieces.append(_piece(part, counts[part], name, left, top, wide))
        left += wide
    return pieces


def _piece(part: str, count: int, name: str, left: float, top: float, wide: float) -> Html:
    tip = element("title", f"{name}, {words(part)}: {count}")
    place = f'x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{_ROW - 5}"'
    box = f'<rect class="cairn-share cairn-{part}" {place}/>'
    number = text(left + wide / 2, top + _ROW * 0.6, str(count)) if wide >= _LEAST else ""
    return Html(f"<g>{tip}{box}{number}</g>")


def _swatch(part: str) -> Html:
    return Html(
        f'<svg viewBox="0 0 34 12" aria-hidden="true"><rect class="cairn-share cairn-{part}" width="34" height="12"/>'
        "</svg>"
    )
