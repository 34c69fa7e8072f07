"""Checks at the edges: nothing to compare, nothing said, one turn or hundreds, cut at every place, extreme numbers.

Everywhere a rule gives finite credit, and its loss a finite number with a finite gradient; in both layouts the same; in
float64 and in float32, in which the laboratory trains. A rule that compares within groups and does nothing else
(`zero_mean_in_group`) gives exactly zero where there is nothing to compare.
"""

from __future__ import annotations

import math

from cairn.errors import UserError
from cairn.interchange import RolloutRow, to_rollouts
from cairn.method import Method
from cairn.testing.asking import ContractError, ask_defined, ask_nothing, both_layouts, name_of, prepared
from cairn.testing.samples import Rows, cut, equalised, hush, of_length, scaled

MANY_TURNS = 200
EXTREMES = (1e6, 1e-6)  # factors on rewards of about 1


def check_group_of_one(method: Method, rows: Rows) -> None:
    """A rollout that is alone in its group gets a finite credit; zero, where credit is comparison only."""
    alone = [row.model_copy(update={"group": str(i)}) for i, row in enumerate(rows)]
    ask_nothing(method, ask_defined(method, alone, "groups of one"), "groups of one")
    ask_nothing(method, ask_defined(method, rows[:1], "a batch of one rollout"), "a batch of one rollout")


def check_equal_rewards(method: Method, rows: Rows) -> None:
    """Rewards that are all equal, which leave nothing to compare, give a finite credit; zero, as above."""
    for reward in (0.0, 0.1):
        case = f"rewards that are all {reward}"
        ask_nothing(method, ask_defined(method, [equalised(row, reward) for row in rows], case), case)


def check_extreme_rewards(method: Method, rows: Rows) -> None:
    """Rewards of a million and of a millionth, both float32 numbers without trouble, give finite credit."""
    for factor in EXTREMES:
        ask_defined(method, [scaled(row, factor) for row in rows], f"rewards times {factor:g}")
    mixed = [scaled(row, EXTREMES[i % 2]) for i, row in enumerate(rows)]
    ask_defined(method, mixed, "rewards of a million beside rewards of a millionth")


def check_rewards_not_finite(method: Method, rows: Rows) -> None:
    """A NaN or infinite reward is refused before the rule sees it, and no stage makes one out of finite rewards."""
    for bad in (math.nan, math.inf, -math.inf):
        turns = (rows[0].turns[0].model_copy(update={"reward": bad}), *rows[0].turns[1:])
        for row in (rows[0].model_copy(update={"reward": bad}), rows[0].model_copy(update={"turns": turns})):
            _ask_refused(method, [row, *rows[1:]], bad)
    for rollouts in both_layouts(rows):
        try:
            prepared(method, rollouts)
        except UserError as error:
            raise ContractError(
                f"{name_of(method)} makes a reward that is not finite out of finite ones: {error}"
            ) from error


def check_turns_without_tokens(method: Method, rows: Rows) -> None:
    """Turns without tokens, at any place, and a batch without any token give a finite credit."""
    for place in (0, -1):
        ask_defined(method, [hush(row, {place % len(row.turns)}) for row in rows], f"no token in turn {place}")
    ask_defined(method, [hush(rows[0], {*range(len(rows[0].turns))}), *rows[1:]], "a rollout without tokens")
    ask_defined(method, [hush(row, {*range(len(row.turns))}) for row in rows], "a batch without tokens")


def check_truncation(method: Method, rows: Rows) -> None:
    """Rollouts that were cut off get a finite credit: all of them, or every other one, after every number of tokens."""
    ask_defined(method, [row.model_copy(update={"truncated": True}) for row in rows], "truncated rollouts")
    for tokens in range(max(_tokens(row) for row in rows)):
        some = [cut(row, tokens) if i % 2 == 0 and tokens < _tokens(row) else row for i, row in enumerate(rows)]
        ask_defined(method, some, f"rollouts cut off after {tokens} tokens")


def check_turn_counts(method: Method, rows: Rows) -> None:
    """Rollouts of one turn, of very many, and of one beside very many give a finite credit."""
    few = rows[:4]
    ask_defined(method, [of_length(row, 1) for row in rows], "rollouts of one turn")
    ask_defined(method, [of_length(row, MANY_TURNS) for row in few], f"rollouts of {MANY_TURNS} turns")
    mixed = [of_length(row, MANY_TURNS if i % 2 else 1) for i, row in enumerate(few)]
    ask_defined(method, mixed, f"rollouts of one turn beside rollouts of {MANY_TURNS}")


def _tokens(row: RolloutRow) -> int:
    return sum(len(turn.tokens) for turn in row.turns)


def _ask_refused(method: Method, rows: Rows, bad: float) -> None:
    try:
        to_rollouts(rows)
    except UserError:
        return
    raise ContractError(f"{name_of(method)} would be given a reward of {bad}, which nobody refused.")
