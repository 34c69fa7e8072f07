"""How fast token-level returns are: ours and verl's loops over tokens, on the same tensors. Run: cairn bench credit.

Both sides whiten, and both compute the targets or returns beside the credit. verl gets the mask in the type that its
trainer gives, int64 (verl-project/verl:verl/experimental/agent_loop/agent_loop.py).
"""

from __future__ import annotations

from types import SimpleNamespace

from torch import Tensor

from cairn.lab.speed import Batch, Pair, Run
from cairn.ops.packing import Packing
from cairn.ops.returns import discounted_suffix_sum
from cairn.ops.values import generalized_advantages
from cairn.ops.whiten import standard_score

VERL = "verl==0.9.1"
GAMMA, LAMBDA = 1.0, 0.95


def gae(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return whitened advantages and the critic's targets, both (B, T)."""
    packing = Packing.of(batch.mask)
    rewards, values = packing.pack(batch.rewards), packing.take(batch.values)
    grid = generalized_advantages(rewards, packing.grid(values), packing.mask, GAMMA, LAMBDA)
    advantages = packing.flat(grid)
    return packing.put(standard_score(advantages)), packing.put(advantages + values)


def whitened_returns(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return REINFORCE++'s credit and the returns that it whitens, both (B, T)."""
    packing = Packing.of(batch.mask)
    returns = packing.flat(discounted_suffix_sum(packing.pack(batch.rewards), GAMMA))
    return packing.put(standard_score(returns)), packing.put(returns)


def _gae(batch: Batch) -> tuple[Run, Run]:
    from verl.trainer.ppo.core_algos import compute_gae_advantage_return

    mask = batch.mask.long()
    return (
        lambda: gae(batch)[0],
        lambda: compute_gae_advantage_return(batch.rewards, batch.values, mask, GAMMA, LAMBDA)[0],
    )


def _returns(batch: Batch) -> tuple[Run, Run]:
    from verl.trainer.ppo.core_algos import compute_reinforce_plus_plus_outcome_advantage as theirs

    mask, config = batch.mask.long(), SimpleNamespace(gamma=GAMMA)
    return lambda: whitened_returns(batch)[0], lambda: theirs(batch.rewards, mask, config=config)[0]


PAIRS = (
    Pair("GAE", "verl, `gae`", VERL, _gae),
    Pair("REINFORCE++", "verl, `reinforce_plus_plus`", VERL, _returns),
)
