"""iStar: a turn is credited with what a second model, trained on which rollouts won, would have changed about it.

The second model starts as the policy and learns from pairs of a success and a failure of the same task; by how much it
finds an action likelier than the policy that acted is the implicit reward of the turn.

    r_k  = beta sum over the tokens of a_k of (log phi(y) - log pi_old(y))
    A_k  = standardise(R) + w standardise(r_k), the latter over all turns of the group
    phi: loss = mean over pairs (success i, failure j) of -log sigmoid(S_i - S_j),   S = sum over turns of r_k

Shapes: r (R, K), R and S (R,), A (B, T). Source: arXiv 2509.19199 (under its first title), equations 1 to 6;
Tongyi-ConvAI/Qwen-Character:CharacterRL-iStar/istar/core_istar.py, dp_rm.py, rm_utils.py. What differs between them: in
the code S is the mean over turns; r is divided by its largest size in the batch; both parts are compared with the
others of the group, r with a mean in which only the first turn of each rollout enters (`comparison="leave_one_out"`);
and the pair loss is formed from detached scores, so that phi stays as it began (`trained=False`; read, and seen when
its function is run). What differs here: a group of one gets 0, where the code keeps the raw value; a success is a
return above 0; the KL is every arm's, where the paper has none; the loss has token ratios, which with one step a batch
are 1 like the paper's ratios of turns. phi is scored before its step, as in the code. Limits: w = 0 is GRPO, or RLOO by
the code's comparison; where phi equals pi_old there is no step part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Limit, Method, Services
from cairn.ops.groups import leave_one_out, standardise, standardise_turns
from cairn.ops.preferences import preference_loss, preference_pairs
from cairn.rollouts import Credit, Rollouts

ROUNDING = 1e-5  # nats; two passes in float32 that mean the same differ by up to 1e-6, and ranks would see it


def against_first_turns(scores: Tensor, spoken: Tensor, group_ids: Tensor) -> Tensor:
    """Return n / (n - 1) (r_k - mean over the group's n rollouts of their first turn's r), as the released code does.

    scores, spoken: (R, K); group_ids: (R,). Rollouts that said nothing do not count. Returns (R, K), 0 in a group of
    one.
    """
    rollout, first = spoken.any(1), spoken & (spoken.cumsum(1) == 1)
    _, of = torch.unique(group_ids, return_inverse=True)
    empty = scores.new_zeros(int(of.max()) + 1 if len(of) else 0)
    counts = empty.index_add(0, of, rollout.to(scores.dtype))[of]
    means = empty.index_add(0, of, (scores * first).sum(1))[of] / counts.clamp_min(1)
    factor = torch.where(counts > 1, counts / (counts - 1).clamp_min(1), 0.0)
    return factor[:, None] * (scores - means[:, None]) * spoken


@dataclass(frozen=True)
class IStar(Method):
    """Implicit step rewards of a second model; see the module for the formula."""

    beta: float = 0.05  # paper and code
    step_weight: float = 1.0  # w, paper and code
    reward_learning_rate: float = 1e-6  # of the second model, paper and code; twice the policy's there
    trajectory_score: Literal["sum", "mean"] = "sum"  # paper; "mean" in the code
    comparison: Literal["standardised", "leave_one_out"] = "standardised"  # paper's example; the code's `istar_rloo`
    trained: bool = True  # paper; False is what the released loss amounts to

    needs: ClassVar[frozenset[str]] = frozenset({"prm", "preference_pairs", "turn_boundaries", "reference_policy"})
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"step_weight": 0.0}, Method()),)

    def collect(self, services: Services) -> Rollouts:
        """Sample the batch, pair its successes with its failures, and ask the second model for its log-ratios."""
        rollouts = services.rollouts()
        ratios = services.second_logprobs(rollouts) - rollouts.logprobs_behaviour
        scores = self.beta * rollouts.sum_over_turns(ratios.where(ratios.abs() > ROUNDING, 0.0))
        pairs = preference_pairs((rollouts.returns > 0).float(), rollouts.group_ids, "all")
        return rollouts.replace(turn_scores=scores, pairs=pairs)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Add the comparison of steps to that of rollouts."""
        spoken, groups = rollouts.turn_mask & (rollouts.turn_tokens() > 0), rollouts.group_ids
        scores = rollouts.require("turn_scores") * spoken
        if self.comparison == "leave_one_out":
            largest = scores.abs().max() if scores.numel() else 0.0
            steps = against_first_turns(scores / (largest + self.epsilon), spoken, groups)
            outcome = leave_one_out(rollouts.returns, groups)
        else:
            labels = groups[:, None].expand(scores.shape)
            steps = standardise_turns(scores, labels, spoken, self.scale_by_std, self.epsilon)
            outcome = standardise(rollouts.returns, groups, self.scale_by_std, self.epsilon)
        return Credit(rollouts.spread_turns(outcome[:, None] + self.step_weight * steps))

    def fit(self, rollouts: Rollouts, services: Services) -> None:
        """Take one step of the second model towards the successes."""
        pairs = rollouts.require("pairs")

        def loss(logprobs: Tensor) -> Tensor:
            read = logprobs if self.trained else logprobs.detach()
            return preference_loss(self.trajectory_scores(read, rollouts), pairs, self.beta)

        services.fit_second(rollouts, loss, self.reward_learning_rate)

    def trajectory_scores(self, logprobs: Tensor, rollouts: Rollouts) -> Tensor:
        """Return S / beta, (R,): the log-ratio of the second model to the policy that acted, by rollout."""
        total = rollouts.sum_over_rollouts(logprobs - rollouts.logprobs_behaviour)
        if self.trajectory_score == "sum":
            return total
        return total / (rollouts.turn_tokens() > 0).sum(1).clamp_min(1)
