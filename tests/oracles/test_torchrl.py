"""GAE and TD(lambda) beside torchrl's own functions: `nox -s oracle-torchrl`. Float64 on both sides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.oracles.batches import SEEDS, assert_near, library, packed, random_batch
from tests.oracles.semantics import block_on_page, render
from torch import Tensor

from cairn.methods.ppo_gae import PPOGAE
from cairn.ops.values import generalized_advantages, lambda_returns
from cairn.rollouts import Rollouts

torchrl: Any = library("torchrl.objectives.value.functional")
EXACT = 1e-9
# torchrl's vectorised forms leave out powers of gamma * lambda below 1e-7.
CUT_OFF = 1e-6
DECAYS = [(1.0, 1.0), (1.0, 0.95), (0.9, 0.5), (0.99, 0.0)]


def _exactly(number: float) -> Tensor:
    """A plain float would be rounded to float32 inside torchrl's loops, whatever the other tensors are."""
    return torch.tensor(number, dtype=torch.float64)


def _forms(lambda_: float) -> tuple[tuple[str, float], ...]:
    """Return the prefixes of torchrl's functions and how near they come; the fast form fails at lambda 0."""
    return (("", EXACT), ("vec_", CUT_OFF)) if lambda_ else (("", EXACT),)


def _stream(rollouts: Rollouts, after: Tensor) -> dict[str, Tensor]:
    """All action tokens of all rows in one stream (N, 1), as torchrl keeps them: flags say where a row ends.

    A row that was cut off is done but not terminated, and what follows it is worth `after`.
    """
    packing, rewards, values = packed(rollouts)
    last = torch.zeros_like(packing.mask)
    last[torch.arange(len(last)), packing.mask.sum(1) - 1] = True
    nexts = torch.where(last, after[:, None], torch.nn.functional.pad(values, (0, 1))[:, 1:])
    parts = {
        "state_value": values,
        "next_state_value": nexts,
        "reward": rewards,
        "done": last,
        "terminated": last & ~rollouts.truncated[:, None],
    }
    return {name: packing.flat(part)[:, None] for name, part in parts.items()}


def _after(seed: int, rollouts: Rollouts) -> Tensor:
    """Values after the last step of each row; torchrl reads them only where a row was cut off."""
    return torch.randn(len(rollouts.truncated), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("gamma", "lambda_"), DECAYS)
@pytest.mark.parametrize("seed", SEEDS)
def test_gae(seed: int, gamma: float, lambda_: float) -> None:
    rollouts = random_batch(seed)
    after = _after(seed, rollouts)
    stream = _stream(rollouts, after)
    packing, rewards, values = packed(rollouts)
    ours = generalized_advantages(rewards, values, packing.mask, gamma, lambda_, after * rollouts.truncated)
    for function, limit in _forms(lambda_):
        estimate = getattr(torchrl, f"{function}generalized_advantage_estimate")
        advantages, targets = estimate(_exactly(gamma), _exactly(lambda_), **stream)
        assert_near(packing.flat(ours), advantages[:, 0], limit)
        assert_near(packing.flat(ours + values), targets[:, 0], limit)


@pytest.mark.parametrize(("gamma", "lambda_"), DECAYS)
@pytest.mark.parametrize("seed", SEEDS)
def test_td_lambda(seed: int, gamma: float, lambda_: float) -> None:
    rollouts = random_batch(seed)
    after = _after(seed, rollouts)
    stream = _stream(rollouts, after)
    stream.pop("state_value")
    packing, rewards, values = packed(rollouts)
    ours = lambda_returns(rewards, values, packing.mask, gamma, lambda_, after * rollouts.truncated)
    for function, limit in _forms(lambda_):
        targets = getattr(torchrl, f"{function}td_lambda_return_estimate")(_exactly(gamma), _exactly(lambda_), **stream)
        assert_near(packing.flat(ours), targets[:, 0], limit)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_rule_that_trains_counts_a_truncated_row_as_ended(seed: int) -> None:
    rollouts = random_batch(seed)
    stream = _stream(rollouts, torch.zeros(len(rollouts.truncated), dtype=torch.float64))
    packing, _, _ = packed(rollouts)
    advantages, _ = torchrl.generalized_advantage_estimate(
        1.0, _exactly(0.95), **{**stream, "terminated": stream["done"]}
    )
    ours = PPOGAE(lambda_=0.95, whiten=False).credit(rollouts).advantages
    assert_near(packing.take(ours), advantages[:, 0], EXACT)


def test_the_page_shows_what_torchrl_gives_today() -> None:
    assert block_on_page("torchrl") == render("torchrl")
