"""A cell: one arm on one task with one seed. Its result is a pure function of its specification."""

from __future__ import annotations

import dataclasses
import importlib
import time
import traceback
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from cairn.errors import UserError
from cairn.evidence.records import CurvePoint, Ledger, Provenance, Record, Setting, Trajectory, spec_hash
from cairn.lab.controls import NullControl
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.fidelity import Judged, Rule
from cairn.lab.keeping import Kept
from cairn.lab.loop import Panel, Point, Trainer, TrainSettings
from cairn.lab.memory import keep_freed_memory
from cairn.lab.model import LanguageModel, load, quiet
from cairn.lab.protocol import Preset, Protocol, build_panel, family_of, panel_digest, task_knobs, task_prompt
from cairn.lab.provenance import Origin, describe_host, describe_origin, describe_provenance, utc_now
from cairn.lab.scorers import Scorer
from cairn.lab.tasks import find
from cairn.method import Method

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Cell:
    """What a worker needs. The task and `spec`, which is hashed, decide the result; `model` says where weights lie.

    origin: the code that asks. A worker has the same, but may have it without its history.
    """

    reproduction: str
    task: str
    arm: str
    seed: int
    preset: str
    model: str
    protocol_version: str
    protocol_hash: str
    origin: Origin
    spec: dict[str, Any]

    @property
    def spec_hash(self) -> str:
        """Return the hash by which a finished cell is recognised."""
        return spec_hash(self.spec)


@dataclass(frozen=True)
class Setup:
    """What all cells of a run share that are of the same task."""

    reproduction: Reproduction
    protocol: Protocol
    preset: str
    model: str  # local folder or hub name
    model_digest: str
    device: str
    dtype: str = "float32"  # one of DTYPES


def specify(setup: Setup, arm: Arm, task: str, seed: int, flops_budget: float | None = None) -> Cell:
    """Resolve everything that decides a cell's result."""
    family = family_of(task)
    protocol = setup.protocol.of(family)
    preset, knobs = protocol.preset(setup.preset), task_knobs(protocol, setup.preset, task)
    settings = dataclasses.replace(
        protocol.settings(preset),
        prompt=task_prompt(protocol, task),
        learning_rate=protocol.learning_rate * arm.learning_rate_factor,
        group_size=preset.group_size * arm.group_size_factor,
        flops_budget=flops_budget,
        max_updates=None if flops_budget is None else protocol.longest_budget * preset.updates,
    )
    spec = {
        "method": describe_object(dataclasses.replace(arm.method, **protocol.loss.model_dump())),
        "null": describe_object(arm.null),
        **_instances(protocol, preset, family, knobs),
        **describe_scorer(arm.scorer),
        "settings": asdict(settings),
        "fidelity_rollouts": preset.fidelity_rollouts,
        "model": setup.model_digest,
        "seed": seed,
        "device": setup.device,
        "dtype": setup.dtype,
    }
    return Cell(
        reproduction=setup.reproduction.id,
        task=task,
        arm=arm.name,
        seed=seed,
        preset=setup.preset,
        model=setup.model,
        protocol_version=protocol.version,
        protocol_hash=setup.protocol.digest(setup.reproduction.families),
        origin=describe_origin(),
        spec=spec,
    )


def _instances(protocol: Protocol, preset: Preset, family: str, knobs: Any) -> dict[str, Any]:
    """Return knobs, the instances to train and to evaluate on, and a digest of these if they are rows of a data set.

    Of a data set with fewer rows than the protocol asks for, all are taken. Raises UserError where an update has not
    enough of them.
    """
    task, spec = find(family), protocol.tasks[family]
    train, evaluation = preset.train_count or spec.train.count, preset.evaluation_count or spec.evaluation.count
    if task.rows is not None:
        train, evaluation = (min(pair) for pair in zip((train, evaluation), task.rows(knobs), strict=True))
        if train < preset.tasks_per_update:
            repair = f"Give a data set with at least {preset.tasks_per_update} rows to train on."
            raise UserError("the data set has fewer rows than an update takes", value=train, repair=repair)
    chosen = {
        "knobs": asdict(knobs),
        "train": [spec.train.first_seed, train],
        "evaluation": [spec.evaluation.first_seed, evaluation],
    }
    return chosen if task.rows is None else {**chosen, "data": panel_digest(panel_of(family, chosen))}


