"""What a method is handed: the billed services that it declares, and nothing else of the laboratory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

from torch import Tensor

from cairn.lab.guard import billed
from cairn.method import ActionValues, Given, Services
from cairn.rollouts import Rollouts, UndeclaredNeedError


@final
class Door:
    """Implements `cairn.method.Services` in front of the laboratory's own services.

    A service that the method does not declare in its `needs` raises UndeclaredNeedError, and so does a field of the
    batches that come back. What costs may be done only behind it: see `cairn.lab.guard`.
    """

    __slots__ = ("_inside", "_needs")

    def __init__(self, inside: Services, needs: frozenset[str]) -> None:
        """Let through what `needs` names."""
        self._inside, self._needs = inside, needs

    def rollouts(self) -> Rollouts:
        """See `cairn.method.Services.rollouts`."""
        with billed():
            return self._inside.rollouts().declare(self._needs)

    def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
        """See `cairn.method.Services.continuations`."""
        with self._open("mc_continuations") as inside:
            return inside.continuations(rollouts, count)

    def fork(self, rollouts: Rollouts, rollout: Tensor, turn: Tensor, *, after: bool = False) -> Rollouts:
        """See `cairn.method.Services.fork`."""
        with self._open("env_fork", "tree_rollouts") as inside:
            return inside.fork(rollouts, rollout, turn, after=after).declare(self._needs)

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """See `cairn.method.Services.fit_critic`."""
        with self._open("learned_critic") as inside:
            return inside.fit_critic(rollouts, targets)

    def action_values(self, rollouts: Rollouts, *, lagging: bool = False) -> ActionValues:
        """See `cairn.method.Services.action_values`."""
        with self._open("action_critic") as inside:
            return inside.action_values(rollouts, lagging=lagging)

    def fit_action_values(
        self, rollouts: Rollouts, targets: ActionValues, teaches_states: Tensor, follow: float
    ) -> float:
        """See `cairn.method.Services.fit_action_values`."""
        with self._open("action_critic") as inside:
            return inside.fit_action_values(rollouts, targets, teaches_states, follow)

    def ablated(self, rollouts: Rollouts, absent: Tensor) -> Rollouts:
        """See `cairn.method.Services.ablated`."""
        with self._open("agent_ids") as inside:
            return inside.ablated(rollouts, absent).declare(self._needs)

    def turn_scores(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.turn_scores`."""
        with self._open("prm") as inside:
            return inside.turn_scores(rollouts)

    def rollout_scores(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.rollout_scores`."""
        with self._open("reward_model") as inside:
            return inside.rollout_scores(rollouts)

    def marks(self, rollouts: Rollouts, votes: int) -> Tensor:
        """See `cairn.method.Services.marks`."""
        with self._open("judge") as inside:
            return inside.marks(rollouts, votes)

    def rescored_logprobs(self, rollouts: Rollouts, given: Given) -> Tensor:
        """See `cairn.method.Services.rescored_logprobs`."""
        with self._open("rescoring") as inside:
            return inside.rescored_logprobs(rollouts, given)

    def answer_logprobs(self, rollouts: Rollouts, of: Tensor | None = None) -> Tensor:
        """See `cairn.method.Services.answer_logprobs`."""
        with self._open("rescoring") as inside:
            return inside.answer_logprobs(rollouts, of)

    def second_logprobs(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.second_logprobs`."""
        with self._open("prm", "reward_model") as inside:
            return inside.second_logprobs(rollouts)

    def fit_second(self, rollouts: Rollouts, loss: Callable[[Tensor], Tensor], learning_rate: float) -> float:
        """See `cairn.method.Services.fit_second`."""
        with self._open("prm", "reward_model") as inside:
            return inside.fit_second(rollouts, loss, learning_rate)

    def replay(self, count: int) -> tuple[Rollouts, ...]:
        """See `cairn.method.Services.replay`."""
        with self._open("off_policy_buffer") as inside:
            return tuple(batch.declare(self._needs) for batch in inside.replay(count))

    def returns_without(self, rollouts: Rollouts, absent: Tensor) -> Tensor:
        """See `cairn.method.Services.returns_without`."""
        with self._open("agent_ids") as inside:
            return inside.returns_without(rollouts, absent)

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.exact_advantages`."""
        with self._open("oracle") as inside:
            return inside.exact_advantages(rollouts)

    @contextmanager
    def _open(self, *needs: str) -> Iterator[Services]:
        if self._needs.isdisjoint(needs):
            wanted = " or ".join(f"`{need}`" for need in needs)
            raise UndeclaredNeedError(f"a service was called that needs {wanted}, which the method's `needs` omits")
        with billed():
            yield self._inside
