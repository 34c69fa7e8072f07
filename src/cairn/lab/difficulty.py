"""What a task is like before anything is learnt: what its knobs move, by exact computation on its instances.

Three walkers stand for what a policy may lack. The *skilled* one is the task's own faultless teacher, who knows every
rule and reads what the prompt holds. The *guessing* one is the same, but picks evenly among the phrases at planted
decisions (`World.bifurcations`). The *forgetful* one reads, of all prompts with the same raw observation, the shortest:
the one in which nothing is remembered. No model is asked. Measures are defined in `cairn.evidence.difficulty`.

Each measure is a function of sums over instances, so that an interval follows by drawing instances anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cairn.errors import UserError
from cairn.evidence.difficulty import DifficultyTable, KnobEffect, Level
from cairn.lab.episodes import answer
from cairn.lab.exact import occupancy, values_of
from cairn.lab.optimal import EQUAL, Optimal, solve_best
from cairn.lab.protocol import Protocol, build_panel, panel_digest, task_knobs
from cairn.lab.provenance import describe_origin, describe_provenance
from cairn.lab.task import Moves, Teacher
from cairn.lab.tasks import find
from cairn.lab.world import WorldBatch, join

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
RESAMPLES = 2000
COVERED = (2.5, 97.5)  # percentiles
SEED = 20261121  # of the resampling and of the simulated groups


@dataclass(frozen=True)
class Tally:
    """Sums of each instance, (W, M), and what follows from them: (..., M) to (...)."""

    sums: FloatArray
    value: Callable[[FloatArray], FloatArray]

    def level(self, value: Any) -> Level:
        """Return estimate and interval; `value` is the knob's."""
        rng = np.random.default_rng(SEED)
        count = len(self.sums)
        weights = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)
        low, high = np.percentile(self.value(weights @ self.sums), COVERED)
        return Level(value=value, estimate=float(self.value(self.sums.sum(0))), low=float(low), high=float(high))


def ratio(sums: FloatArray) -> FloatArray:
    """Return the first sum over the second, 0 where there is nothing."""
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] == 0, 1.0, sums[..., 1]))


@dataclass(frozen=True)
class Scene:
    """Instances, and the walkers' chances of each option, (S, C + 1)."""

    worlds: WorldBatch
    best: Optimal
    skilled: FloatArray
    guessing: FloatArray
    forgetful: FloatArray
    group_size: int

    @staticmethod
    def of(worlds: WorldBatch, teacher: Teacher, group_size: int) -> Scene:
        """Ask the teacher about every prompt."""
        chances = _chances(worlds, teacher)
        skilled = chances[worlds.prompt]
        understood = _understood(worlds)[worlds.prompt]
        even = understood / understood.sum(1, keepdims=True)
        guessing = np.where(worlds.bifurcations[:, None], even, skilled)
        return Scene(worlds, solve_best(worlds), skilled, guessing, chances[_plainest(worlds)], group_size)

    @property
    def world(self) -> IntArray:
        """Return (S,) the instance of each state."""
        ends = np.append(self.worlds.offsets[1:], self.worlds.terminal.size)
        return np.repeat(np.arange(ends.size), ends - self.worlds.offsets)

    def by_world(self, *amounts: FloatArray) -> FloatArray:
        """Sum amounts (S,) over the states of each instance: (W, number of amounts)."""
        size = len(self.worlds.worlds)
        return np.stack([np.bincount(self.world, one, size) for one in amounts], 1)


def _chances(worlds: WorldBatch, teacher: Teacher) -> FloatArray:
    """(P, C + 1): what the teacher says at each prompt of the batch; at an end, nothing (`stay`)."""
    rows = np.zeros((sum(len(w.prompts) for w in worlds.worlds), worlds.n_options + 1))
    row = 0
    for world in worlds.worlds:
        for prompt, options in enumerate(world.options):
            said = teacher.chances(world, prompt) if options else []
            rows[row, : len(said)] = said
            rows[row, -1] = 1 - sum(said)
            row += 1
    return rows


def _understood(worlds: WorldBatch) -> FloatArray:
    """(P, C + 1): 1 for each phrase that is understood at a prompt; at an end, for `stay`."""
    counts = np.array([len(options) for w in worlds.worlds for options in w.options])
    rows = (np.arange(worlds.n_options + 1) < counts[:, None]).astype(np.float64)
    rows[counts == 0, -1] = 1
    return rows


