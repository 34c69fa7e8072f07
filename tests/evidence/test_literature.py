"""The audit of the literature on an inventory of five made-up methods, whose counts are made by hand.

The marks, as status and accounts (p paper, r repository, t third party); unlisted ones are unknown, shown by the paper:

    method  type      gpu_hours  variance  compute_controlled_baseline  base_model
    one     core      yes r      yes p     yes pt                       yes p
    two     core      partial p  yes pr    no p                         partial r
    three   core      no p       yes t     partial t                    yes p
    four    core      unknown r  no p      unknown p                    unknown p
    five    enabler   yes p      yes p     yes p                        yes p

and four reports ca_overhead in part (paper). Of the core methods the made-up survey says 0 of 4 for hours, 2 of 4 for
variance, 0 of 4 for compute control. Its Table 12 is about one, two and four: ✓ ✓ ✓ for the model, no ✓ for hours, one
for variance and two for compute control, the columns of both lost.

Compute control of one shows both readings, that of three an explicit comparison, that of five the same budget.
"""

from __future__ import annotations

import csv
import io
import shutil
from typing import Any

import pytest
from tests.inventory.conftest import SAMPLES

from cairn.errors import UserError
from cairn.evidence.base import Evidence
from cairn.evidence.literature import CSV_COLUMNS, LiteratureAudit, literature_audit, matrix_csv
from cairn.inventory import Entry, Inventory, load
from cairn.inventory.models import Mark, Reporting
from cairn.inventory.survey import CoarseCount, Survey, SurveyMarks, SurveyMethod
from cairn.paths import data_root

HOURS, VARIANCE, COMPUTE, MODEL = "gpu_hours", "variance", "compute_controlled_baseline", "base_model"
OVERHEAD = "ca_overhead"
MARKS = {
    "one": {HOURS: "yes r", VARIANCE: "yes p", COMPUTE: "yes pt se", MODEL: "yes p"},
    "two": {HOURS: "partial p", VARIANCE: "yes pr", COMPUTE: "no p", MODEL: "partial r"},
    "three": {HOURS: "no p", VARIANCE: "yes t", COMPUTE: "partial t e", MODEL: "yes p"},
    "four": {HOURS: "unknown r", VARIANCE: "no p", OVERHEAD: "partial p"},
    "five": {HOURS: "yes p", VARIANCE: "yes p", COMPUTE: "yes p s", MODEL: "yes p"},
}
READINGS = {"s": "same-budget", "e": "explicit-comparison"}
ACCOUNTS = {"p": "paper", "r": "repository", "t": "third_party"}


def _mark(text: str) -> Mark:
    status, letters, *readings = text.split()
    shown = [{"account": ACCOUNTS[one], "text": f"seen in {one}", "from": ["s1"]} for one in letters]
    read = [READINGS[one] for one in "".join(readings)]
    return Mark.model_validate({"status": status, "readings": read, "evidence": shown})


def _entry(template: Entry, name: str) -> Entry:
    marks = {item: _mark(MARKS[name].get(item, "unknown p")) for item in Reporting.model_fields}
    return template.model_copy(update={"id": name, "reporting": Reporting(**marks)})


def _method(number: int, name: str) -> SurveyMethod:
    kind = "enabler" if name == "five" else "core"
    words: dict[str, Any] = dict.fromkeys(("methodology", "baseline_family", "evidence", "aux_model", "compute"), "x")
    lists: dict[str, Any] = dict.fromkeys(("setting", "granularity", "benchmarks"), ("x",))
    return SurveyMethod(
        entry=name, name=name, number=number, section="x", type=kind, venue="", year=None, **words, **lists
    )


def _table_12(item: str, ticks: int, mark: str) -> SurveyMarks:
    return SurveyMarks.model_validate(
        {"item": item, "row": item, "ticks": ticks, "marks": dict.fromkeys(("one", "two", "four"), mark)}
    )


def _count(item: str, reported: int) -> CoarseCount:
    return CoarseCount(item=item, reported=reported, of=4, words="x", where="Appendix", paragraph="x")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Inventory:
    tree = tmp_path_factory.mktemp("literature")
    shutil.copytree(SAMPLES, tree / "inventory")
    shutil.copytree(data_root() / "inventory" / "vocab", tree / "inventory" / "vocab")
    found = load(tree)
    return Inventory(tuple(_entry(found["alpha"], name) for name in sorted(MARKS)), found.vocabularies)


@pytest.fixture(scope="module")
def survey() -> Survey:
    rows = [(MODEL, 3, "yes"), (HOURS, 0, "lost"), (VARIANCE, 1, "lost"), (COMPUTE, 2, "lost")]
    return Survey(
        methods=tuple(_method(number, name) for number, name in enumerate(MARKS, 1)),
        scenarios=(),
        marks=tuple(_table_12(*row) for row in rows),
        coarse_audit=(_count(HOURS, 0), _count(VARIANCE, 2), _count(COMPUTE, 0)),
        pairs=(),
        contradictions=(),
        lost=(),
        items={},
    )


