"""Plain values, their lines, and hostile bytes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cairn.inventory import Finding, check
from cairn.inventory.reader import MAX_BYTES, ReadError, read, strings
from cairn.inventory.tree_rules import entry_files

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _read(folder: Path, text: str | bytes) -> object:
    path = folder / "a.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read(path, "a.yaml")


# The expected values are those of the core schema of YAML 1.2, written down by hand.
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-11-21", "2026-11-21"),
        ("12", 12),
        ("-3", -3),
        ("0o17", "0o17"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2402.03300", 2402.033),
        ("1e3", 1000.0),
        (".inf", ".inf"),
        ("9" * 5000, "9" * 5000),
        ("'12'", "12"),
        ('"true"', "true"),
        ("[a, 1]", ["a", 1]),
        ("{b: no}", {"b": "no"}),
    ],
)
def test_plain_words_are_read_as_yaml_1_2_reads_them(text: str, value: object, tmp_path: Path) -> None:
    document = read_text(tmp_path, f"a: {text}\n")
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


def read_text(folder: Path, text: str) -> dict[str, object]:
    (folder / "a.yaml").write_text(text, encoding="utf-8")
    return dict(read(folder / "a.yaml", "a.yaml").value)


def test_every_value_keeps_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# comment\na:\n  - x\n  - b: 1\n    c: >-\n      long\n      text\nd: [e,\n  f]\n")
    document = read(path, "a.yaml")
    places = [("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("a", 1, "c"), ("d",), ("d", 0), ("d", 1)]
    assert [document.line(place) for place in places] == [2, 3, 4, 4, 5, 8, 8, 9]
    assert document.line(("a", 1, "absent", "deeper")) == 4
    assert document.line(("absent",)) == 1
    assert list(strings(document)) == [(("a", 0), "x"), (("a", 1, "c"), "long text"), (("d", 0), "e"), (("d", 1), "f")]


def test_keys_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    assert read_text(tmp_path, "1: a\ntrue: b\nnull: c\n2026-01-01: d\n") == {
        "1": "a", "true": "b", "null": "c", "2026-01-01": "d"}  # fmt: skip


def test_a_file_of_open_brackets_ends_soon_in_a_finding(tmp_path: Path) -> None:
    start_s = time.monotonic()
    for text in ("[" * (MAX_BYTES - 10), "{a: " * 200_000, "- " * 500_000, "? " * 500_000):
        with pytest.raises(ReadError):
            _read(tmp_path, text)
    assert time.monotonic() - start_s < 10


@FUZZ
@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    _read_or_refuse(tmp_path, content)


YAML_PIECES = st.sampled_from(
    ["a", "b: ", "- ", "\n", "  ", "[", "]", "{", "}", ", ", ": ", "? ", "&x ", "*x ", "!!str ", "!t ", "<<: ",
     "'", '"', "|\n", ">-\n", "#", "---\n", "...\n", "%YAML 1.1\n", "\t", "null", "1", "é", "\u2028", "\ufeff", "\x00"]
)  # fmt: skip


@FUZZ
@given(pieces=st.lists(YAML_PIECES, max_size=40))
def test_any_mixture_of_yaml_marks_is_read_or_refused(pieces: list[str], tmp_path: Path) -> None:
    _read_or_refuse(tmp_path, "".join(pieces).encode())


def _read_or_refuse(folder: Path, content: bytes) -> None:
    path = folder / "a.yaml"
    path.write_bytes(content)
    try:
        document = read(path, "a.yaml")
    except ReadError as error:
        finding = error.finding("a.yaml")
        assert finding.line >= 1
        assert str(finding).isprintable()
        return
    assert isinstance(document.value, dict)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["none", "s1", "unknown"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@FUZZ
@given(value=VALUES, which=st.integers(0, 200))
def test_any_value_in_any_place_of_an_entry_gives_findings_only(value: object, which: int, tree: Path) -> None:
    path = tree / "inventory/methods/alpha.yaml"
    original = path.read_bytes()
    document = read(path, "alpha.yaml")
    places = sorted(document.lines, key=str)
    content = _replaced(document.value, places[which % len(places)], value)
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    try:
        found = check(tree)
    finally:
        path.write_bytes(original)
    assert all(finding.line >= 1 and str(finding).isprintable() for finding in found)


def _replaced(content: object, place: tuple[str | int, ...], value: object) -> object:
    if not place:
        return value
    first, rest = place[0], place[1:]
    if isinstance(content, dict):
        return {key: _replaced(item, rest, value) if key == first else item for key, item in content.items()}
    assert isinstance(content, list)
    return [_replaced(item, rest, value) if index == first else item for index, item in enumerate(content)]


def test_hostile_file_names_are_findings_too(tree: Path) -> None:
    for name in ("a\nb.yaml", "-x.yaml", "a b.yaml", "é.yaml", "<script>.yaml"):
        (tree / "inventory/methods" / name).write_text("a: b\n")
    found = [item for item in entry_files(tree) if isinstance(item, Finding)]
    assert {finding.rule.code for finding in found} == {"CA040"}
    assert len(found) == 5
    assert all(str(finding).isprintable() for finding in found)
