"""The shared protocol, read from `reproductions/protocol.yaml`, and what a task's name means under it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cairn.errors import UserError
from cairn.evidence.records import canonical_json, spec_hash
from cairn.inventory.reader import ReadError, read
from cairn.lab.instance import Instance
from cairn.lab.loop import Panel, TrainSettings
from cairn.lab.task import Prompt
from cairn.lab.tasks import find, names
from cairn.paths import data_root

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Instances(_Strict):
    """A row of task instances: seeds first_seed, first_seed + 1, ..."""

    first_seed: int
    count: Count


Knobs = dict[str, bool | float | int | str]


class TaskSpec(_Strict):
    """What the protocol says of a task. A task that it does not mention has the values given here.

    knobs: where they differ from the task's defaults. prompt: if None, the task's usual one. presets:
    for each preset named, knobs that differ again.
    """

    knobs: Knobs = Field(default_factory=dict)
    prompt: Prompt | None = None
    train: Instances = Instances(first_seed=1000, count=64)
    evaluation: Instances = Instances(first_seed=0, count=16)
    presets: dict[str, Knobs] = Field(default_factory=dict)


class Preset(_Strict):
    """A size of experiment. `recipe`: fields of the model's recipe, for a model other than the embedded one.

    knobs: of every task that has knobs of these names; what a task says of itself comes after.
    evaluation_episodes: in each evaluation instance, for each point of a curve, where success cannot be exact.
    """

    updates: Count
    tasks_per_update: Count
    group_size: Count
    evaluate_every: Count
    seeds: Count
    fidelity_rollouts: Count
    evaluation_episodes: Annotated[int, Field(ge=2)]
    knobs: Knobs = Field(default_factory=dict)
    recipe: dict[str, float | int] = Field(default_factory=dict)
    train_count: Count | None = None
    evaluation_count: Count | None = None


class Loss(_Strict):
    """Loss settings that every arm shares."""

    clip_ratio: Rate
    kl_coefficient: Annotated[float, Field(ge=0)]


# What `Protocol.of` has put in its place, so that it says nothing more.
IN_PLACE: Any = {"tasks": {"__all__": {"presets"}}}


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

    def of(self, family: str) -> Protocol:
        """Return what the protocol says of one task: its section alone, and presets that hold its own knobs.

        Raises UserError for an unknown task.
        """
        known, spec = find(family).knob_types, self.tasks.get(family, TaskSpec())
        presets = {}
        for name, preset in self.presets.items():
            common = {knob: value for knob, value in preset.knobs.items() if knob in known}
            presets[name] = preset.model_copy(update={"knobs": {**common, **spec.presets.get(name, {})}})
        tasks = {family: spec.model_copy(update={"presets": {}})}
        return self.model_copy(update={"tasks": tasks, "presets": presets})

    def digest(self, families: Iterable[str]) -> str:
        """Return the sha256 of what the protocol says of these tasks; other tasks may come and go.

        Of several it is that of their names and digests.
        """
        digests = {family: spec_hash(self.of(family).model_dump(mode="json", exclude=IN_PLACE)) for family in families}
        return next(iter(digests.values())) if len(digests) == 1 else spec_hash(digests)

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
        protocol = Protocol.model_validate(document.value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        line = document.line(tuple(first["loc"]))
        raise UserError(
            f"{place}: {first['msg']}", file=path, line=line, value=first["input"], repair="Mend the field."
        ) from error
    for where, name, known in _names(protocol):
        if name not in known:
            message, repair = f"{'.'.join(where)}: unknown", f"Choose one of: {', '.join(known)}."
            raise UserError(message, file=path, line=document.line(where), value=name, repair=repair)
    return protocol


def _names(protocol: Protocol) -> Iterator[tuple[tuple[str, ...], str, Collection[str]]]:
    """Yield each name of a task, preset or knob in a protocol: its place, the name, and those that are known there."""
    all_knobs = [knob for name in names() for knob in find(name).knob_types]
    for name, preset in protocol.presets.items():
        yield from ((("presets", name, "knobs", knob), knob, all_knobs) for knob in preset.knobs)
    for family, spec in protocol.tasks.items():
        yield ("tasks", family), family, names()
        own = find(family).knob_types
        yield from ((("tasks", family, "knobs", knob), knob, own) for knob in spec.knobs)
        for name, knobs in spec.presets.items():
            yield ("tasks", family, "presets", name), name, protocol.presets
            yield from ((("tasks", family, "presets", name, knob), knob, own) for knob in knobs)


def family_of(task: str) -> str:
    """Return the name of the task that a name like `quest-revisit=0` turns."""
    return task.partition("-")[0]


def task_knobs(protocol: Protocol, preset: str, task: str) -> Any:
    """Resolve a task's name. `quest` is the protocol's task; `quest-revisit=0` is the same with one knob turned.

    Raises UserError for an unknown task, preset, knob or value.
    """
    family, turned = _read_name(task)
    own = protocol.of(family)
    overrides = {name: value for name, value in turned.items() if name != "prompt"}
    return find(family).make_knobs({**own.tasks[family].knobs, **own.preset(preset).knobs, **overrides})


def task_prompt(protocol: Protocol, task: str) -> Prompt:
    """Return a task's prompt form: the protocol's, or that of a name like `quest-prompt=history`.

    Raises UserError for an unknown task or form.
    """
    family, turned = _read_name(task)
    forms = find(family).prompts
    asked = turned.get("prompt", protocol.of(family).tasks[family].prompt) or forms[0]
    for form in forms:
        if asked == form:
            return form
    raise UserError("unknown prompt form", value=asked, repair=f"Choose one of: {', '.join(forms)}.")


def _read_name(task: str) -> tuple[str, dict[str, str]]:
    """Split a task's name into its family and what the name turns."""
    name, *turned = re.split(r"-(?=\w+=)", task)  # a value may hold a dash
    family, dash, rest = name.partition("-")
    return family, dict(_turned(task, part) for part in ([rest] if dash else []) + turned)


def _turned(task: str, part: str) -> tuple[str, str]:
    knob, _, value = part.partition("=")
    if not value:
        raise UserError("a task's name turns knobs like `TASK-KNOB=VALUE`", value=task, repair="Write KNOB=VALUE.")
    return knob, value


@lru_cache(maxsize=8)
def build_panel(family: str, knobs: Any, train: tuple[int, int], evaluation: tuple[int, int]) -> Panel:
    """Build the instances of a task. train, evaluation: (first seed, count)."""
    task = find(family)
    return Panel(
        tuple(task.build(knobs, train[0] + i) for i in range(train[1])),
        tuple((task.evaluate_on or task.build)(knobs, evaluation[0] + i) for i in range(evaluation[1])),
    )


def panel_digest(panel: Panel) -> str:
    """Return the sha256 over all that a panel's instances are."""
    worlds = [_content(one) for one in (*panel.train, *panel.evaluation)]
    return spec_hash({"worlds": canonical_json(worlds)})


def _content(instance: Instance) -> dict[str, Any]:
    """Return every field but the name, hints and what it does not have, probabilities to 12 decimals."""
    unplayed = ("name", "hints")
    fields = {name: value for name, value in vars(instance).items() if name not in unplayed and value is not None}
    return {
        name: value.astype(float).round(12).tolist() if isinstance(value, np.ndarray) else value
        for name, value in fields.items()
    }
