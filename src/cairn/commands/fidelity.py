"""`cairn fidelity` and `cairn xray`: how close every rule's credit comes to exact credit, in figures and in colours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress

from cairn.commands.fidelity_tables import print_table, print_xray
from cairn.commands.teaching import own_model
from cairn.commands.terminal import AsJson, messages, output, print_json, require_run_extra, say
from cairn.errors import UserError
from cairn.evidence.fidelity import FidelityRow, FidelityTable, PanelRecord, read_table, write_panel, write_row
from cairn.inventory.findings import near

if TYPE_CHECKING:
    from cairn.lab.credit_panel import CreditPanel
    from cairn.lab.fidelity import Rule
    from cairn.lab.fidelity_table import Gauge
    from cairn.lab.protocol import Protocol

INTERRUPTED = 130

Methods = Annotated[
    list[str] | None,
    typer.Option("--method", metavar="ID", help="A method or an anchor; all unless given.", show_default=False),
]
Preset = Annotated[str, typer.Option(metavar="NAME", help="The panel's sizes: a preset of the protocol.")]


def fidelity(
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK", help="A task, see `cairn tasks`; all unless given.", show_default=False),
    ] = None,
    method: Methods = None,
    preset: Preset = "cpu",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write DIR/TASK/panel.json and a file for each rule.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Keep what an earlier run wrote of the same panel.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare the credit of every method, at its defaults, with exact credit: one table for each task.

    The trajectories and the policy are fixed, the same for all; exact, shuffled exact and random credit stand beside
    the methods. docs/fidelity.md says what each figure means.
    """
    protocol = _prepared(method)
    found = {}
    try:
        for one in task or _tasks():
            try:
                found[one] = _measure(protocol, preset, one, method, out if out is None else (out, resume))
            except UserError as error:
                if task:
                    raise
                say(f"Left out: {one}. {error}")
    except KeyboardInterrupt:
        kept = "" if out is None else f" What is finished lies in {out}; the same command with --resume goes on."
        say(f"Stopped.{kept}")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print_json({name: table.model_dump(mode="json") for name, table in found.items()})
        return
    for table in found.values():
        print_table(output(), table)


def xray(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task; see `cairn tasks`.")],
    trajectory: Annotated[
        int | None,
        typer.Option(metavar="N", help="Its number in the panel; the most telling one unless given.", min=0),
    ] = None,
    method: Methods = None,
    preset: Preset = "cpu",
    as_json: AsJson = False,
) -> None:
    """Show one trajectory of a task's panel: each rule's credit, turn by turn, above the exact one.

    Unless a number is given, it is the trajectory that holds both a large gain and a large loss of exact credit: the
    one with the greatest min(largest advantage, - smallest advantage).
    """
    protocol = _prepared(method)
    from cairn.lab.fidelity_table import REFERENCE, UNMEASURED
    from cairn.lab.xray import describe_xray

    panel = _panel(protocol, preset, task)
    chosen = panel.most_telling() if trajectory is None else trajectory
    drawn, gauge = describe_xray(panel, chosen), _gauge(protocol, panel)
    found = {}
    with Progress(console=messages(), transient=True) as progress:
        rules = {name: rule for name, rule in _rules(panel, method).items() if name != REFERENCE}
        bar = progress.add_task(task, total=len(rules))
        for name, rule in rules.items():
            try:
                found[name] = gauge.xray(rule, chosen)
            except UNMEASURED as error:
                say(f"Left out: {name}. {error}")
            progress.advance(bar)
    if as_json:
        rows = {name: {"credit": credit, "unit": unit} for name, (credit, unit) in found.items()}
        print_json({"task": task, "panel": panel.hash, "xray": drawn.model_dump(mode="json"), "rules": rows})
    else:
        print_xray(output(), task, drawn, found)


def _prepared(methods: list[str] | None) -> Protocol:
    """Return the protocol, once it is known that the methods asked for are there."""
    require_run_extra()
    import torch

    from cairn.lab.fidelity_table import ANCHORS
    from cairn.lab.model import quiet
    from cairn.lab.protocol import read_protocol
    from cairn.methods import implemented_ids

    known = [*implemented_ids(), *ANCHORS]
    for one in methods or []:
        if one not in known:
            raise UserError("there is no implemented method or anchor with this id", value=one, repair=near(one, known))
    torch.set_num_threads(1)  # the same sums in the same order wherever this runs
    quiet()
    return read_protocol()


def _tasks() -> Iterable[str]:
    from cairn.lab.tasks import names

    return names()


def _panel(protocol: Protocol, preset: str, task: str) -> CreditPanel:
    from cairn.lab.credit_panel import make_panel
    from cairn.lab.protocol import family_of
    from cairn.lab.tasks import find

    protocol.preset(preset)
    find(family_of(task)).require_packages()
    return make_panel(protocol, preset, task, own_model(protocol, preset, family_of(task), "cpu"))


def _gauge(protocol: Protocol, panel: CreditPanel) -> Gauge:
    from cairn.lab.fidelity_table import Gauge
    from cairn.lab.xray import provenance_of

    return Gauge(panel, provenance_of(protocol, panel))


def _rules(panel: CreditPanel, methods: list[str] | None) -> dict[str, Rule]:
    """Return the rules asked for. An anchor that a task does not have is left out."""
    from cairn.lab.fidelity_table import rules

    return {name: rule for name, rule in rules(panel).items() if methods is None or name in methods}


def _measure(
    protocol: Protocol, preset: str, task: str, methods: list[str] | None, out: tuple[Path, bool] | None
) -> FidelityTable:
    """Measure a task's rules. out: the folder for panel and rows, and whether rows that are there are kept."""
    from cairn.lab.fidelity_table import baseline
    from cairn.lab.xray import describe_panel

    say(f"Playing the panel of {task} ...")
    panel = _panel(protocol, preset, task)
    gauge = _gauge(protocol, panel)
    about = describe_panel(panel, baseline(), gauge.draws)
    kept = _kept(out, about)
    if out is not None:
        write_panel(out[0], about)
    rows = []
    rules = _rules(panel, methods)
    with Progress(console=messages(), transient=True) as progress:
        bar = progress.add_task(task, total=gauge.steps * len(rules))
        for place, (name, rule) in enumerate(rules.items()):
            progress.update(bar, description=f"{task}: {name}", completed=place * gauge.steps)
            row = kept.get(name) or gauge.measure(name, rule, lambda: progress.advance(bar))
            if out is not None:
                write_row(out[0], task, row)
            rows.append(row)
    return FidelityTable(panel=about, rows=tuple(rows))


def _kept(out: tuple[Path, bool] | None, about: PanelRecord) -> dict[str, FidelityRow]:
    """Return the rows of an earlier run on the same panel, by rule."""
    if out is None or not out[1] or not (out[0] / about.task / "panel.json").is_file():
        return {}
    earlier = read_table(out[0], about.task)
    return {row.rule: row for row in earlier.rows if earlier.panel == about and not earlier.stale(row)}
