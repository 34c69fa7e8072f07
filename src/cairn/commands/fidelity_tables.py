"""Fidelity in the terminal: the table of figures, and the x-ray of one trajectory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from cairn.commands.terminal import DASH, add, heading, printable, table
from cairn.evidence.fidelity import FIGURES, FidelityRow, FidelityTable, Xray, shade

CELL, NAME = 6, 16
BLUE, ORANGE = (63, 143, 208), (232, 137, 43)  # of the site's style sheet
FORK = "◆"


def print_table(console: Console, found: FidelityTable) -> None:
    """Print what all rules get on one panel."""
    panel = found.panel
    heading(console, f"{panel.task}: {panel.trajectories} trajectories, {panel.turns} turns")
    numbers = [*(figure.short for figure in FIGURES.values()), "FLOPs ×", "tokens ×"]
    rows = table("rule", *numbers, right=numbers, whole=["rule"])
    for row in found.rows:
        if row.reason is not None:
            add(rows, row.rule, row.reason)
            continue
        cost = [None, None] if row.cost is None else [f"{row.cost.flops_ratio:.2f}", f"{row.cost.tokens_ratio:.2f}"]
        add(rows, row.rule, *(_figure(row, name) for name in FIGURES), *cost)
    console.print(rows)
    console.print(_legend(found), soft_wrap=True)


def _figure(row: FidelityRow, name: str) -> str | None:
    value, error = row.figures.get(name), row.errors.get(name)
    if value is None:
        return None
    return f"{value:z.2f}" if error is None or not FIGURES[name].with_error else f"{value:z.2f}±{error:.2f}"


def _legend(found: FidelityTable) -> str:
    panel = found.panel
    said = "; ".join(f"{figure.short}: {figure.meaning}" for figure in FIGURES.values())
    about = f"A blind detector of forks has {panel.fork_turns / panel.turns:.2f}. Costs are those of one update over "
    reference = "exact" if panel.reference == "exact" else f"estimated from {panel.continuations} continuations"
    return (
        f"\n{said}. {about}{panel.baseline}'s. {DASH}: not defined, or not measured. Reference: {reference}. "
        f"Panel {panel.hash[:12]}, model {panel.model_hash[:12]}, preset {panel.preset}, {panel.draws} draws."
    )


def print_xray(console: Console, task: str, drawn: Xray, found: Mapping[str, tuple[Sequence[float], float]]) -> None:
    """Print a trajectory as blocks of turns that fit the terminal: what was said, each rule's credit, the exact one."""
    heading(console, f"{task}, trajectory {drawn.trajectory}: reward {drawn.reward:g}, {len(drawn.turns)} turns")
    rows = {**found, "exact advantage": ([turn.exact for turn in drawn.turns], drawn.unit)}
    width = max(NAME, *(len(name) + 1 for name in rows))
    for at in range(0, len(drawn.turns), size := max((console.width - width) // CELL, 1)):
        console.print(_block(drawn, rows, range(at, min(at + size, len(drawn.turns))), width))
    console.print(
        f"\nCredit in units of the rule's own root mean square: blue above zero, orange below. {FORK}: a fork.",
        soft_wrap=True,
    )
    for number, turn in enumerate(drawn.turns, start=1):
        mark = FORK if turn.fork else " "
        told = f"{number:3} {mark} {turn.exact:+.4f}  {turn.said}  <  {turn.sees}"
        line = Text(printable(told), overflow="ellipsis", no_wrap=True)
        console.print(line)


def _block(drawn: Xray, rows: Mapping[str, tuple[Sequence[float], float]], turns: range, width: int) -> Table:
    grid = Table.grid(padding=0)
    grid.add_column(width=width, no_wrap=True)
    for _ in turns:
        grid.add_column(width=CELL, justify="center", no_wrap=True)
    grid.add_row("turn", *(f"{FORK if drawn.turns[turn].fork else ''}{turn + 1}" for turn in turns))
    for name, (credit, unit) in rows.items():
        grid.add_row(printable(name), *(_cell(credit[turn], unit) for turn in turns))
    return grid


def _cell(value: float, unit: float) -> Text:
    strength = shade(value, unit)
    shown = f"{value / unit:+.1f}" if unit else "0"
    if strength == 0:
        return Text(f"{shown:^{CELL - 1}}")
    colour = BLUE if value > 0 else ORANGE
    mixed = tuple(round(255 + (part - 255) * strength) for part in colour)
    return Text(f"{shown:^{CELL - 1}}", Style(color="black", bgcolor=f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"))
