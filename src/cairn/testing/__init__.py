"""Contract tests for any credit rule, ours or a stranger's.

    from cairn.testing import contract

    @pytest.mark.parametrize("check", contract(MyMethod()), ids=str)
    def test_contract(check):
        check()

Each `check_*` takes a method and logged rollouts in the interchange format (by default `sample_rollouts()`, which gives
every optional field) and raises ContractError with a sentence that says what the rule did. Comparisons of credit are
made in float64 with an absolute tolerance of `TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cairn.method import Method
from cairn.testing.asking import TOLERANCE, ContractError
from cairn.testing.edges import (
    check_equal_rewards,
    check_extreme_rewards,
    check_group_of_one,
    check_rewards_not_finite,
    check_truncation,
    check_turn_counts,
    check_turns_without_tokens,
)
from cairn.testing.rules import (
    check_determinism,
    check_dropped_rows,
    check_golden,
    check_inputs_untouched,
    check_invariants,
    check_layouts,
    check_limits,
    check_loss,
    check_memory,
    check_needs,
    check_order,
    check_padding,
    check_shapes,
    check_zero_off_actions,
)
from cairn.testing.samples import Rows, sample_rollouts

__all__ = ["TOLERANCE", "Check", "ContractError", "Rows", "check_golden", "contract", "sample_rollouts"]

CHECKS: tuple[Callable[[Method, Rows], None], ...] = (
    check_shapes,
    check_zero_off_actions,
    check_padding,
    check_order,
    check_inputs_untouched,
    check_determinism,
    check_needs,
    check_invariants,
    check_limits,
    check_group_of_one,
    check_equal_rewards,
    check_extreme_rewards,
    check_rewards_not_finite,
    check_turns_without_tokens,
    check_truncation,
    check_turn_counts,
    check_layouts,
    check_loss,
    check_dropped_rows,
    check_memory,
)


@dataclass(frozen=True)
class Check:
    """One check made ready: call it. Its text is its name."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Raise ContractError when the rule breaks this part of the contract."""
        self.run()

    def __str__(self) -> str:
        return self.name


def contract(method: Method, rows: Rows | None = None) -> list[Check]:
    """Return every check for a method, on the given rollouts or on `sample_rollouts()`."""
    batch = sample_rollouts() if rows is None else rows

    def ready(check: Callable[[Method, Rows], None]) -> Check:
        return Check(check.__name__.removeprefix("check_"), lambda: check(method, batch))

    return [ready(check) for check in CHECKS]
