"""C3: a message is compared with other messages that were sampled at the same frozen transcript and really played on.

At a decision the transcript before it is kept, alternatives are sampled there, and each is continued to the end; what
the alternatives earned is the baseline, so that everything that was said before is the same on both sides.

    r_i = mean terminal reward of the leaves below message i
    A_i = r_i - mean over the siblings j != i of r_j, copied to the action tokens of message i

Shapes: r and A (R, K), advantages (B, T). Source: arXiv 2603.06859, whose formula is known from the code, EIT-EAST-Lab/
C3:c3/credit/c3/provider.py (`reward_only`; `full_mean`; no replay) and openrlhf/trainer/ppo_utils/experience_maker.py
(standardisation among siblings by the deviation of the population, which the released script leaves on). What differs:
the paper's tree, 2 messages of the first agent and 4 of the second below each, would have 2^turns leaves in a long
relay. So each rollout is a trunk, which `alternatives - 1` branches leave before every turn but the first, where the
rollouts of the task are alternatives to each other: our reading. What a branch says after the message that is compared
has no siblings, and leaves the loss instead of training on 0. The released default, `value_assisted`, with a critic's
baseline, is not offered; standardised, it has r_i + q_i / (n - 1) in place of r_i. The code adds 1e-8 to the variance,
ours to the deviation. Limits: two turns, two rollouts a task and four alternatives are the paper's tree; with siblings
from any transcript of the task (`replay` off) and no branches it is RLOO, and standardised GRPO with the deviation of
the population; standardised, leave-one-out and full mean are one rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.batches import concatenate, parent_places
from cairn.ops.groups import leave_one_out, standardise
from cairn.rollouts import Credit, Rollouts


def leaf_means(returns: Tensor, trunks: Tensor, forks: Tensor, turns: int) -> Tensor:
    """Return the mean return of the leaves below the message of each turn: (R, turns).

    returns: (R,). trunks: (R,) long, the rollout that a branch left, or itself. forks: (R,) long, the turn at which it
    left, 0 for a trunk. Below a message of a trunk lie the trunk's own leaf and the branches that leave it later; below
    one of a branch, its own leaf alone.
    """
    itself = (trunks == torch.arange(len(trunks)))[:, None]
    below = (forks[:, None] > torch.arange(turns)) | itself
    start = returns[trunks][:, None]  # taken off before summing, so that equal returns have exactly their mean
    gains = torch.zeros(below.shape, dtype=returns.dtype).index_add(0, trunks, (returns[:, None] - start) * below)
    counts = torch.zeros_like(gains).index_add(0, trunks, below.to(returns.dtype))
    return torch.where(itself, start + gains / counts.clamp_min(1), returns[:, None])


@dataclass(frozen=True)
class C3(Method):
    """Leave-one-out among siblings; see the module for the formula."""

    alternatives: int = 2  # messages compared at a turn; the fan-outs of EIT-EAST-Lab/C3 are 2 and 4
    baseline: Literal["leave_one_out", "full_mean"] = "leave_one_out"  # the paper's; the other is its ablation
    standardised: bool = False  # the paper's formula; on in the released script
    replay: bool = True  # the paper; off in its ablation, in which siblings may have different transcripts
    epsilon: float = 1e-8  # EIT-EAST-Lab/C3

    needs: ClassVar[frozenset[str]] = frozenset({"env_fork", "tree_rollouts", "turn_boundaries", "reference_policy"})

    def collect(self, services: Services) -> Rollouts:
        """Sample the trunks, let branches leave them before every turn but the first, and keep what is compared."""
        trunks = services.rollouts()
        rollout, turn = trunks.turn_mask[:, 1:].nonzero(as_tuple=True)
        copies = self.alternatives - 1
        branches = services.fork(trunks, rollout.repeat_interleave(copies), turn.repeat_interleave(copies) + 1)
        tree = concatenate([trunks, branches])
        trained = tree.spread_turns(_compared(tree)).any(1)
        return tree.keep_rows(trained | (tree.row_rollout < len(trunks.group_ids)))

    def credit(self, rollouts: Rollouts) -> Credit:
        """Compare each message with its siblings; what is not compared leaves the loss."""
        compared, trunks = _compared(rollouts), parent_places(rollouts)
        means = leaf_means(rollouts.returns, trunks, rollouts.require("fork_turns"), compared.shape[1])
        advantages = torch.zeros_like(means)
        advantages[compared] = self._among_siblings(means[compared], self._siblings(rollouts, trunks)[compared])
        return Credit(rollouts.spread_turns(advantages), rollouts.spread_turns(compared))

    def _siblings(self, rollouts: Rollouts, trunks: Tensor) -> Tensor:
        """Label each turn with what it is compared in: (R, K). All rollouts of a task have the transcript of turn 0."""
        _, tasks = torch.unique(rollouts.group_ids, return_inverse=True)
        turn = torch.arange(rollouts.turn_mask.shape[1])
        from_one_transcript = (turn > 0) & self.replay
        place = torch.where(from_one_transcript, trunks[:, None], len(trunks) + tasks[:, None])
        return place * len(turn) + turn

    def _among_siblings(self, values: Tensor, labels: Tensor) -> Tensor:
        """Return the advantages (N,) of messages of these values; a message without siblings has 0."""
        if self.baseline == "leave_one_out":
            compared = leave_one_out(values, labels)
        else:
            compared = standardise(values, labels, False, self.epsilon)
        return standardise(compared, labels, True, self.epsilon, correction=0) if self.standardised else compared


def _compared(rollouts: Rollouts) -> Tensor:
    """Say of each turn whether its message is compared: all turns of a trunk, and the first that a branch took."""
    turn = torch.arange(rollouts.turn_mask.shape[1])
    taken = torch.where(_is_branch(rollouts), turn == rollouts.require("fork_turns")[:, None], True)
    return taken & rollouts.turn_mask


def _is_branch(rollouts: Rollouts) -> Tensor:
    return rollouts.require("parent_ids")[:, None] >= 0
