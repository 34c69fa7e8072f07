"""The shared protocol, read from `reproductions/protocol.yaml`, and what a task's name means under it."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cairn.errors import UserError
from cairn.evidence.records import canonical_json, spec_hash
from cairn.inventory.reader import ReadError, read
from cairn.lab.forms import Prompt
from cairn.lab.loop import Panel, TrainSettings
from cairn.lab.tasks import quest
from cairn.lab.tasks.world import World
from cairn.paths import data_root

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Instances(_Strict):
    """A row of task instances: seeds first_seed, first_seed + 1, ..."""

    first_seed: int
    count: Count


class TaskSpec(_Strict):
    """A task of the protocol: its knobs where they differ from the defaults, its prompt form and its instances."""

    knobs: dict[str, float | int | str]
    prompt: Prompt = "windowed"
    train: Instances
    evaluation: Instances


class Preset(_Strict):
    """A size of experiment. `recipe`: fields of the model's recipe, for a model other than the embedded one.

    evaluation_episodes: in each evaluation instance, for each point of a curve, where success cannot be exact.
    """

    updates: Count
    tasks_per_update: Count
    group_size: Count
    evaluate_every: Count
    seeds: Count
    fidelity_rollouts: Count
    evaluation_episodes: Annotated[int, Field(ge=2)]
    knobs: dict[str, float | int | str] = Field(default_factory=dict)
    recipe: dict[str, float | int] = Field(default_factory=dict)
    train_count: Count | None = None
    evaluation_count: Count | None = None


class Loss(_Strict):
    """Loss settings that every arm shares."""

    clip_ratio: Rate
    kl_coefficient: Annotated[float, Field(ge=0)]


class Protocol(_Strict):
    """See the comments in `reproductions/protocol.yaml`."""

    version: str
    tasks: dict[str, TaskSpec]
    loss: Loss
    learning_rate: Rate
    critic_learning_rate: Rate
    clip_norm: Rate
    presets: dict[str, Preset]
    longest_budget: Count
    first_seed: int
    least_seeds_for_verdict: Count
    bootstrap_seed: int

    @property
    def digest(self) -> str:
        """Return the sha256 of the protocol's content."""
        return spec_hash(self.model_dump(mode="json"))

    def preset(self, name: str) -> Preset:
        """Return a preset. Raises UserError for an unknown name."""
        if name not in self.presets:
            raise UserError("unknown preset", value=name, repair=f"Choose one of: {', '.join(self.presets)}.")
        return self.presets[name]

    def settings(self, preset: Preset) -> TrainSettings:
        """Return the training settings that all arms of a preset share."""
        return TrainSettings(
            updates=preset.updates,
            tasks_per_update=preset.tasks_per_update,
            group_size=preset.group_size,
            learning_rate=self.learning_rate,
            clip_norm=self.clip_norm,
            evaluate_every=preset.evaluate_every,
            evaluation_episodes=preset.evaluation_episodes,
            critic_learning_rate=self.critic_learning_rate,
        )


def read_protocol(path: Path | None = None) -> Protocol:
    """Read the protocol. Raises UserError, with file and line, for one that is not valid."""
    path = path or data_root() / "reproductions" / "protocol.yaml"
    try:
        document = read(path, path.name)
    except ReadError as error:
        raise UserError(
            error.message, file=path, line=error.line, value=error.value or None, repair=error.repair
        ) from error
    try:
        return Protocol.model_validate(document.value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        line = document.line(tuple(first["loc"]))
        raise UserError(
            f"{place}: {first['msg']}", file=path, line=line, value=first["input"], repair="Mend the field."
        ) from error


def task_knobs(protocol: Protocol, preset: Preset, task: str) -> quest.Knobs:
    """Resolve a task's name. `quest` is the protocol's task; `quest-revisit=0` is the same with one knob turned.

    Raises UserError for an unknown task, knob or value.
    """
    base, turned = _read_name(protocol, task)
    overrides = {name: value for name, value in turned.items() if name != "prompt"}
    return make_knobs({**protocol.tasks[base].knobs, **preset.knobs, **overrides})


def task_prompt(protocol: Protocol, task: str) -> Prompt:
    """Return a task's prompt form: the protocol's, or that of a name like `quest-prompt=history`.

    Raises UserError for an unknown task or form.
    """
    base, turned = _read_name(protocol, task)
    asked = turned.get("prompt", protocol.tasks[base].prompt)
    for form in get_args(Prompt):
        if asked == form:
            return cast("Prompt", form)
    raise UserError("unknown prompt form", value=asked, repair=f"Choose one of: {', '.join(get_args(Prompt))}.")


def _read_name(protocol: Protocol, task: str) -> tuple[str, dict[str, str]]:
    """Split a task's name into the protocol's task and what the name turns."""
    base, *turned = task.split("-")
    if base not in protocol.tasks:
        raise UserError("unknown task", value=task, repair=f"Choose one of: {', '.join(protocol.tasks)}.")
    return base, dict(_turned(task, part) for part in turned)


def make_knobs(values: dict[str, Any]) -> quest.Knobs:
    """Make knobs from plain values. Raises UserError for an unknown name or a value of the wrong type."""
    types: dict[str, type] = {f.name: type(f.default) for f in dataclasses.fields(quest.Knobs)}
    unknown = sorted(set(values) - set(types))
    if unknown:
        raise UserError("unknown knob", value=unknown[0], repair=f"Choose one of: {', '.join(types)}.")
    try:
        # By way of text, so that 12.7 is no whole number of turns.
        return quest.Knobs(**{name: types[name](str(value)) for name, value in values.items()})
    except ValueError as error:
        raise UserError(f"a knob has a wrong value: {error}", repair="Give a number.") from error


def _turned(task: str, part: str) -> tuple[str, str]:
    knob, _, value = part.partition("=")
    if not value:
        raise UserError("a task's name turns knobs like `quest-revisit=0`", value=task, repair="Write knob=value.")
    return knob, value


@lru_cache(maxsize=8)
def build_panel(knobs: quest.Knobs, train: tuple[int, int], evaluation: tuple[int, int]) -> Panel:
    """Build the instances of a task. train, evaluation: (first seed, count)."""
    train_worlds, evaluation_worlds = (
        tuple(quest.build(knobs, first + i) for i in range(count)) for first, count in (train, evaluation)
    )
    return Panel(train_worlds, evaluation_worlds)


def panel_digest(panel: Panel) -> str:
    """Return the sha256 over all that a panel's worlds say and do."""
    worlds = [_content(world) for world in (*panel.train, *panel.evaluation)]
    return spec_hash({"worlds": canonical_json(worlds)})


def _content(world: World) -> dict[str, Any]:
    """Return every field but the name, probabilities to 12 decimals."""
    fields = {name: value for name, value in vars(world).items() if name != "name"}
    return {
        name: value.astype(float).round(12).tolist() if isinstance(value, np.ndarray) else value
        for name, value in fields.items()
    }
