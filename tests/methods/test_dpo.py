"""DPO: its credit is the gradient of its loss, and what both become without the weight of the pair."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.methods.dpo import DPO
from cairn.methods.grpo import GRPO
from cairn.rollouts import Rollouts
from cairn.testing import Check, contract, sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")
SETTINGS = (DPO(), DPO(beta=0.5, smoothing=0.2), DPO(weighted=False))


def _collected(method: DPO, rows: list[RolloutRow], layout: Layout = "turn") -> Rollouts:
    return method.collect(Playback(to_rollouts(rows, layout), method.needs))


def _binary(rows: list[RolloutRow], sizes: int = 4) -> list[RolloutRow]:
    """Groups of equal size, paid 1 or 0 at the end, the first group with one success, the next with two, and so on."""
    return [
        row.model_copy(
            update={
                "group": str(i // sizes),
                "reward": float(i % sizes <= i // sizes),
                "turns": tuple(turn.model_copy(update={"reward": 0.0}) for turn in row.turns),
            }
        )
        for i, row in enumerate(rows)
    ]


def _initial(rows: list[RolloutRow]) -> list[RolloutRow]:
    """The same rollouts, under a policy that is still the initial one."""
    return [
        row.model_copy(
            update={"turns": tuple(turn.model_copy(update={"reference_logprobs": turn.logprobs}) for turn in row.turns)}
        )
        for row in rows
    ]


@pytest.mark.parametrize("check", [c for method in SETTINGS[1:] for c in contract(method)], ids=str)
def test_other_settings_keep_the_contract(check: Check) -> None:
    check()


@pytest.mark.parametrize("method", SETTINGS, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_credit_is_minus_the_gradient_of_the_loss(layout: Layout, method: DPO) -> None:
    rollouts = _collected(method, sample_rollouts(), layout)
    credit = method.credit(rollouts)
    logprobs = rollouts.logprobs_behaviour.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(method.loss(logprobs, rollouts, credit), logprobs)
    torch.testing.assert_close(-gradient, credit.advantages)
    assert gradient.any()


def _centred(rollouts: Rollouts) -> Tensor:
    return GRPO(scale_by_std=False).credit(rollouts).advantages


@pytest.mark.parametrize("method", [DPO(), DPO(beta=0.5, smoothing=0.2)], ids=str)
def test_on_the_first_update_it_is_grpo_without_std_times_a_number(method: DPO) -> None:
    rollouts = _collected(method, _initial(_binary(sample_rollouts()[:8])))
    pairs = 1 * 3 + 2 * 2
    share = (1 - 2 * method.smoothing) * method.beta * 4 / (2 * pairs)
    torch.testing.assert_close(method.credit(rollouts).advantages, share * _centred(rollouts))


def test_without_weights_it_stays_so() -> None:
    method = DPO(weighted=False)
    rollouts = _collected(method, _binary(sample_rollouts()[:8]))
    torch.testing.assert_close(method.credit(rollouts).advantages, 0.1 * 4 / (2 * 7) * _centred(rollouts))
    weighted = DPO().credit(rollouts).advantages
    assert not torch.allclose(weighted / weighted.abs().sum(), _centred(rollouts) / _centred(rollouts).abs().sum())


def test_a_pair_weighs_less_the_more_the_policy_already_ranks_it_right() -> None:
    def weight(ratio: float) -> float:
        turns = [{"tokens": ["a"], "logprobs": [-2.0], "reference_logprobs": [-2.0]}]
        better = [{"tokens": ["b"], "logprobs": [-2.0 + ratio], "reference_logprobs": [-2.0]}]
        rows = [{"group": "g", "reward": 1, "turns": better}, {"group": "g", "reward": 0, "turns": turns}]
        rollouts = _collected(DPO(), [RolloutRow.model_validate(row) for row in rows])
        return float(DPO().credit(rollouts).advantages.max())

    wrong, even, right = (weight(ratio) for ratio in (-20.0, 0.0, 20.0))
    # 0.1 sigmoid(2), 0.1 / 2, 0.1 sigmoid(-2)
    assert [wrong, even, right] == pytest.approx([0.0880797078, 0.05, 0.0119202922])


def test_the_loss_is_that_of_a_plain_loop_over_pairs() -> None:
    rows, method = sample_rollouts(3), DPO(beta=0.3, smoothing=0.1)
    rollouts = _collected(method, rows)
    returns = [row.reward + sum(turn.reward for turn in row.turns) for row in rows]
    ratios = [
        sum(sum(turn.logprobs or ()) * 0.9 - sum(turn.reference_logprobs or ()) for turn in row.turns) for row in rows
    ]
    terms = []
    for i, better in enumerate(rows):
        for j, worse in enumerate(rows):
            if better.group == worse.group and returns[i] > returns[j]:
                z = 0.3 * (ratios[i] - ratios[j])
                terms.append(0.9 * np.log1p(np.exp(-z)) + 0.1 * np.log1p(np.exp(z)))
    loss = method.loss(rollouts.logprobs_behaviour * 0.9, rollouts, method.credit(rollouts))
    assert float(loss) == pytest.approx(np.mean(terms))


def test_rollouts_without_a_pair_are_dropped_and_a_tie_is_no_pair() -> None:
    rollouts = _collected(DPO(), sample_rollouts())
    mask = DPO().credit(rollouts).loss_mask
    assert mask is not None
    kept = rollouts.sum_over_rollouts(mask.double()) > 0
    groups = torch.tensor([row.group in ("mixed", "turns") for row in sample_rollouts()])
    assert kept.tolist() == groups.tolist()
    tied = [row.model_copy(update={"group": "one"}) for row in _binary(sample_rollouts()[4:8], 1)]
    alike = [dataclasses.replace(DPO(), weighted=weighted) for weighted in (True, False)]
    for method in alike:
        nothing = _collected(method, [row.model_copy(update={"reward": 1.0}) for row in tied])
        credit = method.credit(nothing)
        assert not credit.advantages.any()
        assert float(method.loss(nothing.logprobs_behaviour, nothing, credit)) == 0.0


def test_all_tokens_of_a_rollout_share_one_credit() -> None:
    rollouts = _collected(DPO(), sample_rollouts(), "episode")
    credit = DPO().credit(rollouts).advantages
    highest, lowest = credit.amax(1), credit.amin(1)
    assert torch.allclose(credit, rollouts.spread_rollouts(torch.where(highest > 0, highest, lowest)))