def attempt(cell: Cell) -> Iterator[Point | Record]:
    """Run a cell: yield the points of its curve as they come, and then its record.

    An error inside the cell becomes a failed record, so that one bad cell cannot take the others down.
    """
    try:
        yield (yield from run_cell(cell))
    except Exception as error:  # noqa: BLE001 - whatever went wrong belongs into the record
        last = traceback.extract_tb(error.__traceback__)[-1]
        yield failed_record(cell, f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})")


def run_cell(cell: Cell) -> Generator[Point, None, Record]:
    """Train and measure one cell: yield the points of its curve, return its record.

    What the last cell of this process has done alike is not done again. It is what this one would have come to by
    itself, and its seconds are counted here as well.
    """
    quiet()
    keep_freed_memory()
    started, clock = utc_now(), time.perf_counter()
    model = _initial(cell.model, cell.spec["device"], DTYPES[cell.spec["dtype"]])
    panel = panel_of(family_of(cell.task), cell.spec)
    digest = panel_digest(panel)
    if cell.spec.get("data", digest) != digest:
        raise ValueError("the rows of the data set have changed since the run began")
    fidelity, spared = _fidelity(cell, model, panel)
    trainer, trained = _trainer(cell, model, panel)
    begun, points = time.perf_counter(), []
    for point in trainer:
        points.append(point)
        yield point
    ended = time.perf_counter()
    _TRAINERS.put(_key(cell, *_BUDGET), trainer, ended - begun + trained)
    seconds = ended - clock
    return Record(
        **_identity(cell),
        status="ok",
        setting=_setting(cell, model, panel, trainer.form.evaluation),
        ledger=Ledger.model_validate({**trainer.ledger.totals(), "seconds": seconds + spared + trained}),
        metrics={**_metrics(points), **gradient_metrics(trainer.gradient_norms)},
        curve=tuple(_curve_point(p) for p in points),
        trajectory=_trajectory(trainer),
        fidelity=fidelity,
        provenance=_provenance(cell, digest, cell.spec["model"]),
        host=describe_host(cell.spec["device"], started, seconds),
    )


_initial = lru_cache(maxsize=2)(load)  # what learns is a copy, so that the cells of a process share it
_JUDGED: Kept[Judged] = Kept()
_TRAINERS: Kept[Trainer] = Kept()
_BUDGET = ("flops_budget", "max_updates")


def _key(cell: Cell, *but: str) -> str:
    """Say all that decides a cell's result, but for some of it."""
    spec = {name: value for name, value in cell.spec.items() if name not in but}
    spec["settings"] = {name: value for name, value in spec["settings"].items() if name not in but}
    return spec_hash({"task": cell.task, "model": cell.model, "spec": spec})


def _fidelity(cell: Cell, model: LanguageModel, panel: Panel) -> tuple[dict[str, float | None], float]:
    """Measure a cell's fidelity; return too the seconds that the last cell took for what both need.

    A scorer is not shared: whatever it learns, it bills to the rule that asks it first.
    """
    method, null, scorer = restore_rule(cell.spec)
    key, settings = _key(cell, "null", *_BUDGET), TrainSettings(**cell.spec["settings"])
    kept, begun = _JUDGED.take(key), time.perf_counter()
    judged = kept[0] if kept else Judged.of(model, Rule(method, scorer=scorer), panel, settings, cell.seed)
    seconds = kept[1] if kept else time.perf_counter() - begun
    if scorer is None:
        _JUDGED.put(key, judged, seconds)
    return judged.figures(null, cell.spec["fidelity_rollouts"]), seconds if kept else 0.0


def _trainer(cell: Cell, model: LanguageModel, panel: Panel) -> tuple[Trainer, float]:
    """Return a trainer that has yet to spend a cell's budget, and the seconds that it has trained already.

    That of the last cell goes on where it differs in nothing but a smaller budget.
    """
    kept = _TRAINERS.take(_key(cell, *_BUDGET))
    if kept and kept[0].extend(TrainSettings(**cell.spec["settings"])):
        return kept
    return make_trainer(cell.spec, model, panel), 0.0


def failed_record(cell: Cell, reason: str) -> Record:
    """Return the record of a cell that did not finish; it keeps its place, with the reason."""
    return Record(
        **_identity(cell),
        status="failed",
        reason=reason,
        provenance=_provenance(cell, None, None),
        host=describe_host(cell.spec["device"], utc_now(), 0.0),
    )


def _provenance(cell: Cell, panel_hash: str | None, model_hash: str | None) -> Provenance:
    packages = find(family_of(cell.task)).packages
    return describe_provenance(cell.origin, cell.protocol_version, cell.protocol_hash, panel_hash, model_hash, packages)


