"""The page of what knobs move, from a table made up here."""

from __future__ import annotations

from tests.site.conftest import HOSTILE

from cairn.evidence.difficulty import DifficultyTable, KnobEffect, Level
from cairn.evidence.records import Provenance
from cairn.site.difficulty_page import chart, render


def _effect(*levels: tuple[object, float]) -> KnobEffect:
    made = tuple(Level.model_validate({"value": v, "estimate": e, "low": e - 0.1, "high": e + 0.1}) for v, e in levels)
    return KnobEffect(knob="fog", measure="best_success", direction="down", levels=made)


def _table(*effects: KnobEffect) -> DifficultyTable:
    made = Provenance(protocol_version="1", protocol_hash="0" * 64, python="3")
    return DifficultyTable(
        task="maze", preset="cpu", first_seed=7, instances=3, group_size=4, provenance=made, effects=effects
    )


def test_the_page_says_what_moved_and_what_did_not() -> None:
    page = render({"maze": _table(_effect((0, 0.9), (1, 0.2)), _effect((0, 0.5), (1, 0.45)))})
    assert "3 instances" in page
    assert "0.900 at 0" in page
    assert page.count("should fall") == 4  # in two rows, and for those who hear the figures
    assert (page.count(">yes<"), page.count(">no<")) == (1, 1)
    assert "cairn difficulty maze --preset cpu" in page


def test_an_empty_page_says_so() -> None:
    assert "Nothing has been measured yet" in render({})


def test_higher_values_stand_higher_and_text_of_strangers_stays_text() -> None:
    drawn = chart(_effect((HOSTILE, 0.9), (1, 0.2)))
    assert HOSTILE not in drawn
    first, second = (float(mark.split('"')[0]) for mark in drawn.split('cy="')[1:3])
    assert first < second  # the picture counts from the top
