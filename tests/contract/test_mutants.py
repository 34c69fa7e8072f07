"""Each check of the contract is seen to fail: on a rule that is broken in the one way that the check is there for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.contract.mutants import MUTANTS, Broken, sound
from tests.contract.sound import SOUND

from cairn import testing
from cairn.evidence.golden import Golden
from cairn.method import Method
from cairn.testing import ContractError, contract


def _label(value: Any) -> str:
    return value if isinstance(value, str) else getattr(getattr(value, "rule", None), "__name__", type(value).__name__)


@pytest.mark.parametrize(("name", "mutant"), MUTANTS, ids=_label)
def test_a_broken_rule_is_found(name: str, mutant: Method) -> None:
    (check,) = [check for check in contract(mutant) if check.name == name]
    with pytest.raises(ContractError) as caught:
        check()
    message = str(caught.value)
    assert message.startswith(type(mutant).__name__)
    assert len(message.split()) > 5


@pytest.mark.parametrize("rule", [Broken(rule=sound), *SOUND], ids=_label)
def test_sound_rules_pass_every_check(rule: Method) -> None:
    for check in contract(rule):
        check()


def test_every_check_is_seen_to_fail() -> None:
    assert {check.name for check in contract(Method())} == {name for name, _ in MUTANTS}


GOLDEN = Golden.model_validate(
    {
        "origin": "by hand: (1 - 0.5) / (0.7071067812 + 0.000001)",
        "tolerance": 1e-9,
        "batch": [{"group": "a", "reward": r, "turns": [{"tokens": ["go"]}]} for r in (1, 0)],
        "cases": [{"name": "default", "method": {}, "expected": [[0.7071057812], [-0.7071057812]]}],
    }
)


def test_a_golden_example_fails_on_another_rule() -> None:
    testing.check_golden(Method, GOLDEN)
    with pytest.raises(ContractError, match=r"case default: 1\.0 instead of 0\.7071057812"):
        testing.check_golden(Broken, GOLDEN)


def test_a_golden_example_fails_on_a_setting_that_is_not_there() -> None:
    case = GOLDEN.cases[0].model_copy(update={"method": {"step_weight": 1}})
    with pytest.raises(ContractError, match="step_weight"):
        testing.check_golden(Method, GOLDEN.model_copy(update={"cases": (case,)}))


def test_settings_of_the_method_are_kept() -> None:
    gentle = replace(Method(), scale_by_std=False)
    for check in contract(gentle):
        check()
