"""Best values and wrong turns, against a search over all plays, and on a world worked out by hand."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from tests.lab_history.tiny import BEHIND_LEFT, LOST, START, WON, tiny_world

from cairn.lab.episodes import Episodes
from cairn.lab.optimal import solve_best
from cairn.lab.tasks import find, names
from cairn.lab.world import World, join

WORLDS = [name for name in names() if "windowed" in find(name).prompts and all(map(find_spec, find(name).packages))]
INSTANCES = [pytest.param(name, seed, id=f"{name}-{seed}") for name in WORLDS for seed in (0, 1, 2)]
SEARCHED_TURNS = 5  # of the longer instances, the last turns alone are searched


def _best(world: World, state: int, turns: int) -> float:
    """Search over all plays of `turns` turns, one option after the other; nothing is shared or looked up."""
    if world.terminal[state]:
        return float(world.payoffs[state])
    return max((_best_after(world, state, c, turns) for c in range(world.successors.shape[1])), default=0.0)


def _best_after(world: World, state: int, option: int, turns: int) -> float:
    if not turns:
        return 0.0
    branches = zip(world.successors[state, option], world.probabilities[state, option], strict=True)
    return sum(float(chance) * _best(world, int(to), turns - 1) for to, chance in branches if chance)


def _episodes(world: World, rng: np.random.Generator, rollouts: int, turns: int) -> Episodes:
    """Play at random, without a policy: only states, options and lengths matter here."""
    states, options = np.full((rollouts, turns + 1), world.start), np.full((rollouts, turns), -1)
    lengths = np.zeros((rollouts, turns), dtype=np.int64)
    for r in range(rollouts):
        for k in range(turns):
            state = states[r, k]
            states[r, k + 1] = state
            if not world.terminal[state]:
                options[r, k], lengths[r, k] = rng.integers(world.successors.shape[1]), 1
                chances = world.probabilities[state, options[r, k]]
                states[r, k + 1] = rng.choice(world.successors[state, options[r, k]], p=chances)
    return played(states, options, lengths)


def played(states: np.ndarray, options: np.ndarray, lengths: np.ndarray) -> Episodes:
    """Episodes of which only states (R, K + 1), options (R, K) and lengths (R, K) are filled in."""
    nothing, words = np.zeros_like(lengths), np.zeros((*lengths.shape, 1))
    return Episodes(
        instance=nothing[:, 0], states=states, options=options, tokens=words.astype(np.int64), logprobs=words,
        entropies=words, lengths=lengths, stamped=nothing > 0, prompt_tokens=nothing, context_tokens=nothing,
        rewards=np.zeros(len(states)), truncated=np.zeros(len(states), dtype=bool),
    )  # fmt: skip


@pytest.mark.parametrize(("name", "seed"), INSTANCES)
def test_values_are_the_best_of_all_plays(name: str, seed: int) -> None:
    task = find(name)
    world = task.build(task.tiny, seed)
    best = solve_best(join([world])).values
    left = min(world.horizon, SEARCHED_TURNS)
    for state in range(0, world.n_states, max(1, world.n_states // 12)):
        assert best[world.horizon - left, state] == pytest.approx(_best(world, state, left), abs=1e-12)
    assert best[0, world.start] > 0


@pytest.mark.parametrize(("name", "seed"), INSTANCES)
def test_wrong_turns_are_those_after_which_no_play_does_as_well(name: str, seed: int) -> None:
    task, rng = find(name), np.random.default_rng(seed)
    world = task.build(task.tiny, seed)
    episodes = _episodes(world, rng, 6, world.horizon)
    # A second world stands before it in the batch, so that the offset is in play.
    batch = join([world, world])
    shifted = played(episodes.states + int(batch.offsets[1]), episodes.options, episodes.lengths)
    optimal = solve_best(batch)
    wrong = optimal.wrong_turns(shifted)
    searched = max(0, world.horizon - SEARCHED_TURNS)
    for r, k in zip(*np.nonzero(episodes.alive), strict=True):
        if k >= searched:
            state, left = int(episodes.states[r, k]), world.horizon - int(k)
            after = _best_after(world, state, int(episodes.options[r, k]), left)
            assert wrong[r, k] == (after < _best(world, state, left) - 1e-9)
    assert not wrong[~episodes.alive].any()
    firsts = [int(row.argmax()) if row.any() else -1 for row in wrong]
    assert optimal.first_wrong_turn(shifted).tolist() == firsts


def test_a_world_of_two_exits_by_hand() -> None:
    """The second exit must differ from the first, so that no first exit is wrong, and a second one may be.

    With slip 0.25 the best play wins 3 times in 4. Two rollouts: left, left (lost), and something not understood, left.
    """
    optimal = solve_best(join([tiny_world(slip=0.25)]))
    assert optimal.success() == pytest.approx([0.75])
    stay = 2
    states = np.array([[START, BEHIND_LEFT, LOST], [START, START, BEHIND_LEFT]])
    episodes = played(states, np.array([[0, 0], [stay, 0]]), np.array([[3, 3], [1, 3]]))
    assert optimal.losses(episodes) == pytest.approx(np.array([[0.0, 0.5], [0.75, 0.0]]))
    assert optimal.wrong_turns(episodes).tolist() == [[False, True], [True, False]]
    assert optimal.first_wrong_turn(episodes).tolist() == [1, 0]
    unspoilt = played(np.array([[START, BEHIND_LEFT, WON]]), np.array([[0, 1]]), np.array([[3, 3]]))
    assert optimal.first_wrong_turn(unspoilt).tolist() == [-1]
    # A rollout that ended early: nothing is wrong where no turn took place.
    ended = played(np.array([[WON, WON, WON]]), np.array([[-1, -1]]), np.array([[0, 0]]))
    assert optimal.first_wrong_turn(ended).tolist() == [-1]
