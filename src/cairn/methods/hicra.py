"""HICRA: the words that plan get more of their response's advantage than the words that carry the plan out.

Which words plan is a fixed list of short phrases, strategic grams, drawn up before training; every token inside a match
is a planning token. They are amplified where the response did better than its group, and spared where it did worse.

    A_i  = R_i - mean of the group
    A_it = A_i + alpha |A_i| on planning tokens, A_i on all others

Shapes: returns (R,), planning mask and A (B, T). Source: arXiv 2509.03646v3, sections 2.1 and 3 (alpha 0.2; no division
by the deviation), read in a public copy; the authors' repository holds no training code. What differs: the grams come
as token ids, and a match lies inside one step; how the paper mines them (n-grams embedded, clustered, ranked by the
solutions that hold them) is not done here. Whether the paper's loss has a KL term was not noted; it has GRPO's here,
averaged over the tokens of the batch. Not the paper's: `symmetric` amplifies failures too, A_i + alpha A_i, as the
survey's words (credit focused on planning tokens) may be read. Limits: alpha = 0, or no match, is GRPO without the
division. Since |A| is added on both sides of zero, the credits of a group no longer sum to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cairn.method import Limit, Method
from cairn.ops.groups import standardise
from cairn.rollouts import Credit, Rollouts


def inside_grams(tokens: Tensor, steps: Tensor, mask: Tensor, grams: Sequence[Sequence[int]]) -> Tensor:
    """Mark the tokens that lie in a match of one of the grams, (R, L) bool.

    tokens, steps: (R, L) long, in time order, with the step of each token; mask: (R, L) bool, True first, then False.
    A match lies in one step. A gram of no tokens matches nothing.
    """
    inside = torch.zeros_like(mask)
    for gram in grams:
        last = len(gram) - 1
        if not 0 <= last < mask.shape[1]:
            continue
        wanted = torch.tensor(gram, device=tokens.device)
        begins = (tokens.unfold(1, len(gram), 1) == wanted).all(-1) & mask[:, last:]
        begins &= steps[:, last:] == steps[:, : begins.shape[1]]
        for offset in range(len(gram)):
            inside[:, offset : offset + begins.shape[1]] |= begins
    return inside


@dataclass(frozen=True)
class HICRA(Method):
    """GRPO with amplified planning tokens; see the module for the formula."""

    alpha: float = 0.2  # arXiv 2509.03646v3, section 3
    strategic_grams: Sequence[Sequence[int]] = ()  # token ids; the paper's list is of the words of its own domain
    symmetric: bool = False  # arXiv 2509.03646v3, section 3: failures are spared
    scale_by_std: bool = False  # arXiv 2509.03646v3, section 3

    needs: ClassVar[frozenset[str]] = frozenset({"reference_policy", "segmenting"})
    limits: ClassVar[tuple[Limit, ...]] = (Limit({"alpha": 0.0}, Method(scale_by_std=False)),)

    def credit(self, rollouts: Rollouts) -> Credit:
        """Amplify the response's advantage on its planning tokens."""
        outcomes = standardise(rollouts.returns, rollouts.group_ids, self.scale_by_std, self.epsilon)
        uniform = rollouts.spread_rollouts(outcomes)
        extra = uniform if self.symmetric else uniform.abs()
        return Credit(uniform + self.alpha * extra * self._planning(rollouts))

    def _planning(self, rollouts: Rollouts) -> Tensor:
        """(B, T) bool: the planning tokens."""
        index = rollouts.action_index()
        tokens, steps = index.pack(rollouts.token_ids), index.pack(rollouts.turn_ids)
        return index.unpack(inside_grams(tokens, steps, index.mask, self.strategic_grams))
