"""Discounts that differ inside a turn and across its end, advantages on two levels, and the two paths of a reward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.layouts import by_action, random_rollouts, to_episodes
from torch import Tensor

from cairn.interchange import RolloutRow, to_rollouts
from cairn.methods.grpo import GRPO
from cairn.ops.packing import Packing
from cairn.ops.returns import by_boundary, discounted_suffix_sum, returns_to_go, token_returns
from cairn.ops.values import Decay, bilevel_advantages, generalized_advantages, lambda_returns
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

Numbers = NDArray[np.float64]


def _tensor(numbers: object) -> Tensor:
    return torch.as_tensor(np.asarray(numbers, dtype=np.float64))


def _logged(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rewards (at ends only), values, mask and ends (R, L), with numbers off the mask too."""
    rng = np.random.default_rng(seed)
    mask = np.arange(11) < rng.integers(0, 12, size=6)[:, None]
    last = mask & ~np.pad(mask, ((0, 0), (0, 1)))[:, 1:]
    ends = (mask & (rng.random(mask.shape) < 0.3)) | last
    rewards, values = rng.normal(size=mask.shape) * ends, rng.normal(size=mask.shape)
    return _tensor(rewards), _tensor(values), torch.from_numpy(mask), torch.from_numpy(ends)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8, 9, 33])
def test_a_decay_for_each_step_is_that_of_a_plain_loop(length: int) -> None:
    rng = np.random.default_rng(length)
    values, decays = rng.normal(size=(3, length)), rng.choice([0.0, 0.5, 0.9, 1.0], size=(3, length))
    expected = np.zeros((3, length + 1))
    for t in reversed(range(length)):
        expected[:, t] = values[:, t] + decays[:, t] * expected[:, t + 1]
    before, by_step = _tensor(values), _tensor(decays)
    np.testing.assert_allclose(discounted_suffix_sum(before, by_step).numpy(), expected[:, :-1], atol=1e-12)
    np.testing.assert_array_equal(before.numpy(), values)
    np.testing.assert_array_equal(by_step.numpy(), decays)


@pytest.mark.parametrize("decay", [0.0, 0.37, 0.95, 1.0])
def test_one_decay_everywhere_is_the_plain_sum(decay: float) -> None:
    values = _tensor(np.random.default_rng(2).normal(size=(4, 29)))
    got = discounted_suffix_sum(values, torch.full_like(values, decay))
    torch.testing.assert_close(got, discounted_suffix_sum(values, decay), atol=1e-12, rtol=0)


def test_discounts_by_boundary_by_hand() -> None:
    # Two turns of two tokens, 0.5 inside and 0.1 across: 1 + 0.5 (2 + 0.1 (4 + 0.5 * 8)) = 2.4, 2.8, 8, 8
    ends = torch.tensor([[False, True, False, True]])
    rewards = _tensor([[1, 2, 4, 8]])
    gammas = by_boundary(ends, 0.5, 0.1, rewards)
    assert gammas.tolist() == [[0.5, 0.1, 0.5, 0.1]]
    assert discounted_suffix_sum(rewards, gammas)[0].tolist() == pytest.approx([2.4, 2.8, 8, 8])


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(("gamma", "lambda_"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.5), (0.99, 0.0)])
def test_equal_decays_inside_and_across_are_plain_gae_and_plain_td_lambda(
    gamma: float, lambda_: float, cut: bool
) -> None:
    rewards, values, mask, ends = _logged(1)
    after = _tensor(np.arange(6.0)) if cut else None
    same = (by_boundary(ends, gamma, gamma, values), by_boundary(ends, lambda_, lambda_, values))
    for function in (generalized_advantages, lambda_returns):
        plain = function(rewards, values, mask, gamma, lambda_, after)
        torch.testing.assert_close(function(rewards, values, mask, *same, after), plain, atol=1e-12, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_gae_with_other_decays_across_turns_is_that_of_a_plain_loop(seed: int) -> None:
    rewards, values, mask, ends = _logged(seed)
    inside, across = Decay(1.0, 0.95), Decay(0.9, 0.5)
    gammas = by_boundary(ends, inside.gamma, across.gamma, values)
    lambdas = by_boundary(ends, inside.lambda_, across.lambda_, values)
    expected = np.zeros(tuple(mask.shape))
    for i, length in enumerate(mask.sum(1).tolist()):
        carried, following = 0.0, 0.0
        for t in reversed(range(length)):
            at = across if ends[i, t] else inside
            value = float(values[i, t])
            carried = float(rewards[i, t]) + at.gamma * following - value + at.gamma * at.lambda_ * carried
            expected[i, t], following = carried, value
    got = generalized_advantages(rewards, values, mask, gammas, lambdas)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)
    targets = lambda_returns(rewards, values, mask, gammas, lambdas)
    torch.testing.assert_close((targets - values) * mask, got)


