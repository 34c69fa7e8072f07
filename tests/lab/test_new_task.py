"""A task that somebody adds in one file, and nothing else, runs: found by its name, with a model and a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from cairn.lab import tasks
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.judge import make_report
from cairn.lab.protocol import read_protocol, task_knobs
from cairn.lab.runner import Plan, run
from cairn.methods.grpo import GRPO

FILE = '''
"""`gates`: a row of gates, each with a left and a right way, of which one lets pass.

A wrong way ends the walk unpaid."""

from dataclasses import dataclass

import numpy as np

from cairn.lab.task import Recipe, Task, knob, paragraphs
from cairn.lab.world import World


@dataclass(frozen=True)
class Knobs:
    horizon: int = knob(4, "turns, as many as gates")


@dataclass(frozen=True)
class Guide:
    skill: float

    def chances(self, world, prompt):
        left = "oak" in world.prompts[prompt]
        return [self.skill, 1 - self.skill] if left else [1 - self.skill, self.skill]


def build(knobs, seed):
    gates, states = knobs.horizon, knobs.horizon + 2
    oak = np.random.default_rng(seed).integers(2, size=gates)
    texts = (*(f"gate {'oak' if one else 'elm'} {'i ' * i}".strip() for i, one in enumerate(oak)), "yard", "pit")
    successors = np.arange(states)[:, None, None] * np.ones((1, 3, 1), dtype=int)
    for i, one in enumerate(oak):
        successors[i, :2, 0] = (i + 1, states - 1) if one else (states - 1, i + 1)
    ends = np.arange(states) >= gates
    return World(
        name=f"gates-{seed}", header="go", prompts=tuple(f"go {text} . act" for text in texts),
        options=(*[("left .", "right .")] * gates, (), ()), observations=texts, state_prompt=np.arange(states),
        state_observation=np.arange(states), successors=successors, probabilities=np.ones(successors.shape),
        terminal=ends, payoffs=(np.arange(states) == gates) * 1.0, bifurcations=~ends, start=0,
        horizon=knobs.horizon, recurrence=1.0,
    )


TASK = Task(
    about=paragraphs(__doc__, 2), horizon="the knob `horizon`", knobs=Knobs, tiny=Knobs(2), build=build,
    vocabulary=lambda: "go gate oak elm i yard pit . act left right".split(), clean=Guide(1.0), noisy=Guide(0.7),
    recipe=Recipe(16, 1, 2, 32, 256, 4, 4, 8, 2, instances=8),
)
'''


class _Silent:
    def planned(self, cells: int, finished: int) -> None: ...

    def advanced(self, task: str, arm: str, seed: int, update: int, success: float) -> None: ...

    def done(self, record: object) -> None: ...


def test_one_file_is_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gates.py").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    protocol = read_protocol()
    assert "gates" in tasks.names()
    assert task_knobs(protocol, "smoke", "gates").horizon == protocol.presets["smoke"].knobs["horizon"]
    named = ("gates", "gates-horizon=3", "gates-prompt=history")
    toy = Reproduction("toy", "A toy", named, (Arm("paper", "method", "The rule.", GRPO(), tasks=named),), ())
    records = run(Plan(toy, protocol, "smoke", (5,), "cpu", tmp_path / "out", resume=False, workers=1), _Silent())
    assert [r.status for r in records] == ["ok"] * 3, [r.reason for r in records]
    assert records[0].curve[0].success > 0
    assert make_report(toy, protocol, tmp_path / "out", fresh=True).fingerprint is not None
    assert len(list((tmp_path / "cache" / "cairn" / "models").iterdir())) == 1, "one model, made once"
