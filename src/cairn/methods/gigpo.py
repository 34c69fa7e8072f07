"""GiGPO: a second comparison, among all turns of a group that start from the same raw observation.

A turn is credited with its discounted return against the other visits of its anchor state, so that two choices made
in the same place are compared with each other; this is added to GRPO's comparison of whole rollouts.

    A_E(i)    = standardise(R_i) within the task group
    A_S(i, k) = standardise(G_ik) within {(j, l): same task, same raw observation},   G_ik = sum_{l>=k} gamma^(l-k) r_il
    A(i, k)   = A_E(i) + w A_S(i, k), copied to the action tokens of turn k

Shapes: returns (R,), G and A_S (R, K), A (B, T). Source: arXiv 2505.10978, equations 3 to 9; vanzll/verl-agent:
gigpo/core_gigpo.py (defaults gamma 0.95, w 1). What differs between them: the paper takes A_E's statistics over one
value a rollout, the released code by default over all step rows, so that long rollouts weigh more
(`episode_statistics`). Both print two normalisers, with and without the division by std (`scale_by_std`). Fuzzy
matching of observations is not implemented. Limits: w = 0, or no observation that recurs, is GRPO.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from cairn.method import Limit, Method
from cairn.ops.groups import pair_groups, standardise, standardise_by_rows, standardise_turns
from cairn.ops.returns import returns_to_go
from cairn.rollouts import Credit, Rollouts


@dataclass(frozen=True)
class GiGPO(Method):
    """Group-in-group comparison; see the module for the formula."""

    step_weight: float = 1.0  # w, vanzll/verl-agent, a public fork of the authors' langfengQ/verl-agent
    gamma: float = 0.95  # the same
    kl_coefficient: float = 0.01  # the same
    episode_statistics: Literal["rollout", "step_row"] = "rollout"  # paper; "step_row" is the released default

    needs: ClassVar[frozenset[str]] = frozenset({"state_keys", "turn_boundaries", "reference_policy"})
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"step_weight": 0.0}, Method()),)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Add the step comparison to the episode comparison."""
        return Credit(rollouts.spread_turns(self._episode(rollouts)[:, None] + self.step_weight * self._step(rollouts)))

    def _episode(self, rollouts: Rollouts) -> Tensor:
        if self.episode_statistics == "rollout":
            return standardise(rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon)
        return standardise_by_rows(
            rollouts.returns, rollouts.group_ids, rollouts.turn_mask, self.scale_by_std, self.epsilon
        )

    def _step(self, rollouts: Rollouts) -> Tensor:
        returns = returns_to_go(rollouts.turn_rewards, rollouts.terminal_rewards, rollouts.turn_mask, self.gamma)
        anchors = pair_groups(rollouts.group_ids, rollouts.require("observation_keys"))
        return standardise_turns(returns, anchors, rollouts.turn_mask, self.scale_by_std, self.epsilon)
