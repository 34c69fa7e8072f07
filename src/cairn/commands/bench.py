"""`cairn bench`: how fast what we ship is, beside what a user would pick instead."""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress, track

from cairn import __version__
from cairn.commands.terminal import (
    HELP_OPTIONS,
    AsJson,
    add,
    messages,
    output,
    print_json,
    require_run_extra,
    say,
    table,
)
from cairn.errors import UserError
from cairn.inventory.findings import near

if TYPE_CHECKING:
    from cairn.lab.speed import Pair
    from cairn.lab.speed_tokens import Growth

TURNS_IN_ROLLOUT = 8
LEAST_TOKENS = 10_000
Task = Annotated[
    str | None,
    typer.Option(metavar="TASK", help="Task with an embedded model; the protocol's first unless given."),
]

bench = typer.Typer(
    no_args_is_help=True, context_settings=HELP_OPTIONS, help="Time what we ship beside what a user would pick instead."
)


@bench.command()
def credit(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Methods to time; all unless given.")
    ] = None,
    rows: Annotated[int, typer.Option(min=16, help="Rows of tokens; a multiple of 16.")] = 512,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens in a row.")] = 1024,
    pairs: Annotated[int, typer.Option(min=1, help="How often both sides run, in turn.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Time credit functions on one thread, side by side with other implementations, on the same random tensors.

    Rows have holes (tokens of tools) and unequal lengths. What is compared stands in reproductions/<id>/bench.py. A
    package that is not installed is named, and its rows are left out; `nox -s bench-credit` installs it apart.
    """
    require_run_extra()
    if rows % (2 * TURNS_IN_ROLLOUT):
        raise UserError("the number of rows is not a multiple of 16", value=rows, repair="use --rows 512")
    chosen = _chosen(ids)
    missing = sorted({pair.package or "" for pair in chosen if not pair.installed})
    present = [pair for pair in chosen if pair.installed]
    repair = f"python -m pip install {' '.join(missing)}, or run nox -s bench-credit, which needs no full install"
    if not present:
        raise UserError(f"not installed: {', '.join(missing)}", repair=repair)
    found = _measure(present, rows, tokens, pairs)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if missing:
        say(f"Left out, because not installed: {', '.join(missing)}. Repair: {repair}.")


@bench.command()
def loop(
    prompts: Annotated[int, typer.Option(min=2, help="Distinct prompts of an update with one turn.")] = 32,
    instances: Annotated[int, typer.Option(min=1, help="Instances of an update with episodes.")] = 4,
    group: Annotated[int, typer.Option(min=2, help="Samples of each prompt or instance.")] = 8,
    updates: Annotated[int, typer.Option(min=1, help="Updates in each run.")] = 10,
    pairs: Annotated[int, typer.Option(min=1, help="How often all sides run, in turn.")] = 5,
    task: Task = None,
    as_json: AsJson = False,
) -> None:
    """Time the training loop on one thread beside TRL's GRPOTrainer: same model, prompts, tokens and updates.

    What is compared, and how to read the ratios, stands in docs/speed.md. Needs trl: `nox -s bench-loop` installs it
    apart.
    """
    require_run_extra()
    if not _has_trl():
        raise UserError("not installed: trl", repair="run nox -s bench-loop, which needs no full install")
    from cairn.lab.speed_loop import RUNS_IN_PAIR, WARM_UPDATES, compare

    task = _chosen_task(task)
    with Progress(console=messages(), transient=True) as bar:
        advance = partial(bar.advance, bar.add_task("Timing", total=RUNS_IN_PAIR * pairs))
        timings = compare(task, (prompts, instances), group, updates, pairs, advance)
    setting = {"task": task, "group": group, "warm_updates": WARM_UPDATES, "updates": updates, "pairs": pairs}
    found = {
        **setting,
        "threads": 1,
        "versions": _versions("torch", "numpy", "transformers", "trl"),
        "timings": timings,
    }
    if as_json:
        print_json(found)
    else:
        _print_loop(found)


def _chosen(ids: list[str] | None) -> list[Pair]:
    from cairn.lab.speed import find_pairs

    known = find_pairs()
    for one in ids or []:
        if one not in known:
            raise UserError("nothing is timed for this id", value=one, repair=near(one, sorted(known)))
    return [pair for one in ids or known for pair in known[one]]


def _measure(pairs: list[Pair], rows: int, tokens: int, runs: int) -> dict[str, Any]:
    from cairn.lab.speed import CALLS_IN_ROW, make_batch, measure

    batch, timed = make_batch(rows, tokens), []
    for pair in track(pairs, "Timing", console=messages(), transient=True):
        timing = measure(pair, batch, runs)
        timed.append(
            {
                "credit": pair.name,
                "against": pair.against,
                "package": pair.package,
                "ours_s": timing.ours_s,
                "theirs_s": timing.theirs_s,
                "ratio": timing.ratio,
                "least_ratio": min(timing.ratios),
                "greatest_ratio": max(timing.ratios),
                "greatest_difference": timing.difference,
            }
        )
    packages = ("torch", "numpy", *{pair.package.partition("==")[0] for pair in pairs if pair.package})
    setting = {"rows": rows, "tokens": tokens, "pairs": runs, "calls_in_row": CALLS_IN_ROW, "threads": 1}
    return {**setting, "versions": _versions(*packages), "timings": timed}


@bench.command()
def continuations(
    counts: Annotated[
        list[int] | None,
        typer.Argument(metavar="[K]...", min=1, help="Continuations from every turn; 1 2 4 8 by default."),
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="Instances of a batch.")] = 4,
    group: Annotated[int, typer.Option(min=2, help="Episodes of each instance.")] = 8,
    seeds: Annotated[int, typer.Option(min=1, help="Batches counted; the table shows the greatest ratio.")] = 3,
    task: Task = None,
    as_json: AsJson = False,
) -> None:
    """Count what the network computes for K continuations from every turn, beside the tokens that are new in them.

    New is what the ledger says: read or said, without what had stood in the rows that the continuations left. Nothing
    is timed, so that the counts are the same on every machine.
    """
    require_run_extra()
    from cairn.lab.speed_continuations import FORMS, count

    task, found = _chosen_task(task), []
    for form in FORMS:
        for many in counts or (1, 2, 4, 8):
            batches = [count(task, form, many, instances, group, seed) for seed in range(seeds)]
            worst = max(batches, key=lambda one: one.ratio)
            found.append({**asdict(worst), "ratio": worst.ratio, "least_ratio": min(one.ratio for one in batches)})
    if as_json:
        print_json({"task": task, "instances": instances, "group": group, "seeds": seeds, "counts": found})
    else:
        _print_continuations(found)


@bench.command()
def tokens(
    most: Annotated[int, typer.Option(min=100_000, help="Tokens of the largest batch.")] = 10_000_000,
    task: Task = None,
    as_json: AsJson = False,
) -> None:
    """Time credit and the loop's own work on batches from 10,000 tokens on, each ten times as large as the last.

    Once as a process is, and once more with the memory kept that the C library would otherwise give back to the system.
    The largest batch takes a few gigabytes and all of it a minute or two.
    """
    require_run_extra()
    from cairn.lab.speed_tokens import measure, parts, sizes

    task = _chosen_task(task)
    with Progress(console=messages(), transient=True) as bar:
        advance = partial(bar.advance, bar.add_task("Timing", total=2 * len(list(parts(task)))))
        found = [_growth(*pair) for pair in measure(task, sizes(LEAST_TOKENS, most), advance)]
    if as_json:
        print_json({"task": task, "threads": 1, "versions": _versions("torch", "numpy"), "parts": found})
    else:
        _print_tokens(found)


def _growth(plain: Growth, kept: Growth | None) -> dict[str, Any]:
    return {
        "part": plain.name,
        "tokens": plain.tokens,
        "ns_per_token": plain.ns_per_token,
        "exponent": plain.exponent,
        "last_exponent": plain.last_exponent,
        "kept_ns_per_token": kept and kept.ns_per_token,
        "kept_exponent": kept and kept.exponent,
        "kept_last_exponent": kept and kept.last_exponent,
    }


def _chosen_task(asked: str | None) -> str:
    from cairn.lab.protocol import read_protocol

    return asked or next(iter(read_protocol().tasks))


def _has_trl() -> bool:
    return importlib.util.find_spec("trl") is not None


def _versions(*packages: str) -> dict[str, str]:
    return {"cairn": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}


def _named(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _print(found: dict[str, Any]) -> None:
    console = output()
    ends = ["ours, ms", "theirs, ms", "ratio", "least to greatest", "credits differ by"]
    rows = table("credit", "against", *ends, right=ends, whole=["credit"])
    for one in found["timings"]:
        add(
            rows,
            one["credit"],
            one["against"],
            f"{one['ours_s'] * 1e3:.2f}",
            f"{one['theirs_s'] * 1e3:.2f}",
            f"{one['ratio']:.1f}",
            f"{one['least_ratio']:.1f} to {one['greatest_ratio']:.1f}",
            f"{one['greatest_difference']:.0e}",
        )
    console.print(rows)
    console.print(
        f"\n{found['rows']} rows of {found['tokens']} tokens, float32, one thread on {sys.platform} "
        f"{platform.machine()}; processor time of {found['calls_in_row']} calls in a row, "
        f"medians of {found['pairs']} runs in turn. {_named(found['versions'])}."
    )


def _print_loop(found: dict[str, Any]) -> None:
    console = output()
    ends = ["samples", "tokens each", "ours, 1/s", "TRL, 1/s", "ratio", "least to greatest"]
    rows = table("workload", "our prompt", *ends, right=ends, whole=["workload"])
    for one in found["timings"]:
        add(
            rows,
            one["workload"],
            one["prompt"],
            str(one["samples_in_update"]),
            f"{one['ours_tokens_per_sample']:.1f}, {one['theirs_tokens_per_sample']:.1f}",
            f"{one['ours_samples_per_s']:.0f}",
            f"{one['theirs_samples_per_s']:.0f}",
            f"{one['ratio']:.1f}",
            f"{one['least_ratio']:.1f} to {one['greatest_ratio']:.1f}",
        )
    console.print(rows)
    console.print(
        f"\nSamples for each processor second, one thread on {sys.platform} {platform.machine()}; the embedded model "
        f"of {found['task']}; {found['updates']} updates after {found['warm_updates']} that do not count, medians of "
        f"{found['pairs']} runs in turn. {_named(found['versions'])}."
    )


def _print_continuations(found: list[dict[str, Any]]) -> None:
    ends = ["K", "turns", "for the batch", "computed", "billed", "new", "computed / new", "least of all"]
    rows = table("prompt", *ends, right=ends)
    for one in found:
        numbers = [one[name] for name in ("continuations", "turns", "batch", "computed", "billed", "new")]
        add(rows, one["prompt"], *map(str, numbers), f"{one['ratio']:.2f}", f"{one['least_ratio']:.2f}")
    output().print(rows)
    output().print(
        "\nPlaces that the network computed, padding among them, and tokens on the ledger. A windowed batch and its "
        "continuations are sampled from one table, which is read for the batch."
    )


def _print_tokens(found: list[dict[str, Any]]) -> None:
    console = output()
    ends = ["ns per token, smallest to largest batch", "exponent", "last decade", "memory kept"]
    rows = table("work", *ends, right=ends, whole=["work"])
    for one in found:
        kept = one["kept_last_exponent"]
        add(
            rows,
            one["part"],
            ", ".join(f"{ns:.3g}" for ns in one["ns_per_token"]),
            f"{one['exponent']:.2f}",
            f"{one['last_exponent']:.2f}",
            None if kept is None else f"{kept:.2f}",
        )
    console.print(rows)
    console.print(
        f"\nSlope of log seconds on log tokens: over all batches, over the two largest, and over these with the memory "
        f"kept. Processor seconds of one thread on {sys.platform} {platform.machine()}, the least of a few runs. "
        f"{_named(_versions('torch', 'numpy'))}."
    )
