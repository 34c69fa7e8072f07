"""The panel as the site and the terminal show it: its facts, and one trajectory turn by turn, with its exact credit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cairn.errors import UserError
from cairn.evidence.fidelity import PanelRecord, Xray, XrayTurn
from cairn.evidence.records import Provenance
from cairn.lab.credit_panel import CONTINUATIONS, CreditPanel
from cairn.lab.instance import take
from cairn.lab.protocol import Protocol, family_of
from cairn.lab.provenance import describe_origin, describe_provenance
from cairn.lab.tasks import find
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]


def describe_panel(panel: CreditPanel, baseline: str, draws: int) -> PanelRecord:
    """Describe a panel. baseline: the rule whose cost is 1; draws: how often each turn is judged."""
    exact, estimated = panel.exact(), not panel.is_exact
    spread = float(np.square(exact.advantages).mean())
    return PanelRecord(
        task=panel.task,
        preset=panel.preset,
        prompt=panel.settings.prompt,
        hash=panel.hash,
        model_hash=panel.model.digest,
        model_parameters=panel.model.parameters,
        instances=len(panel.instances.evaluation),
        trajectories=len(panel.spoken.rewards),
        turns=exact.forks.size,
        fork_turns=int(exact.forks.sum()),
        mean_return=float(panel.spoken.rewards.mean()),
        group_size=panel.rounds,
        draws=draws,
        seed=panel.seed,
        reference="monte_carlo" if estimated else "exact",
        continuations=CONTINUATIONS if estimated else None,
        reliability=min(max(exact.mean_square / spread, 0.0), 1.0) if estimated and spread else None,
        baseline=baseline,
        xray=describe_xray(panel, panel.most_telling()),
    )


def describe_xray(panel: CreditPanel, trajectory: int) -> Xray:
    """Describe one trajectory turn by turn. Raises UserError for a number that the panel does not have."""
    count = len(panel.spoken.rewards)
    if not 0 <= trajectory < count:
        raise UserError("the panel has no such trajectory", value=trajectory, repair=f"give 0 to {count - 1}")
    alive = panel.spoken.alive[trajectory]
    advantages = panel.advantages[trajectory][alive]
    errors = [None] * advantages.size if panel.errors is None else panel.errors[trajectory][alive].tolist()
    # A policy that stands for one instance only would number states otherwise: the trajectory keeps its company.
    rollouts = panel.player.rollouts(take(panel.spoken, np.array([trajectory])), 0)
    told = zip(_texts(panel, rollouts), panel.forks[trajectory][alive], advantages, errors, strict=True)
    return Xray(
        trajectory=trajectory,
        reward=float(panel.spoken.rewards[trajectory]),
        turns=tuple(
            XrayTurn(sees=sees, said=said, fork=bool(fork), exact=float(exact), error=error)
            for (sees, said), fork, exact, error in told
        ),
        unit=float(np.sqrt(np.square(panel.exact().advantages).mean())),
    )


def provenance_of(protocol: Protocol, panel: CreditPanel) -> Provenance:
    """Return where figures on this panel come from."""
    family = family_of(panel.task)
    packages = find(family).packages
    return describe_provenance(
        describe_origin(), protocol.version, protocol.digest([family]), panel.hash, panel.model.digest, packages
    )


def _texts(panel: CreditPanel, rollouts: Rollouts) -> Iterator[tuple[str, str]]:
    """Yield for each turn of one rollout what stood before it in its row, after the turn before, and what was said."""
    turns, rows = rollouts.turn_ids.numpy(), rollouts.token_ids.numpy()
    for turn in range(int(turns.max()) + 1):
        row, column = np.nonzero(turns == turn)
        before = turns[row[0], : column[0]]
        begin = int(np.flatnonzero(before >= 0).max(initial=-1)) + 1
        yield _text(panel, rows[row[0], begin : column[0]]), _text(panel, rows[row, column])


def _text(panel: CreditPanel, tokens: IntArray) -> str:
    return str(panel.model.tokenizer.decode(tokens)).strip()
