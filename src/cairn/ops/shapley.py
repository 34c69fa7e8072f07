"""What each player brings to a game of coalitions, from a table of what every coalition is worth.

A table is (..., 2^A): entry `mask` is the worth v(S) of the coalition S that holds player i exactly where bit i of
`mask` is set; entry 0 is nobody, the last one everybody. Leading dimensions are games side by side.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb

import torch
from torch import Tensor

Marginal = tuple[Tensor, Tensor, Tensor]


def shapley_values(table: Tensor) -> Tensor:
    """Return what each player adds, averaged over all orders in which the players may join: (..., A).

        phi_i = sum over S without i of |S|! (A - |S| - 1)! / A! * (v(S + i) - v(S))

    table: (..., 2^A), float, in any unit, which is that of the result. Raises ValueError where the last dimension is
    not a power of two. Source: Shapley (1953), "A value for n-person games". Holds, up to rounding: the values sum to
    v(all) - v(nobody) (efficiency); a player who adds nothing to any coalition gets exactly 0 (null player); players
    who add the same to every coalition get the same (symmetry); the values of a sum of games are the sums (linearity).
    Limits: in a game where coalitions are worth the sum of their members, each player gets its own worth, as it does
    by `leave_one_out_values`. Time grows as A * 2^A.
    """
    players = _players(table)
    found = []
    for player in range(players):
        without, joined, weights = _marginal(player, players)
        gains = table[..., joined.to(table.device)] - table[..., without.to(table.device)]
        found.append((gains * weights.to(gains)).sum(-1))
    return torch.stack(found, -1) if found else table.new_zeros((*table.shape[:-1], 0))


def leave_one_out_values(table: Tensor) -> Tensor:
    """Return what is lost without each player, v(all) - v(all without i): (..., A).

    table: (..., 2^A). Raises ValueError as `shapley_values`. What differs from the Shapley value: only the largest
    coalition is asked, so that the values need not sum to anything, and of two players who can stand in for each other
    both get 0. Used as marginal credit in arXiv 2602.08335 (by second-hand accounts).
    """
    players = _players(table)
    everybody = (1 << players) - 1
    lacking = [everybody ^ 1 << player for player in range(players)]
    return table[..., everybody, None] - table[..., lacking]


def _players(table: Tensor) -> int:
    size = table.shape[-1] if table.dim() else 0
    if size < 1 or size & size - 1:
        raise ValueError(f"a table of coalitions has 2^A entries, not {size}")
    return size.bit_length() - 1


@lru_cache(maxsize=1024)
def _marginal(player: int, players: int) -> Marginal:
    """Return the coalitions without a player, the same with it, and the weight of each step from one to the other."""
    masks = torch.arange(1 << players)
    without = masks[masks >> player & 1 == 0]
    sizes = sum((without >> other & 1 for other in range(players)), start=torch.zeros_like(without))
    weights = torch.tensor([1 / (players * comb(players - 1, size)) for size in range(players)], dtype=torch.float64)
    return without, without | 1 << player, weights[sizes]
