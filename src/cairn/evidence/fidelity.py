"""What `cairn fidelity` finds, as files: one panel for each task, and one row of figures for each rule on it.

`<folder>/<task>/panel.json` and `<folder>/<task>/<rule>.json`. Torch-free, so that the site can draw them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from cairn.errors import UserError
from cairn.evidence.base import SLUG, Evidence, canonical_json, pretty_json, read_model, sha256_of, write_atomically
from cairn.evidence.records import Provenance
from cairn.paths import data_root

Name = Annotated[str, Field(pattern=SLUG, max_length=80)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PANEL = "panel"
ROUNDING = 1e-5  # in advantages, of float32
STRONGEST_AT = 2.0  # credit of this many root mean squares has the full colour


@dataclass(frozen=True)
class Figure:
    """A column of the table: its name, a short one, and what it is in a few words; `docs/fidelity.md` has the formulas.

    with_error: its standard error stands beside it in narrow tables, too.
    """

    name: str
    short: str
    meaning: str
    with_error: bool = False


FIGURES = {
    "rank_correlation": Figure("Rank correlation", "rank", "Spearman's, with exact credit", with_error=True),
    "sign_accuracy": Figure("Sign accuracy", "sign", "share of turns with the sign of exact credit"),
    "bifurcation_precision": Figure("Forks found", "forks", "average precision of |credit| as their detector"),
    "squared_bias": Figure("Squared bias", "bias²", "of the expected credit, at its best scale"),
    "variance": Figure("Variance", "var", "over draws of everything but the trajectory, in the same unit"),
    "noise_share": Figure("Noise share", "noise", "that variance as a share of all that the credit varies"),
    "batch_cosine": Figure("Cosine, same batch", "cos b", "of the update with that of exact credit on the same batch"),
    "return_cosine": Figure(
        "Cosine, true gradient",
        "cos J",
        "of the update with the gradient of the expected return",
        with_error=True,
    ),
    "conservation_residual": Figure("Not conserved", "resid", "share of the credit sums that no return explains"),
}
REPAIR = "make it again: cairn fidelity --task {task} --out {folder}"


class XrayTurn(Evidence):
    """One turn of the trajectory that is drawn. sees, said: what stood before the policy and what it said.

    exact: its exact advantage, or an estimate with its standard error `error`.
    """

    sees: str
    said: str
    fork: bool
    exact: float
    error: Annotated[float, Field(ge=0)] | None = None


class Xray(Evidence):
    """The trajectory that is drawn: its place in the panel, what it earned, its turns.

    unit: root mean square of the exact advantages of the whole panel, the unit of the exact row's colours.
    """

    trajectory: Count
    reward: float
    turns: Annotated[tuple[XrayTurn, ...], Field(min_length=1)]
    unit: Annotated[float, Field(ge=0)]


class PanelRecord(Evidence):
    """On what rules are judged. hash: of the instances, of all that was said on the panel's trajectories, and of sizes.

    reference: how the advantages were found that credit is compared with; continuations and reliability (share of
    their variance that is no noise of the estimate) belong to Monte Carlo ones. baseline: the rule whose cost is 1.
    """

    task: Name
    preset: Name
    prompt: str
    hash: Sha256
    model_hash: Sha256
    model_parameters: Count
    instances: Count
    trajectories: Count
    turns: Count
    fork_turns: Count
    mean_return: float
    group_size: Count
    draws: Count
    seed: Count
    reference: Literal["exact", "monte_carlo"]
    continuations: Count | None = None
    reliability: Share | None = None
    baseline: Name
    xray: Xray


class Cost(Evidence):
    """What one update takes, over what the baseline takes on the same batches; tokens are those generated."""

    flops: Annotated[float, Field(ge=0)]
    flops_ratio: Annotated[float, Field(ge=0)]
    tokens_ratio: Annotated[float, Field(ge=0)]
    steps_ratio: Annotated[float, Field(ge=0)]


class FidelityRow(Evidence):
    """One rule on one panel, which its provenance names. spec: class and fields of method and control.

    figures: by name, null where one is undefined; errors: their standard errors, the same names. xray: the credit of
    each turn that is drawn; unit: the root mean square of the rule's credits on the whole panel. A rule that could
    not be measured has a `reason` and no figures.
    """

    rule: Name
    kind: Literal["method", "anchor"]
    spec: dict[str, Any]
    provenance: Provenance
    reason: str | None = None
    figures: dict[str, float | None] = Field(default_factory=dict)
    errors: dict[str, float | None] = Field(default_factory=dict)
    cost: Cost | None = None
    xray: tuple[float, ...] = ()
    unit: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.reason is None) == (not self.figures):
            raise ValueError("a row has figures, or a reason why not")
        return self


class FidelityTable(Evidence):
    """A panel and the rows of all rules that were measured on it, methods first."""

    panel: PanelRecord
    rows: tuple[FidelityRow, ...]

    def stale(self, row: FidelityRow) -> bool:
        """Say whether a row belongs to another panel or model than this one."""
        return (row.provenance.panel_hash, row.provenance.model_hash) != (self.panel.hash, self.panel.model_hash)

    def repeats(self, row: FidelityRow) -> bool:
        """Say whether a row's x-ray is the reference once more, as that of exact credit is."""
        exact = [turn.exact for turn in self.panel.xray.turns]
        return all(abs(one - other) <= ROUNDING for one, other in zip(row.xray, exact, strict=True))


def fidelity_root(root: Path | None = None) -> Path:
    """Return the folder of the committed tables below a data root."""
    return (root or data_root()) / "reproductions" / "fidelity"


def spec_of(row: FidelityRow) -> str:
    """Return the hash of the rule that a row is about, with all its settings."""
    return sha256_of(canonical_json(row.spec))


def write_panel(folder: Path, panel: PanelRecord) -> None:
    """Write a panel, whole or not at all. Raises UserError where it cannot be written."""
    write_atomically(folder / panel.task / f"{PANEL}.json", pretty_json(panel))


def write_row(folder: Path, task: str, row: FidelityRow) -> None:
    """Write a row, whole or not at all. Raises UserError where it cannot be written."""
    write_atomically(folder / task / f"{row.rule}.json", pretty_json(row))


def read_table(folder: Path, task: str) -> FidelityTable:
    """Read the table of a task. Raises UserError for a file that is not there or not valid, or out of its place."""
    repair = REPAIR.format(task=task, folder=folder)
    panel = read_model(folder / task / f"{PANEL}.json", PanelRecord, repair)
    paths = [path for path in sorted((folder / task).glob("*.json")) if path.stem != PANEL]
    rows = [read_model(path, FidelityRow, repair) for path in paths]
    for path, row in zip(paths, rows, strict=True):
        if row.rule != path.stem or (row.xray and len(row.xray) != len(panel.xray.turns)):
            raise UserError("this row does not belong here", file=path, value=row.rule, repair=repair)
    return FidelityTable(panel=panel, rows=tuple(sorted(rows, key=lambda row: (row.kind != "method", row.rule))))


def read_tables(folder: Path) -> dict[str, FidelityTable]:
    """Read the tables of all tasks in a folder, by task; none where the folder is not there."""
    tasks = sorted(path.parent.name for path in folder.glob(f"*/{PANEL}.json"))
    return {task: read_table(folder, task) for task in tasks}


def shade(value: float, unit: float) -> float:
    """Return how strongly a credit is coloured, 0 to 1: its size in units, full at `STRONGEST_AT`."""
    return min(abs(value) / (STRONGEST_AT * unit), 1.0) if unit else 0.0
