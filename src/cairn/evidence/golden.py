"""Golden examples: `reproductions/<id>/golden.yaml`, a tiny batch and the credits it must get, calculated by hand.

Torch-free, so that the site can draw what the contract tests hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError, model_validator

from cairn.errors import UserError
from cairn.evidence.base import Evidence
from cairn.evidence.rollout_format import RolloutRow, first_fault
from cairn.inventory.reader import Document, ReadError, read
from cairn.paths import data_root

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None
Setting = Scalar | tuple[Scalar | tuple[Scalar, ...], ...]  # the latter: lists, and lists of lists
TurnCredits = tuple[tuple[StrictFloat | None, ...], ...]


class GoldenCase(Evidence):
    """One setting of the method and the credits of the batch under it."""

    name: StrictStr = Field(min_length=1, description="unique in the file")
    method: dict[str, Setting] = Field(description="hyperparameters that differ from the method's defaults")
    expected: TurnCredits = Field(
        description="for each turn of each rollout, the mean advantage over its tokens; null for a turn without tokens"
    )


class Golden(Evidence):
    """A batch, what the method makes of it, and what other rules do."""

    origin: StrictStr = Field(min_length=1, description="who calculated the credits, and how")
    tolerance: StrictFloat = Field(gt=0, description="largest absolute difference that passes")
    batch: tuple[RolloutRow, ...] = Field(min_length=1, description="rollouts in the interchange format")
    others: dict[StrictStr, TurnCredits] = Field(
        default_factory=dict, description="credits of the same batch by other methods with their defaults, by their id"
    )
    cases: tuple[GoldenCase, ...] = Field(min_length=1, description="the first one is what the site draws")

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        if len({case.name for case in self.cases}) < len(self.cases):
            raise ValueError("two cases have the same name")
        for name, credits_ in (*self.others.items(), *((c.name, c.expected) for c in self.cases)):
            if [len(turns) for turns in credits_] != [len(row.turns) for row in self.batch]:
                raise ValueError(f"{name}: one number for each turn of each rollout is asked for")
            for row, numbers in zip(self.batch, credits_, strict=True):
                if [bool(turn.tokens) for turn in row.turns] != [number is not None for number in numbers]:
                    raise ValueError(f"{name}: null belongs to the turns without tokens, and to no other")
        return self


def golden_path(method_id: str, root: Path | None = None) -> Path:
    """Return where the golden example of a method lies below `root`, by default that of the installation."""
    return (data_root() if root is None else root) / "reproductions" / method_id / "golden.yaml"


def read_golden(path: Path) -> Golden:
    """Read a golden example. Raises UserError with file, line, value and repair."""
    try:
        document = read(path, path.name)
    except ReadError as error:
        raise error.finding(path.name).as_error(path.parent) from error
    try:
        return Golden.model_validate(document.value)
    except ValidationError as error:
        message, value = first_fault(error)
        repair = "see schemas/golden.schema.json"
        raise UserError(message, file=path, line=_line(document, error), value=value, repair=repair) from error


def _line(document: Document, error: ValidationError) -> int:
    return document.line(error.errors(include_url=False)[0]["loc"])
