"""`cairn power`: what a number of seeds can show, before they are spent; `cairn run` prints it before it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cairn.commands.experiments import known_experiment
from cairn.commands.numbers import number
from cairn.commands.terminal import (
    DASH,
    AsJson,
    add,
    folded,
    heading,
    messages,
    output,
    print_json,
    printable,
    require_run_extra,
    table,
)
from cairn.errors import UserError
from cairn.evidence.homes import home

if TYPE_CHECKING:
    from cairn.evidence.planning import Outlook, Test
    from cairn.evidence.report import Report
    from cairn.lab.runner import Plan, Watcher

DIGITS = 3


def power(
    id: Annotated[str, typer.Argument(metavar="ID", help="A method that has a reproduction, or a study.")],
    seeds: Annotated[
        int | None,
        typer.Option(min=2, help="Planned seeds; as many as are published unless given.", show_default=False),
    ] = None,
    preset: Annotated[str, typer.Option(help="The preset whose published records show the spread.")] = "cpu",
    effect: Annotated[
        float | None,
        typer.Option(
            help="True difference to assume of every claim; the published one unless given.", show_default=False
        ),
    ] = None,
    spread: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Standard deviation of the paired difference to assume; the published one unless given.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a number of seeds can show about each claim, by simulating the verdict rule; nothing is run.

    The spread comes from the published records of the same arms, or from --spread. Differences are taken as normal.
    """
    from cairn.evidence.planning import outlooks

    report = _published(known_experiment(id), preset)
    tests, min_seeds, planned = _declared(id, preset, report)
    planned = seeds or planned
    console = messages()
    found = [
        *track(
            outlooks(tests, planned, min_seeds, report, deviation=spread, effect=effect),
            "simulating the verdict rule",
            total=len(tests),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
    ]
    if as_json:
        print_json({"id": id, "preset": preset, "claims": [one.model_dump(mode="json") for one in found]})
    else:
        print_outlooks(output(), found, preset)


def _published(method: str, preset: str) -> Report | None:
    """Return the report in the repository, or in the installed package, where it is of this preset."""
    from cairn.evidence.report import read_report

    path = home(method) / "report.json"
    report = read_report(path) if path.is_file() else None
    return report if report is not None and report.preset == preset else None


def _declared(method: str, preset: str, report: Report | None) -> tuple[Sequence[Test], int, int]:
    """Return the claims with their tasks, the seeds that a verdict needs, and the usual number of seeds.

    A published report repeats what was declared, so that the packages of a run are needed only without one.
    """
    from cairn.evidence.planning import to_test

    if report is not None:
        return to_test(report), report.method.min_seeds, len(report.seeds)
    require_run_extra()
    from cairn.lab.experiment import load_reproduction
    from cairn.lab.protocol import read_protocol

    protocol = read_protocol()
    usual, least = protocol.preset(preset).seeds, protocol.least_seeds_for_verdict
    return to_test(load_reproduction(method).declaration(least)), least, usual


def foretell(console: Console, plan: Plan, *, own_model: bool) -> None:
    """Print what the seeds of a plan can show. own_model: it is the preset's, so that published spreads are of use."""
    from cairn.evidence.planning import outlooks, to_test

    try:
        report = _published(plan.reproduction.id, plan.preset) if own_model else None
    except UserError:
        report = None  # a report that cannot be read is no reason not to run
    least = plan.protocol.least_seeds_for_verdict
    tests = to_test(plan.reproduction.declaration(least))
    print_outlooks(console, [*outlooks(tests, len(plan.seeds), least, report)], plan.preset)


class Foretold:
    """A watcher that calls `foretell` once it is known that there are cells to run, and else does as another does."""

    def __init__(self, watching: Watcher, foretell: Callable[[], None]) -> None:
        """Take the watcher that is told everything."""
        self._foretell = foretell
        self._planned = watching.planned
        self.advanced = watching.advanced
        self.done = watching.done

    def planned(self, cells: int, finished: int) -> None:
        """Say what the seeds can show, then how many cells there are."""
        if finished < cells:
            self._foretell()
        self._planned(cells, finished)


def print_outlooks(console: Console, found: Sequence[Outlook], preset: str) -> None:
    """Print the table, or that no spread is known, and what limits it."""
    if not found:
        return
    first, known = found[0], [one for one in found if one.deviation is not None]
    if known:
        heading(console, f"What {first.seeds} paired seeds can show; d is the true difference arm - control")
        console.print(_rows(known, console))
        source = (
            f", in brackets over how many published seeds (preset {preset})" if known[0].known_from else ", assumed"
        )
        console.print(
            f"Simulated with the verdict rule, normal differences. SD: of the paired difference{source}. A published "
            "SD or d is an estimate, and a d that stood out is likely too large.",
            style="dim",
        )
    unknown = [one.claim.id for one in found if one.deviation is None]
    if unknown:
        which = "any claim" if len(unknown) == len(found) else ", ".join(unknown)
        console.print(
            printable(
                f"No spread is known for {which}: no published records of these arms with this model at preset "
                f"{preset}. What {first.seeds} seeds can show is unknown."
            ),
            soft_wrap=True,
        )
    if first.seeds < first.min_seeds:
        console.print(f"A verdict needs {first.min_seeds} seeds; with {first.seeds}, every claim stays inconclusive.")


def _rows(known: Sequence[Outlook], console: Console) -> Table:
    share, seeds = f"{known[0].target:.0%}", known[0].seeds
    columns = (
        "asks for",
        "SD",
        f"{share} supported\nwhere",
        "d assumed",
        f"supported\nwith {seeds}",
        f"seeds for\n{share}",
    )
    rows = table("claim", *columns, right=columns)
    for one in known:
        add(
            rows,
            folded(one.claim.id, console),
            _asked(one),
            number(one.deviation, DIGITS) + (f" ({one.known_from})" if one.known_from else ""),
            _detected(one),
            DASH if one.effect is None else f"{one.effect:+.{DIGITS}f}",
            DASH if one.supported is None else f"{one.supported:.0%}",
            _needed(one),
        )
    return rows


def _asked(one: Outlook) -> str:
    margin = one.claim.margin
    return {
        "greater": f"d > {margin:g}",
        "less": f"d < {-margin:g}",
        "equivalent": f"|d| <= {margin:g}",
        "not_greater": f"d <= {margin:g}",
    }[one.claim.direction]


def _detected(one: Outlook) -> str:
    if one.detectable is None:
        return "never" if one.seeds >= one.min_seeds else DASH
    sign = {"greater": "d >=", "equivalent": "|d| <="}.get(one.claim.direction, "d <=")
    return f"{sign} {one.detectable:.{DIGITS}f}"


def _needed(one: Outlook) -> str:
    if one.effect is None:
        return DASH
    if one.seeds_needed is not None:
        return str(one.seeds_needed)
    return f"over {one.most_seeds}" if one.fulfilled else "none would do"
