"""The services of a training run on tabular worlds: sampling, forking, scoring, critic. Every call is billed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab.collate import windowed_rollouts
from cairn.lab.critic import Critic
from cairn.lab.episodes import Episodes, play
from cairn.lab.exact import ExactCredit, solve
from cairn.lab.ledger import Ledger
from cairn.lab.model import LanguageModel, token_logprobs
from cairn.lab.policy import PolicyReader, PolicyTable
from cairn.lab.tasks.world import World, join
from cairn.rollouts import Rollouts, UndeclaredNeedError

SAMPLING, FORKS = range(2)  # streams of random numbers that must not touch each other


@dataclass(frozen=True)
class Models:
    """The networks of a run: the policy in training, the initial policy, and the critic of methods that learn one."""

    policy: LanguageModel
    reference: LanguageModel
    critic: Critic | None


class TabularServices:
    """Implements `cairn.method.Services` for one update. A service that the method does not declare refuses."""

    def __init__(
        self,
        models: Models,
        reader: PolicyReader,
        ledger: Ledger,
        needs: frozenset[str],
        *,
        worlds: Sequence[World],
        group_size: int,
        seed: tuple[int, int],
    ) -> None:
        """Open the services of an update. seed: (run, update)."""
        self._models, self._reader, self._ledger, self._needs = models, reader, ledger, needs
        self._worlds, self._group_size, self._seed = join(worlds), group_size, seed
        self._table: PolicyTable | None = None
        self._episodes: Episodes | None = None

    def rollouts(self) -> Rollouts:
        """Sample `group_size` rollouts in each world of the update."""
        world = np.repeat(np.arange(len(self._worlds.worlds)), self._group_size)
        table = self._read_policy()
        self._episodes = play(table, self._worlds.starts[world], world, np.zeros_like(world), self._rng(SAMPLING))
        self._bill_play(self._episodes, resets=world.size)
        return windowed_rollouts(table, self._episodes, draw_seed=self._seed[0] * 1_000_003 + self._seed[1])

    def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
        """See `cairn.method.Services.continuations`."""
        self._require("mc_continuations")
        mask = rollouts.replace(needs=None).turn_mask.numpy()
        handles, inverse = np.unique(rollouts.require("state_handles").numpy()[mask], return_inverse=True)
        turn, state = np.divmod(np.repeat(handles, count), self._worlds.terminal.size)
        world = np.searchsorted(self._worlds.offsets, state, side="right") - 1
        forks = play(self._read_policy(), state, world, turn, self._rng(FORKS))
        self._bill_play(forks, resets=state.size)
        result = np.zeros((*mask.shape, count), dtype=np.float32)
        result[mask] = forks.rewards.reshape(-1, count)[inverse]
        return torch.from_numpy(result)

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """See `cairn.method.Services.fit_critic`."""
        self._require("learned_critic")
        self._bill_rows(rollouts, "trained_tokens", passes=3)
        return self._the_critic().fit(rollouts, targets)

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:  # noqa: ARG002 - the batch is the one just played
        """See `cairn.method.Services.exact_advantages`. Not billed: no method could buy it."""
        self._require("oracle")
        return torch.from_numpy(self.exact().advantages(self._played()).astype(np.float32))

    def bifurcations(self) -> NDArray[np.bool_]:
        """(R, K) the turn started at a planted fork (laboratory only)."""
        return np.asarray(self._worlds.bifurcations[self._played().states[:, :-1]])

    def attach(self, rollouts: Rollouts) -> Rollouts:
        """Score the batch as far as the method's needs ask for it: reference log-probs, critic values."""
        if "reference_policy" in self._needs:
            rollouts = rollouts.replace(logprobs_reference=self._score_reference(rollouts))
        if "learned_critic" in self._needs:
            self._bill_rows(rollouts, "scored_tokens", passes=1)
            rollouts = rollouts.replace(values=self._the_critic().values(rollouts))
        return rollouts

    def bill_training(self, rollouts: Rollouts) -> None:
        """Bill one forward and backward pass of the policy over the batch."""
        self._bill_rows(rollouts, "trained_tokens", passes=3)

    def exact(self) -> ExactCredit:
        """Solve the update's worlds under the current policy (laboratory only, not billed)."""
        return solve(self._read_policy())

    def _played(self) -> Episodes:
        if self._episodes is None:
            raise RuntimeError("nothing was sampled yet: rollouts() comes first")
        return self._episodes

    def _the_critic(self) -> Critic:
        if self._models.critic is None:
            raise RuntimeError("this run has no critic")
        return self._models.critic

    def _read_policy(self) -> PolicyTable:
        if self._table is None:
            self._table = self._reader.read(self._models.policy, self._worlds)
        return self._table

    def _rng(self, stream: int) -> np.random.Generator:
        return np.random.default_rng([*self._seed, stream])

    def _require(self, need: str) -> None:
        if need not in self._needs:
            _refuse(need)

    @torch.no_grad()
    def _score_reference(self, rollouts: Rollouts) -> Tensor:
        self._bill_rows(rollouts, "scored_tokens", passes=1)
        rows, inverse = torch.unique(rollouts.token_ids, dim=0, return_inverse=True)
        mask = torch.ones_like(rows, dtype=torch.bool)
        device = self._models.reference.device
        scored, _ = token_logprobs(self._models.reference.network, rows.to(device), mask.to(device))
        return scored.cpu()[inverse] * rollouts.action_mask

    def _bill_play(self, episodes: Episodes, resets: int) -> None:
        rollout, turn = np.nonzero(episodes.alive)
        table = self._read_policy()
        prompts = table.prompt_lengths[self._worlds.prompt[episodes.states[rollout, turn]]]
        spoken = episodes.lengths[rollout, turn]
        self._ledger.generated_tokens += int(spoken.sum())
        self._ledger.prompt_tokens += int(prompts.sum())
        self._ledger.environment_steps += rollout.size
        self._ledger.environment_resets += resets
        # The last token of a turn is sampled but not read.
        self._ledger.flops += self._flops(prompts + spoken - 1, prompts)

    def _flops(self, read: NDArray[np.int64], prompts: NDArray[np.int64]) -> float:
        contexts = prompts**2 + (read * (read + 1) - prompts * (prompts + 1)) // 2
        return self._models.policy.cost.forward_flops(torch.from_numpy(read), torch.from_numpy(contexts))

    def _bill_rows(self, rollouts: Rollouts, account: str, passes: int) -> None:
        # The critic has the policy's body, and a head so small that the policy's cost stands for it.
        lengths = rollouts.attention_mask.sum(1)
        setattr(self._ledger, account, getattr(self._ledger, account) + int(lengths.sum()))
        self._ledger.flops += passes * self._models.policy.cost.forward_flops(lengths, lengths**2)


def _refuse(need: str) -> NoReturn:
    raise UndeclaredNeedError(f"a service was called that needs `{need}`, which the method's `needs` does not list")
