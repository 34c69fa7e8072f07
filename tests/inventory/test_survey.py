"""The frozen tables of the survey: read as they stand, and what each entry repeats of them."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from cairn.errors import UserError
from cairn.inventory import Inventory, load
from cairn.inventory.models import SurveyLabels
from cairn.inventory.survey import FOLDER, Survey, load_survey, read_table
from cairn.paths import data_root

FILES = sorted((data_root() / "inventory").glob("[mbd]*/*.yaml"))


@pytest.fixture(scope="module")
def survey() -> Survey:
    return load_survey()


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the transcription that a test may break; the data root is two folders up."""
    shutil.copytree(data_root() / FOLDER, tmp_path / FOLDER)
    return tmp_path / FOLDER


def test_the_survey_counts_41_core_methods_and_6_enablers(survey: Survey) -> None:
    # The abstract: "47 CA methods (41 core, 6 adjacent enablers)". The numbers of Table 10 are 1 to 47 without a gap.
    assert Counter(method.type for method in survey.surveyed) == {"core": 41, "enabler": 6}
    assert [method.number for method in survey.surveyed] == list(range(1, 48))
    assert {method.type for method in survey.methods} - {"core", "enabler"} == {"background"}
    assert len({method.entry for method in survey.methods}) == len(survey.methods) == 51


def test_the_headings_of_table_10_count_their_rows(survey: Survey) -> None:
    sizes = Counter(method.section for method in survey.surveyed)
    assert {heading: int(heading[heading.index("(") + 1 : -1]) for heading in sizes} == sizes


def test_the_tables_have_the_rows_that_were_counted_in_the_text() -> None:
    counted = {2: 7, 3: 7, 4: 15, 5: 47, 6: 10, 7: 9, 8: 7, 9: 44, 10: 51, 11: 14, 12: 12}
    assert {number: len(read_table(number)) for number in counted} == counted


@pytest.mark.parametrize("number", [6, 7])
def test_the_gains_in_the_tables_of_results_are_score_minus_baseline(number: int) -> None:
    # Arithmetic that the survey did and the transcription did not: a digit misread would show.
    rows = [row for row in read_table(number) if row["Baseline"] != "—"]
    for row in rows:
        score, baseline = (float(re.findall(r"[0-9.]+(?=%?$)", row[name])[0]) for name in ("Score", "Baseline"))
        assert score - baseline == pytest.approx(float(row[""])), row
    assert len(rows) >= 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_block_survey_of_an_entry_is_its_row(path: Path, inventory: Inventory, survey: Survey) -> None:
    row, labels = survey.method(path.stem), inventory[path.stem].survey
    assert (labels is None) is (row is None), "an entry has this block when the survey has its row, and only then"
    fields = [name for name in SurveyLabels.model_fields if name != "from_"]
    assert {name: getattr(labels, name, None) for name in fields} == {name: getattr(row, name, None) for name in fields}


def test_every_row_of_the_survey_is_an_entry(survey: Survey) -> None:
    assert {method.entry for method in survey.methods} <= {path.stem for path in FILES}


def test_a_row_read_off_by_hand(survey: Survey) -> None:
    # Tables 10 and 5: "7 | TEMPO | C | R | Token/Seg | Tree-TD | P | L | MATH, GSM8K" and "No | Med | — | 2025".
    row = survey.method("tempo")
    assert row is not None
    assert (row.number, row.type, row.setting, row.granularity) == (7, "core", ("reasoning",), ("token", "segment"))
    assert (row.methodology, row.baseline_family, row.evidence) == ("Tree-TD", "ppo", "limited")
    assert (row.aux_model, row.compute, row.venue, row.year) == ("none", "medium", "—", 2025)
    assert row.benchmarks == ("MATH", "GSM8K")
    assert survey.method("no-such-entry") is None


def test_letters_become_words_of_the_lists(inventory: Inventory, survey: Survey) -> None:
    for field in ("type", "setting", "granularity", "baseline_family", "evidence", "aux_model", "compute"):
        words = {word for method in survey.methods for word in _words(getattr(method, field))}
        assert words <= set(inventory.vocabulary(field.replace("_", "-")).words), field


def _words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def test_scenarios_name_entries(survey: Survey) -> None:
    # Table 8: "CARL, HCAPO, C3/CCPO, ArCHer" for software engineering; one cell names two methods.
    scenario = next(one for one in survey.scenarios if "SWE-bench" in one.scenario)
    assert scenario.candidates == ("carl", "hcapo", "c3", "ccpo", "archer")
    assert len(survey.scenarios) == 7


