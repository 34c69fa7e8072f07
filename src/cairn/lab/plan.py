"""What a run consists of: its cells, which of them are due, and what of them is there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cairn.errors import UserError
from cairn.evidence.base import write_atomically
from cairn.evidence.records import Record, read_record, record_name
from cairn.lab.cell import Cell, Setup, failed_record, specify
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.model import local_folder, weights_digest
from cairn.lab.pretrain import provide_model
from cairn.lab.protocol import Protocol, family_of, task_knobs

PROBE_BYTES = 2**20  # more than a record: a disk that is full is found before anything is computed

Slot = tuple[Arm, str, int]
Key = tuple[str, str, int]
Records = Mapping[Key, Record]


def key_of(slot: Slot) -> Key:
    """Return the name of a slot: task, arm, seed."""
    arm, task, seed = slot
    return task, arm.name, seed


def in_common(one: Slot, other: Slot | None) -> int:
    """Return how much of their work is the same: nothing where task or seed differ, most where the method does not."""
    if other is None or one[1:] != other[1:]:
        return 0
    return 1 + (one[0].method == other[0].method)


@dataclass(frozen=True)
class Plan:
    """What to run and where to put it. Records go to `out`/results.

    models: folder or hub name of the initial model for each task; else the preset's own model is taken.
    """

    reproduction: Reproduction
    protocol: Protocol
    preset: str
    seeds: tuple[int, ...]
    device: str
    out: Path
    resume: bool
    workers: int
    models: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "float32"  # of the weights

    def setup(self, task: str) -> Setup:
        """Return what all cells of a task share."""
        return self._setups[family_of(task)]

    @cached_property
    def _setups(self) -> dict[str, Setup]:
        """One for each task. The weights are hashed once."""
        folders = {
            family: local_folder(
                self.models.get(family) or preset_model(self.protocol, self.preset, family, self.device)
            )
            for family in self.reproduction.families
        }
        return {
            family: Setup(
                self.reproduction,
                self.protocol,
                self.preset,
                str(folder),
                weights_digest(folder),
                self.device,
                self.dtype,
            )
            for family, folder in folders.items()
        }

    @property
    def results(self) -> Path:
        """Return the folder of the records."""
        return self.out / "results"

    def slots(self) -> list[Slot]:
        """Return the places of all cells, in the order in which records are given.

        Raises UserError where a budget is the spending of an arm that does not run.
        """
        found = [
            (arm, task, seed)
            for seed in self.seeds
            for arm in self.reproduction.arms
            for task in arm.tasks or self.reproduction.tasks[:1]
        ]
        _refuse_open_budgets(found)
        return found

    def ready(self, slot: Slot, records: Records) -> bool:
        """Say whether the arm whose spending is the slot's budget, if there is one, has ended."""
        arm, task, seed = slot
        return arm.spends_like is None or (task, arm.spends_like, seed) in records

    def blocked(self, slot: Slot, records: Records) -> bool:
        """Say of a slot that is ready whether the arm whose spending is its budget has ended without a result."""
        arm, task, seed = slot
        return arm.spends_like is not None and records[task, arm.spends_like, seed].status != "ok"

    def cell(self, slot: Slot, records: Records) -> Cell:
        """Return the cell of a slot that is ready and not blocked."""
        arm, task, seed = slot
        budget = None if arm.spends_like is None else records[task, arm.spends_like, seed].ledger.flops
        return specify(self.setup(task), arm, task, seed, budget)

    def skipped(self, slot: Slot) -> Record:
        """Return the record of a slot that is blocked."""
        arm, task, seed = slot
        reason = f"the budget is the spending of arm `{arm.spends_like}`, which did not finish with this seed"
        cell = specify(self.setup(task), arm, task, seed)
        return failed_record(cell, reason).model_copy(update={"status": "skipped"})


def preset_model(
    protocol: Protocol,
    preset: str,
    family: str,
    device: str = "cpu",
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Return the folder of a preset's model for a task; see `provide_model`. progress: called after each lesson."""
    changes = protocol.preset(preset).recipe
    return provide_model(family, changes, task_knobs(protocol, preset, family), device, progress)


def prepare(folder: Path) -> None:
    """Make the folder of the records. Raises UserError where it cannot be written or the disk is full."""
    probe = folder / ".probe"
    try:
        write_atomically(probe, bytes(PROBE_BYTES))
        probe.unlink()
    except (OSError, UserError) as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        raise UserError(
            f"the output folder cannot be written: {getattr(cause, 'strerror', None) or cause}",
            file=folder,
            repair="Choose another folder with --out, or make room.",
        ) from error


def finished(plan: Plan, slots: list[Slot]) -> dict[Key, Record]:
    """Read what is there and return the records of the cells that were finished; failed ones are run again.

    Raises UserError for finished cells without `resume`, a torn record, and cells of another configuration.
    """
    found: dict[Key, Record] = {}
    for slot in slots:
        path = plan.results / record_name(*key_of(slot))
        if path.exists():
            found[key_of(slot)] = read_record(path)
    if found and not plan.resume:
        raise UserError(
            "the output folder already holds records",
            file=plan.results,
            value=f"{len(found)} cells",
            repair="Add --resume to keep finished cells, or choose another folder with --out.",
        )
    for slot in slots:
        _refuse_other_configuration(plan, slot, found)
    return {key: record for key, record in found.items() if record.status == "ok"}


def _refuse_open_budgets(slots: list[Slot]) -> None:
    leaders = {key_of(slot) for slot in slots if slot[0].spends_like is None}
    for arm, task, seed in slots:
        if arm.spends_like is not None and (task, arm.spends_like, seed) not in leaders:
            raise UserError(
                f"the budget of arm `{arm.name}` is the spending of an arm that does not run by itself on this task",
                value=f"{arm.spends_like} on {task}",
                repair="Name in `spends_like` an arm that runs on the same tasks and has no `spends_like` of its own.",
            )


def _refuse_other_configuration(plan: Plan, slot: Slot, found: Records) -> None:
    record = found.get(key_of(slot))
    if record is None or record.status == "skipped" or not plan.ready(slot, found) or plan.blocked(slot, found):
        return
    if record.spec_hash != plan.cell(slot, found).spec_hash:
        raise UserError(
            "this record was made with another configuration (settings, model or seed list differ)",
            file=plan.results / record_name(*key_of(slot)),
            repair="Choose another folder with --out, or move the old records away.",
        )
