"""How fast the comparison within groups is: ours and verl's default loop, on the same tensors.

verl gets the types that its trainer gives: prompts by name, the mask as int64 (verl-project/verl:verl/experimental/
agent_loop/agent_loop.py).

Run: cairn bench credit grpo
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from cairn.lab.speed import Batch, Pair, Run
from cairn.ops.groups import leave_one_out, standardise
from cairn.ops.packing import spread

VERL = "verl==0.9.1"


def _against(name: str, ours: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Batch], tuple[Run, Run]]:
    def prepare(batch: Batch) -> tuple[Run, Run]:
        from verl.trainer.ppo.core_algos import get_adv_estimator_fn

        estimator, mask = get_adv_estimator_fn(name), batch.mask.long()
        prompts = np.array([str(group) for group in batch.groups.tolist()], dtype=object)
        return (
            lambda: spread(ours(batch.rewards.sum(-1), batch.groups), batch.mask),
            lambda: estimator(token_level_rewards=batch.rewards, response_mask=mask, index=prompts)[0],
        )

    return prepare


PAIRS = (
    Pair("GRPO", "verl, `grpo`", VERL, _against("grpo", lambda r, g: standardise(r, g, True, 1e-6))),
    Pair("RLOO", "verl, `rloo`", VERL, _against("rloo", leave_one_out)),
)