def _bilevel_in_loops(
    rewards: Tensor, values: Tensor, ends: Tensor, length: int, inside: Decay, across: Decay
) -> list[float]:
    """RAGEN's recursion for one row, written anew: turns from the back, then the tokens of each turn from the back."""
    r, v = rewards.tolist(), values.tolist()
    places = [t for t in range(length) if ends[t]]
    carried, worth_after = 0.0, 0.0
    for place in reversed(places):
        carried = r[place] + across.gamma * worth_after - v[place] + across.gamma * across.lambda_ * carried
        worth_after = v[place]
        r[place] = carried + v[place]
    result = [0.0] * len(r)
    inner = 0.0
    for t in reversed(range(length)):
        if t in places:
            inner = r[t] - v[t]
        else:
            inner = r[t] + inside.gamma * v[t + 1] - v[t] + inside.gamma * inside.lambda_ * inner
        result[t] = inner
    return result


@pytest.mark.parametrize(
    ("inside", "across"),
    [
        (Decay(1.0, 1.0), Decay(0.95, 1.0)),
        (Decay(0.9, 0.5), Decay(0.7, 0.3)),
        (Decay(1.0, 0.0), Decay(0.0, 0.5)),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_two_levels_are_the_recursion_of_the_released_code(seed: int, inside: Decay, across: Decay) -> None:
    rewards, values, mask, ends = _logged(seed)
    got = bilevel_advantages(rewards, values, mask, ends, inside, across)
    for i, length in enumerate(mask.sum(1).tolist()):
        expected = _bilevel_in_loops(rewards[i], values[i], ends[i], length, inside, across)
        assert got[i].tolist() == pytest.approx(expected, abs=1e-12)


def test_two_levels_by_hand() -> None:
    # Turns (a b)(c d), values 1 2 3 4, rewards 10 at b and 20 at d; across 0.5 and 1, inside 1 and 0.5.
    # Upper, at b and d: d: 20 - 4 = 16; b: 10 + 0.5 * 4 - 2 + 0.5 * 16 = 18. Goals 20 at b and 20 at d.
    # Lower: d: 16; c: 4 - 3 + 0.5 * 16 = 9; b: 18; a: 2 - 1 + 0.5 * 18 = 10.
    ends = torch.tensor([[False, True, False, True]])
    everywhere = torch.ones(1, 4, dtype=torch.bool)
    got = bilevel_advantages(
        _tensor([[0, 10, 0, 20]]), _tensor([[1, 2, 3, 4]]), everywhere, ends, Decay(1.0, 0.5), Decay(0.5, 1.0)
    )
    assert got.tolist() == [[10, 18, 9, 16]]


def test_two_levels_without_decay_are_return_to_go_less_the_value() -> None:
    rewards, values, mask, ends = _logged(7)
    one = Decay(1.0, 1.0)
    got = bilevel_advantages(rewards, values, mask, ends, one, one)
    torch.testing.assert_close(got, generalized_advantages(rewards, values, mask, 1.0, 1.0))


def test_two_levels_over_turns_of_one_token_are_gae_over_turns() -> None:
    rewards, values, mask, _ = _logged(8)
    after = _tensor(np.arange(6.0))
    got = bilevel_advantages(rewards, values, mask, mask, Decay(0.3, 0.2), Decay(0.9, 0.8), after)
    torch.testing.assert_close(got, generalized_advantages(rewards, values, mask, 0.9, 0.8, after))


def test_a_turn_that_is_paid_nothing_is_still_a_turn() -> None:
    """What RAGEN's code loses: it finds turn ends by their reward."""
    ends = torch.tensor([[True, True, True]])
    paid = bilevel_advantages(
        _tensor([[0, 0, 1]]), _tensor([[0.0, 0.5, 0.0]]), ends, ends, Decay(1.0, 1.0), Decay(0.5, 0.0)
    )
    assert paid.tolist() == [[0.25, -0.5, 1.0]]


def _turn_gae(rollouts: Rollouts, gamma: float, lambda_: float) -> Tensor:
    """Turn-level GAE: one value for each turn, of the state before it; a turn without tokens is stepped over."""
    turns = Packing.of(rollouts.turn_tokens() > 0)
    rewards = turns.pack(rollouts.sum_over_turns(rollouts.token_rewards()))
    values = turns.pack(rollouts.first_of_turns(rollouts.require("values")))
    advantages = generalized_advantages(rewards, values, turns.mask, gamma, lambda_)
    return rollouts.spread_turns(turns.unpack(advantages))


def _bilevel(rollouts: Rollouts) -> Tensor:
    index = rollouts.action_index()
    rewards, values, ends = (
        index.pack(x) for x in (rollouts.token_rewards(), rollouts.require("values"), rollouts.turn_ends())
    )
    return index.unpack(bilevel_advantages(rewards, values, index.mask, ends, Decay(0.9, 0.8), Decay(0.7, 0.6)))


def _by_boundary(rollouts: Rollouts) -> Tensor:
    index = rollouts.action_index()
    return token_returns(rollouts, by_boundary(index.pack(rollouts.turn_ends()), 0.9, 0.5, index.mask.double()))


@pytest.mark.parametrize("rule", [lambda r: _turn_gae(r, 0.9, 0.8), _bilevel, _by_boundary, token_returns])
@pytest.mark.parametrize("seed", range(4))
def test_both_layouts_give_one_credit(seed: int, rule: object) -> None:
    assert callable(rule)
    rollouts = random_rollouts(seed)
    episodes = to_episodes(rollouts)
    got = rule(rollouts)
    torch.testing.assert_close(by_action(episodes, rule(episodes)), by_action(rollouts, got), atol=1e-12, rtol=0)
    assert not got[~rollouts.action_mask].any()
    assert got.any()


def test_turn_gae_does_not_feel_how_long_a_turn_is() -> None:
    def advantages(filler: int) -> list[float]:
        first = {"tokens": ["a"] * (1 + filler), "values": [0.5] + [9.0] * filler}
        turns = [first, {"tokens": []}, {"tokens": ["b"], "values": [0.25]}]
        rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 1, "turns": turns})])
        return rollouts.mean_over_turns(_turn_gae(rollouts, 1.0, 0.5))[0].tolist()

    # 0.25 - 0.5 + 0.5 (1 - 0.25) = 0.125; nothing; 0.75
    assert advantages(0) == advantages(20) == [0.125, 0.0, 0.75]


