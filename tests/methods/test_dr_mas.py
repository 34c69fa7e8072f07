"""Statistics by agent: what they sum to, and where they are those of the task."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from cairn.interchange import Layout, RolloutRow, to_rollouts, turn_credit
from cairn.methods.dr_mas import DrMAS
from cairn.methods.grpo import GRPO
from cairn.ops.groups import pair_groups

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _each_acts(times: int) -> list[RolloutRow]:
    """Rollouts of two tasks in which each of three agents acts that often."""
    turns = [{"agent": agent, "tokens": ["say", "it"]} for _ in range(times) for agent in ("one", "two", "three")]
    rewards = {"a": (1.0, 0.0, 0.25, 0.0), "b": (3.0, -1.0), "c": (2.0, 2.0, 2.0)}
    rows = [{"group": group, "reward": reward, "turns": turns} for group, all_ in rewards.items() for reward in all_]
    return [RolloutRow.model_validate(row) for row in rows]


def _unequal(seed: int) -> list[RolloutRow]:
    """Rollouts in which agents act from never to four times; in task `c` one of them has a single turn."""
    rng = random.Random(seed)

    def row(group: str) -> dict[str, Any]:
        agents = rng.choices(("one", "two", "three"), k=rng.randint(1, 4))
        return {
            "group": group,
            "reward": rng.random(),
            "turns": [{"agent": agent, "tokens": ["t"]} for agent in agents],
        }

    alone = {"group": "c", "reward": 0.7, "turns": [{"agent": "one", "tokens": ["t"]}]}
    return [RolloutRow.model_validate(one) for one in [*(row(group) for group in "aaaaabbb"), alone]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_each_agent_acts_once_it_is_grpo(layout: Layout) -> None:
    rollouts = to_rollouts(_each_acts(1), layout)
    plain = GRPO().credit(rollouts).advantages
    torch.testing.assert_close(DrMAS(population_std=False).credit(rollouts).advantages, plain, rtol=0, atol=1e-12)


def test_where_agents_act_equally_often_it_is_grpo_but_for_the_count_in_the_deviation() -> None:
    rows, n, times = _each_acts(3), 4, 3
    plain = turn_credit(GRPO(epsilon=1e-12), rows)
    for method, factor in (
        (DrMAS(epsilon=1e-12), (n / (n - 1)) ** 0.5),
        (DrMAS(epsilon=1e-12, population_std=False), ((n * times - 1) / (times * (n - 1))) ** 0.5),
    ):
        for ours, theirs in zip(turn_credit(method, rows)[:n], plain[:n], strict=True):
            assert ours == pytest.approx([credit * factor for credit in theirs if credit is not None])


@pytest.mark.parametrize("statistics", ["agent", "agent_mean"])
def test_the_turns_of_an_agent_sum_to_zero_and_have_the_size_one(statistics: str) -> None:
    rollouts = to_rollouts(_unequal(3))
    method = DrMAS(statistics=statistics, epsilon=1e-12)  # type: ignore[arg-type]
    turns = rollouts.mean_over_turns(method.credit(rollouts).advantages)
    labels = pair_groups(rollouts.group_ids, rollouts.require("agent_ids"))
    for label in labels[rollouts.turn_mask].unique():
        mine = turns[rollouts.turn_mask & (labels == label)]
        assert float(mine.sum()) == pytest.approx(0.0, abs=1e-9)
        if statistics == "agent":
            assert float(mine.square().mean()) == pytest.approx(float(len(mine) > 1))


def test_the_code_of_the_authors_on_a_random_batch() -> None:
    """Told a second time, row by row: the group is (task, agent), a single row has mean 0 and deviation 1."""
    rows = _unequal(5)
    scores: dict[tuple[str, str | None], list[float]] = {}
    for row in rows:
        for turn in row.turns:
            scores.setdefault((row.group, turn.agent), []).append(row.reward)
    assert any(len(all_) == 1 for all_ in scores.values())
    got = turn_credit(DrMAS(population_std=False, single_turn="raw"), rows)
    for row, credits_ in zip(rows, got, strict=True):
        for turn, credit in zip(row.turns, credits_, strict=True):
            all_ = scores[row.group, turn.agent]
            mean, std = (np.mean(all_), np.std(all_, ddof=1)) if len(all_) > 1 else (0.0, 1.0)
            assert credit is None or credit == pytest.approx((row.reward - mean) / (std + 1e-6), abs=1e-9)


def test_an_agent_that_acts_in_successes_alone_gets_nothing_where_grpo_gives_much() -> None:
    """The lemma's case: its mean lies far from the task's, and only the task's statistics leave a rest."""
    late = {"agent": "late", "tokens": ["go"]}
    rows = [{"group": "g", "reward": 1.0, "turns": [{"agent": "early", "tokens": ["go"]}, late, late]}]
    rows += [{"group": "g", "reward": 0.0, "turns": [{"agent": "early", "tokens": ["go"]}]}] * 7
    parsed = [RolloutRow.model_validate(row) for row in rows]
    assert turn_credit(DrMAS(), parsed)[0][1:] == [0.0, 0.0]
    assert turn_credit(GRPO(), parsed)[0][1] == pytest.approx(7 / 8 / 8**-0.5, abs=1e-4)
