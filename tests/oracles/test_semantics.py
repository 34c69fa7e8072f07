"""The table of recurrences, which needs no library, is the one on the page; and the page has a table for each."""

from __future__ import annotations

import pytest
from tests.oracles.semantics import CASES, block_on_page, render


def test_the_page_shows_what_the_recurrences_give() -> None:
    assert block_on_page("recurrences") == render("recurrences")


@pytest.mark.parametrize("name", CASES)
def test_the_page_has_a_table_for_each_library(name: str) -> None:
    assert block_on_page(name).count("\n") > 2
