"""What holds for every task that is found: its tables, texts, knobs, teachers, exact values and documentation."""

from __future__ import annotations

import ast
import dataclasses
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cairn
from cairn.errors import UserError
from cairn.lab.exact import solve
from cairn.lab.history import scene
from cairn.lab.loop import Panel
from cairn.lab.policy import PolicyTable, grow_tree
from cairn.lab.pretrain import build_tokenizer, embedded_model, walk
from cairn.lab.protocol import panel_digest, read_protocol
from cairn.lab.task import Task, Teacher
from cairn.lab.tasks import find, names
from cairn.lab.world import FloatArray, World, join
from cairn.paths import data_root

# Tasks whose instances are worlds and can be made here; those of free text have tests of their own.
WORLDS = [name for name in names() if "windowed" in find(name).prompts and all(map(find_spec, find(name).packages))]
# The smallest instances, and two of the size that experiments use.
INSTANCES = [(name, size, seed) for name in WORLDS for size, seed in (("tiny", 0), ("tiny", 1), ("usual", 2))]


@pytest.fixture(params=INSTANCES, ids=lambda one: "-".join(map(str, one)))
def instance(request: pytest.FixtureRequest) -> tuple[Task[Any], World]:
    """A task and one of its instances."""
    name, size, seed = request.param
    task = find(name)
    return task, task.build(task.tiny if size == "tiny" else task.knobs(), seed)


Instance = tuple[Task[Any], World]


def test_an_unknown_task_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=f"unknown task.*{', '.join(names())}"):
        find("maze")


def test_shapes_agree_and_chances_sum_to_one(instance: Instance) -> None:
    _, world = instance
    states, options, branches = world.successors.shape
    assert world.probabilities.shape == (states, options, branches)
    for field in (world.state_prompt, world.state_observation, world.terminal, world.payoffs, world.bifurcations):
        assert field.shape == (states,)
    assert len(world.options) == len(world.prompts)
    assert options == max(map(len, world.options)) + 1
    assert 0 <= world.successors.min() <= world.successors.max() < states
    assert (world.probabilities >= 0).all()
    assert world.probabilities.sum(-1) == pytest.approx(1.0, abs=1e-12)
    assert 0 <= world.recurrence <= 1


def test_what_has_ended_stays_ended_and_only_ends_are_paid(instance: Instance) -> None:
    _, world = instance
    ends = np.flatnonzero(world.terminal)
    onward = world.probabilities[ends] * (world.successors[ends] != ends[:, None, None])
    assert ends.size
    assert onward.sum() == 0
    assert not world.terminal[world.start]
    assert not world.bifurcations[ends].any()
    assert (world.payoffs[~world.terminal] == 0).all()
    # Success is a probability, so that the best that can be paid is 1.
    assert world.payoffs.min() >= 0
    assert world.payoffs.max() == 1
    assert all(bool(world.options[p]) != end for p, end in zip(world.state_prompt, world.terminal, strict=True))


def test_options_that_a_prompt_does_not_offer_are_to_stay(instance: Instance) -> None:
    _, world = instance
    for state, prompt in enumerate(world.state_prompt):
        laws = [_law(world, state, option) for option in range(len(world.options[prompt]), world.successors.shape[1])]
        assert all(law == pytest.approx(laws[-1]) for law in laws)


def _law(world: World, state: int, option: int) -> list[float]:
    """(S,) chance of each state to follow."""
    weights = world.probabilities[state, option]
    chances: list[float] = np.bincount(world.successors[state, option], weights, minlength=world.n_states).tolist()
    return chances


def test_prompts_tell_apart_what_asks_for_different_answers(instance: Instance) -> None:
    """States that share a prompt have an option that is best in all of them, whatever turns are left.

    In a team, one agent may have to be told what another one sees; then nothing but success must be possible.
    """
    _, world = instance
    assert len(set(world.prompts)) == len(world.prompts)
    assert len(set(world.observations)) == len(world.observations)
    values = np.where(world.terminal, world.payoffs, 0.0)
    for _ in range(world.horizon):
        q = (world.probabilities * values[world.successors]).sum(-1)
        best = q >= q.max(1, keepdims=True) - 1e-12
        for prompt, options in enumerate(world.options):
            told_apart = best[world.state_prompt == prompt].all(0).any() or world.agents is not None
            assert told_apart or not options, world.prompts[prompt]
        values = np.where(world.terminal, world.payoffs, q.max(1))
    assert values[world.start] > 0, "nobody could succeed"


def test_every_text_is_made_of_known_words_and_every_phrase_is_understood(instance: Instance) -> None:
    task, world = instance
    words = task.vocabulary()
    assert len(set(words)) == len(words)
    scenes = [scene(observation, world.opening) for observation in world.observations]
    texts = [world.header, *world.prompts, *scenes, *(o for p in world.options for o in p)]
    assert {word for text in texts for word in text.split()} <= {*words}
    tree = grow_tree(world, build_tokenizer(words))
    for prompt, phrases in enumerate(world.options):
        assert len(tree.paths[prompt]) == len(phrases)
        for option, path in enumerate(tree.paths[prompt]):
            codes = [tree.children[node][token] for node, token in path]
            assert codes == [*(node for node, _ in path[1:]), -2 - option], (
                "a phrase begins like another and ends there"
            )


def test_one_seed_gives_one_instance(instance: Instance) -> None:
    task, world = instance
    seed = int(world.name.rpartition("-")[2])
    knobs = task.tiny if world.horizon == task.tiny.horizon else task.knobs()
    assert _digest(task.build(knobs, seed)) == _digest(world)
    # Small maps may be drawn twice, but not five times over.
    assert any(_digest(task.build(knobs, seed + other)) != _digest(world) for other in range(1, 6))


