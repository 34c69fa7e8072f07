"""One record for each finished cell (task, arm, seed) of an experiment, and the folder that keeps them.

The fields named in `VOLATILE` are the only ones that may differ between two runs of the same cell with the same seed,
code and packages; `stable_bytes` leaves them out. Nothing that depends on the clock or on the machine belongs anywhere
else, and so not into `metrics` or into a curve's `extra`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from cairn.errors import UserError
from cairn.evidence.base import SLUG, Evidence, canonical_json, pretty_json, read_model, sha256_of, write_atomically

__all__ = [
    "SCHEMA_VERSION",
    "VOLATILE",
    "CurvePoint",
    "Host",
    "Ledger",
    "Provenance",
    "Record",
    "Setting",
    "Trajectory",
    "canonical_json",
    "read_record",
    "read_records",
    "record_hash",
    "record_name",
    "spec_hash",
    "stable_bytes",
    "write_record",
]

SCHEMA_VERSION = 1
VOLATILE = ("host", "ledger.seconds")
_REPAIR = "delete the file and run again with --resume: only this cell is rerun"

Name = Annotated[str, Field(pattern=SLUG, max_length=80)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]


class Ledger(Evidence):
    """What one cell cost: training and every service call, without the evaluation that draws its curve."""

    flops: Amount = 0.0
    generated_tokens: Count = 0
    prompt_tokens: Count = 0
    scored_tokens: Count = 0
    trained_tokens: Count = 0
    environment_steps: Count = 0
    environment_resets: Count = 0
    judge_calls: Count = 0
    seconds: Amount = 0.0


class CurvePoint(Evidence):
    """One evaluation during training: success in [0, 1] and what had been spent when it was made."""

    update: Count
    flops: Amount
    generated_tokens: Count
    environment_steps: Count
    success: Annotated[float, Field(ge=0, le=1)]
    extra: dict[str, float] = Field(default_factory=dict)


class Trajectory(Evidence):
    """Lengths of the training trajectories: turns, and tokens that the policy generated."""

    turns_mean: Amount
    turns_min: Amount
    turns_median: Amount
    turns_max: Amount
    tokens_mean: Amount
    tokens_min: Amount
    tokens_median: Amount
    tokens_max: Amount


class Setting(Evidence):
    """What a reader must know to place the run, in words and counts. Null means that the run does not say.

    filtering: how training items were dropped or weighted; the text "none" where nothing was.
    split: which items or worlds are trained on and which evaluated; evaluation: how success is
        measured at each point of a curve: the number of episodes, or that it is computed exactly.
    """

    model: str | None = None
    model_parameters: Count | None = None
    training_data: str | None = None
    training_items: Count | None = None
    filtering: str | None = None
    benchmark: str | None = None
    split: str | None = None
    metric: str | None = None
    evaluation: str | None = None


class Provenance(Evidence):
    """Which protocol, panel, weights, packages and commit produced the cell. Null means that there is none to name."""

    protocol_version: str
    protocol_hash: Sha256
    panel_hash: Sha256 | None = None
    model_hash: Sha256 | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    python: str
    lock_hash: Sha256 | None = None
    commit: str | None = None
    dirty: bool | None = None


class Host(Evidence):
    """Where and when the cell ran. `device` is `cpu` or the name of the accelerator; `seconds` is wall clock."""

    hostname: str
    platform: str
    cpu: str
    threads: Annotated[int, Field(ge=1)]
    device: str
    started_utc: str
    finished_utc: str
    seconds: Amount


class Record(Evidence):
    """One cell. `method` is the id of the reproduction that ran it, so a control arm carries it too."""

    schema_version: Literal[1] = 1
    method: Name
    task: Name
    arm: Name
    seed: Count
    preset: Name
    status: Literal["ok", "failed", "skipped"]
    reason: str | None = None
    spec_hash: Sha256
    spec: dict[str, Any]
    setting: Setting = Setting()
    ledger: Ledger = Ledger()
    metrics: dict[str, float] = Field(default_factory=dict)
    curve: tuple[CurvePoint, ...] = ()
    trajectory: Trajectory | None = None
    fidelity: dict[str, float | None] = Field(default_factory=dict)
    provenance: Provenance
    host: Host

    @field_validator("spec")
    @classmethod
    def _plain_json(cls, spec: dict[str, Any]) -> dict[str, Any]:
        # Through JSON and back: what is hashed is what a reader of the file gets (tuples become lists).
        try:
            plain: dict[str, Any] = json.loads(canonical_json(spec))
        except TypeError as error:
            raise ValueError(f"spec must be plain JSON: {error}") from error
        return plain

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.spec_hash != spec_hash(self.spec):
            raise ValueError("spec_hash is not the hash of spec")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"status {self.status} needs a reason")
        _check_curve(self.curve)
        return self


def _check_curve(curve: tuple[CurvePoint, ...]) -> None:
    if not curve:
        return
    if curve[0].update != 0 or curve[0].flops != 0:
        raise ValueError("a curve starts with the initial policy, at update 0 and 0 flops")
    for before, after in itertools.pairwise(curve):
        if after.update <= before.update or after.flops < before.flops:
            raise ValueError(f"a curve goes on in updates and never falls in flops (update {after.update})")


def spec_hash(spec: dict[str, Any]) -> str:
    """Return the hex SHA-256 of a resolved configuration, the key by which a finished cell is found again."""
    return sha256_of(spec)


def record_name(task: str, arm: str, seed: int) -> str:
    """Return the file name of a cell: `<task>--<arm>--s<seed>.json`."""
    return f"{task}--{arm}--s{seed}.json"


def stable_bytes(record: Record) -> bytes:
    """Return the canonical JSON of a record without the fields in `VOLATILE`."""
    content = record.model_dump(mode="json")
    for path in VOLATILE:
        *parents, last = path.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        del place[last]
    return canonical_json(content).encode()


def record_hash(record: Record) -> str:
    """Return the hex SHA-256 of `stable_bytes`: equal for two runs that found the same."""
    return sha256_of(json.loads(stable_bytes(record)))


def write_record(folder: Path, record: Record) -> Path:
    """Write a record atomically under its own name, replacing an older one, and return the path.

    Raises UserError when the folder cannot be written; then nothing is left half-written.
    """
    path = folder / record_name(record.task, record.arm, record.seed)
    write_atomically(path, pretty_json(record))
    return path


def read_record(path: Path) -> Record:
    """Read one record. Raises UserError when it is torn, invalid, or not the cell that its file name says."""
    record = read_model(path, Record, _REPAIR)
    expected = record_name(record.task, record.arm, record.seed)
    if path.name != expected:
        raise UserError(
            f"the file holds the record of another cell, {expected}",
            file=path,
            repair="rename it to that, or delete it",
        )
    return record


def read_records(folder: Path) -> list[Record]:
    """Read all records of a results folder, sorted by file name; an absent folder holds none.

    Hidden files (the temporary file of a killed run among them) are passed over. Raises UserError for any other file
    that is not a record, and when the folder mixes the records of two methods.
    """
    if not folder.exists():
        return []
    records = [_read_visible(path) for path in _visible(folder)]
    _refuse_mixture(folder, records)
    return records


def _visible(folder: Path) -> Iterable[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(
            f"cannot read the folder: {error.strerror or error}", file=folder, repair="name a folder of records"
        ) from error


def _read_visible(path: Path) -> Record:
    if path.suffix != ".json" or not path.is_file():
        raise UserError("not a record", file=path, repair="keep only <task>--<arm>--s<seed>.json in a results folder")
    return read_record(path)


def _refuse_mixture(folder: Path, records: list[Record]) -> None:
    methods = sorted({record.method for record in records})
    if len(methods) > 1:
        raise UserError(
            "the folder mixes records of several methods",
            file=folder,
            value=methods,
            repair="keep the records of each method in a folder of its own",
        )
