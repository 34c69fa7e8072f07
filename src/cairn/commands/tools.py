"""`cairn tasks`, `cairn credit`, `cairn site`, `cairn model rebuild`."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cairn.commands.teaching import lessons
from cairn.commands.terminal import (
    DASH,
    AsJson,
    add,
    heading,
    output,
    print_json,
    require_run_extra,
    table,
)
from cairn.errors import UserError
from cairn.inventory import load
from cairn.inventory.findings import near
from cairn.paths import data_root, in_checkout

MOST_TOKENS_SHOWN = 8

model = typer.Typer(no_args_is_help=True, help="The small models that are shipped, one for each task.")


def tasks(as_json: AsJson = False) -> None:
    """Show the tasks: their knobs, horizon and prompt, and what is exact about their credit."""
    require_run_extra()
    from cairn.lab.tasks import names

    found = {name: _describe(name) for name in names()}
    if as_json:
        print_json(found)
        return
    console = output()
    for name, task in found.items():
        _print_task(console, name, task)


def _describe(name: str) -> dict[str, Any]:
    from cairn.lab.protocol import read_protocol, task_knobs, task_prompt
    from cairn.lab.tasks import find

    task, protocol = find(name), read_protocol()
    spec = protocol.of(name).tasks[name]
    at = {preset: task_knobs(protocol, preset, name) for preset in protocol.presets}
    return {
        "about": task.about,
        "horizon": task.horizon,
        "exact": task.exact,
        "estimated": task.estimated,
        "packages": task.packages,
        "extra": task.extra,
        "prompts": task.prompts,
        "prompt": task_prompt(protocol, name),
        "knobs": [
            {"name": knob.name, "default": knob.default, "meaning": knob.metadata["meaning"],
             "presets": {preset: getattr(knobs, knob.name) for preset, knobs in at.items()}}
            for knob in dataclasses.fields(task.knobs)
        ],
        "train": spec.train.model_dump(),
        "evaluation": spec.evaluation.model_dump(),
    }  # fmt: skip


def _print_task(console: Console, name: str, task: dict[str, Any]) -> None:
    heading(console, name)
    for text in task["about"]:
        console.print(f"{text}\n")
    console.print(f"Turns: {task['horizon']}.\nExact: {task['exact']}.\nEstimated: {task['estimated']}.")
    others = " or ".join(f"`{name}-prompt={form}`" for form in task["prompts"] if form != task["prompt"])
    console.print(f"Prompt: {task['prompt']}{', unless a name asks for another: ' if others else ''}{others}.")
    console.print(
        f"Instances: {task['train']['count']} to train on, {task['evaluation']['count']} others to evaluate on."
    )
    if task["packages"]:
        console.print(f"Needs: {', '.join(task['packages'])} (the extra `{task['extra']}`).")
    heading(console, f"Knobs of {name}; another value makes another task, `{name}-KNOB=VALUE`")
    presets = [*task["knobs"][0]["presets"]]
    rows = table("knob", "default", *presets, "meaning", right=["default", *presets], whole=["knob"])
    for knob in task["knobs"]:
        values = [_told(value) for value in (knob["default"], *knob["presets"].values())]
        add(rows, knob["name"], *values, knob["meaning"])
    console.print(rows)


def _told(value: Any) -> str:
    """Write a knob's value as a task's name takes it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def credit(
    id: Annotated[str, typer.Argument(metavar="ID", help="A method that is implemented.")],
    rollouts: Annotated[Path, typer.Argument(metavar="ROLLOUTS.jsonl", help="See schemas/rollouts.schema.json.")],
    as_json: AsJson = False,
) -> None:
    """Print the credit that a rule, at its defaults, gives to each turn of logged rollouts.

    Only the reward and credit stages run: what a rule collects beforehand must stand in the file, which has fields for
    values and none for the scores that a rule may buy. A turn's credit is the mean advantage of its tokens. With
    --json, one line for each rollout.
    """
    require_run_extra()
    from cairn.interchange import read_rollouts, turn_credit
    from cairn.methods import find, implemented_ids

    if id not in implemented_ids():
        known = "this entry has no implementation" if id in load() else "there is no method with this id"
        raise UserError(known, value=id, repair=near(id, implemented_ids()))
    rows = read_rollouts(rollouts)
    credits_ = turn_credit(find(id)(), rows, file=rollouts)
    if as_json:
        for row, numbers in zip(rows, credits_, strict=True):
            sys.stdout.write(json.dumps({"group": row.group, "reward": row.reward, "credit": numbers}) + "\n")
        return
    found = table(
        "rollout", "group", "reward", "turn", "tokens", "credit", right=["rollout", "reward", "turn", "credit"]
    )
    for index, (row, numbers) in enumerate(zip(rows, credits_, strict=True)):
        for at, (turn, value) in enumerate(zip(row.turns, numbers, strict=True)):
            first = (str(index), row.group, f"{row.reward:g}") if at == 0 else ("", "", "")
            text = DASH if value is None else f"{value:+.4f}"
            add(found, *first, str(at), _shortened(turn.tokens), text)
    output().print(found)


def _shortened(tokens: tuple[str, ...]) -> str:
    text = " ".join(token.strip() for token in tokens[:MOST_TOKENS_SHOWN])
    return text + (f" ... ({len(tokens)} tokens)" if len(tokens) > MOST_TOKENS_SHOWN else "")


def site(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Render the whole site into this folder.", show_default=False)
    ] = None,
) -> None:
    """Write the generated pages and data below docs/; with --out, render the whole site instead.

    Rendering needs mkdocs-material; without --out, `mkdocs build` does that.
    """
    from cairn.site import build, generate

    root = data_root()
    if out is not None:
        output().print(f"Site: {build(root, out)}", soft_wrap=True)
        return
    if not in_checkout():
        raise UserError(
            "the hand-written pages are not here", file=root, repair="run this in a checkout of the repository"
        )
    pages = generate(root, root / "docs")
    output().print(f"{len(pages)} files below {root / 'docs'}", soft_wrap=True)


@model.callback()
def _model() -> None:
    """Keep `rebuild` a command of its own while it is the only one."""


@model.command()
def rebuild(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task whose model it is; see `cairn tasks`.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to put the model; must be new or empty.")],
) -> None:
    """Make the shipped model of a task again from its recipe: the same bytes on the same machine and packages."""
    require_run_extra()
    from cairn.lab.model import quiet
    from cairn.lab.pretrain import rebuild as make
    from cairn.lab.tasks import find

    found = find(task)
    _refuse(folder)
    quiet()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            made = Path(temporary) / "model"
            with lessons(found.recipe.steps) as step:
                make(made, found, found.recipe, found.knobs(), step)
            made.replace(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write: {reason}", file=folder, repair="choose a folder that you may write") from error
    output().print(f"Model: {folder}", soft_wrap=True)


def _refuse(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError("this exists and is not an empty folder", file=folder, repair="name a new folder")
