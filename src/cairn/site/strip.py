"""The worked example drawn: each trajectory a strip of turns, one row of credits for each rule on the same batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cairn.evidence.golden import Golden, GoldenCase, TurnCredits
from cairn.evidence.rollout_format import RolloutRow
from cairn.site.charts import svg, text
from cairn.site.text import DASH, Content, Html, details, element, escape, join, number, signed, table

CELL, ROW, GUTTER, HEAD = 72, 30, 92, 20
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
    return "\n\n".join(
        [figure, _key(golden.batch, states), details("The same as a table", _numbers(golden.batch, rules))]
    )


def _states(batch: Sequence[RolloutRow]) -> dict[str, str]:
    """Return a short name for each observation of the batch: itself where all are short, else a running number."""
    seen = dict.fromkeys(turn.observation for rollout in batch for turn in rollout.turns if turn.observation)
    short = all(len(one) <= MOST_LETTERS for one in seen)
    return {one: one if short else f"state {index}" for index, one in enumerate(seen, start=1)}


def _strip(index: int, rollout: RolloutRow, rules: Mapping[str, TurnCredits], states: Mapping[str, str]) -> str:
    largest = max((abs(value or 0.0) for rows in rules.values() for row in rows for value in row), default=0.0)
    facts = _facts(rollout, states)
    parts = [text(0, HEAD * row + 16, name, "start", "cairn-quiet") for row, name in enumerate(facts)]
    for row, cells in enumerate(facts.values()):
        parts += [text(GUTTER + CELL * (turn + 0.5), HEAD * row + 16, cell) for turn, cell in enumerate(cells) if cell]
    start = HEAD * len(facts) + 6
    for row, (rule, given) in enumerate(rules.items()):
        top = start + row * (ROW + 4)
        parts.append(text(0, top + 20, rule, "start"))
        for turn, value in enumerate(given[index]):
            parts.append(_cell(GUTTER + CELL * turn, top, value, largest, f"{rule}, turn {turn + 1}"))
    width, height = GUTTER + CELL * len(rollout.turns), start + len(rules) * (ROW + 4)
    label = f"Rollout {index + 1}: {_outcome(rollout)}"
    picture = svg(width, height, f"{label}; credits of {len(rollout.turns)} turns", parts)
    # The picture keeps its size: on a phone the strip scrolls, the numbers stay readable.
    sized = picture.replace("<svg ", f'<svg width="{width}" height="{height}" ', 1)
    return f'<figure>\n{element("figcaption", label)}\n<div tabindex="0">{sized}</div>\n</figure>'


def _facts(rollout: RolloutRow, states: Mapping[str, str]) -> dict[str, list[Content]]:
    """Return what is known of each turn before its credit; what no turn has is left out."""
    found: dict[str, list[Content]] = {
        "turn": [str(turn) for turn in range(1, len(rollout.turns) + 1)],
        "sees": [_named(step.observation, states) if step.observation else None for step in rollout.turns],
        "value": [None if step.value is None else number(step.value) for step in rollout.turns],
    }
    return {name: cells for name, cells in found.items() if any(cell is not None for cell in cells)}


def _named(observation: str, states: Mapping[str, str]) -> Html:
    return join([states[observation], element("title", observation)])


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


def _key(batch: Sequence[RolloutRow], states: Mapping[str, str]) -> str:
    how = "Blue is credit above zero, orange below; the fuller the colour, the larger the credit."
    where = " Turns with the same entry under <em>sees</em> start from the same raw observation."
    valued = any(turn.value is not None for rollout in batch for turn in rollout.turns)
    value = " Under <em>value</em> stands the worth of the state before the turn, from continuations." if valued else ""
    numbered = [f"{escape(short)}: {escape(seen)}" for seen, short in states.items() if short != seen]
    listed = f" {'; '.join(numbered)}." if numbered else ""
    return element("p", how, Html(where if states else ""), Html(listed), Html(value))


def _numbers(batch: Sequence[RolloutRow], rules: Mapping[str, TurnCredits]) -> str:
    head = ["Rollout", "Group", "Turn", "Sees", "Value", "Reward after it", *rules]
    rows = []
    for index, rollout in enumerate(batch):
        for turn, step in enumerate(rollout.turns):
            paid = step.reward + (rollout.reward if turn == len(rollout.turns) - 1 else 0.0)
            given = [signed(credits_[index][turn]) for credits_ in rules.values()]
            rows.append(
                [
                    str(index + 1),
                    rollout.group,
                    str(turn + 1),
                    step.observation,
                    number(step.value),
                    number(paid),
                    *given,
                ]
            )
    return table(head, rows)