def _plainest(worlds: WorldBatch) -> IntArray:
    """(S,): the shortest prompt with which the raw observation of each state is shown in its instance."""
    lengths = np.array([len(prompt) for w in worlds.worlds for prompt in w.prompts])[worlds.prompt]
    order = np.lexsort((lengths, worlds.observation))
    first = order[np.unique(worlds.observation[order], return_index=True)[1]]
    return np.asarray(worlds.prompt[first][worlds.observation])


def best_success(scene: Scene) -> Tally:
    """See `MEASURES`, here and below."""
    return _success(scene.best.success())


def guessing_success(scene: Scene) -> Tally:
    """Success of the guessing walker."""
    return _success(values_of(scene.worlds, scene.guessing)[0, scene.worlds.starts])


def forgetful_success(scene: Scene) -> Tally:
    """Success of the forgetful walker."""
    return _success(values_of(scene.worlds, scene.forgetful)[0, scene.worlds.starts])


def _success(of_each: FloatArray) -> Tally:
    return Tally(np.stack([of_each, np.ones_like(of_each)], 1), ratio)


def decision_share(scene: Scene) -> Tally:
    """Of the skilled walker's turns."""
    turns = occupancy(scene.worlds, scene.skilled).sum(0)
    return Tally(scene.by_world(turns * scene.worlds.bifurcations, turns), ratio)


def error_cost(scene: Scene) -> Tally:
    """Mean over the wrong phrases, and over the decisions by how often they are met."""
    at, turn, state = _decisions(scene, scene.skilled)
    lost = scene.best.values[turn, state][:, None] - scene.best.action_values(turn, state)
    wrong = (lost > EQUAL) & (_understood(scene.worlds)[scene.worlds.prompt[state]] > 0)
    mean = (lost * wrong).sum(1) / wrong.sum(1).clip(1)
    return Tally(_summed(scene, state, at * mean, at * wrong.any(1)), ratio)


def turns_to_end(scene: Scene) -> Tally:
    """Counted from the decision's own turn."""
    worlds = scene.worlds
    left = values_of(worlds, scene.skilled, each_turn=1.0, payoffs=np.zeros_like(worlds.payoffs))
    at, turn, state = _decisions(scene, scene.skilled)
    return Tally(_summed(scene, state, at * left[turn, state], at), ratio)


