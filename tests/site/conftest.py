"""A data root with the real inventory and invented records: nothing here says anything about a method."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from pydantic import BaseModel
from tests.evidence.samples import failed_record, sample_claim, sample_experiment, sample_records

from cairn.evidence.experiment import Experiment
from cairn.evidence.records import Record, write_record
from cairn.evidence.report import build_report, write_report
from cairn.inventory import Inventory, Vocabularies, load
from cairn.inventory.decision import DecisionTree
from cairn.inventory.models import Mark
from cairn.inventory.recommend import load_tree
from cairn.inventory.survey import Survey, load_survey
from cairn.site import build

CHECKOUT = Path(__file__).resolve().parents[2]
METHOD = "gigpo"
STUDY = "widening"
PAPER_CLAIM = f"{METHOD}#alfworld-over-grpo"
Part = TypeVar("Part", bound=BaseModel)
# Ends the elements it may stand in, opens others, and uses what Markdown knows.
HOSTILE = (
    "</title></p></svg><script>alert(1)</script><img src=x onerror=alert(2)>\"' onclick=alert(3) "
    "[x](javascript:alert(4)) `*_{: .a }"
)
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
        sample_claim("slower", direction="less", basis=PAPER_CLAIM, text="It is slower."),
        sample_claim("slower-placed", arm="shuffled", control="paper", text="Misplaced, it is faster."),
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


def fill_study(root: Path, experiment: Experiment) -> None:
    """Write records, report and a script, of which only the name is looked at, of a study below a root."""
    folder = root / "studies" / experiment.id
    records = [cell.model_copy(update={"method": experiment.id}) for cell in sample_records()]
    for record in records:
        write_record(folder / "results", record)
    write_report(folder / "report.json", build_report(experiment, records, 1))
    (folder / "study.py").write_text("", encoding="utf-8")


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
    looked = sample_claim("wider", text="A wider net catches more.", explains=(f"{METHOD}#slower",))
    fill_study(made, sample_experiment(id="own-question", title="Is there a net?", claims=(sample_claim("net"),)))
    fill_study(made, sample_experiment(id=STUDY, title="Does a wider net catch more?", claims=(looked,)))
    return made


@pytest.fixture(scope="session")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("material", reason="mkdocs-material renders the site")
    return build(root, tmp_path_factory.mktemp("site") / "out")


@pytest.fixture(scope="session")
def hostile_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with an entry, records and a worked example whose every free text is an attack."""
    pytest.importorskip("material", reason="mkdocs-material renders the site")
    root = bare_root(tmp_path_factory.mktemp("hostile"))
    records = [*invented_records()[:-1], invented_records()[-1].model_copy(update={"reason": HOSTILE})]
    claim = sample_claim("faster", text=HOSTILE, why=HOSTILE, basis=HOSTILE)
    folder = fill(root, sample_experiment(id=METHOD, title=HOSTILE, claims=(claim,), deviations=(HOSTILE,)), records)
    fill_study(root, sample_experiment(id=STUDY, title=HOSTILE, claims=(claim,), deviations=(HOSTILE,)))
    golden = yaml.safe_load(GOLDEN)
    first = golden["batch"][0]
    first["group"] = first["turns"][0]["observation"] = golden["origin"] = HOSTILE
    (folder / "golden.yaml").write_text(yaml.safe_dump(golden), encoding="utf-8")
    attacked, tree, survey = _attacked(load(root)), _attacked_tree(root), _attacked_survey(root)
    with pytest.MonkeyPatch.context() as patch:
        # The inventory's own rules refuse such text; the site must not rest on that.
        patch.setattr("cairn.site.writer.load", lambda _: attacked)
        patch.setattr("cairn.site.writer.load_tree", lambda *_: tree)
        patch.setattr("cairn.site.writer.load_survey", lambda _: survey)
        return build(root, tmp_path_factory.mktemp("attacked") / "out")


def _attacked(inventory: Inventory) -> Inventory:
    entry = inventory[METHOD]
    bad = {
        "bibliography": _fouled(entry.bibliography, "name", "title"),
        "rule": _fouled(entry.rule, "credited", "formula", "loss").model_copy(update={"procedure": (HOSTILE,)}),
        "claims": tuple(_fouled(claim, "text", "numbers") for claim in entry.claims),
        "sources": {key: _fouled(source, "ref", "seen") for key, source in entry.sources.items()},
        "labels": entry.labels.model_copy(update={"why": {"granularity": f"why {HOSTILE}"}}),
        "survey": _filled(entry.survey, "methodology"),
        "survey_discrepancy": _filled(entry.survey_discrepancy, "text"),
        "reporting": entry.reporting.model_copy(update={"variance": _fouled_mark(entry.reporting.variance)}),
        "properties": entry.properties.model_copy(
            update={"reduces_to": tuple(_fouled(one, "when") for one in entry.properties.reduces_to)}
        ),
        "relations": tuple(_fouled(one, "note") for one in entry.relations),
        "withdrawn": f"withdrawn {HOSTILE}",
    }
    entries = tuple(entry.model_copy(update=bad) if one.id == METHOD else one for one in inventory)
    return dataclasses.replace(inventory, entries=entries, vocabularies=_attacked_words(inventory.vocabularies))


def _attacked_words(lists: Vocabularies) -> Vocabularies:
    """Foul the definitions of a list, which also stand in attributes."""
    known = lists["granularity"]
    fouled = {word: _fouled(one, "definition") for word, one in known.words.items()}
    return {**lists, "granularity": _fouled(known, "title", "about").model_copy(update={"words": fouled})}


def _attacked_tree(root: Path) -> DecisionTree:
    tree = load_tree(load(root), root)
    bad = {
        "about": HOSTILE,
        "questions": {name: _fouled(one, "ask") for name, one in tree.questions.items()},
        "scenarios": {name: _fouled(one, "title", "survey_row") for name, one in tree.scenarios.items()},
        "barriers": tuple(_fouled(one, "because") for one in tree.barriers),
    }
    return tree.model_copy(update=bad)


def _attacked_survey(root: Path) -> Survey:
    survey = load_survey(root)
    bad = {
        "contradictions": tuple(_fouled(one, "says", "remark") for one in survey.contradictions),
        "lost": tuple(_fouled(one, "row", "why") for one in survey.lost),
        "coarse_audit": tuple(_fouled(one, "words") for one in survey.coarse_audit),
    }
    return survey.model_copy(update=bad)


def _fouled_mark(mark: Mark) -> Mark:
    return mark.model_copy(update={"evidence": tuple(_fouled(one, "text") for one in mark.evidence)})


def _filled(block: Part | None, *fields: str) -> Part:
    assert block is not None, "the entry of these tests has every block"
    return _fouled(block, *fields)


def _fouled(block: Part, *fields: str) -> Part:
    return block.model_copy(update={field: f"{field} {HOSTILE}" for field in fields})
