"""The windowed prompt: task, memory, observation. The policy is Markov in the state, and one table holds all of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from cairn.lab.collate import state_handles, windowed_rollouts
from cairn.lab.episodes import Branch, Episodes, Start, TableSpeaker, walk
from cairn.lab.exact import ExactCredit, solve
from cairn.lab.model import LanguageModel
from cairn.lab.players import Success
from cairn.lab.policy import PolicyReader, PolicyTable
from cairn.lab.world import World, join
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


class WindowedPlayer:
    """See `cairn.lab.players.Player`."""

    def __init__(self, table: PolicyTable) -> None:
        """Play from a table."""
        self.worlds, self._table = table.worlds, table

    @cached_property
    def _speaker(self) -> TableSpeaker:
        return TableSpeaker(self._table)

    @property
    def n_instances(self) -> int:
        """See `Player.n_instances`."""
        return len(self.worlds.worlds)

    def play(self, world: IntArray, rng: np.random.Generator) -> Episodes:
        """See `Player.play`."""
        return walk(self._speaker, Start.of(self.worlds, world), rng)

    def play_without(self, world: IntArray, absent: BoolArray, rng: np.random.Generator) -> Episodes:
        """See `cairn.lab.ablation.TeamPlayer`."""
        return walk(self._speaker, Start.of(self.worlds, world), rng, absent)

    @property
    def phrases(self) -> tuple[IntArray, IntArray]:
        """See `cairn.lab.ablation.TeamPlayer`."""
        return self._table.roots, self._table.child

    def fork(self, episodes: Episodes, branch: Branch, rng: np.random.Generator) -> Episodes:
        """See `Player.fork`. The prompt carries no history, so that state and turn are all that is forked."""
        return walk(self._speaker, branch.start(self.worlds, episodes, rng), rng)

    def situations(self, episodes: Episodes) -> IntArray:
        """See `Player.situations`."""
        return state_handles(self._table, episodes)

    def bifurcations(self, episodes: Episodes) -> BoolArray:
        """See `Player.bifurcations`."""
        return self.worlds.bifurcations_at(episodes.states)

    def rollouts(self, episodes: Episodes, draw_seed: int) -> Rollouts:
        """See `Player.rollouts`: a row for each turn."""
        return windowed_rollouts(self._table, episodes, draw_seed)

    def exact(self) -> ExactCredit:
        """See `Player.exact`."""
        return solve(self._table)

    def success(self, rng: np.random.Generator) -> Success:  # noqa: ARG002 - nothing is drawn
        """See `Player.success`. Exact."""
        return Success(float(self.exact().success().mean()))


class WindowedForm:
    """See `cairn.lab.players.PromptForm`."""

    has_exact_credit = True
    evaluation = "computed exactly, by backward recursion over states and turns; no episode is sampled"

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Keep the trees of worlds that were seen."""
        self._reader = PolicyReader(tokenizer)
        self._join = lru_cache(maxsize=4)(join)

    def player(self, model: LanguageModel, instances: Sequence[World]) -> WindowedPlayer:
        """Read the whole policy in one forward pass."""
        return WindowedPlayer(self._reader.read(model, self._join(tuple(instances))))
