"""What a method is handed: the billed services that it declares, and nothing else of the laboratory."""

from __future__ import annotations

from typing import final

from torch import Tensor

from cairn.method import Services
from cairn.rollouts import Rollouts, UndeclaredNeedError


@final
class Door:
    """Implements `cairn.method.Services` in front of the laboratory's own services.

    A service that the method does not declare in its `needs` raises UndeclaredNeedError, and so does a field of the
    batch that `rollouts` returns.
    """

    __slots__ = ("_inside", "_needs")

    def __init__(self, inside: Services, needs: frozenset[str]) -> None:
        """Let through what `needs` names."""
        self._inside, self._needs = inside, needs

    def rollouts(self) -> Rollouts:
        """See `cairn.method.Services.rollouts`."""
        return self._inside.rollouts().declare(self._needs)

    def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
        """See `cairn.method.Services.continuations`."""
        self._require("mc_continuations")
        return self._inside.continuations(rollouts, count)

    def fork(self, rollouts: Rollouts, rollout: Tensor, turn: Tensor, *, after: bool = False) -> Rollouts:
        """See `cairn.method.Services.fork`."""
        self._require("env_fork", "tree_rollouts")
        return self._inside.fork(rollouts, rollout, turn, after=after).declare(self._needs)

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """See `cairn.method.Services.fit_critic`."""
        self._require("learned_critic")
        return self._inside.fit_critic(rollouts, targets)

    def ablated(self, rollouts: Rollouts, absent: Tensor) -> Rollouts:
        """See `cairn.method.Services.ablated`."""
        self._require("agent_ids")
        return self._inside.ablated(rollouts, absent).declare(self._needs)

    def returns_without(self, rollouts: Rollouts, absent: Tensor) -> Tensor:
        """See `cairn.method.Services.returns_without`."""
        self._require("agent_ids")
        return self._inside.returns_without(rollouts, absent)

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.exact_advantages`."""
        self._require("oracle")
        return self._inside.exact_advantages(rollouts)

    def _require(self, *needs: str) -> None:
        if self._needs.isdisjoint(needs):
            wanted = " or ".join(f"`{need}`" for need in needs)
            raise UndeclaredNeedError(f"a service was called that needs {wanted}, which the method's `needs` omits")
