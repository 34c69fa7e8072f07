"""Random batches with everything that makes implementations differ, and numbers to be told apart by eye."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from cairn.ops.packing import Packing
from cairn.rollouts import Rollouts

SEEDS = range(12)
# Sizes of groups: unequal, one alone, and one whose rewards are made equal.
GROUP_SIZES, EQUAL_GROUP, LONE_GROUP = (4, 2, 5, 3, 1), 3, 4
TOKENS = 17


def library(name: str) -> Any:
    """Import a module of a library that has a nox session of its own, without its warnings; elsewhere, skip."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, reason="has a nox session of its own: `nox -l`", exc_type=ImportError)


def random_batch(seed: int) -> Rollouts:
    """Return one row for each rollout: holes inside responses, unequal lengths, turn rewards, truncation, a critic.

    The first row has one action token, the second has an action token at every place. Rows of group 3 are paid alike
    and group 4 has one row; their turns pay nothing.
    """
    rng = torch.Generator().manual_seed(seed)
    groups = torch.arange(len(GROUP_SIZES)).repeat_interleave(torch.tensor(GROUP_SIZES))
    rows = len(groups)
    lengths = torch.randint(2, TOKENS + 1, (rows, 1), generator=rng)
    attention = torch.arange(TOKENS) < lengths
    actions = attention & (torch.rand(rows, TOKENS, generator=rng) < 0.7)
    actions[0], actions[1], attention[1] = torch.arange(TOKENS) == 1, True, True
    actions[:, 1] = True  # nobody is silent
    starts = actions & ~torch.nn.functional.pad(actions, (1, 0))[:, :-1]
    turn_ids = torch.where(actions, starts.cumsum(1) - 1, -1)
    turn_mask = torch.arange(int(turn_ids.max()) + 1) <= turn_ids.amax(1, keepdim=True)
    rewards = torch.rand(rows, generator=rng, dtype=torch.float64)
    rewards[groups == EQUAL_GROUP] = 0.1
    dense = (torch.rand(turn_mask.shape, generator=rng, dtype=torch.float64) - 0.5) * (groups < EQUAL_GROUP)[:, None]

    def per_token(scale: float) -> Tensor:
        return scale * torch.randn(actions.shape, generator=rng, dtype=torch.float64)

    return Rollouts(
        token_ids=torch.zeros(actions.shape, dtype=torch.long),
        attention_mask=attention,
        action_mask=actions,
        turn_ids=turn_ids,
        row_rollout=torch.arange(rows),
        group_ids=groups,
        terminal_rewards=rewards,
        truncated=torch.rand(rows, generator=rng) < 0.4,
        turn_mask=turn_mask,
        turn_rewards=dense,
        logprobs_behaviour=-per_token(1.0).abs(),
        logprobs_reference=-per_token(1.0).abs(),
        values=per_token(0.5),
    )


def packed(rollouts: Rollouts) -> tuple[Packing, Tensor, Tensor]:
    """Return the packing of the action tokens, and on it the token rewards and the critic's values."""
    packing = Packing.of(rollouts.action_mask)
    return packing, packing.pack(rollouts.token_rewards()), packing.pack(rollouts.require("values"))


def assert_near(ours: Tensor, theirs: Tensor, limit: float) -> None:
    """Compare shapes and, within an absolute limit, numbers; float32 is widened."""
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=0.0, atol=limit)
