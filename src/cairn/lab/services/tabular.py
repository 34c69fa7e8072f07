"""The services of a training run: sampling, forking, scoring, critic. Every call is billed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab import montecarlo
from cairn.lab.ablation import replay, returns_without
from cairn.lab.bills import Bills
from cairn.lab.critic import Critic, values_states_alone
from cairn.lab.door import Door
from cairn.lab.episodes import Branch
from cairn.lab.exact import ExactCredit
from cairn.lab.guard import refuse_unbilled, watched
from cairn.lab.instance import Instance, concatenate, take
from cairn.lab.ledger import Ledger
from cairn.lab.players import Player, PromptForm
from cairn.lab.reading import action_logprobs
from cairn.lab.scorers.base import LiveScorer, Transcript, no_scorer
from cairn.lab.services.branching import kept_turns, shared_tokens, splice
from cairn.lab.services.models import Models
from cairn.lab.services.rescoring import hinted, score_answers, score_behind
from cairn.method import ActionValues, Given
from cairn.rollouts import Rollouts

SAMPLING, FORKS, ESTIMATES, BRANCHES, SCORES = range(5)  # streams of random numbers that must not touch each other
IDS_OF_UPDATE = 2**32  # more rollouts than any update has


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
        self._calls = dict.fromkeys((SAMPLING, FORKS, ESTIMATES, BRANCHES, SCORES), 0)
        self._current: Player[Any] | None = None
        self._batches: list[Any] = []  # all that were sampled or forked in this update
        self._sampled: list[int] = []  # numbers of the batches that were played from the start

    @property
    def door(self) -> Door:
        """Return what the method is handed."""
        return Door(self, self._needs)

    def rollouts(self) -> Rollouts:
        """Sample `group_size` rollouts in each instance of the update."""
        instance = np.repeat(np.arange(len(self._instances)), self._group_size)
        episodes = self._player().play(instance, self._rng(SAMPLING))
        self._bills.play(episodes)
        self._sampled.append(len(self._batches))
        batch = self._collated(episodes)
        if "off_policy_buffer" in self._needs:
            self._models.buffer.add(self._seed[1], batch)
        return batch

    def fork(self, rollouts: Rollouts, rollout: Tensor, turn: Tensor, *, after: bool = False) -> Rollouts:
        """See `cairn.method.Services.fork`."""
        rollouts = rollouts.replace(needs=None)
        if not rollout.numel():
            nothing = rollouts.keep_rollouts(torch.zeros_like(rollouts.truncated))
            return nothing.replace(parent_ids=rollout.long(), fork_turns=rollout.long())
        _refuse_turns_not_played(rollouts, rollout, turn)
        episodes, ids = concatenate(self._batches), rollouts.require("rollout_ids")[rollout]
        branch = Branch(self._index(ids), turn.numpy(), after)
        played = self._player().fork(episodes, branch, self._rng(BRANCHES))
        self._bills.play(played, int(shared_tokens(episodes, branch).sum()))
        whole = self._collated(splice(episodes, branch, played))
        return whole.replace(parent_ids=ids, fork_turns=torch.from_numpy(kept_turns(branch)))

    def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
        """See `cairn.method.Services.continuations`."""
        rollouts = rollouts.replace(needs=None)
        mask = rollouts.turn_mask.numpy()
        if not mask.any():
            return torch.zeros(*mask.shape, count)
        if rollouts.rollout_ids is not None:
            self._index(rollouts.rollout_ids)
        handles, inverse = np.unique(rollouts.require("state_handles").numpy()[mask], return_inverse=True)
        episodes, branch = self._where(np.repeat(handles, count))
        forks = self._player().fork(episodes, branch, self._rng(FORKS))
        self._bills.play(forks, int(shared_tokens(episodes, branch).sum()))
        result = np.zeros((*mask.shape, count), dtype=np.float32)
        result[mask] = forks.rewards.reshape(-1, count)[inverse]
        return torch.from_numpy(result)

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """See `cairn.method.Services.fit_critic`."""
        critic = self._the_critic()
        self._bills.trained(_lengths(rollouts), critic.cost)
        return critic.fit(rollouts, targets)

    def action_values(self, rollouts: Rollouts, *, lagging: bool = False) -> ActionValues:
        """See `cairn.method.Services.action_values`."""
        rollouts, critic = rollouts.replace(needs=None), self._models.action_critic
        self._bills.scored(_lengths(rollouts), critic.cost)
        return critic.values(rollouts, lagging)

    def fit_action_values(
        self, rollouts: Rollouts, targets: ActionValues, teaches_states: Tensor, follow: float
    ) -> float:
        """See `cairn.method.Services.fit_action_values`."""
        rollouts, critic = rollouts.replace(needs=None), self._models.action_critic
        self._bills.trained(_lengths(rollouts), critic.cost)
        return critic.fit(rollouts, targets, teaches_states, follow)

    def turn_scores(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.turn_scores`."""
        return self._scorer.turns(self._transcript(rollouts), self._bills)

    def rollout_scores(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.rollout_scores`."""
        return self._scorer.rollouts(self._transcript(rollouts), self._bills)

    def marks(self, rollouts: Rollouts, votes: int) -> Tensor:
        """See `cairn.method.Services.marks`."""
        return self._scorer.marks(self._transcript(rollouts), votes, self._bills)

    def rescored_logprobs(self, rollouts: Rollouts, given: Given) -> Tensor:
        """See `cairn.method.Services.rescored_logprobs`."""
        rollouts, model = rollouts.replace(needs=None), self._models.policy
        before = hinted(model.tokenizer, self._hints(rollouts), given, rollouts.returns > 0)
        scored = score_behind(model, rollouts, before)
        self._bills.scored(scored.lengths, model.cost)
        return scored.logprobs

    def answer_logprobs(self, rollouts: Rollouts, of: Tensor | None = None) -> Tensor:
        """See `cairn.method.Services.answer_logprobs`."""
        rollouts, model = rollouts.replace(needs=None), self._models.policy
        answers = hinted(model.tokenizer, self._hints(rollouts), "answer", rollouts.truncated)
        asked = answers if of is None else [answers[i] for i in of.tolist()]
        scored = score_answers(model, rollouts, asked)
        self._bills.scored(scored.lengths, model.cost)
        return scored.logprobs

    def second_logprobs(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.second_logprobs`."""
        rollouts, second = rollouts.replace(needs=None), self._models.second
        self._bills.scored(_lengths(rollouts), second.cost)
        return second.logprobs(rollouts)

    def fit_second(self, rollouts: Rollouts, loss: Callable[[Tensor], Tensor], learning_rate: float) -> float:
        """See `cairn.method.Services.fit_second`."""
        rollouts, second = rollouts.replace(needs=None), self._models.second
        self._bills.trained(_lengths(rollouts), second.cost)
        return second.fit(rollouts, watched(loss), learning_rate)

    def replay(self, count: int) -> tuple[Rollouts, ...]:
        """See `cairn.method.Services.replay`."""
        return self._models.buffer.before(self._seed[1], count)

    def ablated(self, rollouts: Rollouts, absent: Tensor) -> Rollouts:
        """See `cairn.method.Services.ablated`."""
        episodes = replay(self._player(), *self._again(rollouts, absent))
        self._bills.play(episodes)
        return self._player().rollouts(episodes, rollouts.draw_seed).replace(state_handles=None)

    def returns_without(self, rollouts: Rollouts, absent: Tensor) -> Tensor:
        """See `cairn.method.Services.returns_without`."""
        rewards, steps = returns_without(self._player(), *self._again(rollouts, absent))
        self._bills.steps(steps, len(rewards))
        return torch.from_numpy(rewards).float()

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:
        """See `cairn.method.Services.exact_advantages`. Not billed: no method could buy it."""
        return torch.from_numpy(self.exact().advantages(self._episodes_of(rollouts)).astype(np.float32))

    def monte_carlo_advantages(self, continuations: int, rollouts: Rollouts | None = None) -> tuple[Tensor, Tensor]:
        """Estimate the advantages of rollouts of this update, in any prompt form (laboratory only, not billed).

        rollouts: None for the batch that was played last.

        Returns the estimate and its standard error, both (R, K); see `cairn.lab.montecarlo.advantages`.
        """
        found = montecarlo.advantages(self._player(), self._episodes_of(rollouts), continuations, self._rng(ESTIMATES))
        return torch.from_numpy(found.value).float(), torch.from_numpy(found.standard_error).float()

    def bifurcations(self, rollouts: Rollouts | None = None) -> NDArray[np.bool_]:
        """(R, K) the turn started at a decision that is known to matter (laboratory only).

        rollouts: None for the batch that was played last.
        """
        return self._player().bifurcations(self._episodes_of(rollouts))

    def attach(self, rollouts: Rollouts) -> Rollouts:
        """Score the batch as far as the method's needs ask for it: reference log-probs, critic values."""
        if "reference_policy" in self._needs:
            self._bills.scored(_lengths(rollouts), self._models.reference.cost)
            rollouts = self.refer(rollouts)
        if values_states_alone(self._needs):
            critic = self._the_critic()
            self._bills.scored(_lengths(rollouts), critic.cost)
            rollouts = rollouts.replace(values=critic.values(rollouts))
        return rollouts

    def refer(self, rollouts: Rollouts) -> Rollouts:
        """Read the reference log-probs of rows anew, where the method needs them. Not billed: `attach` bills them.

        To be called where the policy is going to read some rows of a batch only. It and the reference have to read the
        same rows at once: where the two are equal, rounding must not tell them apart, or the optimiser would walk on
        its noise as long as nothing is rewarded.
        """
        if "reference_policy" not in self._needs:
            return rollouts
        return rollouts.replace(logprobs_reference=self._reference_logprobs(rollouts.replace(needs=None)))

    def bill_training(self, rollouts: Rollouts) -> None:
        """Bill one forward and backward pass of the policy over the batch."""
        self._bills.trained(_lengths(rollouts), self._models.policy.cost)

    def exact(self) -> ExactCredit:
        """Solve the update's instances under the current policy (laboratory only, not billed).

        Raises UserError where the prompt form rules that out.
        """
        return self._player().exact()

    def _collated(self, episodes: Any) -> Rollouts:
        """Keep episodes that belong to this update, and return them as the method gets them."""
        first = sum(len(batch.rewards) for batch in self._batches)
        self._batches.append(episodes)
        ids = torch.arange(first, first + len(episodes.rewards)) + self._first_id
        batch = self._player().rollouts(episodes, draw_seed=self._seed[0] * 1_000_003 + self._seed[1])
        return batch.replace(rollout_ids=ids, parent_ids=torch.full_like(ids, -1), fork_turns=torch.zeros_like(ids))

    @property
    def _first_id(self) -> int:
        return self._seed[1] * IDS_OF_UPDATE

    def _index(self, ids: Tensor) -> NDArray[np.int64]:
        """Return where rollouts stand among all of this update."""
        index = ids.numpy() - self._first_id
        if ((index < 0) | (index >= sum(len(batch.rewards) for batch in self._batches))).any():
            raise ValueError("a rollout was not sampled in this update")
        return np.asarray(index)

    def _episodes_of(self, rollouts: Rollouts | None) -> Any:
        if not self._batches:
            raise RuntimeError("nothing was sampled yet: rollouts() comes first")
        if rollouts is None:
            return self._batches[-1]
        ids = rollouts.replace(needs=None).require("rollout_ids")
        return take(concatenate(self._batches), self._index(ids))

    def _again(self, rollouts: Rollouts, absent: Tensor) -> tuple[Any, NDArray[np.bool_], np.random.Generator]:
        """Return the episodes of a sampled batch, who is to be absent, and the dice with which the batch was played."""
        wanted, start = self._index(rollouts.replace(needs=None).require("rollout_ids")), 0
        for number, episodes in enumerate(self._batches):
            span = np.arange(start, start + len(episodes.rewards))
            if number in self._sampled and np.array_equal(span, wanted):
                dice = np.random.default_rng([*self._seed, SAMPLING, self._sampled.index(number)])
                return episodes, absent.numpy(), dice
            start = span[-1] + 1
        raise ValueError("agents are left out of a whole batch, as `rollouts()` returned it in this update")

    def _the_critic(self) -> Critic:
        if self._models.critic is None:
            raise RuntimeError("this run has no critic")
        return self._models.critic

    @property
    def _scorer(self) -> LiveScorer:
        if self._models.scorer is None:
            raise no_scorer()
        return self._models.scorer

    def _transcript(self, rollouts: Rollouts) -> Transcript:
        rollouts = rollouts.replace(needs=None)
        self._calls[SCORES] += 1
        return Transcript(
            rollouts,
            self._models.policy.tokenizer,
            self._player(),
            lambda: self._episodes_of(rollouts),
            update=self._seed[1],
            call=self._calls[SCORES] - 1,
        )

    @property
    def notes(self) -> dict[str, float]:
        """Return what a curve should show of the services: the quality of a scorer that was fitted."""
        return {} if self._models.scorer is None else self._models.scorer.notes

    def _hints(self, rollouts: Rollouts) -> list[object]:
        """Return what the instance of each rollout has to say, None where it has nothing."""
        if not rollouts.group_ids.numel():
            return []
        return [getattr(self._instances[i], "hints", None) for i in self._episodes_of(rollouts).instance]

    def _player(self) -> Player[Any]:
        refuse_unbilled("a use of the policy")
        if self._current is None:
            self._current = self._form.player(self._models.policy, self._instances)
        return self._current

    def _where(self, handles: NDArray[np.int64]) -> tuple[Any, Branch]:
        """Return where one of the batches first came to each of the situations (F,)."""
        episodes = concatenate(self._batches)
        rollout, turn = np.nonzero(episodes.alive)
        known, first = np.unique(self._player().situations(episodes)[rollout, turn], return_index=True)
        visit = first[np.searchsorted(known, handles)]
        return episodes, Branch(rollout[visit], turn[visit])

    def _rng(self, stream: int) -> np.random.Generator:
        """Return fresh dice for each call: a second batch of an update must not repeat the first."""
        self._calls[stream] += 1
        return np.random.default_rng([*self._seed, stream, self._calls[stream] - 1])

    @torch.no_grad()
    def _reference_logprobs(self, rollouts: Rollouts) -> Tensor:
        if self._models.reference is self._models.policy:  # it sampled the batch, and said how likely each token was
            return rollouts.logprobs_behaviour
        return action_logprobs(self._models.reference.network, rollouts)


def _lengths(rollouts: Rollouts) -> Tensor:
    """(B,) tokens of each row."""
    return rollouts.attention_mask.sum(1)


def _refuse_turns_not_played(rollouts: Rollouts, rollout: Tensor, turn: Tensor) -> None:
    rows, turns = rollouts.turn_mask.shape
    inside = (rollout >= 0) & (rollout < rows) & (turn >= 0) & (turn < turns)
    if not (bool(inside.all()) and bool(rollouts.turn_mask[rollout, turn].all())):
        raise ValueError("a fork leaves a turn that did not take place")