@pytest.fixture(scope="module")
def audit(inventory: Inventory, survey: Survey) -> LiteratureAudit:
    return literature_audit(inventory, survey)


def test_the_matrix_has_the_survey_s_order_and_all_items(audit: LiteratureAudit) -> None:
    assert [row.entry for row in audit.rows] == list(MARKS)
    assert (audit.methods, audit.core) == (5, 4)
    assert all([mark.item for mark in row.marks] == list(Reporting.model_fields) for row in audit.rows)
    mark = audit.rows[0].mark(COMPUTE)
    assert (mark.status, mark.accounts) == ("yes", ("paper", "third_party"))
    assert [(one.account, one.text) for one in mark.evidence] == [("paper", "seen in p"), ("third_party", "seen in t")]
    sources = [(one.key, one.kind, one.ref) for one in mark.evidence[0].sources]
    assert sources == [("s1", "paper", "made up for the tests")]  # of the sample that all five are made from
    with pytest.raises(KeyError):
        audit.rows[0].mark("no_such_item")


@pytest.mark.parametrize(
    ("item", "scope", "standard", "counts"),
    [  # yes, partial, no, unknown
        (HOURS, "core", "any", (1, 1, 1, 1)),
        (HOURS, "core", "with_paper", (0, 1, 1, 2)),
        (HOURS, "all", "any", (2, 1, 1, 1)),
        (HOURS, "all", "paper_only", (1, 1, 1, 2)),
        (VARIANCE, "core", "any", (3, 0, 1, 0)),
        (VARIANCE, "core", "with_paper", (2, 0, 1, 1)),
        (VARIANCE, "core", "paper_only", (1, 0, 1, 2)),
        (COMPUTE, "core", "any", (1, 1, 1, 1)),
        (COMPUTE, "core", "with_paper", (1, 0, 1, 2)),
        (COMPUTE, "core", "paper_only", (0, 0, 1, 3)),
        (MODEL, "all", "with_paper", (3, 0, 0, 2)),
    ],
)
def test_counts_under_each_standard(
    item: str, scope: Any, standard: Any, counts: tuple[int, ...], audit: LiteratureAudit
) -> None:
    tally = next(gap for gap in audit.gaps if gap.item.key == item).tally(scope, standard)
    assert tuple(tally.counts[status] for status in ("yes", "partial", "no", "unknown")) == counts
    assert sum(tally.counts.values()) == tally.methods == {"core": 4, "all": 5}[scope]


@pytest.mark.parametrize(
    ("reading", "scope", "standard", "counts"),
    [
        # one yes; three partial for the other reading; two no; four unknown
        ("same-budget", "core", "any", {"yes": 1, "partial": 0, "no": 1, "unknown": 1, "other": 1}),
        ("explicit-comparison", "core", "any", {"yes": 1, "partial": 1, "no": 1, "unknown": 1, "other": 0}),
        ("explicit-comparison", "all", "any", {"yes": 1, "partial": 1, "no": 1, "unknown": 1, "other": 1}),
        ("same-budget", "all", "paper_only", {"yes": 1, "partial": 0, "no": 1, "unknown": 3, "other": 0}),
    ],
)
def test_counts_under_each_reading(
    reading: str, scope: str, standard: str, counts: dict[str, int], audit: LiteratureAudit
) -> None:
    (found,) = [one for one in audit.reading_tallies if (one.reading, one.scope, one.standard)
                == (reading, scope, standard)]  # fmt: skip
    assert found.item == COMPUTE
    assert {word: found.counts[word] for word in counts} == counts
    assert sum(found.counts.values()) == found.methods


def test_gaps_are_ranked_by_what_core_methods_report(audit: LiteratureAudit) -> None:
    # Nine items that nobody reports share rank 1, one that is reported in part follows. Then hours and compute control
    # (1 yes and 1 partial each), the model (2 yes), the variance (3).
    ranks = {gap.item.key: gap.rank for gap in audit.gaps}
    assert (ranks[OVERHEAD], ranks[HOURS], ranks[COMPUTE], ranks[MODEL], ranks[VARIANCE]) == (10, 11, 11, 13, 14)
    assert [gap.rank for gap in audit.gaps] == [*[1] * 9, 10, 11, 11, 13, 14]


