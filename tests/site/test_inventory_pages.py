"""The pages made from the whole inventory. Expected numbers are counted in the YAML files, without the collection."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.inventory import plain_yaml
from tests.site.conftest import METHOD
from tests.site.html_reader import Page, read

from cairn.inventory import load
from cairn.inventory.recommend import Case, Trial
from cairn.site import generate
from cairn.site.choosing_page import TOPS, in_words
from cairn.site.timeline_page import Month, first_month

KINDS = ("methods", "background", "diagnostics")


@pytest.fixture(scope="module")
def docs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pages")
    generate(root, made)
    return made


@pytest.fixture(scope="module")
def files(root: Path) -> dict[str, dict[str, Any]]:
    """Every entry as its file has it, by id."""
    paths = sorted(path for kind in KINDS for path in (root / "inventory" / kind).glob("*.yaml"))
    return {path.stem: plain_yaml.load(path) for path in paths}


def _words(root: Path, name: str) -> dict[str, Any]:
    words: dict[str, Any] = yaml.safe_load((root / f"inventory/vocab/{name}.yaml").read_text(encoding="utf-8"))["words"]
    return words


def _rows(page: Page) -> list[str]:
    """The text of each row of a page's tables."""
    source = page.source.replace("<tr", "\n<tr").splitlines()
    return [Page(line).text for line in source if line.startswith("<tr")]


def test_the_grid_counts_what_the_files_say(docs: Path, root: Path, files: dict[str, dict[str, Any]]) -> None:
    families = {word: one["family"] for word, one in _words(root, "methodology").items()}
    grid = json.loads((docs / "data/v1/grid.json").read_text(encoding="utf-8"))
    for cell in grid["all"]["cells"]:
        held = {
            key
            for key, one in files.items()
            if cell["granularity"] in one["labels"]["granularity"]
            and families[one["labels"]["methodology"]] == cell["family"]
        }
        assert set(cell["ids"]) == held
    twice = {key for key, one in files.items() if len(one["labels"]["granularity"]) > 1}
    assert set(grid["all"]["in_several_rows"]) == twice
    assert f"{len(twice)} stand in more than one row" in read(docs / "inventory/grid.md").text


def test_the_surveys_grid_uses_its_own_labels(docs: Path, files: dict[str, dict[str, Any]]) -> None:
    cells = json.loads((docs / "data/v1/grid.json").read_text(encoding="utf-8"))["surveyed_their_labels"]["cells"]
    held = {key for cell in cells if cell["granularity"] == "step" for key in cell["ids"]}
    assert held == {key for key, one in files.items() if one["survey"] and "step" in one["survey"]["granularity"]}
    assert METHOD in held, "the survey says step where we say turn"
    labels = {word for cell in cells for word in cell["methodologies"]}
    assert "MC (group)" in labels


@pytest.mark.parametrize(
    ("arxiv", "month"),
    [
        ("2505.10978", Month(2025, 5)),
        ("0704.0001", Month(2007, 4)),
        ("cs/9901001", Month(1999, 1)),
        ("cs.LG/0612095", Month(2006, 12)),
        ("none", None),
    ],
)
def test_the_arxiv_id_names_the_month(root: Path, arxiv: str, month: Month | None) -> None:
    entry = load(root)[METHOD]
    paper = entry.bibliography.model_copy(update={"arxiv": arxiv})
    assert first_month(entry.model_copy(update={"bibliography": paper})) == month


def test_the_timeline_has_every_entry_with_an_arxiv_id(docs: Path, files: dict[str, dict[str, Any]]) -> None:
    with (docs / "data/v1/timeline.csv").open(encoding="utf-8") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    assert rows.keys() == files.keys()
    assert rows[METHOD] == {"id": METHOD, "month": "2025-05", "settings": "agentic", "surveyed": "yes"}
    marks = read(docs / "inventory/timeline.md").source.split("</svg>")[0].count("<circle")
    dated = [one for one in files.values() if one["bibliography"]["arxiv"] != "none"]
    assert marks == sum(len(one["labels"]["setting"]) for one in dated)


def test_every_word_has_its_place_and_its_entries(docs: Path, root: Path, files: dict[str, dict[str, Any]]) -> None:
    page = read(docs / "inventory/vocabulary.md")
    names = [path.stem for path in (root / "inventory/vocab").glob("*.yaml")]
    assert {f"{name}-{word}" for name in names for word in _words(root, name)} <= page.ids
    turns = [key for key, one in files.items() if "turn" in one["labels"]["granularity"]]
    after = page.source.split('id="granularity-turn"')[1].split("</div>")[0]
    assert f">{len(turns)} entries</a>" in after
    assert after.count("../methods/") == len(turns) + 1  # the filtered overview, and each of them
    used = json.loads((docs / "data/v1/vocabulary-use.json").read_text(encoding="utf-8"))
    assert used["needs"]["env_fork"] == [key for key, one in files.items() if "env_fork" in one["interface"]["needs"]]


