"""The ledger: what an arm has spent. Only the services write to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cairn.lab.guard import refuse_unbilled


@dataclass
class Ledger:
    """Running totals. FLOPs follow `ModelCost.forward_flops`; a training pass counts as three forward passes.

    Every row is billed as if it had been computed by itself: sharing between equal rows, which small worlds allow,
    saves time but is not credited. Evaluation and exact credit for controls are not billed to any arm.
    A row that grows through an episode (full history) reads each of its tokens once; a fork is billed as if it read its
    prefix anew, in `prompt_tokens` and in `flops`. `reused_tokens` says how many of those had stood in the row that it
    left: what a cache of the prefix spares. It is a note beside the accounts, not one of them: `totals` leaves it out.
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
    reused_tokens: int = 0

    def __setattr__(self, name: str, value: float) -> None:
        refuse_unbilled("a write to the ledger")
        super().__setattr__(name, value)

    @property
    def new_tokens(self) -> int:
        """Return the tokens of sampling, read or said, that no earlier row held as its beginning."""
        return self.prompt_tokens + self.generated_tokens - self.reused_tokens

    def totals(self) -> dict[str, float | int]:
        """Return all accounts as plain numbers."""
        return {name: amount for name, amount in asdict(self).items() if name != "reused_tokens"}
