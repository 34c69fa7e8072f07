"""A data root with the real inventory and invented records: nothing here says anything about a method."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.evidence.samples import failed_record, sample_claim, sample_experiment, sample_records

from cairn.evidence.experiment import Experiment
from cairn.evidence.records import Record, write_record
from cairn.evidence.report import build_report, write_report
from cairn.site import build

CHECKOUT = Path(__file__).resolve().parents[2]
METHOD = "gigpo"
PAPER_CLAIM = f"{METHOD}#alfworld-over-grpo"
# A case of its own: the real examples may change without moving a test of the site.
GOLDEN = """
origin: invented for a test
tolerance: 1.0e-6
batch:
  - {group: maze, reward: 1, turns: [{observation: hall, tokens: [go]}, {observation: hall, tokens: [walk]}]}
  - {group: maze, reward: 0, turns: [{observation: a hall with a long description, tokens: []}]}
others:
  grpo: [[0.5, 0.5], [null]]
cases:
  - {name: paper, method: {}, expected: [[1.25, -0.75], [null]]}
  - {name: no-step-part, method: {step_weight: 0.0}, expected: [[0.5, 0.5], [null]]}
"""


def invented_records() -> list[Record]:
    """All cells of the sample experiment under the id of a real entry; the last one failed."""
    cells = [*sample_records()[:-1], failed_record("exact", 4)]
    return [cell.model_copy(update={"method": METHOD}) for cell in cells]


def invented_experiment() -> Experiment:
    claims = (
        sample_claim("faster", basis=PAPER_CLAIM, text="It learns faster."),
        sample_claim("frugal", axis="flops", margin=0.02, basis=PAPER_CLAIM, text="It is frugal."),
    )
    return sample_experiment(id=METHOD, claims=claims)


def fill(root: Path, experiment: Experiment, records: list[Record]) -> Path:
    """Write records, report and worked example of one method below a root, and return its folder."""
    folder = root / "reproductions" / experiment.id
    for record in records:
        write_record(folder / "results", record)
    write_report(folder / "report.json", build_report(experiment, records, 1))
    (folder / "golden.yaml").write_text(GOLDEN, encoding="utf-8")
    return folder


def bare_root(root: Path) -> Path:
    """Copy what is needed besides evidence: facts, checklist and hand-written pages."""
    for name in ("inventory", "checklist", "docs"):
        shutil.copytree(CHECKOUT / name, root / name)
    shutil.copy(CHECKOUT / "mkdocs.yml", root / "mkdocs.yml")
    return root


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root. Tests must not write into it."""
    made = bare_root(tmp_path_factory.mktemp("root"))
    fill(made, invented_experiment(), invented_records())
    return made


@pytest.fixture(scope="session")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("material", reason="mkdocs-material renders the site")
    return build(root, tmp_path_factory.mktemp("site") / "out")