def _decisions(scene: Scene, chances: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Return how often (N,) a walker meets a decision, the turn and the state."""
    met = occupancy(scene.worlds, chances) * scene.worlds.bifurcations
    turn, state = np.nonzero(met)
    return met[turn, state], turn, state


def _summed(scene: Scene, state: IntArray, *amounts: FloatArray) -> FloatArray:
    size = scene.worlds.terminal.size
    return scene.by_world(*(np.bincount(state, one, size).astype(np.float64) for one in amounts))


def effective_phrases(scene: Scene) -> Tally:
    """Phrases are told apart by their words."""
    worlds = scene.worlds
    said = occupancy(worlds, scene.skilled).sum(0)[:, None] * scene.skilled[:, :-1]
    texts = [options for w in worlds.worlds for options in w.options]
    phrases = {phrase: i for i, phrase in enumerate(dict.fromkeys(p for options in texts for p in options))}
    sums = np.zeros((len(worlds.worlds), len(phrases)))
    for option in range(worlds.n_options):
        names = np.array([phrases[options[option]] if option < len(options) else 0 for options in texts])
        np.add.at(sums, (scene.world, names[worlds.prompt]), said[:, option])
    return Tally(sums, _perplexity)


def _perplexity(counts: FloatArray) -> FloatArray:
    shares = counts / counts.sum(-1, keepdims=True)
    return np.asarray(np.exp(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(-1)))


def feedback_bits(scene: Scene) -> Tally:
    """Over (wrong or not) x (the word is there or not), for every word."""
    worlds = scene.worlds
    at, turn, state = _decisions(scene, scene.guessing)
    wrong = scene.best.values[turn, state][:, None] - scene.best.action_values(turn, state) > EQUAL
    reached = (at[:, None] * scene.guessing[state])[:, :, None] * worlds.probabilities[state]
    words, shown = _words(worlds)
    tables = []
    for fault in (False, True):
        weight = (reached * (wrong == fault)[:, :, None]).ravel()
        sums = np.zeros((len(worlds.worlds), int(worlds.observation.max()) + 1))
        where = np.repeat(scene.world[state], reached[0].size), worlds.observation[worlds.successors[state]].ravel()
        np.add.at(sums, where, weight)
        tables += [sums @ shown, np.repeat(sums.sum(1, keepdims=True), len(words), 1)]
    return Tally(np.concatenate(tables, 1), _information)


def _words(worlds: WorldBatch) -> tuple[list[str], FloatArray]:
    """Return the words of all observations, and (O, V) which stand in which."""
    texts = [set(text.split()) for w in worlds.worlds for text in w.observations]
    words = sorted(set().union(*texts))
    return words, np.array([[word in text for word in words] for text in texts], dtype=np.float64)


def _information(sums: FloatArray) -> FloatArray:
    """From four blocks of V sums (right and shown, right, wrong and shown, wrong) to the most telling word's bits."""
    right_shown, right, wrong_shown, wrong = np.split(sums, 4, -1)
    total = right + wrong
    bits = np.zeros_like(total)
    for shown, fault in ((right_shown, right), (wrong_shown, wrong)):
        for cell, margin in ((shown, right_shown + wrong_shown), (fault - shown, total - right_shown - wrong_shown)):
            safe = np.where(cell > 0, cell * total / np.where(fault * margin > 0, fault * margin, 1.0), 1.0)
            bits += cell / total * np.log2(safe)
    return np.asarray(bits.max(-1))


def recurring_share(scene: Scene) -> Tally:
    """Simulated: a group of rollouts for each instance. A stamped observation is like no other."""
    worlds, rng = scene.worlds, np.random.default_rng(SEED)
    world = np.repeat(np.arange(len(worlds.worlds)), scene.group_size)
    state, seen = worlds.starts[world], []
    cumulative = scene.guessing.cumsum(1)
    for _ in range(worlds.horizon):
        luck = rng.random((3, world.size))
        going = ~worlds.terminal[state]
        stamped = luck[0] >= worlds.worlds[0].recurrence
        seen.append(np.where(going, np.where(stamped, -1, worlds.observation[state]), -2))
        option = (cumulative[state] <= luck[1][:, None] * cumulative[state][:, -1:]).sum(1)
        state = np.where(going, answer(worlds, state, option, luck[2]), state)
    shown = np.stack(seen, 1).reshape(len(worlds.worlds), -1)
    return Tally(np.array([_recurring(row[row > -2]) for row in shown]), ratio)


def _recurring(shown: IntArray) -> tuple[float, float]:
    """Return how many of the turns of one group are not alone, and how many there are."""
    _, back, counts = np.unique(shown, return_inverse=True, return_counts=True)
    return float(((counts[back] > 1) & (shown >= 0)).sum()), float(shown.size)


MEASURED: Mapping[str, Callable[[Scene], Tally]] = {
    one.__name__: one
    for one in (
        best_success, guessing_success, forgetful_success, decision_share, error_cost, turns_to_end, effective_phrases,
        feedback_bits, recurring_share,
    )
}  # fmt: skip


def measure(protocol: Protocol, preset: str, name: str, advance: Callable[[], None]) -> DifficultyTable:
    """Turn each knob of a task that says what it moves. advance: called after each level.

    Raises UserError for a task none of whose knobs does.
    """
    task, spec = find(name), protocol.of(name).tasks[name]
    if not task.moves:
        raise UserError("no knob of this task says what it moves", value=name, repair="Give its `TASK` some `moves`.")
    base, size = task_knobs(protocol, preset, name), protocol.preset(preset).group_size
    train = range(spec.train.first_seed, spec.train.first_seed + spec.train.count)

    def turned(knob: str, value: Any) -> Scene:
        worlds = [task.build(dataclasses.replace(base, **{knob: value}), seed) for seed in train]
        advance()
        return Scene.of(join(worlds), task.clean, size)

    effects = tuple(_effect(knob, moves, turned) for knob, moves in task.moves.items())
    panel = build_panel(name, base, (train.start, len(train)), (spec.evaluation.first_seed, spec.evaluation.count))
    provenance = describe_provenance(
        describe_origin(), protocol.version, protocol.digest([name]), panel_digest(panel), None, task.packages
    )
    return DifficultyTable(
        task=name,
        preset=preset,
        first_seed=train.start,
        instances=len(train),
        group_size=size,
        provenance=provenance,
        effects=effects,
    )


def _effect(knob: str, moves: Moves, turned: Callable[[str, Any], Scene]) -> KnobEffect:
    levels = tuple(MEASURED[moves.measure](turned(knob, value)).level(value) for value in moves.values)
    return KnobEffect(knob=knob, measure=moves.measure, direction=moves.direction, levels=levels)
