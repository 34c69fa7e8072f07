"""The world's tables and texts, and what each knob turns."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from tests.lab import retold
from tests.lab.conftest import corridor

from cairn.errors import UserError
from cairn.lab.collate import observation_keys
from cairn.lab.episodes import play
from cairn.lab.exact import solve
from cairn.lab.model import LanguageModel
from cairn.lab.policy import PolicyReader
from cairn.lab.protocol import build_panel, panel_digest
from cairn.lab.tasks import quest
from cairn.lab.tasks.quest import Knobs
from cairn.lab.world import World, join

VARIED = [
    Knobs(),
    Knobs(horizon=8, forks=1, fog=0.0),
    Knobs(horizon=60, forks=12, fog=1.0, loops=1.0, veil=0.0),
    Knobs(horizon=200, forks=30, slip=0.5, mix=1.0, revisit=0.0),
    Knobs(place="late", slip=1.0, veil=0.5),
]


def _plan(knobs: Knobs, seed: int = 0) -> quest.Plan:
    return quest.draw_plan(knobs, np.random.default_rng(seed))


def _roles(plan: quest.Plan) -> list[str]:
    return [room.role for room in plan.rooms]


@pytest.mark.parametrize("knobs", VARIED, ids=range(len(VARIED)))
def test_tables_are_a_decision_process(knobs: Knobs) -> None:
    world = quest.build(knobs, 3)
    states, width, _ = world.successors.shape
    np.testing.assert_allclose(world.probabilities.sum(-1), 1, atol=1e-12)
    assert world.probabilities.min() >= 0
    assert world.successors.min() >= 0
    assert world.successors.max() < states
    ends = np.flatnonzero(world.terminal)
    lost = np.where(world.successors[ends] == ends[:, None, None], 0, world.probabilities[ends])
    assert ends.size > 0
    assert lost.max() == 0, "a terminal state leads to itself"
    assert set(world.payoffs[ends]) == ({1.0} if knobs.loops == 1.0 else {0.0, 1.0}), "a loop dooms nobody"
    assert np.all(world.payoffs[~world.terminal] == 0)
    assert width == 1 + max(len(options) for options in world.options)


@pytest.mark.parametrize("knobs", VARIED, ids=range(len(VARIED)))
def test_the_last_option_stays_and_unused_ones_equal_it(knobs: Knobs) -> None:
    still = quest.build(dataclasses.replace(knobs, slip=0.0), 3)
    for state in range(still.n_states):
        used = len(still.options[still.state_prompt[state]])
        for option in range(used, still.successors.shape[1]):
            assert _reached(still, state, option) == {state: 1.0}
    slippery = quest.build(dataclasses.replace(knobs, slip=0.25), 3)
    for state in range(slippery.n_states):
        used = len(slippery.options[slippery.state_prompt[state]])
        ways = {str(_reached(slippery, state, option)) for option in range(used, slippery.successors.shape[1])}
        assert len(ways) == 1


def _reached(world: World, state: int, option: int) -> dict[int, float]:
    chances: dict[int, float] = {}
    for follower, chance in zip(world.successors[state, option], world.probabilities[state, option], strict=True):
        chances[int(follower)] = chances.get(int(follower), 0.0) + float(chance)
    return {follower: round(chance, 12) for follower, chance in sorted(chances.items()) if chance}


@pytest.mark.parametrize("knobs", VARIED, ids=range(len(VARIED)))
def test_every_walk_reads_what_the_retelling_says(knobs: Knobs, rng: np.random.Generator) -> None:
    """Golden: the independent retelling of the rules. Same prompt, same options, same outcomes with their chances."""
    plan, world = _plan(knobs, 3), quest.build(knobs, 3)
    for _ in range(20):
        at, state = retold.Where(), world.start
        for _ in range(knobs.horizon):
            prompt = world.state_prompt[state]
            assert world.prompts[prompt] == retold.prompt(plan, at)
            assert list(world.options[prompt]) == retold.phrases(plan, at)
            assert bool(world.terminal[state]) == retold.over(plan, at)
            if retold.over(plan, at):
                assert world.payoffs[state] == float(not at.doomed)
                break
            choices = [*retold.phrases(plan, at), None]
            option = int(rng.integers(len(choices)))
            told: dict[str, float] = {}
            for chance, follower in retold.outcomes(plan, at, choices[option], knobs.slip):
                told[retold.prompt(plan, follower)] = told.get(retold.prompt(plan, follower), 0.0) + chance
            option = option if choices[option] else world.successors.shape[1] - 1
            found: dict[str, float] = {}
            for follower_state, chance in _reached(world, state, option).items():
                text = world.prompts[world.state_prompt[follower_state]]
                found[text] = found.get(text, 0.0) + chance
            assert found == pytest.approx({text: chance for text, chance in told.items() if chance})
            at = retold.after(plan, at, choices[option] if option < len(choices) - 1 else None)
            state = int(world.successors[state, option, option]) if option < len(choices) - 1 else state


@pytest.mark.parametrize("knobs", VARIED, ids=range(len(VARIED)))
def test_one_prompt_means_one_set_of_options(knobs: Knobs) -> None:
    plan = _plan(knobs, 4)
    _, moves = quest._unroll(plan)
    options: dict[str, set[tuple[str, ...]]] = {}
    for state, phrases in moves.items():
        options.setdefault(quest._prompt(plan, state), set()).add(tuple(phrases))
    assert all(len(found) == 1 for found in options.values())


def test_the_tokenizer_knows_every_word_of_every_instance(model: LanguageModel) -> None:
    unknown = model.tokenizer.convert_tokens_to_ids("<unk>")
    for knobs in VARIED:
        world = quest.build(knobs, 5)
        texts = [world.header, *world.prompts, *world.observations, *(p for options in world.options for p in options)]
        assert all(unknown not in ids for ids in model.tokenizer(texts, add_special_tokens=False)["input_ids"])


def test_forks_stand_where_the_knob_says() -> None:
    early, spread, late = (_roles(_plan(Knobs(place=place, fog=0.0))) for place in ("early", "spread", "late"))
    # Eighteen faultless turns, six forks, no notes: twelve routine rooms.
    assert [r == "fork" for r in early] == [True] * 6 + [False] * 12
    assert [r == "fork" for r in late] == [False] * 12 + [True] * 6
    places = [i for i, r in enumerate(spread) if r == "fork"]
    assert len(places) == 6
    assert max(b - a for a, b in itertools.pairwise(places)) <= 3
    assert places[0] >= 1
    assert places[-1] <= 16


@pytest.mark.parametrize("place", ["early", "spread", "late"])
@pytest.mark.parametrize("seed", range(5))
def test_a_note_hangs_before_the_fork_that_precedes_its_own(place: Any, seed: int) -> None:
    plan = _plan(Knobs(place=place, fog=1.0, horizon=32), seed)
    standing = {room.fork: i for i, room in enumerate(plan.rooms) if room.role == "fork"}
    hanging = {room.fork: i for i, room in enumerate(plan.rooms) if room.role == "note"}
    assert set(hanging) == set(standing) == set(range(6))
    for fork, place_of_note in hanging.items():
        assert place_of_note < standing[max(fork - 1, 0)]


def test_a_faultless_walk_takes_the_stated_turns_and_succeeds() -> None:
    for knobs in VARIED:
        knobs = dataclasses.replace(knobs, slip=0.0)  # noqa: PLW2901 - the same knobs without slips
        plan, at, turns = _plan(knobs, 6), retold.Where(), 0
        while not retold.over(plan, at):
            phrases = retold.phrases(plan, at)
            right = plan.forks[plan.rooms[at.room].fork].right_exit if phrases[0] == "go left ." else 0
            at, turns = retold.after(plan, at, phrases[right]), turns + 1
        assert not at.doomed
        assert turns == knobs.shortest == knobs.horizon - max(2, knobs.horizon // 4)


def test_horizon_is_the_turn_limit() -> None:
    assert [quest.build(Knobs(horizon=h), 0).horizon for h in (24, 40)] == [24, 40]
    assert len(_plan(Knobs(horizon=40)).rooms) > len(_plan(Knobs(horizon=24)).rooms)


def test_forks_is_the_number_of_decisions() -> None:
    for forks in (1, 4, 9):
        plan = _plan(Knobs(horizon=48, forks=forks))
        assert len(plan.forks) == _roles(plan).count("fork") == forks
    assert {fork.kind for fork in _plan(Knobs()).forks} == set(quest.KINDS), "six forks ask for six skills"


def test_slip_makes_the_world_stochastic() -> None:
    certain = quest.build(Knobs(slip=0.0), 0)
    assert set(np.unique(certain.probabilities)) == {0.0, 1.0}
    world = quest.build(Knobs(slip=0.3), 0)
    state = next(s for s in range(world.n_states) if len(world.options[world.state_prompt[s]]) == 2)
    # By hand: 0.7 for the phrase, and 0.3 spread evenly over two phrases and staying.
    assert sorted(world.probabilities[state, 0]) == pytest.approx([0.1, 0.1, 0.8])


@pytest.mark.parametrize(("fog", "hidden"), [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_fog_hides_signs_and_hangs_notes(fog: float, hidden: int) -> None:
    plan = _plan(Knobs(fog=fog, horizon=32))
    world = quest.build(Knobs(fog=fog, horizon=32), 0)
    assert sum(fork.fogged for fork in plan.forks) == _roles(plan).count("note") == hidden
    shown = {o.split("room ")[1].split()[0] for o in world.observations if "sign hidden" in o}
    assert len(shown) == hidden


@pytest.mark.parametrize(("mix", "special"), [(0.0, 0), (0.5, 3), (1.0, 6)])
def test_mix_asks_for_other_kinds_of_action(mix: float, special: int) -> None:
    roles = _roles(_plan(Knobs(mix=mix)))  # six routine rooms
    assert sum(role in quest.ROUTINES for role in roles) == special
    assert roles.count("passage") == 6 - special


@pytest.mark.parametrize(("veil", "told"), [(1.0, 0), (0.5, 3), (0.0, 6)])
def test_veil_keeps_the_omens_back(veil: float, told: int) -> None:
    plan, world = _plan(Knobs(veil=veil)), quest.build(Knobs(veil=veil), 0)
    assert sum(not fork.veiled for fork in plan.forks) == told
    assert any("omen good" in o for o in world.observations) == (told > 0)
    assert any("omen bad" in o for o in world.observations) == (told > 0)


@pytest.mark.parametrize(("loops", "count"), [(0.0, 0), (0.34, 2), (1.0, 6)])
def test_loops_lead_back_instead_of_dooming(loops: float, count: int) -> None:
    plan, world = _plan(Knobs(loops=loops)), quest.build(Knobs(loops=loops), 0)
    assert sum(fork.loop for fork in plan.forks) == count
    assert any("room alley" in o for o in world.observations) == (count > 0)
    assert (set(world.payoffs[world.terminal]) == {1.0}) == (count == 6), "nothing is fatal where every fork loops"


@pytest.mark.parametrize(("revisit", "least", "most"), [(1.0, 0.0, 0.0), (0.5, 0.45, 0.55), (0.0, 1.0, 1.0)])
def test_revisit_is_the_share_of_observations_without_a_stamp(
    model: LanguageModel, revisit: float, least: float, most: float, rng: np.random.Generator
) -> None:
    table = PolicyReader(model.tokenizer).read(model, join([quest.build(Knobs(revisit=revisit), 0)]))
    world = np.zeros(200, dtype=np.int64)
    episodes = play(table, table.worlds.starts[world], world, world, rng)
    keys = observation_keys(table.worlds, episodes)[episodes.alive]
    assert least <= (keys < 0).mean() <= most
    own = keys[keys < 0]
    assert np.unique(own).size == own.size, "a stamp is like no other"
    assert np.unique(keys[keys >= 0]).size < max((keys >= 0).sum(), 1)


def test_bifurcations_are_the_forks_that_can_still_matter() -> None:
    plan, world = _plan(Knobs()), quest.build(Knobs(), 0)
    texts = [world.observations[o] for o in world.state_observation[world.bifurcations]]
    assert all(" fork " in text and "alley" not in text for text in texts)
    assert {text.split()[1] for text in texts} == {room.name for room in plan.rooms if room.role == "fork"}


@pytest.mark.parametrize(
    "values",
    [
        {"slip": 1.1},
        {"slip": -0.1},
        {"fog": float("nan")},
        {"veil": 2},
        {"revisit": -1},
        {"mix": 7},
        {"loops": 1.5},
        {"horizon": 7},
        {"horizon": 201},
        {"horizon": 12.7},
        {"forks": 0},
        {"forks": 20},
        {"horizon": 8},
        {"place": "middle"},
        {"speed": 1},
        {"horizon": "long"},
        {"slip": "often"},
        {"forks": True},
    ],
    ids=str,
)
def test_bad_knobs_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"Repair: "):
        quest.TASK.make_knobs(values)


def test_instances_stay_what_they_are() -> None:
    """Golden: the default panel as it was when the protocol was fixed. Records name this hash.

    If it moves, the instances have changed: every result made before is about other worlds, and the protocol needs a
    new version and a rerun. It says nothing about right or wrong.
    """
    assert panel_digest(build_panel("quest", Knobs(), (1000, 2), (0, 2))) == PANEL


PANEL = "c1fb0be7817b6b7c8274753fab9a2a46ceff3896a3289666ac4adfe6806ca8e7"


@pytest.mark.parametrize("field", ["state_observation", "payoffs", "probabilities", "successors", "bifurcations"])
def test_the_hash_sees_every_table(field: str) -> None:
    panel = build_panel("quest", Knobs(), (1000, 1), (0, 1))
    world = panel.train[0]
    table = getattr(world, field).copy()
    table.flat[0] = 1 - table.flat[0]
    changed = dataclasses.replace(panel, train=(dataclasses.replace(world, **{field: table}),))
    assert panel_digest(changed) != panel_digest(panel)


def test_joining_worlds_keeps_each_as_it_was(model: LanguageModel) -> None:
    """The first world is narrower than the second: its tables are widened, and nothing else may change."""
    worlds = [corridor(), quest.build(Knobs(), 0)]
    reader = PolicyReader(model.tokenizer)
    alone = [solve(reader.read(model, join([world]))).values for world in worlds]
    joined = reader.read(model, join(worlds))
    together, batch = solve(joined).values, joined.worlds
    for number, world in enumerate(worlds):
        here = slice(int(batch.offsets[number]), int(batch.offsets[number]) + world.n_states)
        np.testing.assert_allclose(together[:, here], alone[number], atol=1e-7)
        assert batch.starts[number] == batch.offsets[number] + world.start
    np.testing.assert_allclose(batch.probabilities.sum(-1), 1)
    assert not set(batch.prompt[: worlds[0].n_states]) & set(batch.prompt[worlds[0].n_states :])
