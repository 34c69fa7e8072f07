"""`cairn bench`: how fast what we ship is, beside what a user would pick instead."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

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

TURNS_IN_ROLLOUT = 8

bench = typer.Typer(
    no_args_is_help=True, context_settings=HELP_OPTIONS, help="Time what we ship beside what a user would pick instead."
)


@bench.callback()
def _bench() -> None:
    """Keep `credit` a command of its own while it is the only one."""


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
    versions = {"cairn": __version__, "python": platform.python_version(), **{name: version(name) for name in packages}}
    setting = {"rows": rows, "tokens": tokens, "pairs": runs, "calls_in_row": CALLS_IN_ROW, "threads": 1}
    return {**setting, "versions": versions, "timings": timed}


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
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    console.print(
        f"\n{found['rows']} rows of {found['tokens']} tokens, float32, one thread on {sys.platform} "
        f"{platform.machine()}; processor time of {found['calls_in_row']} calls in a row, "
        f"medians of {found['pairs']} runs in turn. {versions}."
    )