def test_labels_that_differ_are_counted_and_shown(docs: Path, files: dict[str, dict[str, Any]]) -> None:
    page = read(docs / "literature/survey.md")
    apart = [one["labels"] for one in files.values() if "aux_model" in one["labels"]["why"]]
    unknown = sum(one["aux_model"] == "unknown" for one in apart)
    agree = sum(one["survey"] is not None for one in files.values()) - len(apart)
    (row,) = [row for row in _rows(page) if row.startswith("Auxiliary model") and row[15:16].isdigit()]
    assert row.startswith(f"Auxiliary model{agree}{len(apart) - unknown}{unknown}")
    for one in files.values():
        account = one["survey_discrepancy"]
        told = [*one["labels"]["why"].values(), *([account["text"]] if account else [])]
        assert all(" ".join(text.split()) in page.text for text in told)


def test_the_survey_against_itself_is_told_in_full(docs: Path, root: Path) -> None:
    page = read(docs / "literature/survey.md").text
    for name in ("contradictions", "lost"):
        with (root / f"inventory/survey-2026-04/{name}.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert f"{len(rows)} " in page
        assert all(" ".join(row[field].split()) in page for row in rows for field in ("says", "why") if field in row)


def test_every_mark_of_the_matrix_leads_to_its_evidence(docs: Path, files: dict[str, dict[str, Any]]) -> None:
    audit = read(docs / "literature/audit.md")
    matrix = Page(audit.source.split('<table class="cairn-matrix">')[1].split("</table>")[0])
    links = [one for one in matrix.all("a", "href") if "#reporting-" in one]
    counted = {key for key, one in files.items() if one["survey"] and one["survey"]["type"] != "background"}
    assert len(links) == len(counted) * 14
    told = [one for one in matrix.all("a", "title") if "Table 1 averages 3 random seeds" in one]
    assert len(told) == 1
    assert "reporting-variance" in read(docs / f"methods/{METHOD}.md").ids


def test_ours_and_the_papers_own_evidence_are_told_apart(docs: Path) -> None:
    page = read(docs / "inventory/choosing.md")
    rows = [row for row in _rows(page) if "GiGPO" in row and "+2 the survey names it" in row]
    assert rows
    # The invented records of these tests were judged, nothing else was.
    assert all("ours: supported" in row for row in rows)
    assert "ours: not run here" in page.text


def _trials(places: list[int | None], allowed: int) -> tuple[Trial, ...]:
    return tuple(Trial("some", Case({}), "tools", place, allowed) for place in places)


def test_the_trials_are_put_into_words_as_they_came_out() -> None:
    # A random order of 100 puts a method among the first 10 in one case of ten.
    never, always = _trials([90, None, 99], 100), _trials([1, 2, 1], 100)
    assert "not better than a random order" in in_words({True: never, False: never})
    assert "more often than a random order" in in_words({True: always, False: always})
    assert f"in {len(TOPS)} of these {2 * len(TOPS)} comparisons only" in in_words({True: always, False: never})


def test_relations_are_shown_in_both_directions(docs: Path, files: dict[str, dict[str, Any]]) -> None:
    page = read(docs / "methods/grpo.md")
    builders = [
        key
        for key, one in files.items()
        if any(other["kind"] == "builds_on" and other.get("id") == "grpo" for other in one["relations"])
    ]
    (row,) = [row for row in _rows(page) if row.startswith(f"builds on{len(builders)}")]
    assert all(files[key]["bibliography"]["name"] in row for key in builders)
    assert "What other entries say of it" in page.text


@pytest.fixture
def changed(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Page]:
    """Return how the page of an entry looks when fields of it are other than in the files."""
    inventory = load(root)

    def page(entry_id: str, **fields: str) -> Page:
        entries = tuple(one.model_copy(update=fields) if one.id == entry_id else one for one in inventory)
        monkeypatch.setattr("cairn.site.writer.load", lambda _: dataclasses.replace(inventory, entries=entries))
        generate(root, tmp_path)
        return read(tmp_path / f"methods/{entry_id}.md")

    return page


def test_a_moved_entry_says_where_it_went(changed: Callable[..., Page]) -> None:
    page = changed(METHOD, moved_to="grpo")
    assert "This entry has moved to GRPO" in page.text
    assert "../methods/grpo.html" in page.all("a", "href")


def test_a_withdrawn_entry_says_why(changed: Callable[..., Page]) -> None:
    assert "WithdrawnThe authors took it back." in changed(METHOD, withdrawn="The authors took it back.").text


def test_every_data_file_of_the_pages_is_listed(docs: Path) -> None:
    listed = set(read(docs / "data/index.md").all("a", "href"))
    written = {path.relative_to(docs / "data").as_posix() for path in (docs / "data/v1").glob("*.*")}
    assert written <= listed