def _identity(cell: Cell) -> dict[str, Any]:
    names = {"task": cell.task, "arm": cell.arm, "seed": cell.seed, "preset": cell.preset}
    return {"method": cell.reproduction, **names, "spec_hash": cell.spec_hash, "spec": cell.spec}


def panel_of(family: str, spec: dict[str, Any]) -> Panel:
    """Build the instances of a task that a specification names."""
    knobs = find(family).knobs(**spec["knobs"])
    return build_panel(family, knobs, tuple(spec["train"]), tuple(spec["evaluation"]))


def make_trainer(spec: dict[str, Any], model: LanguageModel, panel: Panel) -> Trainer:
    """Build the trainer that a specification describes."""
    method, null, scorer = restore_rule(spec)
    return Trainer(model, method, null, panel, TrainSettings(**spec["settings"]), spec["seed"], scorer)


def restore_rule(spec: dict[str, Any]) -> tuple[Method, NullControl, Scorer | None]:
    """Build what hands out credit in a cell: the method, what a control does to it, and who scores for it."""
    scorer = restore_object(spec["scorer"], Scorer) if "scorer" in spec else None
    return restore_object(spec["method"], Method), restore_object(spec["null"], NullControl), scorer


def describe_object(thing: Any) -> dict[str, Any]:
    """Describe a frozen dataclass as plain JSON: its class and all its fields, defaults included."""
    cls = type(thing)
    return {"class": f"{cls.__module__}:{cls.__qualname__}", "fields": asdict(thing)}


def describe_scorer(scorer: Scorer | None) -> dict[str, Any]:
    """Return what a specification says of an arm's scorer: nothing where there is none."""
    return {} if scorer is None else {"scorer": describe_object(scorer.pinned())}


T = TypeVar("T")


def restore_object(description: dict[str, Any], base: type[T]) -> T:
    """Build the object again. Only classes of this package that derive from `base` are accepted."""
    module, _, name = description["class"].partition(":")
    if not module.startswith("cairn."):
        raise ValueError(f"not a class of this package: {description['class']}")
    cls = getattr(importlib.import_module(module), name)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise TypeError(f"not a {base.__name__}: {description['class']}")
    return cls(**description["fields"])


def _curve_point(point: Point) -> CurvePoint:
    return CurvePoint(
        update=point.update,
        flops=point.spent["flops"],
        generated_tokens=int(point.spent["generated_tokens"]),
        environment_steps=int(point.spent["environment_steps"]),
        success=min(max(point.success, 0.0), 1.0),
        extra=point.extra,
    )


def _metrics(points: list[Point]) -> dict[str, float]:
    success = [p.success for p in points]
    return {
        "initial_success": success[0],
        "best_success": max(success),
        "updates": float(points[-1].update),
        "climb_success": success[-1] - success[0],
    }


def gradient_metrics(norms: list[float]) -> dict[str, float]:
    """Return the largest gradient norm of all steps, before clipping, the median, and how far it stands out from it."""
    if not norms:
        return {}
    largest, median = max(norms), float(np.median(norms))
    stated = {"gradient_norm_max": largest, "gradient_norm_median": median}
    return {**stated, "gradient_norm_peak": largest / median} if median else stated


def _trajectory(trainer: Trainer) -> Trajectory | None:
    if not trainer.turns:
        return None
    values: dict[str, float] = {}
    for name, data in (("turns", trainer.turns), ("tokens", trainer.turn_tokens)):
        low, middle, high = (float(q) for q in np.quantile(data, (0, 0.5, 1)))
        values |= {f"{name}_mean": float(np.mean(data)), f"{name}_min": low}
        values |= {f"{name}_median": middle, f"{name}_max": high}
    return Trajectory(**values)


def _setting(cell: Cell, model: LanguageModel, panel: Panel, evaluation: str) -> Setting:
    first, count = cell.spec["evaluation"]
    return Setting(
        model=f"{type(model.network).__name__}, {model.network.config.num_hidden_layers} layers of width "
        f"{model.network.config.hidden_size}, vocabulary of {len(model.tokenizer)}",
        model_parameters=model.parameters,
        training_data=f"instances of the task `{cell.task}`, drawn anew for each update from a fixed panel",
        training_items=len(panel.train),
        filtering="none",
        benchmark=cell.task,
        split=f"trained on instances {cell.spec['train'][0]} to {sum(cell.spec['train']) - 1}, evaluated on instances "
        f"{first} to {first + count - 1}, which are not trained on",
        metric="the probability that the current policy, sampled at temperature 1, solves an instance "
        "within its limit of turns or tokens, averaged over the evaluation instances",
        evaluation=evaluation,
    )
