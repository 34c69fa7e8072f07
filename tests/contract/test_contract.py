"""The contract, for every method that has a module: there is no list to edit."""

from __future__ import annotations

import pytest

from cairn.evidence.golden import golden_path, read_golden
from cairn.interchange import turn_credit
from cairn.inventory import load
from cairn.method import overridden_stages
from cairn.methods import find, implemented_ids
from cairn.testing import Check, check_golden, contract, sample_rollouts

CASES = [(name, check) for name in implemented_ids() for check in contract(find(name)())]
GOLDEN = [name for name in implemented_ids() if golden_path(name).is_file()]


@pytest.mark.parametrize(("name", "check"), CASES, ids=str)
def test_contract(name: str, check: Check) -> None:
    assert name in implemented_ids()
    check()


@pytest.mark.parametrize("name", implemented_ids())
def test_every_method_has_a_golden_example(name: str) -> None:
    assert name in GOLDEN, f"write reproductions/{name}/golden.yaml"


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_example(name: str) -> None:
    check_golden(find(name), read_golden(golden_path(name)))


@pytest.mark.parametrize("name", GOLDEN)
def test_other_rules_in_a_golden_example(name: str) -> None:
    golden = read_golden(golden_path(name))
    for other, expected in golden.others.items():
        for got, wanted in zip(turn_credit(find(other)(), golden.batch), expected, strict=True):
            assert got == pytest.approx(list(wanted), abs=golden.tolerance), other


@pytest.mark.parametrize("name", implemented_ids())
def test_the_entry_says_what_the_code_does(name: str) -> None:
    entry, method = load()[name], find(name)
    assert set(entry.interface.needs) == method.needs
    assert entry.interface.hooks == overridden_stages(method)
    assert set(entry.properties.invariants) == method.invariants
    assert bool(method.limits) <= bool(entry.properties.reduces_to), "name the limit under `reduces_to`"


def test_the_sample_batch_shows_what_the_checks_ask_about() -> None:
    rows = sample_rollouts()
    turns = [turn for row in rows for turn in row.turns]
    assert any(not turn.tokens for turn in turns)
    assert any(turn.reward for turn in turns)
    assert {row.truncated for row in rows} == {True, False}
    assert {row.group for row in rows if [r.group for r in rows].count(row.group) == 1} == {"alone"}
    visits = [(row.group, turn.observation) for row in rows for turn in row.turns]
    assert max(map(visits.count, visits)) > 2
