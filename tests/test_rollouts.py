"""`Rollouts`: the gate, what is refused, and how turns and tokens line up."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from cairn.errors import UserError
from cairn.interchange import RolloutRow, to_rollouts
from cairn.inventory import load
from cairn.rollouts import (
    GATED_FIELDS,
    ROLLOUT_FIELDS,
    TOKEN_FIELDS,
    TURN_FIELDS,
    NotCollectedError,
    Rollouts,
    UndeclaredNeedError,
)
from cairn.testing import sample_rollouts


def _batch(*turn_tokens: list[int], rewards: list[list[float]] | None = None, layout: str = "turn") -> Rollouts:
    """One rollout for each list of token counts, in one group; rollout i has the terminal reward 100 (i + 1)."""
    rows = [
        RolloutRow.model_validate(
            {
                "group": "g",
                "reward": 100 * (i + 1),
                "turns": [
                    {"tokens": ["t"] * n, "reward": rewards[i][k] if rewards else 0} for k, n in enumerate(counts)
                ],
            }
        )
        for i, counts in enumerate(turn_tokens)
    ]
    return to_rollouts(rows, "episode" if layout == "episode" else "turn")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_terminal_reward_that_is_not_finite_is_refused(bad: float) -> None:
    batch = _batch([1], [2])
    with pytest.raises(UserError, match=r"`terminal_rewards` \[1\]"):
        batch.replace(terminal_rewards=torch.tensor([1.0, bad]))


def test_a_turn_reward_that_is_not_finite_is_refused_even_where_no_turn_took_place() -> None:
    batch = _batch([1, 1], [2])
    rewards = torch.zeros(2, 2)
    rewards[1, 1] = math.nan
    with pytest.raises(UserError, match=r"`turn_rewards` \[1, 1\].*got nan"):
        batch.replace(turn_rewards=rewards)


def test_a_dense_reward_that_is_not_finite_is_refused() -> None:
    batch = _batch([1, 2])
    rewards = torch.zeros(batch.token_ids.shape)
    rewards[1, 2] = math.inf
    with pytest.raises(UserError, match=r"`dense_rewards` \[1, 2\].*got inf"):
        batch.replace(dense_rewards=rewards)


@pytest.mark.parametrize("name", sorted(GATED_FIELDS))
def test_each_gated_field_asks_for_one_of_its_needs(name: str) -> None:
    batch = to_rollouts(sample_rollouts())
    with pytest.raises(UndeclaredNeedError, match=name):
        getattr(batch.declare(frozenset()), name)
    for need in GATED_FIELDS[name]:
        declared = batch.declare(frozenset({need}))
        getattr(declared, name)
        assert declared.used == {need}
    assert batch.used == set()


def test_the_gate_speaks_the_words_of_the_inventory() -> None:
    words = load().vocabulary("needs").words
    assert {need for needs in GATED_FIELDS.values() for need in needs} <= set(words)


def test_every_optional_field_is_gated() -> None:
    optional = {f.name for f in dataclasses.fields(Rollouts) if f.type == "Tensor | None"}
    assert optional - {"dense_rewards", "turn_scores", "token_scores"} <= set(GATED_FIELDS), "own stages write these"


def test_helpers_work_behind_the_gate() -> None:
    batch = _batch([2, 1], [1, 0])
    closed = batch.declare(frozenset())
    assert torch.equal(closed.returns, batch.returns)
    assert torch.equal(closed.token_rewards(), batch.token_rewards())
    assert torch.equal(closed.action_index().flat, batch.action_index().flat)
    assert torch.equal(closed.mean_over_turns(torch.ones(4, 3)), batch.mean_over_turns(torch.ones(4, 3)))
    assert closed.used == set()


def test_a_required_field_that_was_not_collected_raises_by_name() -> None:
    batch = _batch([1])
    with pytest.raises(NotCollectedError, match="values") as caught:
        batch.require("values")
    assert caught.value.field == "values"
    assert batch.require("turn_mask").tolist() == [[True]]


def test_the_fields_by_shape_have_these_shapes_and_leave_none_out() -> None:
    batch = to_rollouts(sample_rollouts())
    for names, shape in (
        (TOKEN_FIELDS, batch.token_ids.shape),
        (TURN_FIELDS, batch.turn_mask.shape),
        (ROLLOUT_FIELDS, batch.group_ids.shape),
    ):
        for name in names:
            value = getattr(batch, name)
            assert value is None or value.shape == shape, name
    tensors = {f.name for f in dataclasses.fields(Rollouts) if "Tensor" in str(f.type)}
    assert tensors == {*TOKEN_FIELDS, *TURN_FIELDS, *ROLLOUT_FIELDS, "row_rollout", "pairs"}


def test_returns_leave_out_turns_that_did_not_take_place() -> None:
    batch = _batch([1, 1], [1], rewards=[[1, 2], [4]])
    junk = batch.turn_rewards + 1000 * ~batch.turn_mask
    assert batch.replace(turn_rewards=junk).returns.tolist() == [103.0, 204.0]


def test_spreading_reaches_action_tokens_only() -> None:
    batch = _batch([2, 1], [1])
    assert batch.spread_rollouts(torch.tensor([7.0, 9.0])).tolist() == [[0, 7, 7], [0, 7, 0], [0, 9, 0]]
    per_turn = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert batch.spread_turns(per_turn).tolist() == [[0, 1, 1], [0, 2, 0], [0, 3, 0]]


def test_mean_over_turns_by_hand() -> None:
    batch = _batch([2, 0, 1], [1])
    per_token = torch.tensor([[9.0, 1.0, 3.0], [9, 9, 9], [9, 5, 9], [9, 7, 9]])
    assert batch.mean_over_turns(per_token).tolist() == [[2, 0, 5], [7, 0, 0]]


@pytest.mark.parametrize(
    ("tokens", "rewards", "expected"),
    [
        # Tokens of the rollout in time order; the terminal reward is 100.
        ([2, 1], [1, 2], [0, 1, 102]),
        ([1, 0, 1], [1, 2, 4], [3, 104]),  # a turn without tokens pays at the token before it
        ([0, 2], [1, 2], [1, 102]),  # or at the first one
        ([1, 0], [1, 2], [103]),  # so does the last turn, and with it the terminal reward
        ([0, 0, 1, 0, 0], [1, 2, 4, 8, 16], [131]),
        ([3], [1], [0, 0, 101]),
    ],
)
@pytest.mark.parametrize("layout", ["turn", "episode"])
def test_token_rewards_by_hand(tokens: list[int], rewards: list[float], expected: list[float], layout: str) -> None:
    batch = _batch(tokens, rewards=[rewards], layout=layout)
    paid = batch.token_rewards()
    index = batch.action_index()
    assert paid.flatten()[index.flat[index.mask]].tolist() == expected
    assert float(paid.sum()) == sum(expected) == 100 + sum(rewards)


def test_token_rewards_leave_out_turns_that_did_not_take_place() -> None:
    batch = _batch([1, 1], [1], rewards=[[1, 2], [4]])
    junk = batch.replace(turn_rewards=batch.turn_rewards + 1000 * ~batch.turn_mask)
    assert torch.equal(junk.token_rewards(), batch.token_rewards())


def test_the_rewards_of_a_rollout_without_tokens_reach_no_other_rollout() -> None:
    batch = _batch([0], [1], rewards=[[5], [7]])
    assert batch.token_rewards().tolist() == [[0, 0], [0, 207]]


def test_the_action_index_is_in_time_order_whatever_the_order_of_rows() -> None:
    batch = _batch([2, 1], [1, 2])
    rows = torch.tensor([3, 1, 0, 2])
    fields = {name: getattr(batch, name)[rows] for name in TOKEN_FIELDS if getattr(batch, name) is not None}
    moved = batch.replace(row_rollout=batch.row_rollout[rows], **fields)
    index = moved.action_index()
    # Turns 0 and 1 of rollout 0 now stand in rows 2 and 1, those of rollout 1 in rows 3 and 0; rows are 3 tokens wide.
    assert index.flat.tolist() == [[7, 8, 4], [10, 1, 2]]
    assert index.mask.all()
