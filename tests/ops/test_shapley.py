"""Shapley values: the axioms on random games, and another way of computing them: over all orders of joining."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cairn.ops.shapley import leave_one_out_values, shapley_values

WORTH = st.floats(-10, 10, allow_nan=False, width=32)


@st.composite
def games(draw: st.DrawFn, least: int = 1) -> Tensor:
    """A game of one to five players in float64."""
    players = draw(st.integers(least, 5))
    return torch.tensor(draw(st.lists(WORTH, min_size=2**players, max_size=2**players)), dtype=torch.float64)


def by_orders(table: Tensor) -> list[float]:
    """What each player adds when it joins, averaged over every order. Independent of the formula with weights."""
    players = len(table).bit_length() - 1
    orders = list(itertools.permutations(range(players)))
    added = [0.0] * players
    for order in orders:
        there = 0
        for player in order:
            added[player] += float(table[there | 1 << player] - table[there]) / len(orders)
            there |= 1 << player
    return added


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=0, atol=1e-9)


@settings(deadline=None, max_examples=40)
@given(games())
def test_values_are_those_of_all_orders(table: Tensor) -> None:
    assert shapley_values(table).tolist() == pytest.approx(by_orders(table), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(games())
def test_efficiency_all_of_it_is_shared_out(table: Tensor) -> None:
    assert close(shapley_values(table).sum(), table[-1] - table[0])


@settings(deadline=None, max_examples=40)
@given(games(), st.data())
def test_a_null_player_gets_exactly_nothing(table: Tensor, data: st.DataObject) -> None:
    players = len(table).bit_length() - 1
    nobody = data.draw(st.integers(0, players - 1))
    masks = torch.arange(len(table))
    game = table[masks & ~(1 << nobody)]
    assert shapley_values(game)[nobody] == 0
    assert leave_one_out_values(game)[nobody] == 0


@settings(deadline=None, max_examples=40)
@given(games(least=2), st.data())
def test_symmetric_players_get_the_same(table: Tensor, data: st.DataObject) -> None:
    players = len(table).bit_length() - 1
    one, other = data.draw(st.permutations(range(players)))[:2]
    masks = torch.arange(len(table))
    swap = (masks >> one & 1) != (masks >> other & 1)
    exchanged = torch.where(swap, masks ^ (1 << one | 1 << other), masks)
    values = shapley_values((table + table[exchanged]) / 2)
    assert close(values[one], values[other])
    # And by name alone nobody is treated differently: exchanging two players exchanges what they get.
    renamed = list(range(players))
    renamed[one], renamed[other] = other, one
    assert close(shapley_values(table[exchanged]), shapley_values(table)[renamed])


@settings(deadline=None, max_examples=40)
@given(games(), WORTH, WORTH, st.randoms(use_true_random=False))
def test_linearity_sums_of_games_give_sums_of_values(table: Tensor, a: float, b: float, random: object) -> None:
    other = table[torch.tensor(random.sample(range(len(table)), len(table)))]  # type: ignore[attr-defined]
    assert close(shapley_values(a * table + b * other), a * shapley_values(table) + b * shapley_values(other))


def test_a_game_worked_out_by_hand() -> None:
    """The glove game: players 0 and 1 have a left glove each, player 2 a right one, and a pair is worth 1."""
    table = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1], dtype=torch.float64)
    assert shapley_values(table).tolist() == pytest.approx([1 / 6, 1 / 6, 2 / 3], abs=1e-12)
    assert leave_one_out_values(table).tolist() == [0, 0, 1]


def test_in_an_additive_game_each_gets_its_own_either_way() -> None:
    own = torch.tensor([2.0, -1.0, 0.5])
    table = torch.stack([sum((own[i] for i in range(3) if mask >> i & 1), start=torch.zeros(())) for mask in range(8)])
    assert shapley_values(table) == pytest.approx(own)
    assert leave_one_out_values(table) == pytest.approx(own)


def test_games_stand_side_by_side_and_one_player_or_none_is_a_game_too() -> None:
    tables = torch.randn(3, 2, 16, generator=torch.Generator().manual_seed(0))
    assert shapley_values(tables).shape == leave_one_out_values(tables).shape == (3, 2, 4)
    assert torch.equal(shapley_values(tables)[1, 0], shapley_values(tables[1, 0]))
    assert shapley_values(torch.tensor([1.0, 4.0])).tolist() == [3.0]
    assert shapley_values(torch.tensor([1.0])).shape == leave_one_out_values(torch.tensor([1.0])).shape == (0,)


@pytest.mark.parametrize("wrong", [torch.zeros(3), torch.zeros(2, 0), torch.tensor(1.0)])
def test_other_tables_are_refused(wrong: Tensor) -> None:
    for rule in (shapley_values, leave_one_out_values):
        with pytest.raises(ValueError, match="2\\^A"):
            rule(wrong)
