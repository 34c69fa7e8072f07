"""What the laboratory knows of rollouts in worlds, for scorers that stand in for a real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cairn.errors import UserError
from cairn.lab.episodes import Episodes
from cairn.lab.optimal import solve_best
from cairn.lab.players import Player
from cairn.lab.world import WorldBatch


@dataclass(frozen=True)
class Truth:
    """Rollouts, the worlds that they were played in, and the policy that played them."""

    worlds: WorldBatch
    episodes: Episodes
    player: Player[Any]

    @staticmethod
    def of(player: Player[Any], played: object) -> Truth:
        """Return what is known. Raises UserError for instances that are no worlds."""
        worlds = getattr(player, "worlds", None)
        if not (isinstance(worlds, WorldBatch) and isinstance(played, Episodes)):
            repair = "Name a scorer of another kind in the arm."
            raise UserError("an oracle knows the tasks whose instances are worlds, and no others", repair=repair)
        return Truth(worlds, played, player)

    def wrong_turns(self) -> NDArray[np.bool_]:
        """(R, K) the turn threw some of the achievable success away; see `cairn.lab.optimal`."""
        return solve_best(self.worlds).wrong_turns(self.episodes)

    def action_values(self) -> NDArray[np.float64]:
        """(R, K) exact value of each turn's action under the current policy, 0 where no turn took place.

        Raises UserError where the prompt form has no exact values.
        """
        exact, alive = self.player.exact(), self.episodes.alive
        rollout, turn = np.nonzero(alive)
        values = np.zeros(alive.shape)
        values[rollout, turn] = exact.values[turn, self.episodes.states[rollout, turn]]
        return values + exact.advantages(self.episodes)
