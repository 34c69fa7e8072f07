"""The blank of a new entry: every line that a person must write is named, and filling it in is enough."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest
import yaml

from cairn.errors import UserError
from cairn.inventory import Inventory, check, read_all
from cairn.inventory.scaffold import Known, blank

TODAY = date(2026, 2, 1)
NEW = Known("method-48", "2601.00048")


def _inventory(tree: Path) -> Inventory:
    reading = read_all(tree, TODAY)
    return Inventory(reading.entries, reading.vocabularies)


def test_each_mark_is_a_finding_and_nothing_else_is(tree: Path) -> None:
    text = blank(NEW, _inventory(tree), TODAY)
    (tree / NEW.file).write_text(text, encoding="utf-8")
    found = check(tree, TODAY)
    marked = [number for number, line in enumerate(text.split("\n"), start=1) if "TODO" in line]
    assert {(one.rule.code, one.file) for one in found} == {("CA090", NEW.file)}
    assert [one.line for one in found] == marked
    assert len(marked) > 30


def test_a_blank_that_is_filled_in_by_what_its_comments_say_is_an_entry(tree: Path) -> None:
    text = blank(NEW, _inventory(tree), TODAY)
    words = {"type": "core", "setting": "agentic", "granularity": "turn", "methodology": "entropy", "year": "2026",
             "baseline_family": "grpo", "evidence": "limited", "aux_model": "none", "compute": "low",
             "benchmarks": "alfworld", "needs": "entropy", "hooks": "credit", "invariants": "telescopes",
             "code_url": "none", "code_license": "none", "authors": '"Doe, Jo"',
             "confidence": "low", "venue": "none"}  # fmt: skip
    lines = []
    for line in text.split("\n"):
        key = re.match(r"\s*(\w+):", line)
        filled = words.get(key[1] if key else "", "some text")
        lines.append(line.replace("kind: TODO", "kind: abstract").replace("TODO", filled))
    (tree / NEW.file).write_text("\n".join(lines), encoding="utf-8")
    assert [str(one) for one in check(tree, TODAY)] == []


def test_what_is_known_comes_back_as_it_was_whatever_it_holds(tree: Path) -> None:
    nasty = 'A: "B" \\ # {c} - é\u2028 <b>'
    known = Known("odd", "none", title=nasty, authors=("O'Neil, \"X\"", "- a: b"), year=2026, credited=nasty,
                  name=nasty, code_url="https://example.org/x")  # fmt: skip
    content = yaml.safe_load(blank(known, _inventory(tree), TODAY))
    paper = content["bibliography"]
    assert (paper["title"], paper["name"], content["rule"]["credited"]) == (nasty, nasty, nasty)
    assert paper["authors"] == ['O\'Neil, "X"', "- a: b"]
    assert (paper["arxiv"], paper["year"], paper["url"]) == ("none", 2026, "TODO")
    assert content["checked"] == TODAY


@pytest.mark.parametrize(
    ("known", "value", "repair"),
    [
        (Known("Method 48", "2601.00048"), "Method 48", "hyphens"),
        (Known("none", "2601.00048"), "none", "hyphens"),
        (Known("../x", "2601.00048"), "../x", "hyphens"),
        (Known("method-48", "2601.00048v2"), "2601.00048v2", "without version"),
        (Known("method-48", "2601.00048", kind="methods"), "methods", "method"),
        (Known("alpha", "2601.00048"), "alpha", "correct that entry"),
        (Known("method-48", "2002.00002"), "2002.00002", "correct alpha"),
    ],
)
def test_what_cannot_be_a_new_entry_is_refused(known: Known, value: str, repair: str, tree: Path) -> None:
    with pytest.raises(UserError) as caught:
        blank(known, _inventory(tree), TODAY)
    assert caught.value.value == value
    assert repair in str(caught.value)


def test_a_diagnostic_gets_its_type_and_folder(tree: Path) -> None:
    known = Known("probe", "2601.00048", kind="diagnostic")
    assert known.file == "inventory/diagnostics/probe.yaml"
    assert yaml.safe_load(blank(known, _inventory(tree), TODAY))["labels"]["type"] == "diagnostic"
