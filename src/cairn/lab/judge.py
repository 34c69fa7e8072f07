"""From records to a report: joins a reproduction's declaration, its records and its fingerprint."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from cairn.errors import UserError
from cairn.evidence.base import load_json
from cairn.evidence.experiment import Fingerprint
from cairn.evidence.records import read_records
from cairn.evidence.report import Report, build_report, write_report
from cairn.lab.cell import describe_object, describe_scorer, make_trainer, panel_of
from cairn.lab.experiment import Reproduction
from cairn.lab.model import load, quiet
from cairn.lab.protocol import Protocol
from cairn.lab.runner import preset_model
from cairn.lab.tasks import find

FINGERPRINT_UPDATES = 20
FINGERPRINT_PRESET = "smoke"


def take_fingerprint(reproduction: Reproduction, protocol: Protocol) -> Fingerprint:
    """Train one arm for twenty updates of a tiny run in float64 on the CPU; return what it went through.

    The arm is the method's own, or the first one of a study that has none; it runs on the smallest instances of the
    first task. The numbers are loss and gradient norm of each update and the
    success at the end. They move when the method, the loop or the task changes in a way that matters, and hold under
    refactoring.
    """
    quiet()
    torch.set_num_threads(1)
    arm = next((a for a in reproduction.arms if a.role == "method"), reproduction.arms[0])
    family = reproduction.families[0]
    settings = dataclasses.replace(
        protocol.settings(protocol.preset(FINGERPRINT_PRESET)),
        updates=FINGERPRINT_UPDATES,
        evaluate_every=FINGERPRINT_UPDATES,
        prompt=find(family).prompts[0],
    )
    spec = {
        "method": describe_object(dataclasses.replace(arm.method, **protocol.loss.model_dump())),
        "null": describe_object(arm.null),
        **describe_scorer(arm.scorer),
        "knobs": dataclasses.asdict(find(family).tiny),
        "train": [0, 4],
        "evaluation": [4, 2],
        "settings": dataclasses.asdict(settings),
        "seed": 0,
    }
    model = load(preset_model(protocol, FINGERPRINT_PRESET, family), dtype=torch.float64)
    trainer = make_trainer(spec, model, panel_of(family, spec))
    values: list[float] = []
    for update in range(FINGERPRINT_UPDATES):
        step = trainer.step(update)
        values += [step[name] for name in ("loss", "gradient_norm") if name in step]  # none where nothing was learnt
    return Fingerprint(values=(*values, trainer.evaluate(FINGERPRINT_UPDATES, {}).success))


def _kept_fingerprint(path: Path) -> Fingerprint | None:
    """Read nothing else of an old report, which may have another form than reports have today."""
    try:
        kept = load_json(path.read_text(encoding="utf-8"))["fingerprint"]
        return None if kept is None else Fingerprint.model_validate(kept)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "the fingerprint of the records cannot be read from the old report",
            file=path,
            repair="Restore the file, or make the records again in an empty folder.",
        ) from error


def make_report(reproduction: Reproduction, protocol: Protocol, out: Path, *, fresh: bool) -> Report:
    """Build and write `out`/report.json from `out`/results.

    fresh: the records were made just now, so the fingerprint taken now is theirs. Otherwise the one in the old report
    is kept and compared, and the report says whether the records are stale.
    """
    now = take_fingerprint(reproduction, protocol)
    path = out / "report.json"
    made = now if fresh or not path.is_file() else _kept_fingerprint(path)
    report = build_report(
        reproduction.declaration(protocol.least_seeds_for_verdict),
        read_records(out / "results"),
        protocol.bootstrap_seed,
        fingerprint=made,
        fresh_fingerprint=now,
    )
    write_report(path, report)
    return report
