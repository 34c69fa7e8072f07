"""`cairn difficulty`: what each knob of a task moves, before anything is taught."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from cairn.commands.terminal import AsJson, add, heading, messages, output, print_json, require_run_extra, say, table
from cairn.evidence.difficulty import MEASURES, DifficultyTable, write_difficulty

ARROWS = {"up": "rises", "down": "falls"}


def difficulty(
    task: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK]...", help="See `cairn tasks`; all whose knobs say what they move unless given."),
    ] = None,
    preset: Annotated[str, typer.Option(metavar="NAME", help="Whose knobs and group size: see the protocol.")] = "cpu",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write DIR/TASK.json for each task.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn each knob of a task alone, and show the measure that it is named after: exact, no model is asked.

    A measure is computed on the protocol's training instances. A knob moves it if it goes on from value to value in
    the direction that was declared with the knob, and the 95 % intervals of the first and the last value lie apart.
    """
    require_run_extra()
    from cairn.lab.difficulty import measure
    from cairn.lab.protocol import read_protocol
    from cairn.lab.tasks import find, names

    protocol = read_protocol()
    protocol.preset(preset)
    found = []
    with Progress(console=messages(), transient=True) as progress:
        for name in task or [name for name in names() if find(name).moves]:
            levels = sum(len(moves.values) for moves in find(name).moves.values())
            bar = progress.add_task(name, total=levels)
            found.append(measure(protocol, preset, name, lambda bar=bar: progress.advance(bar)))  # type: ignore[misc]
    for one in found if out is not None else ():
        say(f"Written: {write_difficulty(out or Path(), one)}")
    if as_json:
        print_json({one.task: one.model_dump(mode="json") for one in found})
        return
    for one in found:
        _print(output(), one)


def _print(console: Console, found: DifficultyTable) -> None:
    heading(console, f"{found.task}: {found.instances} instances, preset {found.preset}")
    rows = table("knob", "value", "measure", "estimate", "95 %", "moves", right=["estimate"], whole=["knob", "95 %"])
    for effect in found.effects:
        for place, level in enumerate(effect.levels):
            first = "" if place else effect.knob
            told = "" if place else f"{MEASURES[effect.measure].name} ({ARROWS[effect.direction]})"
            moves = "" if place else ("yes" if effect.moves else "no")
            interval = f"{level.low:.3f} to {level.high:.3f}"
            add(rows, first, str(level.value), told, f"{level.estimate:.3f}", interval, moves)
    console.print(rows)
    used = dict.fromkeys(effect.measure for effect in found.effects)
    console.print("\n" + "; ".join(f"{MEASURES[name].name}: {MEASURES[name].meaning}" for name in used) + ".")
