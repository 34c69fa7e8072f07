"""CARL's tree: values and credits worked out by hand and by recursion, and where it forks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.methods.carl import CARL, Tree, tree_advantages
from cairn.methods.grpo import GRPO
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _tree(shape: list[tuple[int, int, int, float]], layout: Layout = "turn") -> Rollouts:
    """Rollouts of one task, each (parent or -1, turn at which it left, turns, return), with numbers of two digits."""
    rows = [
        RolloutRow.model_validate(
            {"group": "g", "reward": r, "turns": [{"tokens": ["t"], "logprobs": [-1 - i / 9]}] * turns}
        )
        for i, (_, _, turns, r) in enumerate(shape)
    ]
    parents, forks = torch.tensor([s[:2] for s in shape]).T
    ids = torch.arange(len(rows)) + 10
    return to_rollouts(rows, layout).replace(
        rollout_ids=ids, parent_ids=torch.where(parents < 0, parents, ids[parents]), fork_turns=forks
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tree_by_hand(layout: Layout) -> None:
    # Rollout 0 earns 1 in three turns, rollout 1 earns 0 in two. Rollouts 2 and 3 leave 0 before its turn 1 and earn 0
    # and 0.5; rollout 4 leaves 2 before turn 2 and earns 1.
    rollouts = _tree([(-1, 0, 3, 1.0), (-1, 0, 2, 0.0), (0, 1, 3, 0.0), (0, 1, 2, 0.5), (2, 2, 3, 1.0)], layout)
    credit = CARL().credit(rollouts)
    # State 2 of rollout 2: (0 + 1) / 2 = 0.5. State 1 of rollout 0: (1 + 0.5 + 0.5) / 3 = 2/3. Root: (2/3 + 0) / 2.
    third = 1 / 3
    by_turn = rollouts.mean_over_turns(credit.advantages)
    expected = [[third, third, 0], [-third, 0, 0], [0, -third / 2, -0.5], [0, -third / 2, 0], [0, 0, 0.5]]
    torch.testing.assert_close(by_turn, torch.tensor(expected, dtype=torch.float64))
    kept = rollouts.mean_over_turns(credit.trained(rollouts.action_mask).double()).bool()
    assert kept.tolist() == [
        [True, True, False],
        [True, False, False],
        [False, True, True],
        [False, True, False],
        [False, False, True],
    ]


def _random_tree(seed: int) -> list[tuple[int, int, int, float]]:
    """Two or three whole rollouts, then forks that leave a state that their parent owns."""
    rng = np.random.default_rng(seed)
    shape = [(-1, 0, int(rng.integers(1, 6)), float(rng.random())) for _ in range(rng.integers(2, 4))]
    for _ in range(12):
        parent = int(rng.integers(len(shape)))
        first = shape[parent][1] + 1
        if first < shape[parent][2]:
            left = int(rng.integers(first, shape[parent][2]))
            shape.append((parent, left, left + int(rng.integers(1, 4)), float(rng.random())))
    return shape


class _Plain:
    """The same tree as nested dictionaries, valued by recursion."""

    def __init__(self, shape: list[tuple[int, int, int, float]]) -> None:
        self.shape = shape

    def value(self, r: int, k: int) -> float:
        """Of what follows action k of rollout r."""
        return self.shape[r][3] if k + 1 == self.shape[r][2] else self.state(r, k + 1)

    def state(self, r: int, k: int) -> float:
        """Of the state before turn k that rollout r owns."""
        forks = [f for f, (parent, left, *_) in enumerate(self.shape) if (parent, left) == (r, k)]
        return float(np.mean([self.value(one, k) for one in [r, *forks]]))

    def root(self) -> float:
        return float(np.mean([self.value(r, 0) for r, one in enumerate(self.shape) if one[0] < 0]))

    def credit(self, r: int, k: int) -> float:
        parent, left, *_ = self.shape[r]
        before = self.root() if k == 0 else self.state(parent if k == left else r, k)
        return self.value(r, k) - before


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(5))
def test_values_are_those_of_a_plain_recursion(seed: int, layout: Layout) -> None:
    shape = _random_tree(seed)
    rollouts, plain = _tree(shape, layout), _Plain(shape)
    got = rollouts.mean_over_turns(CARL().credit(rollouts).advantages)
    for r, (_, left, turns, _) in enumerate(shape):
        wanted = [plain.credit(r, k) if k >= left else 0.0 for k in range(turns)]
        assert got[r, :turns].tolist() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_credits_telescope_from_root_to_leaf_and_cancel_among_siblings(seed: int) -> None:
    shape = _random_tree(seed)
    rollouts = _tree(shape)
    tree = Tree.of(rollouts)
    credits_ = tree_advantages(tree, rollouts.returns, rollouts.turn_mask)
    torch.testing.assert_close(tree.sums(credits_), torch.zeros_like(credits_), atol=1e-12, rtol=0)
    assert credits_.abs().max() > 0.05
    for r, (_, _, turns, leaf) in enumerate(shape):
        one, total = r, 0.0
        for k in reversed(range(turns)):
            total += float(credits_[one, k])
            one = shape[one][0] if k == shape[one][1] and k > 0 else one
        assert total == pytest.approx(leaf - _Plain(shape).root())


class _Recorder(Playback):
    """Notes what is forked."""

    def fork(self, rollouts: Rollouts, rollout: Tensor, turn: Tensor, *, after: bool = False) -> Rollouts:
        self.forked = [*getattr(self, "forked", []), (rollout.tolist(), turn.tolist())]
        return super().fork(rollouts, rollout, turn, after=after)


def _asked(method: CARL, rollouts: Rollouts) -> tuple[list[tuple[list[int], list[int]]], Rollouts]:
    services = _Recorder(rollouts, method.needs)
    tree = method.collect(services)
    return getattr(services, "forked", []), tree


def test_the_least_density_is_forked_first() -> None:
    """Surprises 4, 0.9, 0.5 and 4, 0.7, as in the golden example; and a second task beside it, of one rollout."""

    def row(group: str, reward: float, *surprises: float) -> RolloutRow:
        turns = [{"tokens": ["t", "t"], "logprobs": [-s - 0.5, -s + 0.5]} for s in surprises]
        return RolloutRow.model_validate({"group": group, "reward": reward, "turns": turns})

    rollouts = to_rollouts([row("a", 1, 4, 0.9, 0.5), row("a", 0, 4, 0.7), row("b", 0, 0.2, 3, 1)])
    forked, tree = _asked(CARL(forks=5), rollouts)
    # Task a: the root has H / n = 4 / 2, 4 / 3, 4 / 4; then the states with 0.9, of which each fork has brought one.
    assert [(r[0], k[0]) for r, k in forked] == [(0, 0), (0, 0), (0, 0), (0, 1), (3, 1)]
    # Task b: 3, then 3 / 2; the forks bring states with 1, so that 3 / 3 shares the third place.
    assert [(r[1], k[1]) for r, k in forked[:2]] == [(2, 1), (2, 1)]
    assert len(tree.group_ids) == 3 + 5 * 2
    assert tree.require("parent_ids")[:3].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("forks", [3, 16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_from_one_rollout_between_n_and_1_and_2_n_actions_are_trained(layout: Layout, forks: int) -> None:
    """The paper's count (17 to 32 of N = 16): a new action for each fork, and the first one of each forked state."""
    turn = {"tokens": ["t"], "logprobs": [-1]}
    row = RolloutRow.model_validate({"group": "g", "reward": 1, "turns": [turn] * 9})
    method = CARL(forks=forks)
    forked, tree = _asked(method, to_rollouts([row], layout))
    credit = method.credit(tree.declare(method.needs))
    kept = tree.sum_over_turns(credit.trained(tree.action_mask).double()).sum()
    states = {(r[0], k[0]) for r, k in forked}
    assert int(kept) == forks + len(states)
    assert forks + 1 <= int(kept) <= 2 * forks