def test_ends_and_firsts_of_turns_by_hand() -> None:
    turns = [{"tokens": ["t"] * n} for n in (2, 0, 1)]
    for layout in ("turn", "episode"):
        rollouts = to_rollouts(
            [RolloutRow.model_validate({"group": "g", "reward": 1, "turns": turns})],
            "turn" if layout == "turn" else "episode",
        )
        assert by_action(rollouts, rollouts.turn_ends()).tolist() == [False, True, True]
        assert by_action(rollouts, rollouts.turn_starts()).tolist() == [True, False, True]
        assert rollouts.turn_tokens().tolist() == [[2, 0, 1]]
        numbers = rollouts.action_index().unpack(torch.tensor([[3.0, 5.0, 7.0]]))
        assert rollouts.first_of_turns(numbers).tolist() == [[3, 0, 7]]
        assert rollouts.sum_over_turns(numbers).tolist() == [[8, 0, 7]]


def _spread_out(rollouts: Rollouts) -> Rollouts:
    """The same returns, spread over the tokens: each gets a random share, the shares sum to one."""
    index = rollouts.action_index()
    shares = torch.rand(index.mask.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * index.mask
    shares = shares / shares.sum(1, keepdim=True)
    nothing = torch.zeros_like
    return rollouts.replace(
        dense_rewards=index.unpack(shares * rollouts.returns[:, None]),
        terminal_rewards=nothing(rollouts.terminal_rewards),
        turn_rewards=nothing(rollouts.turn_rewards),
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_reward_that_is_merely_spread_out_is_the_sparse_one_to_a_comparison_of_rollouts(seed: int) -> None:
    sparse = random_rollouts(seed)
    dense = _spread_out(sparse)
    torch.testing.assert_close(dense.returns, sparse.returns)
    torch.testing.assert_close(GRPO().credit(dense).advantages, GRPO().credit(sparse).advantages)


@pytest.mark.parametrize("seed", range(3))
def test_the_two_paths_agree_on_the_last_token_only(seed: int) -> None:
    dense = _spread_out(random_rollouts(seed))
    index = dense.action_index()
    direct, to_go = index.pack(dense.token_rewards()), index.pack(token_returns(dense))
    last = index.mask.sum(1, keepdim=True) - 1
    torch.testing.assert_close(direct.gather(1, last), to_go.gather(1, last))
    torch.testing.assert_close(to_go[:, 0], dense.returns)
    torch.testing.assert_close(direct.sum(1), dense.returns)
    assert not torch.allclose(direct, to_go)


def test_token_returns_by_hand() -> None:
    turns = [{"tokens": ["a", "b"], "reward": 4}, {"tokens": ["c"]}]
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 8, "turns": turns})])
    # rewards 0, 4, 8: 0 + 0.5 (4 + 0.5 * 8) = 4, 8, 8
    assert by_action(rollouts, token_returns(rollouts, 0.5)).tolist() == [4, 8, 8]
    dense = rollouts.replace(dense_rewards=torch.full(rollouts.token_ids.shape, 1.0, dtype=torch.float64))
    assert by_action(dense, dense.token_rewards()).tolist() == [1, 5, 9]
    assert dense.returns.tolist() == [15.0]
    assert not dense.token_rewards()[~dense.action_mask].any()


def test_turns_of_one_token_have_the_returns_of_turns() -> None:
    rows = [
        row.model_copy(update={"turns": tuple(turn for turn in row.turns if len(turn.tokens) == 1)})
        for row in sample_rollouts()
    ]
    rollouts = to_rollouts([row for row in rows if row.turns])
    per_turn = returns_to_go(rollouts.turn_rewards, rollouts.terminal_rewards, rollouts.turn_mask, 0.9)
    torch.testing.assert_close(rollouts.sum_over_turns(token_returns(rollouts, 0.9)), per_turn)