def test_pairs_and_coarse_counts_read_off_by_hand(survey: Survey) -> None:
    # Section 7.5 and the last paragraph of appendix C.
    pairs = [(pair.task, pair.method) for pair in survey.pairs]
    assert pairs[0] == ("GSM8K", "spo")
    assert len(pairs) == 6
    assert {count.item: (count.reported, count.of) for count in survey.coarse_audit} == {
        "gpu_hours": (0, 41),
        "variance": (2, 41),
        "compute_controlled_baseline": (0, 41),
    }


def test_a_mark_is_yes_or_lost(survey: Survey) -> None:
    marks = {row.item: row for row in survey.marks}
    assert set(marks["base_model"].marks.values()) == {"yes"}
    assert (marks["base_model"].ticks, marks["benchmarks_and_splits"].ticks, marks["variance"].ticks) == (3, 2, 0)
    assert set(marks["benchmarks_and_splits"].marks.values()) == {"lost"}
    assert {tuple(row.marks) for row in survey.marks} == {("hicra", "gigpo", "m-grpo")}
    assert sum(row.ticks for row in survey.marks) == 16  # counted in the text


def test_every_lost_mark_is_listed_and_nothing_else(survey: Survey) -> None:
    listed = {(str(cell.table), cell.row, cell.column) for cell in survey.lost}
    empty = {
        (str(number), row["Method" if number == 4 else "Item"], column)
        for number in (4, 12)
        for row in read_table(number)
        for column, cell in row.items()
        if cell == ""
    }
    assert empty == {place for place in listed if place[0] in ("4", "12") and place[2] not in ("", "Method")}
    assert len(empty) == 15 * 6 + 8 * 3  # all of Table 4; the rows of Table 12 with fewer than three ticks


def test_items_are_those_of_table_11(survey: Survey) -> None:
    assert list(survey.items.values()) == [row["Item"] for row in read_table(11)]


def test_contradictions_speak_of_entries_and_items(survey: Survey) -> None:
    known = {method.entry for method in survey.methods} | set(survey.items)
    assert [one for one in survey.contradictions if not set(one.subject) <= known] == []
    assert {one.found_by for one in survey.contradictions} == {"program", "reading"}


def _break(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "line", "said"),
    [
        ("table-10.csv", "SPO,C,R,Segment", "SPO,C,R,Segmint", 6, "codes.csv does not say what this means"),
        ("table-10.csv", ",SPO,", ",SPOO,", 6, "names.csv does not say which entry"),
        ("table-10.csv", ",5,SPO", ",five,SPO", 6, "number"),
        ("table-10.csv", "SPO,C,R,", "SPO,C,R,R,", 6, "this row has 11 cells, not 10"),
        ("table-10.csv", "Gran.", "Granularity", 1, "column Gran. is missing"),
        ("table-10.csv", "BL,Ev.", "BL,BL,Ev.", 1, "does not name the columns"),
        ("table-05.csv", "SCAR,Segment,Game-theoretic,R,C,No,High", "SCAR,Segment,X,R,C,No,Huge", 7, "as compute"),
        ("table-08.csv", "IGPO", "IGPOO", 5, "names.csv does not say"),
        ("table-12.csv", "Total GPU-hours", "GPU-hours", 11, "item"),
        ("coarse-audit.csv", "variance,2", "variance,-2", 3, "reported"),
        ("lost.csv", "3,CA difficulty", "three,CA difficulty", 2, "table"),
        ("pairs.csv", "SPO", "'SPO'", 2, "names.csv does not say"),
        ("contradictions.csv", "program,", "guess,", 2, "found_by"),
        ("table-08.csv", "Scenario", '"Scenario"x', 1, "not valid CSV"),
    ],
)
def test_a_broken_file_is_said_with_its_line(file: str, old: str, new: str, line: int, said: str, folder: Path) -> None:
    _break(folder / file, old, new)
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        load_survey(folder.parents[1])
    assert (Path(str(caught.value.file)).name, caught.value.repair is not None) == (file, True)
    assert caught.value.line == line


def test_a_file_that_is_missing_or_not_text_is_said(folder: Path) -> None:
    (folder / "ticks.csv").write_bytes(b"table,row,ticks\n12,\xff,0\n")
    with pytest.raises(UserError, match="UTF-8"):
        load_survey(folder.parents[1])
    (folder / "ticks.csv").unlink()
    with pytest.raises(UserError, match=r"ticks\.csv.*cannot read"):
        load_survey(folder.parents[1])
    with pytest.raises(UserError, match="cannot read"):
        read_table(13)
