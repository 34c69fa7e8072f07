"""Each exported format, read back by a reader that is not ours, is what the YAML files say, field by field."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import jsonschema
import pandas as pd
import pybtex.database
import pytest
import yaml
from pyarrow import parquet
from pylatexenc.latex2text import LatexNodes2Text
from tests.inventory import plain_yaml

from cairn.evidence.catalogue import load
from cairn.inventory import Inventory
from cairn.inventory.export import FILES, FOLDERS, recognises
from cairn.inventory.tables import TABLES
from cairn.paths import data_root

FOLDER_OF_KIND = {"methods": "method", "background": "background", "diagnostics": "diagnostic"}
# What the models say for a field that a file may leave out, stated here a second time.
LEFT_OUT = {"date": "unknown", "id": "none", "arxiv": "none", "name": "none", "note": "", "moved_to": "none",
            "withdrawn": "none", "readings": []}  # fmt: skip
# Column of the table `entries` -> where the file has it.
PLACES = {
    **{name: ("bibliography", name) for name in (
        "name", "title", "authors", "authors_complete", "arxiv", "url", "venue", "year", "code_url", "code_license")},
    **{name: ("labels", name) for name in (
        "type", "setting", "granularity", "methodology", "baseline_family", "evidence", "aux_model", "compute",
        "benchmarks")},
    **{f"survey_{name}": ("survey", name) for name in (
        "type", "setting", "granularity", "methodology", "baseline_family", "evidence", "aux_model", "compute",
        "benchmarks")},
    "needs": ("interface", "needs"),
    "hooks": ("interface", "hooks"),
    "invariants": ("properties", "invariants"),
    "confidence": ("confidence",),
    "checked": ("checked",),
}  # fmt: skip


@cache
def facts() -> dict[str, Any]:
    """Return each file of the inventory as plain YAML by id."""
    paths = [path for folder in FOLDER_OF_KIND for path in (data_root() / "inventory" / folder).glob("*.yaml")]
    return {path.stem: plain_yaml.load(path) for path in sorted(paths, key=_by_id)}


def _by_id(path: Path) -> str:
    return path.stem


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load()


@pytest.fixture(scope="module")
def folder(inventory: Inventory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file of each format, and the data set's folder."""
    out = tmp_path_factory.mktemp("exported")
    for name, render in FILES.items():
        (out / name).write_bytes(render(inventory))
    for path, content in FOLDERS["datasets"](inventory).items():
        (out / "set" / path).parent.mkdir(parents=True, exist_ok=True)
        (out / "set" / path).write_bytes(content)
    return out


def written(value: object) -> object:
    """Return a value of a file as text formats hold it: days as text, blanks around texts gone."""
    return value.isoformat() if isinstance(value, date) else value.strip() if isinstance(value, str) else value


def assert_same(in_file: object, read_back: object, place: str) -> None:
    """Compare two nested values; only fields with a stated default may be absent from the file."""
    if isinstance(in_file, dict):
        assert isinstance(read_back, dict), place
        assert set(in_file) <= set(read_back), place
        for key, value in read_back.items():
            assert_same(in_file[key] if key in in_file else LEFT_OUT[key], value, f"{place}.{key}")
    elif isinstance(in_file, list):
        assert isinstance(read_back, list), place
        assert len(in_file) == len(read_back), place
        for index, pair in enumerate(zip(in_file, read_back, strict=True)):
            assert_same(*pair, f"{place}[{index}]")
    else:
        assert written(in_file) == read_back, place


def assert_whole(entry: dict[str, Any]) -> None:
    """Compare a whole entry as read back with its file."""
    inside = {key: value for key, value in entry.items() if key not in {"id", "kind", "file", "computed"}}
    path = data_root() / entry["file"]
    assert path.stem == entry["id"]
    assert FOLDER_OF_KIND[path.parent.name] == entry["kind"]
    assert_same(facts()[entry["id"]], inside, entry["id"])


def assert_row(row: dict[str, Any]) -> None:
    """Compare a row of the table `entries`, its lists as lists, with the file, and the JSON in its last."""
    entry = facts()[row["id"]]
    for column, (block, *rest) in PLACES.items():
        value = entry[block]
        for key in rest:
            value = None if value is None else value[key]
        assert_same(value, row[column], f"{row['id']} {column}")
    for item, mark in entry["reporting"].items():
        assert row[f"reported_{item}"] == mark["status"]
    assert row["claims"] == [claim["key"] for claim in entry["claims"]]
    assert set(row["reduces_to"]) == {limit["id"] for limit in entry["properties"]["reduces_to"]}
    assert row["family"] == _families()[entry["labels"]["methodology"]]
    assert row["moved_to"] == entry.get("moved_to", "none")
    assert_whole(json.loads(row["entry"]))


@cache
def _families() -> dict[str, str]:
    words = yaml.safe_load((data_root() / "inventory/vocab/methodology.yaml").read_text(encoding="utf-8"))["words"]
    return {word: one["family"] for word, one in words.items()}


