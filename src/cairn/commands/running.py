"""`cairn run`, and the same for a person who starts `reproductions/<id>/reproduce.py` itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cairn.commands.experiments import known_experiment
from cairn.commands.teaching import own_model
from cairn.commands.terminal import HELP_OPTIONS, AsJson, messages, output, require_run_extra, say
from cairn.evidence.homes import REPRODUCTIONS, ids
from cairn.lab import forking

if TYPE_CHECKING:
    from cairn.evidence.report import Report
    from cairn.lab.backends import Backend
    from cairn.lab.experiment import Reproduction
    from cairn.lab.protocol import Protocol
    from cairn.lab.runner import Plan

INTERRUPTED = 130
ALL = "all"  # in place of an id


@dataclass(frozen=True)
class Options:
    """What a person asked for, as it was given."""

    preset: str
    seeds: int | None
    device: str
    out: Path | None
    resume: bool
    workers: int | None
    model: str | None
    task: str | None
    backend: str | None
    ray_address: str | None
    dtype: str = "float32"


Preset = Annotated[str, typer.Option(help="smoke (seconds), cpu (minutes on two cores) or gpu.")]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="How many seeds; the preset's number unless given.", show_default=False)
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="Of the weights: float32, or bfloat16 on cuda.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder for results/ and report.json; out/<id>-<preset> or out/<id>-<task>-<preset> unless given.",
        show_default=False,
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Keep the finished cells of an earlier run in the same folder.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes, one thread each; the cores unless given.", show_default=False)
]
Model = Annotated[
    str | None,
    typer.Option(metavar="NAME_OR_FOLDER", help="Another initial model than the embedded one.", show_default=False),
]
Task = Annotated[
    str | None,
    typer.Option(
        metavar="TASK", help="Another task than the reproduction's first; see `cairn tasks`.", show_default=False
    ),
]
BackendName = Annotated[
    str | None,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="serial, processes or ray; processes unless given, and serial for one worker.",
        show_default=False,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The Ray cluster to run on; one of this machine alone unless given.",
        show_default=False,
    ),
]


def run(  # noqa: PLR0913, PLR0917 - one for each option
    id: Annotated[
        str,
        typer.Argument(metavar="ID", help="A method that has a reproduction, or a study; all: each reproduction."),
    ],
    preset: Preset = "cpu",
    seeds: Seeds = None,
    device: Device = "auto",
    out: Out = None,
    resume: Resume = False,
    workers: Workers = None,
    model: Model = None,
    task: Task = None,
    backend: BackendName = None,
    ray_address: RayAddress = None,
    dtype: Dtype = "float32",
    as_json: AsJson = False,
) -> None:
    """Run a reproduction or a study: all arms over all seeds, then intervals, ledger and verdicts.

    A finished cell (one arm, one task, one seed) is kept as a file; a run that was stopped goes on with --resume.
    """
    require_run_extra()
    if backend in (None, "processes") and (workers or _cores()) > 1:
        forking.get_ready()  # first of all: what follows imports for seconds, and so do the workers meanwhile
    from cairn.lab.experiment import load_reproduction

    options = Options(preset, seeds, device, out, resume, workers, model, task, backend, ray_address, dtype)
    if id == ALL:
        reproduce_all([load_reproduction(one) for one in ids(REPRODUCTIONS)], options, as_json)
    else:
        reproduce(load_reproduction(known_experiment(id)), options, as_json)


def script_command(reproduction: Reproduction) -> typer.Typer:
    """Return the command of a reproduction's own script: that of `run` without the id."""
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings=HELP_OPTIONS)

    @program.command(help=reproduction.title)
    def script(  # noqa: PLR0913, PLR0917 - one for each option
        preset: Preset = "cpu",
        seeds: Seeds = None,
        device: Device = "auto",
        out: Out = None,
        resume: Resume = False,
        workers: Workers = None,
        model: Model = None,
        task: Task = None,
        backend: BackendName = None,
        ray_address: RayAddress = None,
        dtype: Dtype = "float32",
        as_json: AsJson = False,
    ) -> None:
        options = Options(preset, seeds, device, out, resume, workers, model, task, backend, ray_address, dtype)
        reproduce(reproduction, options, as_json)

    return program


def reproduce(reproduction: Reproduction, options: Options, as_json: bool) -> None:
    """Run what the options say and print the report. Raises UserError, before anything is written, for wrong ones."""
    from cairn.lab.backends import open_backend

    plan = _plan(reproduction, options)
    backend = open_backend(options.backend, plan.workers, options.ray_address)
    failed, report = _run(plan, backend, own_model=options.model is None)
    if as_json:
        print_report_json(report)
    else:
        _print(plan, report)
    _end(failed)


