"""Batches that show what the checks ask about, and rollouts changed in one way."""

from __future__ import annotations

import random
from collections.abc import Sequence

from cairn.evidence.rollout_format import TOKEN_FIELDS, RolloutRow, TurnRow

Rows = Sequence[RolloutRow]


def sample_rollouts(seed: int = 0) -> list[RolloutRow]:
    """Return a batch that gives every optional field.

    Four groups: mixed rewards, equal rewards, turn rewards, a group of one. Observations recur within and across
    groups, some rollouts are truncated, some turns have no token, and every rollout has a token in its last turn.
    """
    rng = random.Random(seed)
    rewards = {"mixed": (1.0, 0.0, 0.5, 0.0), "equal": (1.0, 1.0, 1.0), "turns": (0.0, 1.0, 0.25), "alone": (1.0,)}
    return [_sample_rollout(rng, group, reward) for group, all_ in rewards.items() for reward in all_]


def _sample_rollout(rng: random.Random, group: str, reward: float) -> RolloutRow:
    count = rng.randint(2, 5)
    turns = [_sample_turn(rng, rng.choice((0, 1, 2, 3)) if k < count - 1 else 2, group) for k in range(count)]
    return RolloutRow(group=group, reward=reward, truncated=rng.random() < 0.3, turns=tuple(turns))


def _sample_turn(rng: random.Random, n: int, group: str) -> TurnRow:
    return TurnRow(
        observation=rng.choice(("hall", "door", "key")),
        tokens=tuple(rng.choices(("go", "left", "take", "wait"), k=n)),
        reward=rng.choice((0.0, 0.5, -0.25)) if group == "turns" else 0.0,
        logprobs=tuple(-rng.expovariate(1.0) for _ in range(n)),
        reference_logprobs=tuple(-rng.expovariate(1.0) for _ in range(n)),
        entropies=tuple(rng.uniform(0.1, 2.0) for _ in range(n)),
        values=tuple(rng.random() for _ in range(n)),
        value=rng.random(),
        agent=rng.choice(("planner", "worker")),
    )


def equalised(row: RolloutRow, reward: float) -> RolloutRow:
    """Return the rollout with this return, paid at the end."""
    turns = tuple(turn.model_copy(update={"reward": 0.0}) for turn in row.turns)
    return row.model_copy(update={"reward": reward, "turns": turns})


def hush(row: RolloutRow, places: set[int]) -> RolloutRow:
    """Return the rollout with no token in the turns at `places`."""
    silent = {"tokens": (), "logprobs": None, "reference_logprobs": None, "entropies": None, "values": None}
    turns = tuple(turn.model_copy(update=silent) if k in places else turn for k, turn in enumerate(row.turns))
    return row.model_copy(update={"turns": turns})


def cut(row: RolloutRow, tokens: int) -> RolloutRow:
    """Return the rollout as it would be had a limit cut it off after so many tokens."""
    turns: list[TurnRow] = []
    for turn in row.turns:
        kept = min(len(turn.tokens), tokens)
        lists = {name: getattr(turn, name) for name in ("tokens", *TOKEN_FIELDS)}
        turns.append(turn.model_copy(update={name: given and given[:kept] for name, given in lists.items()}))
        tokens -= len(turn.tokens)
        if tokens <= 0:
            break
    return row.model_copy(update={"turns": tuple(turns), "truncated": True})


def of_length(row: RolloutRow, turns: int) -> RolloutRow:
    """Return the rollout with that many turns: its last ones, or all of them over and over."""
    return row.model_copy(update={"turns": (row.turns[::-1] * turns)[:turns][::-1]})


def scaled(row: RolloutRow, factor: float) -> RolloutRow:
    """Return the rollout with all rewards times `factor`."""
    turns = tuple(turn.model_copy(update={"reward": turn.reward * factor}) for turn in row.turns)
    return row.model_copy(update={"reward": row.reward * factor, "turns": turns})
