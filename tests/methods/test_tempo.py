"""TEMPO: what the tree of shared prefixes adds to GRPO, and where it adds nothing.

The expected numbers come from the definition, written as a loop over tokens and siblings.
"""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, RolloutRow, to_rollouts
from cairn.methods.grpo import GRPO
from cairn.methods.tempo import TEMPO, prefix_nodes
from cairn.rollouts import Rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _row(group: str, reward: float, *turns: str) -> RolloutRow:
    """One rollout; a turn is a string of one-letter tokens. The first text of all, `a`, has the number of padding."""
    return RolloutRow.model_validate(
        {"group": group, "reward": reward, "turns": [{"tokens": list(turn), "observation": "a"} for turn in turns]}
    )


def _random_rows(seed: int) -> list[RolloutRow]:
    """Responses of 1 to 7 tokens out of two, in three groups, cut into turns at random: many prefixes are shared."""
    rng = random.Random(seed)
    rows = []
    for group in "xxxxxxxxyyyyyz":
        text = "".join(rng.choices("ab", k=rng.randint(1, 7)))
        place = rng.randint(0, len(text))
        rows.append(_row(group, rng.choice((0.0, 1.0, 0.5)), *filter(None, (text[:place], text[place:]))))
    return rows


def _text(row: RolloutRow) -> str:
    return "".join(token for turn in row.turns for token in turn.tokens)


def _by_token(rollouts: Rollouts, advantages: Tensor) -> list[list[float]]:
    index = rollouts.action_index()
    return [row[mask].tolist() for row, mask in zip(index.pack(advantages), index.mask, strict=True)]


def _credit(rows: list[RolloutRow], method: GRPO | TEMPO, layout: Layout = "turn") -> list[list[float]]:
    rollouts = to_rollouts(rows, layout)
    return _by_token(rollouts, method.credit(rollouts).advantages)


def _siblings(rows: list[RolloutRow], i: int, length: int) -> list[int]:
    """Return who, of the group of i, begins with the first `length` tokens of i."""
    prefix = _text(rows[i])[:length]
    return [k for k, row in enumerate(rows) if row.group == rows[i].group and _text(row).startswith(prefix)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(5))
def test_each_token_gets_what_the_definition_says(layout: Layout, seed: int) -> None:
    rows = _random_rows(seed)

    def value(i: int, length: int) -> float:
        among = _siblings(rows, i, length)
        return sum(rows[k].reward for k in among) / len(among)

    for i, credits_ in enumerate(_credit(rows, TEMPO(scale_by_std=False), layout)):
        plain = rows[i].reward - value(i, 0)
        assert credits_ == pytest.approx([plain + value(i, t + 1) - value(i, t) for t in range(len(credits_))])


@pytest.mark.parametrize("seed", range(5))
def test_where_nobody_leaves_the_prefix_it_is_grpo_bit_for_bit(seed: int) -> None:
    rows = _random_rows(seed)
    compared, apart = 0, 0
    for i, (tree, plain) in enumerate(zip(_credit(rows, TEMPO()), _credit(rows, GRPO()), strict=True)):
        for t, (with_tree, without) in enumerate(zip(tree, plain, strict=True)):
            stayed = _siblings(rows, i, t) == _siblings(rows, i, t + 1)
            compared += stayed
            apart += with_tree != without
            assert with_tree == without or not stayed
    assert compared > 10
    assert apart > 10


def test_where_no_prefix_is_shared_the_first_token_counts_twice() -> None:
    rows = [_row("g", 1, "aba"), _row("g", 0, "baa"), _row("g", 0, "cab")]
    for tree, plain in zip(_credit(rows, TEMPO()), _credit(rows, GRPO()), strict=True):
        assert tree[0] == pytest.approx(2 * plain[0])
        assert tree[1:] == plain[1:]


def test_responses_that_are_all_the_same_make_it_grpo() -> None:
    rows = [_row("g", reward, "ab", "a") for reward in (1, 0, 0)]
    assert _credit(rows, TEMPO()) == _credit(rows, GRPO())


@pytest.mark.parametrize("seed", range(5))
def test_the_differences_of_a_response_sum_to_the_outcome_of_those_who_gave_it(seed: int) -> None:
    rows = _random_rows(seed)
    outcomes = [credits_[0] for credits_ in _credit(rows, GRPO())]
    for i, differences in enumerate(_credit(rows, TEMPO(outcome=False))):
        same = [k for k, row in enumerate(rows) if (row.group, _text(row)) == (rows[i].group, _text(rows[i]))]
        longer = _siblings(rows, i, len(_text(rows[i])))
        if same == longer:
            assert sum(differences) == pytest.approx(sum(outcomes[k] for k in same) / len(same))


@pytest.mark.parametrize("seed", range(5))
def test_at_each_node_the_differences_of_those_who_go_on_sum_to_what_the_others_lacked(seed: int) -> None:
    """To zero, where nobody ends in the node."""
    rows = _random_rows(seed)
    differences = _credit(rows, TEMPO(outcome=False, scale_by_std=False))
    for i, row in enumerate(rows):
        for t in range(len(_text(row))):
            here = _siblings(rows, i, t)
            on = [k for k in here if len(_text(rows[k])) > t]
            mean = sum(rows[k].reward for k in here) / len(here)
            lacked = sum(mean - rows[k].reward for k in here if k not in on)
            assert sum(differences[k][t] for k in on) == pytest.approx(lacked, abs=1e-12)


def test_equal_tokens_in_another_group_are_another_tree() -> None:
    rows = [_row("g", 1, "ab"), _row("g", 0, "ac"), _row("h", 0, "ab"), _row("h", 1, "ac")]
    assert _credit(rows, TEMPO(outcome=False, scale_by_std=False)) == [[0, 0.5], [0, -0.5], [0, -0.5], [0, 0.5]]


def test_an_ended_response_counts_in_the_value_of_its_prefix() -> None:
    # V(a) = 1/2, V(a b) = 0: the token that went on lost 1/2
    assert _credit([_row("g", 1, "a"), _row("g", 0, "ab")], TEMPO(outcome=False, scale_by_std=False)) == [
        [0],
        [0, -0.5],
    ]


def test_turns_and_observations_make_no_difference() -> None:
    # `b` is said in the second turn of one response and in the first of the other, and is the same step of the tree.
    whole, parts = [[_row("g", 1, *first), _row("g", 0, "abd"), _row("g", 0, "e")] for first in (("abc",), ("a", "bc"))]
    assert _credit(whole, TEMPO()) == _credit(parts, TEMPO())


def test_nothing_to_compare_gives_exactly_nothing() -> None:
    alone, equal = [_row("g", 1, "ab")], [_row("g", 0.1, text) for text in ("ab", "ac", "ac", "b", "ba", "c", "ca")]
    assert all(credit == 0 for rows in (alone, equal) for credits_ in _credit(rows, TEMPO()) for credit in credits_)


def test_nodes_of_one_column_are_shared_with_no_other() -> None:
    rollouts = to_rollouts(_random_rows(1))
    index = rollouts.action_index()
    nodes = prefix_nodes(rollouts.group_ids, index.pack(rollouts.token_ids), index.mask)
    seen = [set(column.tolist()) for column in nodes.T]
    assert sum(map(len, seen)) == len(torch.unique(nodes))