def reproduce_all(reproductions: Sequence[Reproduction], options: Options, as_json: bool) -> None:
    """Run several, one after another, each in a folder of its own below `out`, and print one table of all reports.

    Raises UserError, before anything is written, for options that are wrong for one of them.
    """
    from cairn.commands.report_tables import print_reports
    from cairn.lab.backends import open_backend
    from cairn.lab.tasks import find

    plans = [_plan(one, _below(one, options)) for one in reproductions]
    for family in {family for one in reproductions for family in one.families}:
        find(family).require_packages()
    failed, reports = 0, []
    for number, plan in enumerate(plans, 1):
        say(f"[{number}/{len(plans)}] {plan.reproduction.id}")
        backend = open_backend(options.backend, plan.workers, options.ray_address)
        lost, report = _run(plan, backend, own_model=options.model is None)
        failed += lost
        reports.append(report)
    if as_json:
        print_report_json(*reports)
    else:
        print_reports(output(), reports)
    _end(failed)


def _end(failed: int) -> None:
    if failed:
        say(f"{failed} cells failed; their records hold the reason, and --resume runs them again.")
        raise typer.Exit(1)


def _below(reproduction: Reproduction, options: Options) -> Options:
    return options if options.out is None else replace(options, out=options.out / reproduction.id)


def _plan(reproduction: Reproduction, options: Options) -> Plan:
    from cairn.lab.model import load as load_model
    from cairn.lab.model import pick_device, pick_dtype, quiet
    from cairn.lab.protocol import read_protocol
    from cairn.lab.runner import Plan

    protocol = read_protocol()
    preset = protocol.preset(options.preset)
    if options.task is not None:
        reproduction = _on_task(reproduction, protocol, options.preset, options.task)
    device = pick_device(options.device)
    dtype = pick_dtype(options.dtype, device)
    if options.preset == "gpu" and device == "cpu":
        say("The preset gpu is meant for a graphics card; on this processor it will take hours.")
    quiet()
    if options.model is not None:
        load_model(options.model)  # a model that cannot be used is refused before any cell starts
    models = {
        one: options.model or str(own_model(protocol, options.preset, one, device)) for one in reproduction.families
    }
    first, count = protocol.first_seed + reproduction.later_seeds, options.seeds or preset.seeds
    cells = count * sum(len(arm.tasks or reproduction.tasks[:1]) for arm in reproduction.arms)
    return Plan(
        reproduction=reproduction,
        protocol=protocol,
        preset=options.preset,
        seeds=tuple(range(first, first + count)),
        device=device,
        out=options.out or Path("out") / "-".join(filter(None, (reproduction.id, options.task, options.preset))),
        resume=options.resume,
        workers=min(options.workers or _cores(), cells),
        models=models,
        dtype=dtype,
    )


def _on_task(reproduction: Reproduction, protocol: Protocol, preset: str, task: str) -> Reproduction:
    """Move a reproduction to another task, without the arms that cannot run there."""
    from cairn.lab.forms import has_exact_credit
    from cairn.lab.protocol import family_of, task_knobs, task_prompt
    from cairn.lab.tasks import find

    knobs = task_knobs(protocol, preset, task)  # a name that is no task is refused
    find(family_of(task)).build(knobs, 0)  # and so is one whose instances cannot be had
    prompt = task_prompt(protocol, task)
    if has_exact_credit(prompt):
        return reproduction.on(task)
    say(f"The prompt `{prompt}` rules exact credit out; arms that need it do not run.")
    return reproduction.on(task).without("oracle")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _run(plan: Plan, backend: Backend, *, own_model: bool) -> tuple[int, Report]:
    """Return the number of failed cells and the report."""
    from cairn.commands.planning import Foretold, foretell
    from cairn.commands.watching import watcher
    from cairn.lab.judge import make_report
    from cairn.lab.runner import run as run_cells

    updates = plan.protocol.preset(plan.preset).updates
    console = messages()
    earlier = (plan.out / "report.json").is_file()
    try:
        with watcher(console, updates) as watching:
            # Told from inside, once nothing can be refused any more.
            foretold = Foretold(watching, partial(foretell, console, plan, own_model=own_model))
            records = run_cells(plan, foretold, backend)
        say("Taking the fingerprint and the intervals ...")
        # A report from before keeps its fingerprint: some of the records may be as old as that.
        report = make_report(plan.reproduction, plan.protocol, plan.out, fresh=not (plan.resume and earlier))
    except KeyboardInterrupt:
        say(f"Stopped. Finished cells are kept in {plan.results}; the same command with --resume goes on from there.")
        raise typer.Exit(INTERRUPTED) from None
    return sum(record.status != "ok" for record in records), report


def _print(plan: Plan, report: Report) -> None:
    from cairn.commands.report_tables import print_report

    console = output()
    print_report(console, report)
    console.print(f"\nRecords: {plan.results}\nReport: {plan.out / 'report.json'}", soft_wrap=True)


def print_report_json(*reports: Report) -> None:
    """Print one report as JSON, or several as a list."""
    found: list[Any] = [report.model_dump(mode="json") for report in reports]
    json.dump(found[0] if len(found) == 1 else found, sys.stdout, indent=1, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
