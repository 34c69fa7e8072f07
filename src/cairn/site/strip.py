"""The worked example drawn: each trajectory a strip of turns, one row of credits for each rule on the same batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cairn.evidence.golden import Golden, GoldenCase, TurnCredits
from cairn.evidence.rollout_format import RolloutRow
from cairn.site.charts import svg, text
from cairn.site.text import DASH, Html, details, element, escape, number, signed, table

CELL, ROW, GUTTER, HEAD = 72, 30, 92, 46
MOST_LETTERS = 10
STRONGEST = 0.62  # opacity of the largest credit: the value printed on it stays readable in both modes


def draw(golden: Golden, case: GoldenCase, own: str, names: Mapping[str, str]) -> str:
    """Return the picture of a case and the same numbers as a table.

    own: how the method of the example is called. names: how the other rules are, by id.
    """
    rules = {own: case.expected, **{names.get(other, other): rows for other, rows in golden.others.items()}}
    states = _states(golden.batch)
    strips = "\n".join(_strip(index, rollout, rules, states) for index, rollout in enumerate(golden.batch))
    figure = f'<div class="cairn-strips">\n{strips}\n</div>'
    return "\n\n".join([figure, _key(states), details("The same as a table", _numbers(golden.batch, rules))])


def _states(batch: Sequence[RolloutRow]) -> dict[str, str]:
    """Return a short name for each observation of the batch: itself where all are short, else a running number."""
    seen = dict.fromkeys(turn.observation for rollout in batch for turn in rollout.turns if turn.observation)
    short = all(len(one) <= MOST_LETTERS for one in seen)
    return {one: one if short else f"state {index}" for index, one in enumerate(seen, start=1)}


def _strip(index: int, rollout: RolloutRow, rules: Mapping[str, TurnCredits], states: Mapping[str, str]) -> str:
    largest = max((abs(value or 0.0) for rows in rules.values() for row in rows for value in row), default=0.0)
    parts = [text(0, 16, "turn", "start", "cairn-quiet")]
    parts += [text(0, 36, "sees", "start", "cairn-quiet")] if states else []
    for turn, step in enumerate(rollout.turns):
        middle = GUTTER + CELL * (turn + 0.5)
        parts.append(text(middle, 16, str(turn + 1), class_="cairn-quiet"))
        if step.observation:
            parts.append(text(middle, 36, Html(escape(states[step.observation]) + element("title", step.observation))))
    for row, (rule, given) in enumerate(rules.items()):
        top = HEAD + row * (ROW + 4)
        parts.append(text(0, top + 20, rule, "start"))
        for turn, value in enumerate(given[index]):
            parts.append(_cell(GUTTER + CELL * turn, top, value, largest, f"{rule}, turn {turn + 1}"))
    width, height = GUTTER + CELL * len(rollout.turns), HEAD + len(rules) * (ROW + 4)
    label = f"Rollout {index + 1}: {_outcome(rollout)}"
    picture = svg(width, height, f"{label}; credits of {len(rollout.turns)} turns", parts)
    # The picture keeps its size: on a phone the strip scrolls, the numbers stay readable.
    sized = picture.replace("<svg ", f'<svg width="{width}" height="{height}" ', 1)
    return f'<figure>\n{element("figcaption", label)}\n<div tabindex="0">{sized}</div>\n</figure>'


def _outcome(rollout: RolloutRow) -> str:
    paid = sum(turn.reward for turn in rollout.turns)
    between = f", {number(paid)} paid on the way" if paid else ""
    cut = ", cut off by the turn limit" if rollout.truncated else ""
    return f"task group {rollout.group}, reward {number(rollout.reward)}{between}{cut}"


def _cell(x: float, y: float, value: float | None, largest: float, told: str) -> Html:
    if value is None:
        return text(x + CELL / 2 - 2, y + 20, DASH, class_="cairn-quiet")
    strength = STRONGEST * abs(value) / largest if largest else 0.0
    kind = "cairn-plus" if value > 0 else "cairn-minus"
    title = element("title", f"{told}: {signed(value)}")
    place = f'x="{x:g}" y="{y:g}" width="{CELL - 4}" height="{ROW}" rx="3"'
    box = f'<rect class="cairn-cell" {place}/><rect class="{kind}" {place} fill-opacity="{strength:.2f}"/>'
    return Html(f"<g>{title}{box}{text(x + CELL / 2 - 2, y + 20, signed(value))}</g>")


def _key(states: Mapping[str, str]) -> str:
    how = "Blue is credit above zero, orange below; the fuller the colour, the larger the credit."
    where = " Turns with the same entry under <em>sees</em> start from the same raw observation."
    numbered = [f"{escape(short)}: {escape(seen)}" for seen, short in states.items() if short != seen]
    listed = f" {'; '.join(numbered)}." if numbered else ""
    return element("p", how, Html(where if states else ""), Html(listed))


def _numbers(batch: Sequence[RolloutRow], rules: Mapping[str, TurnCredits]) -> str:
    head = ["Rollout", "Group", "Turn", "Sees", "Reward after it", *rules]
    rows = []
    for index, rollout in enumerate(batch):
        for turn, step in enumerate(rollout.turns):
            paid = step.reward + (rollout.reward if turn == len(rollout.turns) - 1 else 0.0)
            given = [signed(credits_[index][turn]) for credits_ in rules.values()]
            rows.append([str(index + 1), rollout.group, str(turn + 1), step.observation, number(paid), *given])
    return table(head, rows)
