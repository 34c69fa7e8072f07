"""`lake` against gymnasium itself: its table by an independent recursion, its episodes by stepping it."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cairn.errors import UserError
from cairn.lab.controls import ExactCredit
from cairn.lab.exact import solve
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.judge import make_report
from cairn.lab.model import LanguageModel, load
from cairn.lab.policy import PolicyReader
from cairn.lab.pretrain import embedded_model
from cairn.lab.protocol import read_protocol
from cairn.lab.runner import Plan, run
from cairn.lab.standard import calibration_checks
from cairn.lab.tasks import lake
from cairn.lab.tasks.lake import Knobs
from cairn.lab.world import join
from cairn.methods.grpo import GRPO

EPISODES = 20_000
KNOBS = [
    Knobs(),
    Knobs(slippery=True),
    Knobs(size=5, ice=0.7, slippery=True, astray=0.3, horizon=13),
    Knobs(size=2, horizon=3),
]


@pytest.fixture(scope="module")
def skater() -> LanguageModel:
    """The embedded model of the task."""
    return load(embedded_model("lake"))


def _policy(model: LanguageModel, knobs: Knobs, seed: int) -> tuple[Any, np.ndarray]:
    """Exact credit of the model on an instance, and its chances (S, 5) there; the last is to say no move."""
    table = PolicyReader(model.tokenizer).read(model, join([lake.build(knobs, seed)]))
    return solve(table), table.option_probs


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
@pytest.mark.parametrize("seed", [0, 7])
def test_values_are_those_of_a_recursion_on_gymnasium_s_table(skater: LanguageModel, knobs: Knobs, seed: int) -> None:
    """Told a second time on `env.P` alone: rewards on the way, no arrays, no states of ours."""
    exact, policy = _policy(skater, knobs, seed)
    table = lake.make_environment(knobs, seed).P
    worth = dict.fromkeys(table, 0.0)
    for turn in range(knobs.horizon - 1, -1, -1):
        after = worth
        worth = {
            state: policy[state, 4] * after[state]
            + sum(
                policy[state, move] * chance * (reward + (0.0 if done else after[successor]))
                for move, answers in table[state].items()
                for chance, successor, reward, done in answers
            )
            for state in table
        }
        for state in table:
            if not all(done and there == state for _, there, _, done in table[state][0]):  # an end is worth its payoff
                assert exact.values[turn, state] == pytest.approx(worth[state], abs=1e-12)
    assert exact.success() == pytest.approx([worth[0]], abs=1e-12)
    assert worth[0] > 0


@pytest.mark.slow
@pytest.mark.parametrize(("knobs", "seed"), [(Knobs(), 2), (Knobs(slippery=True), 1)], ids=["sure", "slippery"])
def test_success_is_that_of_stepping_gymnasium(skater: LanguageModel, knobs: Knobs, seed: int) -> None:
    """Within three standard errors of episodes that gymnasium plays itself."""
    exact, policy = _policy(skater, knobs, seed)
    environment, rng = lake.make_environment(knobs, seed), np.random.default_rng(20260401)
    ladder = policy.cumsum(1)
    environment.reset(seed=20260401)
    paid = np.zeros(EPISODES)
    for episode in range(EPISODES):
        state, _ = environment.reset()
        for luck in rng.random(knobs.horizon):
            move = int(np.searchsorted(ladder[state], luck * ladder[state, -1], side="right"))
            if move < 4:  # else nothing was understood, and the turn is over
                state, reward, done, _, _ = environment.step(move)
                paid[episode] += reward
                if done:
                    break
    error = paid.std() / np.sqrt(EPISODES)
    assert 0.01 < paid.mean() < 0.99
    assert abs(paid.mean() - exact.success()[0]) < 3 * error


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_what_is_told_is_what_gymnasium_does(knobs: Knobs) -> None:
    """Read off the table of the same map without slipping: where a move leads, and what letter stands there."""
    for seed in range(5):
        world = lake.build(knobs, seed)
        sure = lake.make_environment(replace(knobs, slippery=False), seed)
        letters = sure.desc.ravel().astype(str)
        for state, moves in sure.P.items():
            words = world.observations[state].split()
            assert words[1] == lake.NUMBERS[state // knobs.size]
            assert words[3] == lake.NUMBERS[state % knobs.size]
            told = dict(zip(words[4::2], words[5::2], strict=True))
            if world.terminal[state]:
                assert letters[state] in "GH"
                continue
            for move, ((_, successor, _, _),) in moves.items():
                seen = told[lake.MOVES[move].split()[1]]
                assert seen == ("shore" if successor == state else lake.TILES[letters[successor]])
        assert world.payoffs.tolist() == [float(letter == "G") for letter in letters]
        beside_hole = [any(letters[s] == "H" for ((_, s, _, _),) in moves.values()) for moves in sure.P.values()]
        assert world.bifurcations.tolist() == [b and not e for b, e in zip(beside_hole, world.terminal, strict=True)]


def test_knobs_do_what_they_say() -> None:
    assert all(not lake.build(Knobs(ice=1.0), seed).bifurcations.any() for seed in range(5))
    assert sum(lake.build(Knobs(ice=0.6), seed).terminal.sum() for seed in range(20)) > 20 * 4
    assert lake.build(Knobs(size=6), 0).n_states == 36
    assert lake.build(Knobs(horizon=9), 0).horizon == 9
    assert lake.build(Knobs(), 0).successors.shape[2] == 1
    slippery = Knobs(slippery=True)
    assert lake.build(slippery, 0).probabilities[0, :4] == pytest.approx(1 / 3), "as gymnasium has it"
    assert lake.build(replace(slippery, astray=0.2), 0).probabilities[0, 1] == pytest.approx([0.1, 0.8, 0.1])
    assert lake.TASK.make_knobs({"slippery": "no"}) == Knobs()
    assert lake.TASK.make_knobs({"slippery": "yes"}) == slippery


@pytest.mark.parametrize(
    "wrong", [{"size": 9}, {"size": 1}, {"ice": 0}, {"horizon": 201}, {"slippery": "maybe"}, {"astray": 1.1}]
)
def test_wrong_knobs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="knob"):
        lake.TASK.make_knobs(wrong)


def test_the_best_moves_are_safe_and_short() -> None:
    """On sure ice the clean teacher takes a shortest way: as many turns as a breadth-first search on the table."""
    for seed in range(5):
        world = lake.build(Knobs(), seed)
        table = lake.make_environment(Knobs(), seed).P
        steps, state = 0, 0
        while not world.terminal[state]:
            state, steps = int(world.successors[state, int(lake.best_moves(world)[state].argmax()), 0]), steps + 1
        assert world.payoffs[state] == 1
        assert steps == _shortest(table)


def _shortest(table: lake.Table) -> int:
    reached, steps = {0}, 0
    while len(table) - 1 not in reached:
        reached |= {answers[0][1] for state in reached for answers in table[state].values()}
        steps += 1
    return steps


def test_no_map_of_the_protocol_is_both_trained_on_and_evaluated_on() -> None:
    """Seeds differ by the protocol; two seeds may draw one map."""
    spec = read_protocol().of("lake").tasks["lake"]
    maps = [
        {lake.build(Knobs(), i.first_seed + n).observations for n in range(i.count)}
        for i in (spec.train, spec.evaluation)
    ]
    assert not maps[0] & maps[1]
    assert min(map(len, maps)) > 10


def test_without_gymnasium_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gymnasium" else there(name))
    with pytest.raises(UserError, match=r"cairn-credit\[tasks\]"):
        lake.build(Knobs(), 0)
    toy = Reproduction("toy", "A toy", ("lake",), (Arm("paper", "method", "The rule.", GRPO()),), ())
    plan = Plan(toy, read_protocol(), "smoke", (5,), "cpu", tmp_path / "out", resume=False, workers=1)
    with pytest.raises(UserError, match=r"cairn-credit\[tasks\]"):
        run(plan, _Silent())
    assert not (tmp_path / "out").exists()


def test_a_reproduction_may_name_it(tmp_path: Path) -> None:
    """All arms on three tasks of the family, at the preset that takes seconds, and the report of that."""
    tasks = ("lake", "lake-slippery=yes", "lake-prompt=history")
    arms = (
        Arm("paper", "method", "The rule.", GRPO(), tasks=tasks),
        Arm("exact", "ceiling", "The ceiling.", ExactCredit()),
        Arm("exact-shuffled", "null", "Stands in.", ExactCredit()),
    )
    toy = Reproduction("toy", "A toy", tasks, arms, (), checks=calibration_checks("paper", "GRPO"))
    protocol = read_protocol()
    plan = Plan(toy, protocol, "smoke", (5,), "cpu", tmp_path, resume=False, workers=1)
    records = run(plan, _Silent())
    assert [(r.task, r.status) for r in records] == [(t, "ok") for t in (*tasks, "lake", "lake")], records
    assert {r.provenance.protocol_hash for r in records} == {protocol.digest(["lake"])}
    assert all("gymnasium" in r.provenance.packages for r in records)
    assert len({r.provenance.panel_hash for r in records}) == 2, "the prompt form is not of the instances"
    report = make_report(toy, protocol, tmp_path, fresh=True)
    assert report.fingerprint is not None
    assert {task for arm in report.arms for task in [arm.task]} == {*tasks}


class _Silent:
    """Is told and says nothing."""

    def planned(self, cells: int, finished: int) -> None: ...

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None: ...

    def done(self, record: object) -> None: ...
