"""What the generated pages say, and that the same input gives the same bytes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from tests.site.conftest import METHOD, STUDY, bare_root, fill, invented_experiment, invented_records
from tests.site.html_reader import Page, read

from cairn.errors import UserError
from cairn.site import generate


@pytest.fixture(scope="module")
def docs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("docs")
    generate(root, made)
    return made


@pytest.fixture(scope="module")
def page(docs: Path) -> Page:
    return read(docs / "methods" / f"{METHOD}.md")


def test_every_entry_has_a_page(docs: Path, root: Path) -> None:
    folders = ("methods", "background", "diagnostics")
    entries = {path.stem for folder in folders for path in (root / "inventory" / folder).glob("*.yaml")}
    assert {path.stem for path in (docs / "methods").glob("*.md")} == entries | {"index"}


def test_sections_keep_their_order(docs: Path) -> None:
    text = (docs / "methods" / f"{METHOD}.md").read_text(encoding="utf-8")
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "The rule",
        "Worked example",
        "What it needs",
        "Family",
        "Labels: the survey's and ours",
        "Claims, and our test of them",
        "Arms",
        "Is the credit right?",
        "Checks of the protocol",
        "Where our run departs from the paper",
        "Reporting checklist",
        "Reproduce it",
        "Sources",
        "Cite the paper",
    ]


def test_the_page_shows_facts_of_the_entry(page: Page) -> None:
    for fact in (
        "Group-in-Group Policy Optimization for LLM Agent Training",
        "NeurIPS 2025",
        "arXiv 2505.10978",
        "licence Apache-2.0",
        "Where the survey and the paper differ",
        "equation",
    ):
        assert fact in page.text


def test_verdicts_stand_beside_the_papers_claim_and_are_linked(page: Page) -> None:
    assert {"#test-faster", "#test-frugal"} <= set(page.all("a", "href"))
    assert {"test-faster", "test-frugal", "test-exact-helps"} <= page.ids
    # Rates 0.15 and 0.05 a update, noise 0.01: the samples' arm is far ahead at equal updates.
    assert "supported 95 % interval of paper - baseline" in page.text
    assert "0.31 M parameters, task toy, 5 seeds, preset cpu" in page.text
    assert "Sign-flip p" in page.text
    assert "0.0625" in page.text  # five pairs, all of one sign: 2 / 2^5


def test_a_failed_cell_is_shown_with_its_reason_and_spoils_the_checks(page: Page) -> None:
    assert "toy, exact, seed 4 failed loss became NaN" in " ".join(page.pieces).replace("  ", " ")
    assert "The protocol's own checks did not all hold" in page.text


def test_a_study_has_a_page_of_its_own_and_no_entry(docs: Path) -> None:
    listed, page = read(docs / "studies" / "index.md"), read(docs / "studies" / f"{STUDY}.md")
    assert f"{STUDY}.html" in listed.all("a", "href")
    assert "Does a wider net catch more?" in listed.text
    assert f"cairn run {STUDY} --preset cpu --seeds 5" in page.text
    assert "supported 95 % interval of paper - baseline" in page.text
    assert f"../data/{STUDY}/report.json" in page.all("a", "href")
    assert json.loads((docs / "data" / STUDY / "report.json").read_text())["id"] == STUDY
    assert STUDY not in {one["id"] for one in json.loads((docs / "data/v1/entries.json").read_text())}


def test_studies_of_open_verdicts_are_listed_apart_with_the_methods_that_they_are_about(docs: Path) -> None:
    listed = read(docs / "studies" / "index.md")
    own, followed = listed.text.split("Open verdicts, looked into")
    assert "Is there a net?" in own
    assert "Does a wider net catch more?" not in own
    assert "Does a wider net catch more?" in followed
    assert f"../methods/{METHOD}.html" in listed.all("a", "href")


def test_an_open_verdict_says_what_was_tried_to_explain_it(page: Page) -> None:
    assert "Tried to explain it✓ supported A wider net catches more. paper − baseline: +" in page.text
    assert f"../studies/{STUDY}.html#test-wider" in page.all("a", "href")
    assert "Tried to explain itnothing yet: this is an open question." in page.text
    assert page.text.count("Tried to explain it") == 3, "two claims, and the check of which a cell failed"


def test_the_worked_example_is_drawn_and_told(page: Page) -> None:
    assert "invented for a test" in page.text
    for value in ("+1.250", "−0.750", "+0.500"):
        assert page.text.count(value) >= 2, f"{value}: once in the picture, once in the table"
    assert "state 2: a hall with a long description" in page.text


def test_our_run_is_audited_on_all_items(docs: Path) -> None:
    text = (docs / "methods" / f"{METHOD}.md").read_text(encoding="utf-8")
    checklist = text.split("## Reporting checklist")[1].split("## Reproduce it")[0]
    # Two marks in each of 14 rows: the paper's and that of our run.
    assert checklist.count("cairn-badge") == 28
    assert "We trained toy-lm, 2 layers of width 64" in checklist


def test_the_command_names_the_preset_and_the_seeds_that_were_run(page: Page) -> None:
    assert f"cairn run {METHOD} --preset cpu --seeds 5" in page.text


def test_statuses_follow_from_what_exists(docs: Path, tmp_path: Path) -> None:
    found = {one["id"]: one["statuses"] for one in json.loads((docs / "data/v1/entries.json").read_text())}
    assert found[METHOD] == ["listed", "implemented", "run", "judged"]
    assert found["carl"] == ["listed"]
    bare = bare_root(tmp_path / "bare")
    generate(bare, tmp_path / "docs")
    text = read(tmp_path / "docs" / "methods" / f"{METHOD}.md").text
    assert "We have not run this method yet" in text
    assert "Arms" not in text
    assert "methods paragraph" not in text
    assert "No experiment has been run yet" in read(tmp_path / "docs" / "leaderboard" / "index.md").text


def test_a_report_without_its_records_still_makes_a_page(tmp_path: Path) -> None:
    root = bare_root(tmp_path / "root")
    shutil.rmtree(fill(root, invented_experiment(), invented_records()) / "results")
    generate(root, tmp_path / "docs")
    text = read(tmp_path / "docs" / "methods" / f"{METHOD}.md").text
    assert "The 20 raw records are in the repository" in text
    assert "● judged" in text


def test_curves_are_there_as_data(docs: Path) -> None:
    with (docs / "data" / METHOD / "curves.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    last = [row for row in rows if row["arm"] == "baseline" and row["axis"] == "update"][-1]
    assert last["at"] == "20.0"
    # 0.05 + 0.9 (1 - exp(-0.05 * 20)) = 0.6189, noise 0.01 over five seeds
    assert float(last["mean"]) == pytest.approx(0.6189, abs=0.015)
    assert {row["arm"] for row in rows} == {"paper", "baseline", "shuffled", "exact"}


def test_raw_records_are_copied_whole(docs: Path, root: Path) -> None:
    source = root / "reproductions" / METHOD / "results"
    copied = docs / "data" / METHOD / "results"
    assert {path.name: path.read_bytes() for path in copied.iterdir()} == {
        path.name: path.read_bytes() for path in source.iterdir()
    }


def test_the_board_has_no_row_for_controls_and_lists_what_failed(docs: Path) -> None:
    page = read(docs / "leaderboard" / "toy--cpu.md")
    body = page.text.split("Failed, skipped")[0]
    assert body.count("GiGPO") == 3  # one row for each of the three claims about the one arm of role method
    assert "shuffled" not in body
    assert "exact 4 failed loss became NaN" in " ".join(" ".join(page.pieces).split())


def test_two_runs_give_the_same_bytes_and_old_pages_go(root: Path, docs: Path, tmp_path: Path) -> None:
    again = tmp_path / "docs"
    (again / "methods").mkdir(parents=True)
    (again / "methods" / "gone.md").write_text("a page of an entry that is no more", encoding="utf-8")
    (again / "kept.md").write_text("written by hand", encoding="utf-8")
    written = generate(root, again)
    assert written == sorted(written)
    assert (again / "kept.md").read_text(encoding="utf-8") == "written by hand"
    first = {path.relative_to(docs): path.read_bytes() for path in docs.rglob("*.*")}
    second = {path.relative_to(again): path.read_bytes() for path in written}
    assert first == second
    assert not (again / "methods" / "gone.md").exists()


def test_broken_evidence_stops_before_anything_is_written(tmp_path: Path) -> None:
    root = bare_root(tmp_path / "root")
    folder = fill(root, invented_experiment(), invented_records())
    (folder / "report.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not valid JSON"):
        generate(root, tmp_path / "docs")
    assert not (tmp_path / "docs").exists()