def test_table_12_cell_by_cell(audit: LiteratureAudit) -> None:
    found = {(cell.row, cell.mark.entry): (cell.survey, cell.agreement) for cell in audit.cells}
    assert len(found) == 12
    assert [found[MODEL, one] for one in ("one", "two", "four")] == [
        ("yes", "agrees"),
        ("yes", "differs"),
        ("yes", "open"),
    ]
    assert [found[HOURS, one] for one in ("one", "two", "four")] == [
        ("not-yes", "differs"),
        ("not-yes", "compatible"),
        ("not-yes", "open"),
    ]
    assert {found[item, one] for item in (VARIANCE, COMPUTE) for one in ("one", "two", "four")} == {("lost", "lost")}


def test_rows_without_columns(audit: LiteratureAudit) -> None:
    # Variance: one ✓; ours yes, yes, no. Compute control: two ✓; ours yes, no, unknown.
    rows = {row.item: (row.ticks, row.least, row.most, row.possible) for row in audit.lost_rows}
    assert rows == {VARIANCE: (1, 2, 2, False), COMPUTE: (2, 1, 2, True)}


def test_the_coarse_counts_beside_ours(audit: LiteratureAudit) -> None:
    hours, variance, compute = audit.coarse
    assert (hours.methods, hours.least, hours.most) == (4, 1, 2)
    assert hours.reported == {"any": 1, "with_paper": 0, "paper_only": 0}
    assert (_names(hours.contradicting), _names(hours.in_part)) == (["one"], ["two"])
    assert variance.reported == {"any": 3, "with_paper": 2, "paper_only": 1}
    assert (_names(variance.contradicting), _names(variance.in_part)) == (["one", "two", "three"], [])
    assert (_names(compute.contradicting), _names(compute.in_part)) == (["one"], ["three"])


def _names(marks: Any) -> list[str]:
    return [mark.entry for mark in marks]


def test_contradictions_once_for_each_mark(audit: LiteratureAudit) -> None:
    found = {
        (one.mark.entry, one.mark.item): [(said.where, said.says, said.degree) for said in one.statements]
        for one in audit.contradictions
    }
    assert found == {
        ("one", HOURS): [("Table 12", "not ✓", "full"), ("Appendix", "0 of 4", "full")],
        ("one", COMPUTE): [("Appendix", "0 of 4", "full")],
        ("two", MODEL): [("Table 12", "✓", "part")],
        ("two", HOURS): [("Appendix", "0 of 4", "part")],
        ("three", COMPUTE): [("Appendix", "0 of 4", "part")],
        ("one", VARIANCE): [("Table 12", "1 ✓ in the row", "count"), ("Appendix", "2 of 4", "count")],
        ("two", VARIANCE): [("Table 12", "1 ✓ in the row", "count"), ("Appendix", "2 of 4", "count")],
        ("three", VARIANCE): [("Appendix", "2 of 4", "count")],
    }
    assert [one.statements[0].degree for one in audit.contradictions] == ["full"] * 2 + ["part"] * 3 + ["count"] * 3


def test_a_row_with_more_ticks_than_ours_can_have(inventory: Inventory, survey: Survey) -> None:
    more = survey.model_copy(update={"marks": (_table_12(COMPUTE, 3, "lost"),), "coarse_audit": ()})
    found = literature_audit(inventory, more)
    assert [(one.mark.entry, one.mark.status) for one in found.contradictions] == [("two", "no")]


@pytest.mark.parametrize(("item", "ticks"), [(VARIANCE, 2), (COMPUTE, 1), (COMPUTE, 2)])
def test_as_many_as_the_survey_counts_contradict_nothing(
    item: str, ticks: int, inventory: Inventory, survey: Survey
) -> None:
    # Of Table 12's methods two have a yes for variance; for compute control it is one, or two with the unknown one.
    other = {"marks": (_table_12(item, ticks, "lost"),), "coarse_audit": (_count(VARIANCE, 3),)}
    assert literature_audit(inventory, survey.model_copy(update=other)).contradictions == ()


def test_a_surveyed_method_without_an_entry_is_said(inventory: Inventory, survey: Survey) -> None:
    with pytest.raises(UserError, match="no entry has this id"):
        literature_audit(Inventory(inventory.entries[:-1], inventory.vocabularies), survey)


def test_the_csv_has_a_row_for_each_mark(audit: LiteratureAudit) -> None:
    rows = list(csv.DictReader(io.StringIO(matrix_csv(audit))))
    assert len(rows) == 5 * 14
    assert tuple(rows[0]) == CSV_COLUMNS
    row = next(row for row in rows if (row["entry"], row["item"]) == ("two", VARIANCE))
    assert (row["type"], row["status"], row["accounts"]) == ("core", "yes", "paper repository")
    assert row["evidence"] == "paper: seen in p | repository: seen in r"


def test_the_audit_survives_json(audit: LiteratureAudit) -> None:
    assert isinstance(audit, Evidence)
    assert LiteratureAudit.model_validate_json(audit.model_dump_json()) == audit
