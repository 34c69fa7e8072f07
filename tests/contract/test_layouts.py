"""One batch in both layouts, made from each other token by token: every rule found gives the same credit and loss."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.layouts import by_action, random_rollouts, to_episodes, to_turns
from torch import Tensor

from cairn.interchange import Playback, to_rollouts
from cairn.lab.controls import ExactCredit
from cairn.method import Method
from cairn.methods import find, implemented_ids
from cairn.rollouts import TOKEN_FIELDS, Rollouts
from cairn.testing import sample_rollouts

METHODS: list[Method] = [*(find(name)() for name in implemented_ids()), ExactCredit()]
GROUPS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def _seen(method: Method, rollouts: Rollouts) -> tuple[Tensor, Tensor, Tensor]:
    """Return, by trained action token in the order of time, the credit and the gradient of the loss; and the loss.

    A rule may leave rows out of what it collects, and cannot leave out a part of an episode that is one row.
    """
    collected = method.collect(Playback(rollouts, method.needs))
    if "oracle" in method.needs:  # played back as zeros, which would be the same in any layout
        collected = collected.replace(exact_advantages=rollouts.exact_advantages)
    declared = method.reward(collected.declare(method.needs))
    credit = method.credit(declared)
    logprobs = (declared.logprobs_behaviour * 1.2).requires_grad_()
    loss = method.loss(logprobs, declared, credit)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    trained = by_action(declared, credit.trained(declared.action_mask))
    assert not gradient[~credit.trained(declared.action_mask)].any()
    return by_action(declared, credit.advantages)[trained], by_action(declared, gradient)[trained], loss.detach()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), turns=st.integers(1, 12), groups=GROUPS)
def test_both_layouts_give_the_same_credit_and_loss(method: Method, seed: int, turns: int, groups: list[int]) -> None:
    rows_of_turns = random_rollouts(seed, turns, groups)
    rows_of_episodes = to_episodes(rows_of_turns)
    back = to_turns(rows_of_episodes)
    wanted = _seen(method, rows_of_turns)
    for other in (rows_of_episodes, back):
        for ours, theirs in zip(_seen(method, other), wanted, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_layouts_are_two_and_hold_the_same_actions(seed: int) -> None:
    rows_of_turns = random_rollouts(seed)
    rows_of_episodes = to_episodes(rows_of_turns)
    back = to_turns(rows_of_episodes)
    assert len(rows_of_episodes.token_ids) == len(rows_of_turns.group_ids)
    assert len(back.token_ids) == int((rows_of_turns.turn_tokens() > 0).sum()), "a silent turn has no row of its own"
    assert rows_of_turns.attention_mask.sum() == rows_of_episodes.attention_mask.sum() == back.attention_mask.sum()
    for name in TOKEN_FIELDS:
        for other in (rows_of_episodes, back):
            given_, kept = getattr(rows_of_turns, name), getattr(other, name)
            if given_ is not None:
                assert torch.equal(by_action(rows_of_turns, given_), by_action(other, kept)), name


def test_the_converter_agrees_with_the_layouts_of_the_interchange_format() -> None:
    rows = sample_rollouts()
    made, read = to_episodes(to_rollouts(rows, "turn")), to_rollouts(rows, "episode")
    for name in TOKEN_FIELDS:
        if getattr(read, name) is not None:
            assert torch.equal(getattr(made, name), getattr(read, name)), name
