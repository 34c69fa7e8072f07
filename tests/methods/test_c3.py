"""Siblings at one transcript: what they sum to, how leaves are counted, and which rules are limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, RolloutRow, to_rollouts
from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.model import load
from cairn.lab.pretrain import embedded_model
from cairn.lab.services import Models, TabularServices
from cairn.lab.tasks import relay
from cairn.methods.c3 import C3, leaf_means
from cairn.ops.groups import leave_one_out, standardise
from cairn.rollouts import Rollouts

TURNS = 3


def _tree(seed: int, alternatives: int = 2, layout: Layout = "turn") -> Rollouts:
    """Trees of two tasks, three trunks of three turns in each, with random returns and branches at turns 1 and 2."""
    rng = np.random.default_rng(seed)
    row = {"turns": [{"tokens": ["t", "u"]}] * TURNS}
    nodes = [(task, -1, 0) for task in "aaabbb"]
    nodes += [(nodes[t][0], t, turn) for t in range(6) for turn in range(1, TURNS) for _ in range(alternatives - 1)]
    rows = [RolloutRow.model_validate({**row, "group": task, "reward": rng.random()}) for task, _, _ in nodes]
    return to_rollouts(rows, layout).replace(
        parent_ids=torch.tensor([parent for _, parent, _ in nodes]),
        fork_turns=torch.tensor([turn for _, _, turn in nodes]),
    )


def _turns(method: C3, rollouts: Rollouts) -> Tensor:
    return rollouts.mean_over_turns(method.credit(rollouts).advantages)


def _families(rollouts: Rollouts) -> Iterator[list[tuple[int, int, list[float]]]]:
    """Tell each group of siblings: rollout, turn and the returns of the leaves below, from the tree itself."""
    tree = list(
        zip(
            rollouts.group_ids.tolist(), rollouts.require("parent_ids").tolist(),
            rollouts.require("fork_turns").tolist(), rollouts.terminal_rewards.tolist(), strict=True,
        )
    )  # fmt: skip

    def node(trunk: int, turn: int) -> tuple[int, int, list[float]]:
        return trunk, turn, [tree[trunk][3]] + [r for _, parent, left, r in tree if parent == trunk and left > turn]

    trunks = [i for i, (_, parent, _, _) in enumerate(tree) if parent < 0]
    for task in {group for group, _, _, _ in tree}:
        yield [node(trunk, 0) for trunk in trunks if tree[trunk][0] == task]
    for trunk in trunks:
        for turn in range(1, TURNS):
            branches = [
                (i, turn, [r]) for i, (_, parent, left, r) in enumerate(tree) if (parent, left) == (trunk, turn)
            ]
            yield [node(trunk, turn), *branches]


@pytest.mark.parametrize("layout", ["turn", "episode"])
@pytest.mark.parametrize("alternatives", [2, 4])
def test_the_formula_told_a_second_time(alternatives: int, layout: Layout) -> None:
    rollouts = _tree(1, alternatives, layout)
    expected = torch.zeros(rollouts.turn_mask.shape, dtype=torch.float64)
    for family in _families(rollouts):
        for i, (rollout, turn, leaves) in enumerate(family):
            others = [np.mean(below) for j, (_, _, below) in enumerate(family) if j != i]
            expected[rollout, turn] = np.mean(leaves) - np.mean(others)
    torch.testing.assert_close(_turns(C3(), rollouts), expected)


@pytest.mark.parametrize("standardised", [True, False])
def test_siblings_sum_to_zero_and_what_has_none_leaves_the_loss(standardised: bool) -> None:
    rollouts = _tree(2, alternatives=4)
    credit = C3(standardised=standardised).credit(rollouts)
    turns, compared = rollouts.mean_over_turns(credit.advantages), 0
    for family in _families(rollouts):
        compared += len(family)
        assert sum(float(turns[rollout, turn]) for rollout, turn, _ in family) == pytest.approx(0.0, abs=1e-9)
    assert credit.loss_mask is not None
    assert int(credit.loss_mask.sum()) == 2 * compared  # tokens a message
    assert not credit.advantages[~credit.loss_mask].any()


def test_after_standardisation_leave_one_out_and_full_mean_are_one_rule_and_two_siblings_leave_a_sign() -> None:
    rollouts = _tree(3)
    rules = [C3(standardised=True, baseline=baseline) for baseline in ("leave_one_out", "full_mean")]
    one, other = (_turns(rule, rollouts) for rule in rules)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    later = one[:, 1:][one[:, 1:] != 0]
    torch.testing.assert_close(later.abs(), torch.ones_like(later), atol=1e-5, rtol=0)
    plain = _turns(C3(), rollouts)
    assert torch.equal(plain.sign(), one.sign())
    assert not torch.allclose(plain, one, atol=0.1)
    full = _turns(C3(baseline="full_mean"), rollouts)
    torch.testing.assert_close(plain[:, 1:], 2 * full[:, 1:])  # n / (n - 1)


@pytest.mark.parametrize("standardised", [True, False])
def test_without_replay_and_branches_it_is_rloo_or_grpo_with_the_deviation_of_the_population(
    standardised: bool,
) -> None:
    rollouts = _tree(4, alternatives=1)
    of = rollouts.returns, rollouts.group_ids
    expected = standardise(*of, True, 0.0, correction=0) if standardised else leave_one_out(*of)
    rule = C3(replay=False, alternatives=1, standardised=standardised)
    torch.testing.assert_close(_turns(rule, rollouts), expected[:, None].expand(-1, TURNS), atol=1e-6, rtol=0)
    assert not _turns(replace(rule, replay=True), rollouts)[:, 1:].any()


def test_leaves_below_a_message_by_hand() -> None:
    # A trunk worth 1 over three turns; branches worth 0 and 4 leave it at turns 1 and 2.
    returns, trunks, forks = torch.tensor([1.0, 0, 4]), torch.tensor([0, 0, 0]), torch.tensor([0, 1, 2])
    found = leaf_means(returns, trunks, forks, 3)
    assert found[0].tolist() == pytest.approx([5 / 3, 2.5, 1.0])
    assert found[1:].tolist() == [[0.0] * 3, [4.0] * 3]


@pytest.mark.parametrize("alternatives", [1, 3])
def test_on_a_relay_branches_share_the_transcript_and_only_compared_messages_are_scored(alternatives: int) -> None:
    crew = load(embedded_model("relay"))
    method, ledger = C3(alternatives=alternatives), Ledger()
    services = TabularServices(
        Models(crew, crew, None), prompt_form("windowed", crew.tokenizer, 4), ledger, method.needs,
        instances=[relay.build(relay.Knobs(rounds=1), seed) for seed in (1, 2)], group_size=4, seed=(5, 0),
    )  # fmt: skip
    batch = method.collect(services.door).replace(needs=None)
    turns = relay.Knobs(rounds=1).horizon
    assert len(batch.group_ids) == 8 * (1 + (turns - 1) * (alternatives - 1))
    left = batch.require("fork_turns")[batch.require("parent_ids") >= 0]
    assert left.bincount(minlength=turns).tolist() == [0] + [8 * (alternatives - 1)] * (turns - 1)
    assert len(batch.token_ids) == 8 * (turns + (turns - 1) * (alternatives - 1))
    trained = method.credit(batch.declare(method.needs)).trained(batch.action_mask)
    assert bool(trained.any(1).all())
    shared = 0
    for row in range(len(batch.token_ids)):
        fork, turn = int(batch.row_rollout[row]), int(batch.turn_ids[row].max())
        trunk = int(batch.require("parent_ids")[fork])
        if trunk >= 0:
            twin = (batch.row_rollout == trunk) & (batch.turn_ids.amax(1) == turn)
            (seen,) = batch.token_ids[twin]
            prompt = int(batch.action_mask[row].int().argmax())
            assert torch.equal(batch.token_ids[row, :prompt], seen[:prompt])
            shared += 1
    assert shared == 8 * (turns - 1) * (alternatives - 1)
