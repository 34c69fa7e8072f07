"""What the knobs of a task move: statistics of its instances that need no training, at several values of each knob.

`<folder>/<task>.json`, as `cairn difficulty` writes it. Torch-free, so that the site can draw it.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from cairn.errors import UserError
from cairn.evidence.base import SLUG, Evidence, pretty_json, read_model, write_atomically
from cairn.evidence.records import Provenance
from cairn.paths import data_root


class Measure(NamedTuple):
    """A statistic of instances. name: what stands on an axis. meaning: how it is found."""

    name: str
    meaning: str


MEASURES = {
    "best_success": Measure("best success", "success of the best play, which knows the whole state"),
    "guessing_success": Measure(
        "success when guessing", "success of the skilled walker who picks evenly among the phrases at planted decisions"
    ),
    "forgetful_success": Measure(
        "success without memory",
        "success of the skilled walker who reads only what is seen at the moment, and guesses where that does not tell",
    ),
    "decision_share": Measure("share of decisions", "share of the skilled walker's turns that are planted decisions"),
    "error_cost": Measure(
        "cost of an error", "best success lost by a wrong phrase, mean over the skilled walker's planted decisions"
    ),
    "turns_to_end": Measure(
        "turns to the end", "turns from a planted decision until the reward, mean over those of the skilled walker"
    ),
    "effective_phrases": Measure(
        "effective phrases", "exponential of the entropy of what the skilled walker says, over all turns and instances"
    ),
    "feedback_bits": Measure(
        "feedback (bits)",
        "mutual information of being wrong at a planted decision and one word of the next observation, that word which "
        "tells most over all instances; the walker guesses at decisions",
    ),
    "recurring_share": Measure(
        "share of recurring turns",
        "share of turns whose raw observation occurs once more in a group of rollouts of one instance, simulated; the "
        "walker guesses at decisions",
    ),
}


class Level(Evidence):
    """One value of a knob: the measure's estimate over instances, with a 95 % bootstrap interval over instances."""

    value: int | float | str
    estimate: float
    low: float
    high: float


class KnobEffect(Evidence):
    """One knob, turned alone. direction: where the measure should go from the first level to the last."""

    knob: Annotated[str, Field(pattern=SLUG)]
    measure: str
    direction: Literal["up", "down"]
    levels: Annotated[tuple[Level, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.measure not in MEASURES:
            raise ValueError(f"there is no measure {self.measure!r}")
        return self

    @property
    def moves(self) -> bool:
        """Say whether every level goes on in the direction, and the intervals of first and last lie apart."""
        sign = 1 if self.direction == "up" else -1
        steps = [sign * (b.estimate - a.estimate) for a, b in itertools.pairwise(self.levels)]
        first, last = self.levels[0], self.levels[-1]
        apart = last.low > first.high if sign > 0 else last.high < first.low
        return apart and all(step > 0 for step in steps)


class DifficultyTable(Evidence):
    """The knobs of a task. instances: how many were looked at, drawn with seeds from `first_seed` on.

    The other knobs stand as the protocol has them. provenance: its panel is that of the protocol's training instances.
    """

    task: Annotated[str, Field(pattern=SLUG)]
    preset: Annotated[str, Field(pattern=SLUG)]
    first_seed: Annotated[int, Field(ge=0)]
    instances: Annotated[int, Field(ge=1)]
    group_size: Annotated[int, Field(ge=1)]
    provenance: Provenance
    effects: tuple[KnobEffect, ...]


def difficulty_root(root: Path | None = None) -> Path:
    """Return the folder of the committed tables below a data root."""
    return (root or data_root()) / "reproductions" / "difficulty"


def write_difficulty(folder: Path, found: DifficultyTable) -> Path:
    """Write a table, whole or not at all; return where. Raises UserError where it cannot be written."""
    path = folder / f"{found.task}.json"
    write_atomically(path, pretty_json(found))
    return path


def read_difficulties(folder: Path) -> dict[str, DifficultyTable]:
    """Read the tables of a folder, by task; none where it is not there. Raises UserError for a file that is wrong."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        repair = f"make it again: cairn difficulty {path.stem} --out {folder}"
        found[path.stem] = read_model(path, DifficultyTable, repair)
        if found[path.stem].task != path.stem:
            raise UserError("this table does not belong here", file=path, value=found[path.stem].task, repair=repair)
    return found
