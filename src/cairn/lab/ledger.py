"""The ledger: what an arm has spent. Only the services write to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Ledger:
    """Running totals. FLOPs follow `ModelCost.forward_flops`; a training pass counts as three forward passes.

    Every row is billed as if it had been computed by itself: sharing between equal rows, which small worlds allow,
    saves time but is not credited. Evaluation and exact credit for controls are not billed to any arm.
    A row that grows through an episode (full history) reads each of its tokens once; a fork reads its prefix anew.
    """

    flops: float = 0.0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    scored_tokens: int = 0
    trained_tokens: int = 0
    environment_steps: int = 0
    environment_resets: int = 0
    judge_calls: int = 0
    seconds: float = 0.0

    def totals(self) -> dict[str, float | int]:
        """Return all totals as plain numbers."""
        return asdict(self)