def test_json_is_valid_and_whole(folder: Path) -> None:
    content = json.loads((folder / "json").read_text(encoding="utf-8"))
    schema = json.loads((data_root() / "schemas/inventory.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(content)
    assert [entry["id"] for entry in content["entries"]] == list(facts())
    for entry in content["entries"]:
        assert_whole(entry)
        assert entry["computed"]["status"][0] == "listed"
    assert content["totals"]["entries"] == len(facts())
    for name, words in content["word_lists"].items():
        in_file = yaml.safe_load((data_root() / f"inventory/vocab/{name}.yaml").read_text(encoding="utf-8"))["words"]
        assert {word: one["definition"] for word, one in words["words"].items()} == {
            word: one["definition"].strip() for word, one in in_file.items()
        }


@pytest.mark.parametrize("fault", ["word", "field", "item", "day"])
def test_the_schema_refuses_what_is_wrong(fault: str, folder: Path) -> None:
    content = json.loads((folder / "json").read_text(encoding="utf-8"))
    first = content["entries"][0]
    if fault == "word":
        first["labels"]["setting"] = ["elsewhere"]
    elif fault == "field":
        first["stars"] = 5
    elif fault == "item":
        del first["reporting"]["variance"]
    else:
        first["checked"] = 20260101
    schema = json.loads((data_root() / "schemas/inventory.schema.json").read_text(encoding="utf-8"))
    assert not jsonschema.Draft202012Validator(schema).is_valid(content)


def test_csv_is_read_back_without_loss(folder: Path) -> None:
    csv.field_size_limit(2**20)
    with (folder / "csv").open(encoding="utf-8", newline="") as stream:
        rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == list(facts())
    lists = {column.name for column in TABLES["entries"].columns(load()) if column.kind == "list"}
    for row in rows:
        surveyed = facts()[row["id"]]["survey"] is not None
        assert (row["survey_type"] != "") is surveyed
        for name, cell in row.items():
            exact = cell[1:] if re.match("'[=+@-]", cell) else cell
            if name.startswith("survey_") and not surveyed:
                row[name] = None
            elif name in lists:
                row[name] = exact.split("; ") if exact else []
            else:
                row[name] = exact
        assert row["authors_complete"] in {"true", "false"}
        assert_row({**row, "year": int(row["year"]), "authors_complete": row["authors_complete"] == "true"})


def test_a_cell_is_no_formula(inventory: Inventory) -> None:
    entry = inventory.entries[0]
    paper = entry.bibliography.model_copy(update={"title": "=1+1", "name": "-x", "authors": ("@a",)})
    odd = Inventory((entry.model_copy(update={"bibliography": paper}),), inventory.vocabularies)
    (row,) = csv.DictReader(FILES["csv"](odd).decode().splitlines())
    assert (row["title"], row["name"], row["authors"]) == ("'=1+1", "'-x", "'@a")
    assert json.loads(row["entry"])["bibliography"]["title"] == "=1+1"


def test_parquet_is_read_back_without_loss(folder: Path) -> None:
    table = parquet.read_table(folder / "parquet")
    assert table["id"].to_pylist() == list(facts())
    for row in table.to_pylist():
        assert_row(row)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_the_data_set_is_loaded_without_loss(folder: Path, tmp_path: Path) -> None:
    names = datasets.get_dataset_config_names(str(folder / "set"))
    assert names == list(TABLES)
    held = {
        name: datasets.load_dataset(str(folder / "set"), name, split="train", cache_dir=str(tmp_path)) for name in names
    }
    assert held["entries"]["id"] == list(facts())
    for row in held["entries"]:
        assert_row(row)
    assert_tables({name: list(rows) for name, rows in held.items()})


def assert_tables(tables: dict[str, list[dict[str, Any]]]) -> None:
    """Compare the tables of the lists inside entries with the files, row by row."""
    expected = {
        "claims": [(key, one) for key, entry in facts().items() for one in entry["claims"]],
        "hyperparameters": [(key, one) for key, entry in facts().items() for one in entry["rule"]["hyperparameters"]],
        "variants": [(key, one) for key, entry in facts().items() for one in entry["rule"]["variants"]],
        "relations": [(key, one) for key, entry in facts().items() for one in entry["relations"]],
        "sources": [
            (key, {"key": name, **one}) for key, entry in facts().items() for name, one in entry["sources"].items()
        ],
        "reporting": [
            (key, {"item": item, "status": mark["status"], **one})
            for key, entry in facts().items()
            for item, mark in entry["reporting"].items()
            for one in mark["evidence"]
        ],
    }
    assert set(expected) == set(tables) - {"entries"}
    for name, rows in expected.items():
        assert len(rows) == len(tables[name]), name
        for (key, in_file), row in zip(rows, tables[name], strict=True):
            assert row["entry"] == key
            assert_same(in_file, {field: value for field, value in row.items() if field != "entry"}, f"{name} of {key}")


def test_python_gives_the_same_tables(inventory: Inventory) -> None:
    frames = {name: inventory.to_pandas(name) for name in TABLES}
    assert all(isinstance(frame, pd.DataFrame) for frame in frames.values())
    assert_tables({name: inventory.to_dicts(name) for name in TABLES})
    assert frames["entries"].set_index("id").loc["gigpo", "granularity"] == facts()["gigpo"]["labels"]["granularity"]
    assert list(frames["claims"]["key"]) == [claim["key"] for entry in facts().values() for claim in entry["claims"]]
    assert frames["entries"]["year"].to_list() == [entry["bibliography"]["year"] for entry in facts().values()]
    for entry in inventory.to_dicts():
        assert_whole(entry)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_python_gives_a_data_set(inventory: Inventory) -> None:
    for row in inventory.to_dataset():
        assert_row(row)
    empty = inventory.filter(need="state_keys").filter(without_need="state_keys")
    assert empty.to_dataset("claims").column_names == inventory.to_dataset("claims").column_names
    assert list(empty.to_pandas().columns) == list(inventory.to_pandas().columns)


def test_bibtex_is_read_back(folder: Path) -> None:
    database = pybtex.database.parse_file(str(folder / "bibtex"), bib_format="bibtex", encoding="utf-8")
    assert list(database.entries) == list(facts())
    for key, record in database.entries.items():
        paper = facts()[key]["bibliography"]
        assert plain(record.fields["title"]) == text(paper["title"])
        assert record.fields["year"] == str(paper["year"])
        assert record.fields.get("eprint", "none") == paper["arxiv"]
        assert record.fields.get("url", paper["url"]) == paper["url"]
        assert ("note" in record.fields) is (paper["venue"] not in {"none", "unknown"})
        if "note" in record.fields:
            assert plain(record.fields["note"]) == text(paper["venue"])
        persons = record.persons.get("author", [])
        if paper["authors"] == ["unknown"]:
            assert not persons
            continue
        if not paper["authors_complete"]:
            assert str(persons.pop()) == "others"
        assert [plain(str(person)) for person in persons] == [text(author) for author in paper["authors"]]


def plain(tex: str) -> str:
    """Return LaTeX as text, by a reader that is not ours (which writes a modifier letter for a circumflex)."""
    return text(LatexNodes2Text(strict_latex_spaces=True).latex_to_text(tex).replace("ˆ", "^"))


def text(words: str) -> str:
    """Return text without what typesetting decides: blanks, the sorts of dashes and quotes."""
    return " ".join(words.translate(str.maketrans("–−‑’‘", "---''")).split())


def test_the_table_compiles(folder: Path, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    shutil.copy(folder / "latex", tmp_path / "table.tex")
    packages = r"\usepackage[T1]{fontenc}\usepackage{array,longtable}"
    document = rf"\documentclass{{article}}{packages}\begin{{document}}\input{{table}}\end{{document}}"
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    log = (tmp_path / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log
    assert not re.search(r"Overfull .* in alignment", log), "the table is wider than the page"


def test_the_table_says_what_the_files_say(folder: Path) -> None:
    body = (folder / "latex").read_text(encoding="utf-8").split("\\endhead\n")[1].split("\\end{longtable}")[0]
    rows = [line.removesuffix(r" \\").split(" & ") for line in body.splitlines()]
    assert len(rows) == len(facts())
    for (key, entry), (name, year, setting, *_, methodology, _aux) in zip(facts().items(), rows, strict=True):
        assert name.endswith(rf"\cairncite{{{key}}}")
        assert plain(name.partition(r"\cairncite")[0]) == text(entry["bibliography"]["name"])
        assert year == str(entry["bibliography"]["year"])
        assert setting.split(", ") == entry["labels"]["setting"]
        assert plain(methodology) == entry["labels"]["methodology"]


def test_an_export_is_recognised(folder: Path) -> None:
    for name in (*FILES, "set/README.md", "set/data/claims.parquet"):
        assert recognises((folder / name).read_bytes()), name
    for content in (b"", b"id,name\n", b"{}", b"@misc{a}"):
        assert not recognises(content)


def test_the_card_says_what_is_there(folder: Path) -> None:
    card = (folder / "set" / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "cc-by-4.0"
    paths = [file["path"] for config in head["configs"] for file in config["data_files"]]
    assert sorted(paths) == sorted(path.relative_to(folder / "set").as_posix() for path in folder.glob("set/data/*"))
    for name in PLACES:
        assert f"| `{name}` |" in card
    assert f"Entries: {len(facts())} " in card


def test_the_same_entries_give_the_same_bytes(inventory: Inventory, folder: Path) -> None:
    for name, render in FILES.items():
        assert render(inventory) == (folder / name).read_bytes()
