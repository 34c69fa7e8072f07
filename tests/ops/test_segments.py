"""Segmenters on batches written by hand; every expected cut and sum was worked out by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from cairn.errors import UserError
from cairn.ops.segments import (
    Segments,
    by_change,
    by_delimiter,
    by_length,
    by_low_probability,
    by_turn,
    cut,
    resegment,
    within_turns,
)
from cairn.rollouts import Rollouts

STOP = 9
# Each rollout is a list of turns, each turn a list of (token, probability). The second rollout has a turn without
# tokens in its midst, the third a single token, the fourth none at all.
PLAYS: list[list[list[tuple[int, float]]]] = [
    [[(1, 0.99), (2, 0.5), (STOP, 0.99)], [(3, 0.8), (4, 0.95)], [(5, 0.3), (6, 0.2), (STOP, 0.9)]],
    [[(1, 0.2), (STOP, 0.99)], [], [(2, 0.99), (STOP, 0.99)]],
    [[(7, 0.99)]],
    [[], []],
]
TURN_REWARDS = [[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 0.0, 0.0], [128.0, 256.0, 0.0]]
LAYOUTS = ["turn", "episode"]


def _batch(layout: str) -> Rollouts:
    """Write PLAYS down, with an observation of one token before each turn; rows stand in reverse order."""
    rows: list[tuple[int, list[tuple[int, int, float]]]] = []
    for r, turns in enumerate(PLAYS):
        pieces = [[(0, -1, 1.0), *((token, k, p) for token, p in turn)] for k, turn in enumerate(turns)]
        whole = [cell for piece in pieces for cell in piece]
        rows += [(r, whole)] if layout == "episode" else [(r, piece) for piece in pieces]
    rows.reverse()
    width = max(len(row) for _, row in rows)
    padded = [row + [(0, -1, 1.0)] * (width - len(row)) for _, row in rows]
    token, turn, chance = (torch.tensor([[cell[i] for cell in row] for row in padded]) for i in range(3))
    turns_taken = torch.tensor([len(turns) for turns in PLAYS])
    return Rollouts(
        token_ids=token,
        attention_mask=torch.tensor([[i < len(row) for i in range(width)] for _, row in rows]),
        action_mask=turn >= 0,
        turn_ids=turn,
        row_rollout=torch.tensor([r for r, _ in rows]),
        group_ids=torch.zeros(4, dtype=torch.long),
        terminal_rewards=torch.tensor([1000.0, 2000.0, 3000.0, 4000.0]),
        truncated=torch.zeros(4, dtype=torch.bool),
        turn_mask=torch.arange(3) < turns_taken[:, None],
        turn_rewards=torch.tensor(TURN_REWARDS),
        logprobs_behaviour=chance.log(),
        observation_keys=torch.arange(12).reshape(4, 3),
        state_handles=100 + torch.arange(12).reshape(4, 3),
        exact_advantages=torch.ones(4, 3),
    )


def _read(batch: Rollouts, segments: Segments) -> list[list[int]]:
    """The segment of each action token, rollout by rollout, and nothing but -1 elsewhere."""
    assert (segments.ids[~batch.action_mask] == -1).all()
    index = batch.action_index()
    found = segments.ids.flatten()[index.flat]
    told: list[list[int]] = [row[mask].tolist() for row, mask in zip(found, index.mask, strict=True)]
    assert segments.counts.tolist() == [max(row, default=-1) + 1 for row in told]
    return told


@pytest.fixture(params=LAYOUTS)
def batch(request: pytest.FixtureRequest) -> Rollouts:
    layout: str = request.param
    return _batch(layout)


def test_by_turn_leaves_out_turns_without_tokens(batch: Rollouts) -> None:
    assert _read(batch, by_turn(batch)) == [[0, 0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 1], [0], []]


def test_by_delimiter_ends_a_segment_with_the_delimiter_and_opens_none_behind_the_last(batch: Rollouts) -> None:
    assert _read(batch, by_delimiter(batch, torch.tensor([STOP]))) == [[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1], [0], []]
    nowhere = by_delimiter(batch, torch.tensor([], dtype=torch.long))
    assert _read(batch, nowhere) == [[0] * 8, [0] * 4, [0], []]
    everywhere = by_delimiter(batch, torch.arange(10))
    assert _read(batch, everywhere) == [[*range(8)], [*range(4)], [0], []]


def test_by_length_counts_action_tokens_across_turns(batch: Rollouts) -> None:
    assert _read(batch, by_length(batch, 3)) == [[0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 1], [0], []]
    assert _read(batch, by_length(batch, 1)) == [[*range(8)], [*range(4)], [0], []]
    assert _read(batch, by_length(batch, 100)) == [[0] * 8, [0] * 4, [0], []]


def test_by_low_probability_cuts_before_what_the_policy_found_unlikely(batch: Rollouts) -> None:
    """Below 0.9 are, of the first rollout, tokens 1, 3, 5 and 6 (0.5, 0.8, 0.3, 0.2); of the second, token 0."""
    assert _read(batch, by_low_probability(batch, 0.89)) == [[0, 1, 1, 2, 2, 3, 4, 4], [0] * 4, [0], []]
    # Every second place: tokens 1 and 5.
    assert _read(batch, by_low_probability(batch, 0.89, every=2)) == [[0, 1, 1, 1, 1, 2, 2, 2], [0] * 4, [0], []]
    # Of those, four tokens from 1 to 4 are cut after three, and four of the second rollout likewise.
    bounded = by_low_probability(batch, 0.89, every=2, longest=3)
    assert _read(batch, bounded) == [[0, 1, 1, 1, 2, 3, 3, 3], [0, 0, 0, 1], [0], []]


def test_by_low_probability_at_its_ends(batch: Rollouts) -> None:
    assert _read(batch, by_low_probability(batch, 1.0)) == [[*range(8)], [*range(4)], [0], []], "all are below 1"
    assert _read(batch, by_low_probability(batch, 0.0)) == [[0] * 8, [0] * 4, [0], []]
    assert _read(batch, by_low_probability(batch, 0.0, longest=1)) == [[*range(8)], [*range(4)], [0], []]


def test_by_change_cuts_where_a_signal_moves(batch: Rollouts) -> None:
    """The probabilities as a signal: 0.99 .5 .99 .8 .95 .3 .2 .9 moves by more than 0.4 at tokens 1, 2, 5 and 7."""
    changed = by_change(batch, batch.logprobs_behaviour.exp(), 0.4)
    assert _read(batch, changed) == [[0, 1, 2, 2, 2, 3, 3, 4], [0, 1, 1, 1], [0], []]


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan])
def test_a_threshold_that_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(UserError, match="probability"):
        by_low_probability(_batch("turn"), wrong)


def test_counts_below_one_are_refused() -> None:
    batch = _batch("turn")
    for call in (partial(by_length, tokens=0), partial(by_low_probability, every=0),
                 partial(by_low_probability, longest=0)):  # fmt: skip
        with pytest.raises(UserError, match="count"):
            call(batch)


def test_without_any_action_token_there_are_no_segments(batch: Rollouts) -> None:
    mute = batch.replace(action_mask=torch.zeros_like(batch.action_mask), turn_ids=torch.full_like(batch.turn_ids, -1))
    for segments in (by_length(mute, 2), by_turn(mute), by_delimiter(mute, torch.tensor([STOP])),
                     by_low_probability(mute, longest=2)):  # fmt: skip
        assert _read(mute, segments) == [[], [], [], []]
        assert resegment(mute, segments).returns.tolist() == batch.returns.tolist()


def test_within_turns_adds_the_borders_of_turns(batch: Rollouts) -> None:
    both = within_turns(batch, by_length(batch, 4))
    assert _read(batch, both) == [[0, 0, 0, 1, 2, 3, 3, 3], [0, 0, 1, 1], [0], []]


def test_resegment_by_turn_keeps_what_each_turn_had(batch: Rollouts) -> None:
    """The silent turn of the second rollout is gone, its reward stands at the token before it."""
    again = resegment(batch, by_turn(batch))
    assert again.turn_mask.tolist() == [[True] * 3, [True, True, False], [True, False, False], [True, False, False]]
    assert again.turn_rewards.tolist() == [[1, 2, 4], [24, 32, 0], [64, 0, 0], [384, 0, 0]]
    keys = again.require("observation_keys")
    assert keys[again.turn_mask].tolist() == [0, 1, 2, 3, 5, 6, 9]
    assert (again.require("state_handles")[again.turn_mask] == 100 + keys[again.turn_mask]).all()
    assert again.exact_advantages is None
    assert torch.equal(again.action_index().flat, batch.action_index().flat)
    assert torch.equal(again.token_rewards(), batch.token_rewards())


def test_resegment_merges_turns_of_one_row() -> None:
    """By delimiter, turns 1 and 2 of the first rollout are one segment: 2 + 4 is paid at its end."""
    batch = _batch("episode")
    again = resegment(batch, by_delimiter(batch, torch.tensor([STOP])))
    assert again.turn_mask.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    assert again.turn_rewards.tolist() == [[1, 6], [24, 32], [64, 0], [384, 0]]
    assert again.require("observation_keys")[again.turn_mask].tolist() == [0, 1, 3, 5, 6, 9]
    assert again.terminal_rewards.tolist() == batch.terminal_rewards.tolist()
    assert again.returns.tolist() == batch.returns.tolist() == [1007, 2056, 3064, 4384]


def test_resegment_inside_turns_drops_what_belongs_to_turns(batch: Rollouts) -> None:
    segments = within_turns(batch, by_low_probability(batch, 0.89))
    assert _read(batch, segments)[0] == [0, 1, 1, 2, 2, 3, 4, 4]
    again = resegment(batch, segments)
    assert again.turn_rewards[0].tolist() == [0, 1, 2, 0, 4]
    for name in ("observation_keys", "state_handles", "turn_values", "exact_advantages"):
        assert getattr(again, name) is None
    assert again.returns.tolist() == batch.returns.tolist()
    assert torch.equal(again.action_index().flat, batch.action_index().flat)


def test_a_segment_across_rows_is_refused() -> None:
    batch = _batch("turn")
    with pytest.raises(UserError, match="several rows"):
        resegment(batch, by_length(batch, 4))


def test_a_gate_stays_in_place() -> None:
    batch = _batch("turn").declare(frozenset({"segmenting"}))
    again = resegment(batch, by_turn(batch))
    assert again.turn_rewards[0, 0] == 1
    with pytest.raises(AttributeError, match="state_handles"):
        _ = again.state_handles


def test_cut_begins_a_segment_with_the_first_token_whatever_it_is_told() -> None:
    batch = _batch("turn")
    never = torch.zeros(batch.action_index().mask.shape, dtype=torch.bool)
    assert _read(batch, cut(batch, never)) == [[0] * 8, [0] * 4, [0], []]
    assert not never.any(), "the input stays as it is"
