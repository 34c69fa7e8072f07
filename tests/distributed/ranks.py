"""What each rank does in test_torchrun.py: `torchrun --nproc-per-node 2 ranks.py CASES RESULTS`.

CASES: a file of (batch, rollouts of each rank by case); RESULTS: a folder, to which each rank writes its answers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from cairn.lab.distributed import credit_over_ranks, statistic_over_ranks
from cairn.methods import find, implemented_ids
from cairn.ops.batches import select
from cairn.ops.groups import group_mean, group_std, leave_one_out, standardise
from cairn.rollouts import TOKEN_FIELDS, TURN_FIELDS, Credit, Rollouts

STATISTICS: dict[str, Callable[..., Tensor]] = {
    "mean": group_mean,
    "std": group_std,
    "leave one out": leave_one_out,
    "standardise": partial(standardise, scale_by_std=True, epsilon=1e-6),
}


def part_of(batch: Rollouts, index: Tensor) -> Rollouts:
    """Return some rollouts of a batch, no wider and with no more turns than they need."""
    part = select(batch, index)
    tokens = int(part.attention_mask.sum(1).max()) if len(part.row_rollout) else 0
    turns = int(part.turn_mask.sum(1).max()) if len(index) else 0
    narrow: dict[str, Any] = {}
    for names, width in ((TOKEN_FIELDS, tokens), (TURN_FIELDS, turns)):
        present = {name: getattr(part, name) for name in names}
        narrow |= {name: value[:, :width] for name, value in present.items() if value is not None}
    return part.replace(**narrow)


def drawn(rollouts: Rollouts) -> Credit:
    """A rule that draws: it asks whether all ranks draw alike."""
    generator = torch.Generator().manual_seed(rollouts.draw_seed)
    return Credit(rollouts.spread_rollouts(torch.rand(len(rollouts.group_ids), generator=generator)))


def answers(part: Rollouts) -> dict[str, Tensor]:
    """Return every statistic and every rule's credit, but for rules on pairs, which each rank forms by itself."""
    found = {name: statistic_over_ranks(one, part.terminal_rewards, part.group_ids) for name, one in STATISTICS.items()}
    for method_id in implemented_ids():
        method = find(method_id)()
        if "preference_pairs" in method.needs:
            continue
        found[method_id] = credit_over_ranks(method.credit, part.declare(method.needs)).advantages
    found["drawn"] = credit_over_ranks(
        drawn, part.replace(draw_seed=dist.get_rank() if dist.is_initialized() else 0)
    ).advantages
    return found


def main(cases: str, results: str) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    batch, parts = torch.load(cases, weights_only=False)
    for case, members in parts.items():
        torch.save(answers(part_of(batch, members[rank])), Path(results) / f"{case}-{rank}.pt")
    # Ranks that differ in their fields are told so on both sides, and nobody waits for the other.
    torn = batch.replace(entropies=None) if rank else batch
    try:
        credit_over_ranks(find("grpo")().credit, torn)
    except ValueError as error:
        (Path(results) / f"refused-{rank}").write_text(str(error))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
