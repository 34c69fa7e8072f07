"""The answers of an issue form are text of a stranger: they become data or one clear message."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cairn.errors import UserError
from cairn.inventory.issue_form import LABELS, MAX_CHARACTERS, read_answers
from cairn.inventory.scaffold import Known
from cairn.paths import data_root

BODY = """### Id

method-48

### arXiv id

2601.00048

### Title

A title with ### inside: "quotes"

### Authors

Doe, Jo
Roe, Ann

### Year

2026

### Code

_No response_

### What receives credit

Each turn,
against the mean.
"""


def _read(tmp_path: Path, text: str) -> Known:
    path = tmp_path / "issue.md"
    path.write_text(text, encoding="utf-8")
    return read_answers(path)


def test_answers_become_what_is_known(tmp_path: Path) -> None:
    assert _read(tmp_path, BODY) == Known(
        "method-48", "2601.00048", title='A title with ### inside: "quotes"', authors=("Doe, Jo", "Roe, Ann"),
        year=2026, credited="Each turn, against the mean.",
    )  # fmt: skip
    assert _read(tmp_path, BODY.replace("\n", "\r\n")).year == 2026


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no answer below the heading 'Id'"),
        (BODY.replace("2601.00048", "_No response_"), "no answer below the heading 'arXiv id'"),
        (BODY.replace("2026\n", "soon\n"), ":18: this is not a year (got 'soon')"),
        (BODY + "\n### Id\n\nother\n", ":31: the heading 'Id' stands twice"),
        ("x" * (MAX_CHARACTERS + 1), "too long"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        _read(tmp_path, text)
    assert message in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "issue.md"
    path.write_bytes(b"### Id\n\n\xff\n")
    with pytest.raises(UserError, match="cannot be read as text"):
        read_answers(path)


def test_the_form_asks_for_what_is_read() -> None:
    form = yaml.safe_load((data_root() / ".github/ISSUE_TEMPLATE/new-entry.yml").read_text(encoding="utf-8"))
    labels = [field["attributes"]["label"] for field in form["body"] if field["type"] != "markdown"]
    assert labels == [*LABELS]
    needed = [field["id"] for field in form["body"] if field.get("validations", {}).get("required")]
    assert needed == ["id", "kind", "arxiv", "name", "title"]
