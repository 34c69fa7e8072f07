"""What an experiment declares before it is run: its arms, its claims, its calibration checks, its deviations."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cairn.evidence.base import SLUG, Evidence
from cairn.evidence.claims import Claim

Name = Annotated[str, Field(pattern=SLUG, max_length=80)]
Role = Literal["method", "variant", "control", "null", "ceiling"]


class ArmInfo(Evidence):
    """One arm. `tasks` lists where it runs; empty means the experiment's first task only.

    role: `method` is the rule as its paper has it; `variant` changes a part of it; `control` is the baseline;
    `null` must not help (shuffled credit); `ceiling` is the best that credit can do (exact credit).
    granularity: to what the arm's rule gives credit, in the inventory's words; `episode` for one advantage for each
        trajectory; null means that it is not said.
    """

    name: Name
    role: Role
    description: str
    tasks: tuple[Name, ...] = ()
    granularity: str | None = None


class Experiment(Evidence):
    """A reproduction as declared. The first of `tasks` is the one a claim without a task speaks of.

    deviations: where the reproduction departs from the paper, one sentence each.
    checks: claims about the protocol itself, judged by the same rule and shown apart.
    """

    id: Name
    title: str
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    arms: Annotated[tuple[ArmInfo, ...], Field(min_length=1)]
    claims: tuple[Claim, ...] = ()
    checks: tuple[Claim, ...] = ()
    deviations: tuple[str, ...] = ()
    min_seeds: Annotated[int, Field(ge=2)] = 5

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        _refuse_twice("arm", [arm.name for arm in self.arms])
        _refuse_twice("claim", [claim.id for claim in (*self.claims, *self.checks)])
        for arm in self.arms:
            _refuse_unknown(f"arm {arm.name} names task", set(arm.tasks) - set(self.tasks))
        cells = set(self.cells())
        for claim in (*self.claims, *self.checks):
            task = self.task_of(claim)
            asked = {(task, claim.arm), (claim.control_task or task, claim.control)}
            _refuse_unknown(f"claim {claim.id} needs a cell", {" / ".join(cell) for cell in asked - cells})
        return self

    def cells(self) -> list[tuple[str, str]]:
        """Return every (task, arm) that the experiment runs, in the order of its arms."""
        return [(task, arm.name) for arm in self.arms for task in arm.tasks or self.tasks[:1]]

    def task_of(self, claim: Claim) -> str:
        """Return the task that a claim is tested on."""
        return claim.task or self.tasks[0]

    def control_on(self, task: str) -> str | None:
        """Return the first arm of role `control` that runs on a task."""
        runs = set(self.cells())
        return next((arm.name for arm in self.arms if arm.role == "control" and (task, arm.name) in runs), None)


class Fingerprint(Evidence):
    """Numbers that a method's code gives in a fixed tiny run; while they hold, old records stay valid."""

    values: tuple[float, ...]

    def matches(self, other: Fingerprint) -> bool:
        """Say whether both hold as many numbers, and each pair agrees to 1e-4 of the larger one, or to 1e-6.

        Code that adds up in another order must match. Norms and positions of the networks compute in float32 whatever
        the weights' type, which rounds each term of a loss by 1e-7; the terms are of size 1 and may cancel to nothing.
        """
        return len(self.values) == len(other.values) and all(
            math.isclose(mine, theirs, rel_tol=1e-4, abs_tol=1e-6)
            for mine, theirs in zip(self.values, other.values, strict=True)
        )


def _refuse_twice(kind: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{kind} declared twice: {', '.join(twice)}")


def _refuse_unknown(what: str, names: set[str]) -> None:
    if names:
        raise ValueError(f"{what} that the experiment does not declare: {', '.join(sorted(names))}")
