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

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """See `cairn.method.Services.fit_critic`."""
        self._require("learned_critic")
        return self._inside.fit_critic(rollouts, targets)

    def ablated(self, rollouts: Rollouts, absent: Tensor) -> Rollouts:
        """See `cairn.method.Services.ablated`."""
        self._require("agent_ids")
        return self._inside.ablated(rollouts, absent).declare(self._needs)

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.exact_advantages`."""
        self._require("oracle")
        return self._inside.exact_advantages(rollouts)

    def _require(self, need: str) -> None:
        if need not in self._needs:
            raise UndeclaredNeedError(
                f"a service was called that needs `{need}`, which the method's `needs` does not list"
            )
