"""`cairn list`, `show`, `validate`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.cli.conftest import Command
from tests.inventory import plain_yaml

from cairn.evidence.status import statuses
from cairn.paths import data_root

ROOT = data_root()
FOLDERS = ("methods", "background", "diagnostics")
FILES = {path.stem: path for path in (ROOT / "inventory").glob("*/*.yaml") if path.parent.name in FOLDERS}


@cache
def facts() -> dict[str, Any]:
    """Return every file of the inventory as plain YAML, by its id."""
    return {key: plain_yaml.load(path) for key, path in FILES.items()}


def listed(cairn: Command, *options: str) -> list[dict[str, Any]]:
    """Return the entries that `cairn list` gives a program."""
    entries: list[dict[str, Any]] = json.loads(cairn("list", "--json", *options).out)["entries"]
    return entries


def ids(cairn: Command, *options: str) -> set[str]:
    return set(cairn("list", "--ids", *options).out.split())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A data root that may be broken."""
    shutil.copytree(ROOT / "inventory", tmp_path / "root" / "inventory")
    return tmp_path / "root"


def test_list_names_every_entry(cairn: Command) -> None:
    outcome = cairn("list")
    assert outcome.code == 0
    printed = {line.split()[0] for line in outcome.out.splitlines() if line and not line.startswith(" ")}
    assert set(FILES) <= printed
    assert {one["id"] for one in listed(cairn)} == set(FILES)


def test_list_filters_by_what_the_files_say(cairn: Command) -> None:
    needs = {key: one["interface"]["needs"] for key, one in facts().items()}
    with_, without = (
        {one["id"] for one in listed(cairn, option, "turn_boundaries")} for option in ("--need", "--without-need")
    )
    assert with_ == {key for key, words in needs.items() if "turn_boundaries" in words}
    assert without == set(FILES) - with_
    assert with_
    assert without


def test_list_takes_an_option_more_than_once(cairn: Command) -> None:
    found = listed(cairn, "--need", "turn_boundaries", "--need", "state_keys")
    assert found
    assert all({"turn_boundaries", "state_keys"} <= set(one["needs"]) for one in found)


def test_list_takes_words_of_which_one_is_enough(cairn: Command) -> None:
    by_need = {word: ids(cairn, "--need", word) for word in ("state_keys", "env_fork")}
    assert ids(cairn, "--need", "state_keys,env_fork") == by_need["state_keys"] | by_need["env_fork"]
    assert ids(cairn, "--without-need", "state_keys, env_fork") == set(FILES) - (
        by_need["state_keys"] | by_need["env_fork"]
    )


def test_list_takes_years_and_what_the_survey_labels(cairn: Command) -> None:
    files = facts()
    years = {key: one["bibliography"]["year"] for key, one in files.items()}
    assert ids(cairn, "--year", "2024,2025") == {key for key, year in years.items() if year in {2024, 2025}}
    between = ids(cairn, "--year-from", "2024", "--year-to", "2025")
    assert between == {key for key, year in years.items() if 2024 <= year <= 2025}
    assert ids(cairn, "--surveyed") == {key for key, one in files.items() if one["survey"] is not None}
    assert ids(cairn, "--not-surveyed") == {key for key, one in files.items() if one["survey"] is None}


def test_list_asks_for_evidence(cairn: Command) -> None:
    judged = {path.parent.name for path in ROOT.glob("reproductions/*/report.json")}
    assert ids(cairn, "--status", "judged") <= judged
    labels = ("supported", "contradicted", "inconclusive", "not_testable_here")
    assert set.union(*(ids(cairn, "--verdict", label) for label in labels)) == ids(cairn, "--status", "judged")
    assert "gigpo" in ids(cairn, "--verdict", ",".join(labels))
    assert "gigpo" not in ids(cairn, "--without-status", "judged")


def test_list_counts_what_the_files_hold(cairn: Command) -> None:
    methods = [one for key, one in facts().items() if FILES[key].parent.name == "methods"]
    surveyed = [one["survey"]["type"] for one in methods if one["survey"] is not None]
    totals = json.loads(cairn("list", "--json").out)["totals"]
    assert totals["entries"] == len(FILES)
    assert totals["kind"]["method"] == len(methods)
    types = {word: surveyed.count(word) for word in ("core", "enabler") if word in surveyed}
    assert totals["surveyed_methods"] == {"entries": len(surveyed), "type": types}
    assert cairn("list", "--count", "--kind", "method").out == f"{len(methods)}\n"


def test_the_grid_counts_each_cell(cairn: Command) -> None:
    grid = json.loads(cairn("list", "--grid", "--json").out)
    assert grid["totals"]["entries"] == len(FILES)
    files = {key: one["labels"] for key, one in facts().items()}
    turn = {one for cell in grid["cells"] if cell["granularity"] == "turn" for one in cell["ids"]}
    assert turn == {key for key, labels in files.items() if "turn" in labels["granularity"]}
    assert grid["totals"]["granularity"]["turn"] == len(turn)
    several = {key for key, labels in files.items() if len(labels["granularity"]) > 1}
    assert set(grid["in_several_rows"]) == several
    printed = cairn("list", "--grid", "--ids").out
    assert re.search(rf"^turn .* {len(turn)}$", printed, flags=re.MULTILINE)
    assert "mc-state-groups:" in printed
    assert "gigpo" in printed


