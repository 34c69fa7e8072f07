"""The services of a training run: sampling, forking, scoring, critic. Every call is billed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab import montecarlo
from cairn.lab.ablation import replay
from cairn.lab.critic import Critic
from cairn.lab.door import Door
from cairn.lab.episodes import Branch
from cairn.lab.exact import ExactCredit
from cairn.lab.instance import Instance, Spoken, concatenate
from cairn.lab.ledger import Ledger
from cairn.lab.model import token_logprobs
from cairn.lab.players import Player, PromptForm
from cairn.lab.services.bills import Bills
from cairn.lab.services.models import Models
from cairn.rollouts import Rollouts

SAMPLING, FORKS, ESTIMATES = range(3)  # streams of random numbers that must not touch each other


class TabularServices:
    """Implements `cairn.method.Services` for one update, and what else the laboratory asks; methods get the `door`."""

    def __init__(
        self,
        models: Models,
        form: PromptForm[Any],
        ledger: Ledger,
        needs: frozenset[str],
        *,
        instances: Sequence[Instance],
        group_size: int,
        seed: tuple[int, int],
    ) -> None:
        """Open the services of an update. seed: (run, update)."""
        self._models, self._form, self._needs = models, form, needs
        self._bills = Bills(ledger, models.policy.cost)
        self._instances, self._group_size, self._seed = instances, group_size, seed
        self._calls = {SAMPLING: 0, FORKS: 0, ESTIMATES: 0}
        self._current: Player[Any] | None = None
        self._batches: list[Any] = []  # all that were sampled in this update

    @property
    def door(self) -> Door:
        """Return what the method is handed."""
        return Door(self, self._needs)

    def rollouts(self) -> Rollouts:
        """Sample `group_size` rollouts in each instance of the update."""
        instance = np.repeat(np.arange(len(self._instances)), self._group_size)
        episodes = self._player().play(instance, self._rng(SAMPLING))
        self._batches.append(episodes)
        self._bills.play(episodes)
        return self._player().rollouts(episodes, draw_seed=self._seed[0] * 1_000_003 + self._seed[1])

    def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
        """See `cairn.method.Services.continuations`."""
        rollouts = rollouts.replace(needs=None)
        mask = rollouts.turn_mask.numpy()
        handles, inverse = np.unique(rollouts.require("state_handles").numpy()[mask], return_inverse=True)
        forks = self._fork(np.repeat(handles, count))
        self._bills.play(forks)
        result = np.zeros((*mask.shape, count), dtype=np.float32)
        result[mask] = forks.rewards.reshape(-1, count)[inverse]
        return torch.from_numpy(result)

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """See `cairn.method.Services.fit_critic`."""
        critic = self._the_critic()
        self._bills.trained(_lengths(rollouts), critic.cost)
        return critic.fit(rollouts, targets)

    def ablated(self, rollouts: Rollouts, absent: Tensor) -> Rollouts:
        """See `cairn.method.Services.ablated`."""
        batch = self._batch_of(rollouts)
        dice = np.random.default_rng([*self._seed, SAMPLING, batch])
        episodes = replay(self._player(), self._batches[batch], absent.numpy(), dice)
        self._bills.play(episodes)
        return self._player().rollouts(episodes, rollouts.draw_seed).replace(state_handles=None)

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:  # noqa: ARG002 - the batch is the one just played
        """See `cairn.method.Services.exact_advantages`. Not billed: no method could buy it."""
        return torch.from_numpy(self.exact().advantages(self._played()).astype(np.float32))

    def monte_carlo_advantages(self, continuations: int) -> tuple[Tensor, Tensor]:
        """Estimate the advantages of the batch just played, in any prompt form (laboratory only, not billed).

        Returns the estimate and its standard error, both (R, K); see `cairn.lab.montecarlo.advantages`.
        """
        found = montecarlo.advantages(self._player(), self._played(), continuations, self._rng(ESTIMATES))
        return torch.from_numpy(found.value).float(), torch.from_numpy(found.standard_error).float()

    def bifurcations(self) -> NDArray[np.bool_]:
        """(R, K) the turn started at a decision that is known to matter (laboratory only)."""
        return self._player().bifurcations(self._played())

    def attach(self, rollouts: Rollouts) -> Rollouts:
        """Score the batch as far as the method's needs ask for it: reference log-probs, critic values."""
        if "reference_policy" in self._needs:
            rollouts = rollouts.replace(logprobs_reference=self._score_reference(rollouts))
        if "learned_critic" in self._needs:
            critic = self._the_critic()
            self._bills.scored(_lengths(rollouts), critic.cost)
            rollouts = rollouts.replace(values=critic.values(rollouts))
        return rollouts

    def bill_training(self, rollouts: Rollouts) -> None:
        """Bill one forward and backward pass of the policy over the batch."""
        self._bills.trained(_lengths(rollouts), self._models.policy.cost)

    def exact(self) -> ExactCredit:
        """Solve the update's instances under the current policy (laboratory only, not billed).

        Raises UserError where the prompt form rules that out.
        """
        return self._player().exact()

    def _played(self) -> Any:
        if not self._batches:
            raise RuntimeError("nothing was sampled yet: rollouts() comes first")
        return self._batches[-1]

    def _batch_of(self, rollouts: Rollouts) -> int:
        """Return which batch of this update was handed out as `rollouts`."""
        handles = rollouts.replace(needs=None).require("state_handles").numpy()
        for number, batch in enumerate(self._batches):
            if np.array_equal(self._player().situations(batch), handles):
                return number
        raise RuntimeError("these rollouts are not a whole batch that was sampled in this update")

    def _the_critic(self) -> Critic:
        if self._models.critic is None:
            raise RuntimeError("this run has no critic")
        return self._models.critic

    def _player(self) -> Player[Any]:
        if self._current is None:
            self._current = self._form.player(self._models.policy, self._instances)
        return self._current

    def _fork(self, handles: NDArray[np.int64]) -> Spoken:
        """Play on from situations (F,), each where one of the batches came to it first."""
        episodes = concatenate(self._batches)
        rollout, turn = np.nonzero(episodes.alive)
        known, first = np.unique(self._player().situations(episodes)[rollout, turn], return_index=True)
        visit = first[np.searchsorted(known, handles)]
        forks: Spoken = self._player().fork(episodes, Branch(rollout[visit], turn[visit]), self._rng(FORKS))
        return forks

    def _rng(self, stream: int) -> np.random.Generator:
        """Return fresh dice for each call: a second batch of an update must not repeat the first."""
        self._calls[stream] += 1
        return np.random.default_rng([*self._seed, stream, self._calls[stream] - 1])

    @torch.no_grad()
    def _score_reference(self, rollouts: Rollouts) -> Tensor:
        self._bills.scored(_lengths(rollouts), self._models.reference.cost)
        rows, inverse = torch.unique(rollouts.token_ids, dim=0, return_inverse=True)
        mask = torch.ones_like(rows, dtype=torch.bool)
        device = self._models.reference.device
        scored, _ = token_logprobs(self._models.reference.network, rows.to(device), mask.to(device))
        return scored.cpu()[inverse] * rollouts.action_mask


def _lengths(rollouts: Rollouts) -> Tensor:
    """(B,) tokens of each row."""
    return rollouts.attention_mask.sum(1)
