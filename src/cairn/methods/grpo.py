"""GRPO: every token of a response gets the response's return, compared within the group of the same prompt.

It assigns no credit inside a response; the comparison removes what the prompt contributes.

    A_i = (R_i - mean_group(R)) / (std_group(R) + epsilon), copied to every action token of rollout i

Shapes: returns (R,), advantages (B, T). Source: arXiv 2402.03300, section 4.1.2; volcengine/verl:verl/trainer/ppo/
core_algos.py for the unbiased std and epsilon. What differs: the loss is averaged over all action tokens of the batch
(verl's default), where the paper averages within a response first. Limits: `scale_by_std=False` is the credit of
Dr. GRPO, and G / (G - 1) times that is RLOO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cairn.method import Method


@dataclass(frozen=True)
class GRPO(Method):
    """The default of every stage, under its own name."""

    invariants: ClassVar[frozenset[str]] = frozenset({"zero_mean_in_group"})