@pytest.mark.parametrize("options", [["--count", "--ids"], ["--count", "--json"], ["--year", "soon"]])
def test_list_refuses_options_that_contradict(options: list[str], refused: Callable[..., str]) -> None:
    refused("list", *options)


def test_list_says_when_nothing_is_left(cairn: Command) -> None:
    assert "No entry" in cairn("list", "--need", "state_keys", "--without-need", "state_keys").out


def test_a_wrong_word_is_answered_with_the_near_ones(refused: Callable[..., str]) -> None:
    assert "did you mean turn_boundaries" in refused("list", "--need", "turn_boundary")


def test_a_status_follows_from_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "reproductions" / "gigpo"
    (folder / "results").mkdir(parents=True)
    assert statuses("gigpo", tmp_path) == ("listed",)
    (folder / "golden.yaml").write_text("")
    assert statuses("gigpo", tmp_path) == ("listed", "implemented")
    (folder / "results" / ".hidden.json").write_text("")
    assert statuses("gigpo", tmp_path) == ("listed", "implemented")
    (folder / "results" / "quest--a--s0.json").write_text("")
    assert statuses("gigpo", tmp_path)[-1] == "run"
    (folder / "report.json").write_text('{"records": {}, "claims": [{"verdict": {"label": "supported"}}]}')
    assert statuses("gigpo", tmp_path)[-1] == "run"
    (folder / "report.json").write_text('{"records": {"a": "b"}, "claims": [{"verdict": {"label": "supported"}}]}')
    assert statuses("gigpo", tmp_path)[-1] == "judged"


def test_show_tells_the_entry_with_sources(cairn: Command) -> None:
    outcome = cairn("show", "gigpo")
    entry = yaml.safe_load(FILES["gigpo"].read_text())
    text = " ".join(outcome.out.split())
    for part in (entry["bibliography"]["title"], entry["claims"][0]["key"], "[s1, s2, s3, s6]"):
        assert part in text
    for label in entry["survey"]["methodology"], entry["labels"]["methodology"]:
        assert label in text
    for key in entry["sources"]:
        assert f" {key} " in text


def test_show_gives_the_file_s_fields_as_json(cairn: Command) -> None:
    shown = json.loads(cairn("show", "gigpo", "--json").out)
    entry = yaml.safe_load(FILES["gigpo"].read_text())
    assert shown["claims"][0]["from"] == entry["claims"][0]["from"]
    assert shown["status"][0] == "listed"


def test_show_refuses_an_unknown_id_with_near_matches(refused: Callable[..., str]) -> None:
    assert "did you mean gigpo" in refused("show", "gigp")


def test_validate_counts_what_is_there(cairn: Command) -> None:
    outcome = cairn("validate")
    assert outcome.code == 0
    assert f"{len(FILES)} entries" in outcome.out
    assert json.loads(cairn("validate", "--json").out)["counts"]["entries"] == len(FILES)


def test_validate_names_file_line_value_and_repair(cairn: Command, copy: Path) -> None:
    path = copy / "inventory" / "methods" / "gigpo.yaml"
    lines = path.read_text().splitlines()
    at = next(number for number, line in enumerate(lines, start=1) if line.startswith("  granularity: [turn]"))
    path.write_text("\n".join(lines).replace("  granularity: [turn]", "  granularity: [turns]") + "\n")
    outcome = cairn("validate", copy)
    assert outcome.code == 2
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: inventory/methods/gigpo.yaml:{at}: ")
    assert "'turns'" in line
    assert "Repair: " in line
    assert "did you mean turn" in line
    found = json.loads(cairn("validate", path, "--json").out)
    assert [(one["line"], one["value"]) for one in found["findings"]] == [(at, "turns")]
    assert cairn("validate", copy / "inventory" / "methods" / "carl.yaml").code == 0


def test_validate_tells_of_a_second_entry_for_one_paper(cairn: Command, copy: Path) -> None:
    methods = copy / "inventory" / "methods"
    shutil.copy(methods / "gigpo.yaml", methods / "another.yaml")
    outcome = cairn("validate", copy)
    assert outcome.code == 2
    assert "2505.10978" in outcome.out


def test_validate_refuses_what_is_no_entry(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "did you mean gigpo" in refused("validate", "gigpoo")
    stray = tmp_path / "x.yaml"
    stray.write_text("a: 1")
    assert "x.yaml" in refused("validate", stray)


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "gigpo"], ["validate"], ["audit", "run", "gigpo", "--out", "X"]]
)
def test_what_reads_data_works_without_torch(arguments: list[str], finished: Path) -> None:
    arguments = [str(finished) if one == "X" else one for one in arguments]
    code = (
        "import sys\n"
        "class Bare:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('torch', 'transformers', 'tokenizers', 'safetensors'): raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Bare())\n"
        f"from cairn.cli import main\ntry: main({arguments})\nfinally: print(sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "gigpo" in done.stdout or "entries" in done.stdout
    # scipy takes half a second to import, and only evidence needs it.
    assert arguments[0] == "audit" or not any(f"'{name}'" in done.stderr for name in ("scipy", "numpy", "pandas"))


@pytest.mark.parametrize(
    "arguments", [["run", "gigpo"], ["tasks"], ["credit", "gigpo", "x.jsonl"], ["model", "rebuild", "x", "y"]]
)
def test_what_trains_says_what_to_install(
    arguments: list[str], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cairn.commands.terminal._RUN_PACKAGES", ("no_such_package",))
    assert "pip install 'cairn-credit[run]'" in refused(*arguments)
