"""How a reproduction is declared: arms, claims, checks and deviations, before anything is run."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field, replace
from pathlib import Path

from cairn.errors import UserError
from cairn.evidence.claims import Claim
from cairn.evidence.experiment import ArmInfo, Experiment, Role
from cairn.evidence.homes import scripts
from cairn.lab.controls import NullControl
from cairn.lab.protocol import family_of
from cairn.lab.scorers import Scorer
from cairn.method import Method

# What a script calls its declaration.
DECLARED = {"reproduce.py": "REPRODUCTION", "study.py": "STUDY"}


@dataclass(frozen=True)
class Arm:
    """One arm of an experiment.

    tasks: where it runs; empty means the first task only. spends_like: name of an arm whose FLOPs, seed by seed, are
    this arm's budget instead of the preset's number of updates. learning_rate_factor: for arms that show what another
    learning rate would have done. group_size_factor: for arms that sample more rollouts of each task in an update.
    scorer: who gives scores and marks to a method that pays for them.
    """

    name: str
    role: Role
    description: str
    method: Method
    null: NullControl = field(default_factory=NullControl)
    tasks: tuple[str, ...] = ()
    spends_like: str | None = None
    learning_rate_factor: float = 1.0
    group_size_factor: int = 1
    scorer: Scorer | None = None
    granularity: str | None = None


@dataclass(frozen=True)
class Reproduction:
    """A whole experiment, as `reproductions/<id>/reproduce.py` or `studies/<id>/study.py` declares it.

    A study tests no paper, but a question of our own, in the same way. later_seeds: how far behind the protocol's first
    seed its own begin, for a study that tests a claim once more with seeds that have not been used for it.
    """

    id: str
    title: str
    tasks: tuple[str, ...]
    arms: tuple[Arm, ...]
    claims: tuple[Claim, ...]
    checks: tuple[Claim, ...] = ()
    deviations: tuple[str, ...] = ()
    later_seeds: int = 0

    @property
    def families(self) -> tuple[str, ...]:
        """Return the names of the tasks that its arms run on, whatever knobs are turned, each once."""
        arms = (task for arm in self.arms for task in arm.tasks)
        return tuple(dict.fromkeys(family_of(task) for task in (*self.tasks, *arms)))

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)

    def on(self, task: str) -> Reproduction:
        """Return the part of the experiment that its first task has, moved to another task: arms, claims and checks."""
        arms = {arm.name: replace(arm, tasks=()) for arm in self.arms if not arm.tasks or self.tasks[0] in arm.tasks}
        claims, checks = (
            tuple(
                claim.model_copy(update={"task": None, "control_task": None})
                for claim in declared
                if {claim.task, claim.control_task} <= {None, self.tasks[0]} and {claim.arm, claim.control} <= {*arms}
            )
            for declared in (self.claims, self.checks)
        )
        return replace(self, tasks=(task,), arms=tuple(arms.values()), claims=claims, checks=checks)

    def without(self, need: str) -> Reproduction:
        """Leave out the arms whose methods need what is not to be had, and the claims and checks that speak of them."""
        arms = tuple(arm for arm in self.arms if need not in arm.method.needs)
        names = {arm.name for arm in arms}
        claims, checks = (
            tuple(claim for claim in declared if {claim.arm, claim.control} <= names)
            for declared in (self.claims, self.checks)
        )
        return replace(self, arms=arms, claims=claims, checks=checks)

    def declaration(self, least_seeds: int) -> Experiment:
        """Return the part of the declaration that evidence is judged by."""
        arms = tuple(
            ArmInfo(name=a.name, role=a.role, description=a.description, tasks=a.tasks, granularity=a.granularity)
            for a in self.arms
        )
        return Experiment(
            id=self.id,
            title=self.title,
            tasks=self.tasks,
            arms=arms,
            claims=self.claims,
            checks=self.checks,
            deviations=self.deviations,
            min_seeds=least_seeds,
        )


def script_of(experiment_id: str) -> Path:
    """Return the script of a reproduction or a study. Raises UserError, with the known ids, where there is none."""
    found = scripts()
    if experiment_id not in found:
        raise UserError(
            "there is no reproduction and no study with this id",
            value=experiment_id,
            repair=f"Choose one of: {', '.join(found)}.",
        )
    return found[experiment_id]


def load_reproduction(experiment_id: str) -> Reproduction:
    """Read what a reproduction or a study declares. This runs the script's top level: it is our own code.

    Raises UserError for an unknown id, or a script that does not declare one `Reproduction` of its own id.
    """
    path = script_of(experiment_id)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{experiment_id.replace('-', '_')}", path)
    if spec is None or spec.loader is None:
        raise UserError("the script cannot be imported", file=path, repair="Restore the file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    name = DECLARED[path.name]
    found = getattr(module, name, None)
    if not isinstance(found, Reproduction) or found.id != experiment_id:
        raise UserError(
            f"the script declares no {name} of its own id",
            file=path,
            value=experiment_id,
            repair=f"Set {name} = Reproduction(id=..., ...).",
        )
    return found