def test_random_forks_are_others_and_the_same_each_time() -> None:
    rollouts = to_rollouts(sample_rollouts())
    chosen = [_asked(CARL(forks=4, fork_at="random"), rollouts)[0] for _ in range(2)]
    assert chosen[0] == chosen[1] != _asked(CARL(forks=4), rollouts)[0]
    assert chosen[0] != _asked(CARL(forks=4, fork_at="random"), rollouts.replace(draw_seed=7))[0]
    inside = rollouts.turn_mask
    assert all(bool(inside[r, k]) for rs, ks in chosen[0][:1] for r, k in zip(rs, ks, strict=True))


def test_with_one_turn_and_no_fork_it_is_grpo_without_std() -> None:
    rows = [row.model_copy(update={"turns": row.turns[-1:]}) for row in sample_rollouts()]
    rollouts = to_rollouts(rows)
    got = CARL(forks=0).credit(rollouts)
    wanted = GRPO(scale_by_std=False).credit(rollouts).advantages
    torch.testing.assert_close(got.advantages, wanted, atol=1e-12, rtol=0)
    alone = rollouts.spread_rollouts(torch.tensor([row.group != "alone" for row in rows]))
    assert torch.equal(got.trained(rollouts.action_mask), alone)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_surveys_reading_forks_nothing_and_keeps_a_share_of_grpos_turns(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    method = CARL(kept_share=0.28)
    assert _asked(method, rollouts)[0] == []
    credit = method.credit(rollouts)
    assert torch.equal(credit.advantages, GRPO().credit(rollouts).advantages)
    kept = rollouts.sum_over_turns(credit.trained(rollouts.action_mask).double()) > 0
    spoken = rollouts.turn_tokens() > 0
    surprise = -rollouts.mean_over_turns(rollouts.logprobs_behaviour)
    assert int(kept.sum()) == int(np.ceil(0.28 * int(spoken.sum())))
    assert surprise[kept].min() > surprise[spoken & ~kept].max()


def test_no_action_is_held_back_by_a_kl_term() -> None:
    rollouts = to_rollouts(sample_rollouts())
    credit = CARL().credit(rollouts)
    logprobs = rollouts.logprobs_behaviour * 0.9
    assert torch.equal(
        CARL(kl_coefficient=9.0).loss(logprobs, rollouts, credit), CARL().loss(logprobs, rollouts, credit)
    )
