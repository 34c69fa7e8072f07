"""`textworld` against TextWorld's own environment, which is stepped beside it; and what is told without the package."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

from cairn.errors import UserError
from cairn.lab.tasks import textworld
from cairn.lab.tasks.textworld import Guide, Knobs, build, commands_left, make_game

IDLE = ("examine ", "look", "inventory")
GAMES = [(Knobs(), 0), (Knobs(), 3), (Knobs(rooms=3, objects=3, quest=4, horizon=12), 1), (textworld.TASK.tiny, 2)]


@pytest.fixture
def _package() -> None:
    """Skip where TextWorld is not installed."""
    pytest.importorskip("textworld")


def _environment(game: Any) -> Any:
    """TextWorld's environment of a game that was not compiled."""
    environment = importlib.import_module("textworld.envs.tw").TextWorldEnv()
    environment._game = game
    environment._inform7 = importlib.import_module("textworld.generator.inform7").Inform7Game(game)
    return environment


def _commands(state: Any) -> set[str]:
    return {f"{one} ." for one in state["admissible_commands"] if not one.startswith(IDLE)}


@pytest.mark.usefixtures("_package")
@pytest.mark.slow
@pytest.mark.parametrize(("knobs", "seed"), GAMES, ids=str)
def test_walks_are_those_of_textworld(knobs: Knobs, seed: int) -> None:
    """The same commands are admissible, the same facts hold and the quest is done at the same time."""
    world, game, rng = build(knobs, seed), make_game(knobs, seed), np.random.default_rng(seed)
    names = {identity: info.name for identity, info in game.infos.items()} | {"P": "you", "I": "hand"}
    for clean in (True, False):
        environment = _environment(game)
        told, state = environment.reset(), world.start
        for _ in range(6):
            held = {names[f.arguments[0].name] for f in told["_facts"] if f.name == "in" and f.arguments[1].name == "I"}
            seen = world.observations[state].split(" , ")
            assert {fact.split()[0] for fact in seen if fact.endswith(" in hand")} == held
            assert told["won"] == (world.payoffs[state] == 1)
            if world.terminal[state]:
                break
            phrases = world.options[state]
            assert set(phrases) == _commands(told)
            chances = Guide((1.0,)).chances(world, state) if clean else None
            option = int(rng.choice(len(phrases), p=chances))
            told, _, _ = environment.step(phrases[option].removesuffix(" ."))
            state = int(world.successors[state, option, 0])
        assert not clean or told["won"]


@pytest.mark.usefixtures("_package")
def test_textworld_s_own_solution_wins() -> None:
    """The commands that TextWorld laid out are admissible one after the other, and the last one is paid."""
    for seed in range(6):
        knobs = Knobs(quest=2 + seed % 3)
        world, game = build(knobs, seed), make_game(knobs, seed)
        names = {identity: info.name for identity, info in game.infos.items()} | {"P": "you", "I": "hand"}
        (quest,) = game.quests
        (event,) = quest.win_events
        assert len(event.actions) == knobs.quest >= commands_left(world)[world.start]
        state = world.start
        for action in event.actions:
            if world.terminal[state]:  # there was a shorter way, and it was on this one
                break
            state = int(world.successors[state, world.options[state].index(f"{action.format_command(names)} ."), 0])
        assert world.payoffs[state] == 1


@pytest.mark.usefixtures("_package")
def test_commands_left_are_those_of_a_search_forward() -> None:
    """Against a breadth-first search from each state, told a second time; dead ends alone end unpaid."""
    for seed in range(4):
        world = build(Knobs(), seed)
        for state in range(world.n_states):
            reached, steps = {state}, 0
            while not any(world.payoffs[s] == 1 for s in reached) and steps <= world.n_states:
                reached, steps = reached | {int(t) for s in reached for t in world.successors[s].ravel()}, steps + 1
            dead = steps > world.n_states
            assert commands_left(world)[state] == (np.inf if dead else steps)
            assert world.terminal[state] == (dead or steps == 0)


def test_commands_left_of_a_table_by_hand() -> None:
    """0 leads to 1 or to 3; 1 leads to 2, which wins; from 3, where what was needed is gone, nothing leads away."""
    successors = np.array([[[1], [3], [0]], [[2], [0], [1]], [[2], [2], [2]], [[3], [3], [3]]])
    left = textworld._commands_left(successors, np.array([False, False, True, False]))
    assert left.tolist() == [2, 1, 0, np.inf]


@pytest.mark.usefixtures("_package")
def test_knobs_do_what_they_say() -> None:
    assert len({w for w in build(Knobs(rooms=1), 0).header.split() if w in textworld.NAMES["r"]}) == 1
    wide = build(Knobs(rooms=3, objects=1, quest=2), 0)
    assert len({w for w in wide.header.split() if w in textworld.NAMES["r"]}) == 3
    assert build(Knobs(horizon=5), 0).horizon == 5
    sizes = [np.mean([build(Knobs(objects=n, quest=2), s).n_states for s in range(8)]) for n in (1, 4)]
    assert sizes[0] < sizes[1]


@pytest.mark.usefixtures("_package")
def test_a_game_of_too_many_states_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textworld, "MOST_STATES", 5)
    with pytest.raises(UserError, match=r"more than 5 states.*`rooms`"):
        build(Knobs(), 0)


@pytest.mark.parametrize("wrong", [{"rooms": 0}, {"objects": 7}, {"quest": 1}, {"quest": 4, "horizon": 3}])
def test_wrong_knobs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="knob"):
        textworld.TASK.make_knobs(wrong)


def test_without_textworld_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "textworld" else there(name))
    for asked in (lambda: build(Knobs(), 0), textworld.TASK.require_packages):
        with pytest.raises(UserError, match=r"cairn-credit\[textworld\]"):
            asked()


def test_the_vocabulary_needs_no_package() -> None:
    assert len(textworld.vocabulary()) == len(set(textworld.vocabulary())) < 120
