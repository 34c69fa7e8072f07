"""Cost is linear in tokens: by counting what credit touches, and by time, with a wide margin, for what numpy does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cairn.lab.model import LanguageModel
from cairn.lab.speed_tokens import Part, grow, loss_work, make_rollouts, play_work, sizes, slope
from cairn.method import Method
from cairn.methods import find, implemented_ids
from cairn.rollouts import Credit, Rollouts

SMALL, LARGE = 16_000, 1_024_000
TOLERANCE = 1.01


class Touched(TorchDispatchMode):
    """Counts calls of torch, and the elements of the largest tensor in each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += 1 + max((one.numel() for one in _tensors((args, result))), default=0)
        return result


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    return [found for one in value for found in _tensors(one)] if isinstance(value, (list, tuple)) else []


def touched(work: Callable[[], object]) -> int:
    counter = Touched()
    with counter:
        work()
    return counter.count


class AllPairs(Method):
    """Compares every rollout with every other, through a square table."""

    def credit(self, rollouts: Rollouts) -> Credit:
        values = rollouts.returns
        return Credit(rollouts.spread_rollouts((values[:, None] - values).mean(1)))


@pytest.mark.parametrize("name", implemented_ids())
def test_credit_touches_elements_in_proportion_to_tokens(name: str) -> None:
    method = find(name)()
    small, large = (make_rollouts(tokens) for tokens in (SMALL, LARGE))
    growth = touched(lambda: method.credit(large)) / touched(lambda: method.credit(small))
    assert 1 < growth <= TOLERANCE * LARGE / SMALL


def test_a_quadratic_credit_is_noticed() -> None:
    small, large = (make_rollouts(tokens) for tokens in (SMALL, LARGE))
    growth = touched(lambda: AllPairs().credit(large)) / touched(lambda: AllPairs().credit(small))
    assert growth > 1.1 * LARGE / SMALL


def test_the_loss_touches_elements_in_proportion_to_tokens() -> None:
    small, large = (loss_work(tokens)[0] for tokens in (SMALL, LARGE))
    assert touched(large) <= TOLERANCE * LARGE / SMALL * touched(small)


@pytest.mark.parametrize("collated", [False, True])
def test_sampling_and_collating_take_no_more_time_for_each_token_of_a_large_batch(
    model: LanguageModel, collated: bool
) -> None:
    # 16 times the tokens: at least 16 times the time where cost is linear, 256 times where it is quadratic.
    part = Part("play", lambda tokens: play_work("quest", model, tokens, collated=collated))
    assert grow(part, (50_000, 800_000), (3, 3)).exponent < 1.5


def test_a_quadratic_part_is_noticed() -> None:
    def prepare(tokens: int) -> tuple[Callable[[], object], int]:
        words = ["w"] * (tokens // 200)
        return lambda: [words[:k] for k in range(len(words))], tokens

    assert grow(Part("prefixes", prepare), (50_000, 800_000), (3, 3)).exponent > 1.5


def test_a_part_is_timed_at_the_sizes_that_it_allows_with_its_true_tokens() -> None:
    asked: list[int] = []

    def prepare(tokens: int) -> tuple[Callable[[], object], int]:
        asked.append(tokens)
        return lambda: sum(range(20_000)), tokens + 1

    found = grow(Part("part", prepare, most_tokens=100), (10, 100, 1000), (2, 2))
    assert asked == [10, 100]
    assert found.tokens == (11, 101)
    assert found.ns_per_token[0] == pytest.approx(1e9 * found.seconds[0] / 11)
    assert 0 < found.seconds[1] < time.process_time()


def test_slope_and_sizes() -> None:
    assert slope((10, 100, 1000), (3e-3, 3e-1, 3e1)) == pytest.approx(2)
    assert sizes(10_000, 10_000_000) == (10_000, 100_000, 1_000_000, 10_000_000)
    with pytest.raises(ValueError, match="two sizes"):
        slope((10,), (1.0,))


def test_batches_hold_whole_groups_and_actions_in_every_turn() -> None:
    rollouts = make_rollouts(20_000)
    assert (torch.bincount(rollouts.group_ids) == 8).all()
    assert rollouts.token_ids.shape == (16, 1000)
    said = torch.zeros_like(rollouts.turn_mask, dtype=torch.long)
    rows = torch.arange(len(said))[:, None].expand(rollouts.turn_ids.shape)[rollouts.action_mask]
    said.index_put_((rows, rollouts.turn_ids[rollouts.action_mask]), torch.tensor(1), accumulate=True)
    assert np.unique(said.numpy()).tolist() == [5]
