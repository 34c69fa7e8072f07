"""Each check of the contract is seen to fail: on a rule that is broken in the one way that the check is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from cairn import testing
from cairn.evidence.golden import Golden
from cairn.method import Limit, Method, Services
from cairn.rollouts import Credit, Rollouts
from cairn.testing import ContractError, contract

Rule = Callable[[Rollouts], Tensor]
TURNS = frozenset({"reference_policy", "turn_boundaries"})


def _sound(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(rollouts.returns)


@dataclass(frozen=True)
class Broken(Method):
    """Plain but for a credit stage that is given."""

    rule: Rule = _sound

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(self.rule(rollouts))


@dataclass(frozen=True)
class BrokenTurns(Broken):
    needs: ClassVar[frozenset[str]] = TURNS


def _one_number_a_rollout(rollouts: Rollouts) -> Tensor:
    return rollouts.returns


def _whole_numbers(rollouts: Rollouts) -> Tensor:
    return _sound(rollouts).long()


def _not_a_number(rollouts: Rollouts) -> Tensor:
    return _sound(rollouts) / 0 * 0


def _everywhere(rollouts: Rollouts) -> Tensor:
    return rollouts.returns[rollouts.row_rollout][:, None].expand(rollouts.token_ids.shape)


def _mean_over_the_table(rollouts: Rollouts) -> Tensor:
    return (_sound(rollouts) - _sound(rollouts).mean()) * rollouts.action_mask


def _mean_over_absent_turns(rollouts: Rollouts) -> Tensor:
    return rollouts.spread_rollouts(rollouts.turn_rewards.mean(1))


def _first_rollout_favoured(rollouts: Rollouts) -> Tensor:
    bonus = torch.zeros_like(rollouts.returns)
    bonus[0] = 1
    return rollouts.spread_rollouts(rollouts.returns + bonus)


def _first_row_of_each_rollout_favoured(rollouts: Rollouts) -> Tensor:
    before = torch.roll(rollouts.row_rollout, 1)
    before[0] = -1
    return _sound(rollouts) * (rollouts.row_rollout != before)[:, None]


def _in_place(rollouts: Rollouts) -> Tensor:
    rollouts.terminal_rewards.sub_(rollouts.terminal_rewards.mean())
    return _sound(rollouts)


def _global_luck(rollouts: Rollouts) -> Tensor:
    return _sound(rollouts) * torch.rand(())


def _undeclared(rollouts: Rollouts) -> Tensor:
    assert rollouts.entropies is not None
    return rollouts.entropies


def _own_std(rollouts: Rollouts) -> Tensor:
    returns, groups = rollouts.returns, rollouts.group_ids
    result = torch.zeros_like(returns)
    for group in groups.unique():
        member = groups == group
        std = returns[member].std() if member.sum() > 1 else torch.tensor(torch.nan)
        result[member] = (returns[member] - returns[member].mean()) / (std + 1e-6)
    return rollouts.spread_rollouts(result)


def _divided_by_range(rollouts: Rollouts) -> Tensor:
    spread = rollouts.returns.max() - rollouts.returns.min()
    return rollouts.spread_rollouts((rollouts.returns - rollouts.returns.min()) / spread)


def _divided_by_tokens(rollouts: Rollouts) -> Tensor:
    tokens = rollouts.action_index().mask.sum(1)
    share = rollouts.returns / tokens
    return rollouts.spread_rollouts(share / share.sum())


def _cut_off_unknown(rollouts: Rollouts) -> Tensor:
    worth = torch.where(rollouts.truncated, torch.log(1 - rollouts.truncated.double()), rollouts.returns)
    return rollouts.spread_rollouts(worth)


def _divided_by_row_length(rollouts: Rollouts) -> Tensor:
    return _sound(rollouts) / rollouts.action_mask.sum(1, keepdim=True).clamp_min(1)


CREDIT_MUTANTS: list[tuple[str, Method]] = [
    ("shapes", Broken(rule=_one_number_a_rollout)),
    ("shapes", Broken(rule=_whole_numbers)),
    ("shapes", Broken(rule=_not_a_number)),
    ("zero_off_actions", Broken(rule=_everywhere)),
    ("padding", Broken(rule=_mean_over_the_table)),
    ("padding", BrokenTurns(rule=_mean_over_absent_turns)),
    ("order", Broken(rule=_first_rollout_favoured)),
    ("order", Broken(rule=_first_row_of_each_rollout_favoured)),
    ("inputs_untouched", Broken(rule=_in_place)),
    ("determinism", Broken(rule=_global_luck)),
    ("needs", Broken(rule=_undeclared)),
    ("needs", BrokenTurns()),
    ("group_of_one", Broken(rule=_own_std)),
    ("equal_rewards", Broken(rule=_divided_by_range)),
    ("turns_without_tokens", Broken(rule=_divided_by_tokens)),
    ("truncation", Broken(rule=_cut_off_unknown)),
    ("layouts", Broken(rule=_divided_by_row_length)),
]


@dataclass(frozen=True)
class NotCentred(Broken):
    invariants: ClassVar[frozenset[str]] = frozenset({"zero_mean_in_group"})


@dataclass(frozen=True)
class NotTelescoping(Method):
    needs: ClassVar[frozenset[str]] = TURNS | {"mc_continuations"}
    invariants: ClassVar[frozenset[str]] = frozenset({"telescopes"})

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(rollouts.spread_turns(rollouts.require("turn_values") * rollouts.turn_mask))


@dataclass(frozen=True)
class Unprovable(Broken):
    invariants: ClassVar[frozenset[str]] = frozenset({"null_player"})


@dataclass(frozen=True)
class FalseLimit(Broken):
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"epsilon": 0.0}, Method()),)


@dataclass(frozen=True)
class UndeclaredService(Method):
    def collect(self, services: Services) -> Rollouts:
        rollouts = services.rollouts()
        return rollouts.replace(turn_values=services.continuations(rollouts, 2).mean(-1))


@dataclass(frozen=True)
class UndeclaredFit(Method):
    def fit(self, rollouts: Rollouts, services: Services) -> None:
        services.fit_critic(rollouts, torch.zeros_like(rollouts.logprobs_behaviour))


@dataclass(frozen=True)
class LossEverywhere(Method):
    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) + logprobs.square().mean() + logprobs.mean()


@dataclass(frozen=True)
class LossOfManyNumbers(Method):
    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) * torch.ones(2)


@dataclass(frozen=True)
class LossWithoutBound(Method):
    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        return super().loss(logprobs, rollouts, credit) + logprobs[rollouts.action_mask].sum() / 0


@dataclass(frozen=True)
class MaskOfNumbers(Method):
    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(super().credit(rollouts).advantages, rollouts.attention_mask.long())


OTHER_MUTANTS: list[tuple[str, Method]] = [
    ("invariants", NotCentred()),
    ("invariants", NotTelescoping()),
    ("invariants", Unprovable()),
    ("limits", FalseLimit()),
    ("needs", UndeclaredService()),
    ("needs", UndeclaredFit()),
    ("loss", LossEverywhere()),
    ("loss", LossOfManyNumbers()),
    ("loss", LossWithoutBound()),
    ("shapes", MaskOfNumbers()),
]
MUTANTS = CREDIT_MUTANTS + OTHER_MUTANTS


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


def test_the_rule_that_the_mutants_start_from_is_sound() -> None:
    for check in contract(Broken(rule=_sound)):
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
