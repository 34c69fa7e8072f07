"""What knobs move. The numbers follow by hand from a walk of six rooms with one fork."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from cairn.errors import UserError
from cairn.evidence.difficulty import DifficultyTable, KnobEffect, Level, difficulty_root, read_difficulties
from cairn.lab.difficulty import MEASURED, Scene, Tally, _recurring, measure, ratio
from cairn.lab.exact import occupancy
from cairn.lab.protocol import read_protocol
from cairn.lab.tasks import find
from cairn.lab.tasks.quest import Knobs, build
from cairn.lab.world import join

# Eight turns, of which two are slack: six rooms, one of them a fork, whose wrong exit is fatal; nothing slips.
PLAIN = Knobs(horizon=8, forks=1, place="late", loops=0.0, slip=0.0, fog=0.0, mix=0.0, veil=1.0, revisit=1.0)
ROOMS = 6
INSTANCES = 40


def found(name: str, **changes: Any) -> float:
    """Return a measure of the plain walk with some knobs turned."""
    worlds = [build(dataclasses.replace(PLAIN, **changes), seed) for seed in range(INSTANCES)]
    scene = Scene.of(join(worlds), find("quest").clean, group_size=4)
    return MEASURED[name](scene).level(0).estimate


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("best_success", {}, 1.0),
        ("guessing_success", {}, 0.5),  # one decision of two exits
        ("guessing_success", {"forks": 3}, 0.125),
        ("guessing_success", {"loops": 1.0}, 0.75),  # right, or wrong and back after two turns: 1/2 + 1/2 * 1/2
        ("forgetful_success", {}, 1.0),  # the sign is seen
        ("forgetful_success", {"fog": 1.0}, 0.5),  # it is not, and nothing is remembered
        ("decision_share", {}, 1 / ROOMS),
        ("decision_share", {"forks": 3}, 3 / ROOMS),
        ("error_cost", {}, 1.0),  # all is lost
        ("error_cost", {"loops": 1.0}, 0.0),  # the slack covers the way back
        ("turns_to_end", {}, 1.0),  # the last room
        ("turns_to_end", {"place": "early"}, float(ROOMS)),  # the first one
        ("recurring_share", {}, 1.0),  # all four meet every room, the fork being the last one
        ("recurring_share", {"revisit": 0.0}, 0.0),
        ("feedback_bits", {"veil": 0.0, "place": "early"}, 1.0),  # half are wrong, and the omen tells
    ],
)
def test_measures_of_a_walk_with_one_fork(name: str, changes: dict[str, Any], expected: float) -> None:
    assert found(name, **changes) == pytest.approx(expected, abs=1e-9)


def test_phrases_count_by_how_evenly_they_are_said() -> None:
    """Five passages and a fork, over as many instances with the one exit as with the other, were there many."""
    worlds = [build(PLAIN, seed) for seed in range(INSTANCES)]
    left = sum(world.options[p][0] == "go left ." and _is_right(world, p) for world in worlds for p in _forks(world))
    shares = [5 / 6, left / INSTANCES / 6, (1 - left / INSTANCES) / 6]
    assert found("effective_phrases") == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares)))


def _forks(world: Any) -> list[int]:
    return sorted({int(world.state_prompt[s]) for s in np.flatnonzero(world.bifurcations)})


def _is_right(world: Any, prompt: int) -> bool:
    """Whether the first exit at a fork leads to the end that pays, read off the transition table."""
    state = next(s for s in np.flatnonzero(world.bifurcations) if world.state_prompt[s] == prompt)
    return bool(world.payoffs[world.successors[state, 0, 0]] == 1)


def test_a_word_that_tells_nothing_has_no_bits_and_a_noisy_one_has_some() -> None:
    """The bits of a word, by hand.

    Two forks, one veiled: of the decisions met, `omen bad` is shown in those wrong and unveiled. The first fork is met
    once, the second once if the first was right (a lost walk has no decisions left). So 2/3 of the decisions are first
    forks, and every one is wrong with 1/2; the share told is t, over instances a number between 1/3 and 2/3. Then
    wrong and told t/2, wrong and untold (1 - t)/2, right and untold 1/2:
    I = H(1/2) - (1 - t/2) * H((1 - t) / (2 - t)).
    """
    worlds = [build(dataclasses.replace(PLAIN, forks=2, veil=0.5, place="early"), seed) for seed in range(INSTANCES)]
    first = sum("omen" in world.observations[world.state_observation[_after_first(world)]] for world in worlds)
    told = (first * 2 / 3 + (INSTANCES - first) / 3) / INSTANCES
    odds = (1 - told) / (2 - told)
    entropy = -odds * math.log2(odds) - (1 - odds) * math.log2(1 - odds)
    assert found("feedback_bits", forks=2, veil=0.5, place="early") == pytest.approx(
        1 - (1 - told / 2) * entropy, abs=1e-9
    )


def _after_first(world: Any) -> int:
    """The state behind the first exit of the first fork that is met."""
    state = int(world.start)
    while not world.bifurcations[state]:
        state = int(world.successors[state, 0, 0])
    return int(world.successors[state, 0, 0])


def test_occupancy_is_one_walker_until_the_ends() -> None:
    worlds = join([build(PLAIN, seed) for seed in range(3)])
    met = occupancy(worlds, Scene.of(worlds, find("quest").clean, 4).skilled)
    assert met.sum(1).tolist() == [3.0] * ROOMS + [0.0] * 2  # three walkers, a turn for each room


def test_intervals_are_over_instances() -> None:
    alike, apart = np.array([[0.5, 1.0]] * 9), np.array([[0.0, 1.0], [1.0, 1.0]] * 32)
    assert (Tally(alike, ratio).level(1).low, Tally(alike, ratio).level(1).high) == (0.5, 0.5)
    wide = Tally(apart, ratio).level(1)
    assert wide.estimate == 0.5
    # Binomial: 1.96 * 0.5 / sqrt(64) = 0.1225
    assert wide.low == pytest.approx(0.3775, abs=0.02)
    assert wide.high == pytest.approx(0.6225, abs=0.02)


def _effect(direction: str, *estimates: float, spread: float = 0.01) -> KnobEffect:
    levels = [Level(value=i, estimate=e, low=e - spread, high=e + spread) for i, e in enumerate(estimates)]
    return KnobEffect.model_validate(
        {"knob": "fog", "measure": "best_success", "direction": direction, "levels": tuple(levels)}
    )


def test_a_knob_moves_where_it_said_step_by_step_and_by_more_than_the_interval() -> None:
    assert _effect("down", 0.9, 0.5, 0.1).moves
    assert not _effect("up", 0.9, 0.5, 0.1).moves
    assert not _effect("down", 0.9, 0.95, 0.1).moves
    assert not _effect("down", 0.9, 0.5, 0.1, spread=0.4).moves
    assert _effect("up", 0.1, 0.2).moves


def test_a_task_that_declares_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="no knob of this task says what it moves"):
        measure(read_protocol(), "cpu", "lake", lambda: None)


def test_a_file_in_the_wrong_place_is_refused(tmp_path: Any) -> None:
    table = next(iter(TABLES.values()))
    (tmp_path / "lake.json").write_text(table.model_dump_json())
    with pytest.raises(UserError, match="does not belong here"):
        read_difficulties(tmp_path)
    (tmp_path / "lake.json").write_text("{}")
    with pytest.raises(UserError, match="cairn difficulty lake"):
        read_difficulties(tmp_path)


TABLES = read_difficulties(difficulty_root())


@pytest.mark.parametrize("task", TABLES)
def test_the_committed_table_is_what_todays_code_finds(task: str) -> None:
    kept = TABLES[task]
    now = measure(read_protocol(), kept.preset, task, lambda: None)
    assert kept.provenance.dirty is False
    assert (now.provenance.protocol_hash, now.provenance.panel_hash) == (
        kept.provenance.protocol_hash,
        kept.provenance.panel_hash,
    )
    assert _figures(now) == pytest.approx(_figures(kept), abs=1e-9)


def _figures(table: DifficultyTable) -> dict[str, float]:
    return {
        f"{effect.knob}={level.value} {name}": getattr(level, name)
        for effect in table.effects
        for level in effect.levels
        for name in ("estimate", "low", "high")
    }


def test_every_knob_of_quest_moves_what_it_is_named_after() -> None:
    effects = {effect.knob: effect.moves for effect in TABLES["quest"].effects}
    assert effects == dict.fromkeys((field.name for field in dataclasses.fields(Knobs)), True)


def test_a_turn_recurs_if_its_observation_does_and_carries_no_stamp() -> None:
    assert _recurring(np.array([3, 3, 5, -1, -1])) == (2.0, 5.0)