def _digest(world: World) -> str:
    return panel_digest(Panel((world,), ()))


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exact_values_are_those_of_all_trajectories(name: str, seed: int) -> None:
    """Against a sum over every trajectory of the smallest instance, under a policy drawn at random for each prompt."""
    task = find(name)
    world = task.build(task.tiny, seed)
    policy = np.random.default_rng(seed).dirichlet(np.ones(world.successors.shape[1]), len(world.prompts))
    policy = policy[world.state_prompt]
    exact = solve(_table(world, policy)).values
    assert exact[0, world.start] > 0
    assert exact[0, world.start] == pytest.approx(_brute(world, policy, world.start, world.horizon), rel=1e-9)


def _table(world: World, policy: FloatArray) -> PolicyTable:
    """A policy (S, C + 1) by its option probabilities alone: exact values rest on nothing else."""
    nothing = np.zeros((0, 0))
    return PolicyTable(join([world]), nothing, nothing.astype(int), nothing.astype(int), [], policy)


def _brute(world: World, policy: FloatArray, state: int, turns: int) -> float:
    if world.terminal[state]:
        return float(world.payoffs[state])
    if not turns:
        return 0.0
    chances: dict[int, float] = {}
    for option, said in enumerate(policy[state]):
        for successor, chance in zip(world.successors[state, option], world.probabilities[state, option], strict=True):
            chances[int(successor)] = chances.get(int(successor), 0.0) + said * chance
    return sum(chance * _brute(world, policy, one, turns - 1) for one, chance in chances.items() if chance)


@pytest.mark.parametrize("name", WORLDS)
def test_teachers_say_what_they_do_and_the_clean_one_does_better(name: str) -> None:
    task = find(name)
    world = task.build(task.knobs(), 3)
    success = []
    for teacher in (task.clean, task.noisy):
        policy = _policy(teacher, world)
        assert policy.sum(1)[~world.terminal] == pytest.approx(1.0)
        success.append(solve(_table(world, policy)).values[0, world.start])
        assert repr(teacher) == repr(dataclasses.replace(teacher))
        assert " at 0x" not in repr(teacher)
    assert success[0] > 2 * success[1] > 0
    walks = [list(walk(task.noisy, world, np.random.default_rng(seed))) for seed in (0, 0, 1)]
    assert walks[0] == walks[1] != walks[2]


def _policy(teacher: Teacher, world: World) -> FloatArray:
    """(S, C + 1) what a teacher says."""
    policy = np.zeros(world.successors.shape[:2])
    for state in np.flatnonzero(~world.terminal):
        prompt = int(world.state_prompt[state])
        policy[state, : len(world.options[prompt])] = teacher.chances(world, prompt)
    return policy


@pytest.mark.parametrize("name", names())
def test_knobs_are_frozen_typed_documented_and_refused_when_wrong(name: str) -> None:
    task = find(name)
    knobs = task.knobs()
    assert task.make_knobs(dataclasses.asdict(knobs)) == knobs
    assert task.make_knobs({k: str(v) for k, v in dataclasses.asdict(task.tiny).items()}) == task.tiny
    assert hash(knobs) == hash(task.knobs())
    page = (data_root() / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert f"{name}.md" in (data_root() / "mkdocs.yml").read_text(encoding="utf-8")
    for knob in dataclasses.fields(task.knobs):
        assert len(knob.metadata["meaning"]) > 10
        assert f"`{knob.name}`" in page, f"docs/{name}.md does not name the knob {knob.name}"
    limit = "horizon" if "horizon" in task.knob_types else "limit"
    for wrong in ({"colour": 1}, {limit: "long"}, {limit: -1}):
        with pytest.raises(UserError) as caught:
            task.make_knobs(wrong)
        assert caught.value.repair


@pytest.mark.parametrize("name", names())
def test_a_task_tells_what_it_is(name: str) -> None:
    task = find(name)
    assert len(task.about) == 2
    for text in (*task.about, task.horizon, task.exact, task.estimated):
        assert text == " ".join(text.split())
        assert len(text) > 20


def test_the_tasks_of_the_protocol_bring_their_model_along() -> None:
    # For rows of somebody's data set there is nothing to ship but a toy, which is made where it is asked for.
    tasks = [name for name in read_protocol().tasks if find(name).rows is None]
    assert [name for name in tasks if not embedded_model(name).is_dir()] == []


def test_shared_modules_name_no_task() -> None:
    """A task is one file: outside it, only the text of the house (docstrings, comments) may give it as an example."""
    root = Path(cairn.__file__).parent
    shared = [path for path in root.rglob("*.py") if path.parent != root / "lab" / "tasks"]
    word = re.compile(rf"(?<![A-Za-z0-9])({'|'.join(names())})(?![A-Za-z0-9])")
    faults = [
        f"{path.relative_to(root)}: {text}"
        for path in shared
        for text in _spoken(ast.parse(path.read_text(encoding="utf-8")))
        if word.search(text.replace("_", "-"))
    ]
    assert shared
    assert faults == []


def _spoken(tree: ast.Module) -> list[str]:
    """Identifiers and strings, without docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
    fields = [
        getattr(node, field, None) for node in ast.walk(tree) for field in ("id", "attr", "arg", "name", "module")
    ]
    return found + [value for value in fields if isinstance(value, str)]
