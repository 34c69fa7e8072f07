"""IGPO: which GRPO it becomes, what telescopes, and whose answer it asks for."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, to_rollouts
from cairn.method import Method
from cairn.methods.grpo import GRPO
from cairn.methods.igpo import IGPO, information_gains, neighbours
from cairn.ops.returns import last_steps
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts
from cairn.testing.samples import Rows

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def _spoken() -> Rows:
    """The sample, where every turn says something, so that every turn has a level."""
    return [
        row.model_copy(update={"turns": tuple(turn for turn in row.turns if turn.tokens)}) for row in sample_rollouts()
    ]


def _collected(method: Method, rows: Rows, layout: Layout = "turn") -> Rollouts:
    return method.collect(Playback(to_rollouts(rows, layout), method.needs))


def _levels(rollouts: Rollouts) -> Tensor:
    assert rollouts.turn_scores is not None
    return rollouts.turn_scores


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("form", ["paper", "merged"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_gains_it_is_grpo_bit_for_bit(layout: Layout, form: Literal["paper", "merged"], scale: bool) -> None:
    rollouts = _collected(IGPO(), sample_rollouts(), layout)
    plain = GRPO(scale_by_std=scale).credit(rollouts).advantages
    assert torch.equal(plain, IGPO(gains=False, form=form, scale_by_std=scale).credit(rollouts).advantages)
    assert not torch.equal(plain, IGPO(form=form, scale_by_std=scale).credit(rollouts).advantages)


def test_merged_it_is_grpo_on_the_outcome_and_the_last_level() -> None:
    """The gains of a rollout sum up to its last level less its first one."""
    rollouts = _collected(IGPO(), _spoken())
    levels, mask = _levels(rollouts), rollouts.turn_mask
    last = (levels * last_steps(mask)).sum(1)
    paid = rollouts.replace(terminal_rewards=rollouts.returns + last - levels[:, 0], turn_rewards=0 * levels)
    merged = IGPO(form="merged").credit(rollouts).advantages
    torch.testing.assert_close(merged, GRPO().credit(paid).advantages)


def test_the_released_returns_telescope_at_gamma_one_and_not_below() -> None:
    """Groups of two rollouts of one token a turn: what is left of a turn is R + P_last - P_k, less the group's mean."""
    rows = [
        row.model_copy(update={"turns": tuple(turn.model_copy(update=_first_token(turn)) for turn in row.turns[:2])})
        for row in _spoken()
        if len(row.turns) > 1
    ]
    rollouts = _collected(IGPO(), rows)
    levels = _levels(rollouts).exp()
    left = rollouts.returns[:, None] + levels[:, 1:2] - levels
    means = torch.stack([left[rollouts.group_ids == group].mean(0) for group in rollouts.group_ids])
    released = IGPO(form="released", gain="probability")
    given = rollouts.mean_over_turns(released.credit(rollouts).advantages)
    torch.testing.assert_close(given, left - means)
    below = IGPO(form="released", gain="probability", gamma=0.5).credit(rollouts).advantages
    assert not torch.allclose(rollouts.mean_over_turns(below), left - means)


def _first_token(turn: object) -> dict[str, object]:
    lists = ("tokens", "logprobs", "reference_logprobs", "entropies", "values")
    return {name: getattr(turn, name)[:1] for name in lists}


def test_the_papers_form_telescopes_to_a_state_baseline_and_the_number_of_turns_left() -> None:
    """Without division: (s_last - s_k) - (T - k) mu + (R - mean R), mu the mean of the group's gains."""
    rollouts = _collected(IGPO(), _spoken())
    levels, mask = _levels(rollouts), rollouts.turn_mask
    given = rollouts.mean_over_turns(IGPO(scale_by_std=False).credit(rollouts).advantages)
    last = (levels * last_steps(mask)).sum(1, keepdim=True)
    left = mask.sum(1, keepdim=True) - 1 - torch.arange(mask.shape[1])
    for group in rollouts.group_ids.unique():
        member = rollouts.group_ids == group
        if member.sum() == 1:
            continue  # with one gain only there is nothing to compare
        gained = information_gains(levels, mask)[member][(mask & ~last_steps(mask))[member]]
        outcome = (rollouts.returns - rollouts.returns[member].mean())[:, None]
        wanted = last - levels - left * gained.mean() + outcome
        torch.testing.assert_close(given[member][mask[member]], wanted[member][mask[member]])


def test_a_gain_needs_two_turns_that_spoke() -> None:
    levels = torch.tensor([[-3.0, -1.0, 0.0, -0.5]])
    assert information_gains(levels, torch.tensor([[True, True, False, True]])).tolist() == [[2.0, 0.0, 0.0, 0.0]]
    assert information_gains(levels, torch.tensor([[True, True, False, False]])).tolist() == [[2.0, 0.0, 0.0, 0.0]]


def test_neighbours_are_of_the_next_group() -> None:
    assert neighbours(torch.tensor([7, 2, 7, 9, 2])).tolist() == [3, 0, 3, 1, 0]
    assert neighbours(torch.tensor([4, 4])).tolist() == [0, 0]


@pytest.mark.parametrize("whose", ["own", "other"])
def test_whose_answer_is_asked_for(whose: Literal["own", "other"]) -> None:
    asked: list[Tensor | None] = []

    class Asked(Playback):
        def answer_logprobs(self, rollouts: Rollouts, of: Tensor | None = None) -> Tensor:
            asked.append(of)
            return super().answer_logprobs(rollouts, of)

    method = IGPO(answer=whose)
    rollouts = to_rollouts(sample_rollouts())
    method.collect(Asked(rollouts, method.needs))
    (of,) = asked
    assert (of is None) == (whose == "own")
    assert of is None or not (rollouts.group_ids[of] == rollouts.group_ids).any()
