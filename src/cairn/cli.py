"""The command `cairn`: its subcommands, and what a person reads when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cairn import __version__
from cairn.commands import (
    auditing,
    bench,
    catalogue,
    choosing,
    difficulty,
    entry,
    exporting,
    fidelity,
    planning,
    reporting,
    running,
    submitting,
    tools,
)
from cairn.commands.terminal import HELP_OPTIONS, print_error
from cairn.errors import UserError

if TYPE_CHECKING:
    from cairn.lab.experiment import Reproduction

EXIT_USER_ERROR = 2

app = typer.Typer(
    name="cairn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
    help="A validated inventory of credit assignment methods in reinforcement learning of language models, and a "
    "harness that tests what they claim on small models.",
)


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"cairn {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Hold the options that stand before a command."""


app.command("list")(catalogue.list_entries)
app.command("show")(entry.show)
app.command("cite")(exporting.cite)
app.command("export")(exporting.export)
app.command("validate")(catalogue.validate)
app.command("new")(submitting.new)
app.command("diff")(submitting.diff)
app.command("recommend")(choosing.recommend_methods)
app.command("power")(planning.power)
app.command("run")(running.run)
app.command("report")(reporting.report)
app.add_typer(auditing.audit, name="audit")
app.add_typer(bench.bench, name="bench")
app.command("fidelity")(fidelity.fidelity)
app.command("xray")(fidelity.xray)
app.command("tasks")(tools.tasks)
app.command("difficulty")(difficulty.difficulty)
app.command("credit")(tools.credit)
app.command("site")(tools.site)
app.add_typer(tools.model, name="model")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 when done, 2 when what was given is wrong, 130 when interrupted.

    arguments: what follows `cairn`; by default, what the process was started with.
    """
    _exit_with(app, arguments, "cairn")


def run_script(reproduction: Reproduction) -> None:
    """Do what `reproductions/<id>/reproduce.py` does when a person starts it: run itself, with the options of `run`."""
    _exit_with(running.script_command(reproduction), None, sys.argv[0])


def _exit_with(program: typer.Typer, arguments: Sequence[str] | None, name: str) -> None:
    try:
        program(args=None if arguments is None else list(arguments), prog_name=name)
    except UserError as error:
        print_error(error)
        sys.exit(EXIT_USER_ERROR)
