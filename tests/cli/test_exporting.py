"""`cairn cite` and `cairn export`: what they write, and what they refuse to write over."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Command

FORMATS = ("json", "csv", "bibtex", "latex", "parquet", "datasets")


def test_cite_gives_bibtex_in_the_order_asked(cairn: Command) -> None:
    printed = cairn("cite", "vineppo", "gigpo", "vineppo").out
    assert [line for line in printed.splitlines() if line.startswith("@")] == ["@misc{vineppo,", "@misc{gigpo,"]


def test_cite_gives_csl(cairn: Command) -> None:
    (item,) = json.loads(cairn("cite", "gigpo", "--format", "csl").out)
    assert (item["id"], item["issued"]["date-parts"]) == ("gigpo", [[2025]])
    assert item["author"][0] == {"family": "Feng", "given": "Lang"}


def test_cite_refuses_an_unknown_id(refused: Callable[..., str]) -> None:
    assert "did you mean gigpo" in refused("cite", "vineppo", "gigp")


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_replaces_its_own_work_and_no_other(
    form: str, cairn: Command, refused: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cairn("export", "--format", form, "--out", out).code == 0
    whole = _files(out)
    assert whole
    assert cairn("export", "--format", form, "--out", out, "--kind", "background").code == 0
    assert _files(out) != whole
    assert cairn("export", "--format", form, "--out", out).code == 0
    assert _files(out) == whole
    strange = out / "README.md" if out.is_dir() else out
    strange.write_text("my own notes")
    assert "--force" in refused("export", "--format", form, "--out", out)
    assert strange.read_text() == "my own notes"
    assert cairn("export", "--format", form, "--out", out, "--force").code == 0
    assert _files(out) == whole


def _files(path: Path) -> dict[str, bytes]:
    """Return what was written, and fail when a temporary file stayed behind."""
    assert not list(path.parent.rglob("*.tmp"))
    found = path.rglob("*") if path.is_dir() else [path]
    return {one.relative_to(path.parent).as_posix(): one.read_bytes() for one in found if one.is_file()}


def test_a_folder_with_other_files_is_left_alone(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.csv").write_text("a,b")
    for options in ([], ["--force"]):
        assert "mine.csv" in refused("export", "--format", "datasets", "--out", tmp_path, *options)
    assert [path.name for path in tmp_path.rglob("*.*")] == ["mine.csv"]


def test_a_file_is_not_written_over_a_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "folder" in refused("export", "--format", "csv", "--out", tmp_path, "--force")


def test_what_cannot_be_written_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused("export", "--format", "csv", "--out", tmp_path / "file" / "out.csv")


def test_an_export_takes_the_filters_of_list(cairn: Command, tmp_path: Path) -> None:
    filters = ("--setting", "agentic", "--granularity", "turn", "--without-need", "learned_critic", "--year-to", "2025")
    assert cairn("export", "--format", "csv", "--out", tmp_path / "x.csv", *filters).code == 0
    with (tmp_path / "x.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == cairn("list", "--ids", *filters).out.split()
    assert rows


def test_an_export_of_nothing_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    filters = ("--need", "state_keys", "--without-need", "state_keys")
    assert "no entry" in refused("export", "--format", "csv", "--out", tmp_path / "x.csv", *filters)
    assert list(tmp_path.iterdir()) == []


def test_text_can_be_printed(cairn: Command, refused: Callable[..., str], tmp_path: Path) -> None:
    cairn("export", "--format", "json", "--out", tmp_path / "x.json")
    assert cairn("export", "--format", "json", "--out", "-").out == (tmp_path / "x.json").read_text(encoding="utf-8")
    assert "not text" in refused("export", "--format", "parquet", "--out", "-")


def test_without_the_extra_the_message_names_it(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("pandas", "pyarrow", "datasets"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    for form in ("parquet", "datasets"):
        assert "pip install 'cairn-credit[export]'" in refused("export", "--format", form, "--out", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
