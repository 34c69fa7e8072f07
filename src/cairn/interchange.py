"""From logged rollouts to the credit that a rule gives them: for the command line, golden examples, contract tests.

The file format itself is torch-free: `cairn.evidence.rollout_format`. Numbers are float64 here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from cairn.errors import UserError
from cairn.evidence.rollout_format import RolloutRow, TurnRow, read_rollouts
from cairn.method import ActionValues, Given, Method
from cairn.ops.batches import select
from cairn.rollouts import NotCollectedError, Rollouts, UndeclaredNeedError

__all__ = ["Layout", "Playback", "RolloutRow", "TurnRow", "read_rollouts", "to_rollouts", "turn_credit"]

Layout = Literal["turn", "episode"]
"""A row of tokens for each turn, or one for the whole episode. Both must give the same credit."""

# Where a field of `Rollouts` that a rule may not find comes from in the file.
FILE_FIELDS = {
    "observation_keys": "observation",
    "logprobs_reference": "reference_logprobs",
    "entropies": "entropies",
    "values": "values",
    "turn_values": "value",
    "agent_ids": "agent",
}


def to_rollouts(rows: Sequence[RolloutRow], layout: Layout = "turn") -> Rollouts:
    """Return logged rollouts as one batch.

    Each turn begins with one environment token that stands for its observation. Optional fields that no turn gives are
    None; behaviour log-probs that no turn gives are NaN on the action tokens, so that a rule that reads them cannot
    give a finite credit. Texts become whole numbers, equal exactly where the texts are.
    Raises UserError when only some turns give a field.
    """
    given = {name: _given(rows, name) for name in (*FILE_FIELDS.values(), "logprobs")}
    table = _Table(rows, layout)

    def optional(name: str) -> Tensor | None:
        return table.per_token(_numbers_of(name), 0.0) if given[name] else None

    return Rollouts(
        token_ids=table.token_ids(),
        attention_mask=table.per_token(_ones, 1.0).bool(),
        action_mask=table.per_token(_ones, 0.0).bool(),
        turn_ids=table.turn_ids(),
        row_rollout=torch.tensor([row[0][0] for row in table.cells]),
        group_ids=torch.tensor(_codes(row.group for row in rows)),
        terminal_rewards=torch.tensor([row.reward for row in rows], dtype=torch.float64),
        truncated=torch.tensor([row.truncated for row in rows]),
        turn_mask=table.per_turn(lambda _: 1.0).bool(),
        turn_rewards=table.per_turn(lambda turn: turn.reward),
        logprobs_behaviour=table.per_token(_numbers_of("logprobs"), 0.0),
        logprobs_reference=optional("reference_logprobs"),
        entropies=optional("entropies"),
        values=optional("values"),
        observation_keys=table.keys("observation") if given["observation"] else None,
        agent_ids=table.keys("agent") if given["agent"] else None,
        turn_values=table.per_turn(lambda turn: turn.value or 0.0) if given["value"] else None,
        rollout_ids=torch.arange(len(rows)),
        parent_ids=torch.full((len(rows),), -1),
        fork_turns=torch.zeros(len(rows), dtype=torch.long),
    )


def turn_credit(
    method: Method, rows: Sequence[RolloutRow], layout: Layout = "turn", file: Path | str | None = None
) -> list[list[float | None]]:
    """Return, for each turn of each rollout, the mean advantage over its tokens; None for a turn without tokens.

    Only the reward and credit stages run: what a method collects beforehand (values, scores) must stand in the file.
    Raises UserError, naming `file`, when it does not, or when a credit is not a finite number.
    """
    rollouts = to_rollouts(rows, layout)
    try:
        advantages = method.credit(method.reward(rollouts.declare(method.needs))).advantages
    except NotCollectedError as error:
        name = FILE_FIELDS.get(error.field)
        repair = f"give `{name}` in every turn" if name else "the file format has no field for it; use another rule"
        message = f"the rule needs `{name or error.field}`, and no turn gives it"
        raise UserError(message, file=file, repair=repair) from error
    credit = rollouts.mean_over_turns(advantages).tolist()
    return [_credits(numbers, row, file) for numbers, row in zip(credit, rows, strict=True)]


class Playback:
    """The services over logged rollouts: `continuations` returns the logged values, `fit_critic` fits nothing.

    `fork` returns the logged rollouts themselves, as if each had gone on as its parent did.

    `ablated` returns them with the returns that the agents who are there would have earned in a game of coalitions.
    What would have to be computed is answered with logged numbers of the same shape: scores with values and returns,
    other log-probs with those of the reference. They stand for it where only shapes and needs are looked at.

    used: the needs of the services that were called. Raises UndeclaredNeedError for a service that is not declared.
    """

    def __init__(self, rollouts: Rollouts, needs: frozenset[str], game: Tensor | None = None) -> None:
        """Answer from `rollouts`, whose optional fields must be there.

        game: (R, 2^A), what each coalition earns in each rollout, laid out as in `cairn.ops.shapley`. Without one, an
        agent adds its share of the turns to the return, whoever else is there.
        """
        self._rollouts, self._needs, self._game = rollouts, needs, game
        self.used: set[str] = set()

    def rollouts(self) -> Rollouts:
        """Return the logged batch."""
        return self._rollouts

    def continuations(self, rollouts: Rollouts, count: int) -> Tensor:
        """(R, K, count): each turn's logged value, `count` times."""
        self._use("mc_continuations")
        return self._rollouts.require("turn_values")[..., None].expand(
            *rollouts.replace(needs=None).turn_mask.shape, count
        )

    def fork(self, rollouts: Rollouts, rollout: Tensor, turn: Tensor, *, after: bool = False) -> Rollouts:
        """Return copies of the rollouts that are forked."""
        self._use("env_fork", "tree_rollouts")
        forked = select(rollouts, rollout)
        ids = rollouts.replace(needs=None).require("rollout_ids")
        new = torch.arange(len(rollout)) + int(ids.max()) + 1
        return forked.replace(rollout_ids=new, parent_ids=ids[rollout], fork_turns=turn + after)

    def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
        """Return the mean squared error of the logged values."""
        self._use("learned_critic")
        return float((targets - self._rollouts.require("values"))[rollouts.action_mask].square().mean())

    def action_values(self, rollouts: Rollouts, *, lagging: bool = False) -> ActionValues:  # noqa: ARG002 - one is logged
        """(R, K, 2) twice, both heads alike: the logged values before a turn's last token, and before its first."""
        self._use("action_critic")
        values, batch = self._logged("values", rollouts, "learned_critic"), rollouts.replace(needs=None)
        both = batch.sum_over_turns(values * batch.turn_ends()), batch.first_of_turns(values)
        return ActionValues(*(each[..., None].expand(*each.shape, 2) for each in both))

    def fit_action_values(
        self,
        rollouts: Rollouts,
        targets: ActionValues,
        teaches_states: Tensor,  # noqa: ARG002
        follow: float,  # noqa: ARG002
    ) -> float:
        """Return the squared error of the logged values of actions; nothing is fitted."""
        return float((targets.actions - self.action_values(rollouts).actions).square().sum())

    def ablated(self, rollouts: Rollouts, absent: Tensor) -> Rollouts:
        """Return `rollouts` with other returns; everybody's turns stay."""
        self._use("agent_ids")
        batch = rollouts.replace(needs=None)
        owner = torch.where(batch.turn_mask, batch.require("agent_ids"), -1)[..., None] == torch.arange(
            absent.shape[-1]
        )
        present = (~absent).expand(len(owner), -1)
        if self._game is None:
            share = owner.sum(1) / owner.sum((1, 2))[:, None].clamp_min(1)
            earned = batch.returns * (share * present).sum(1)
        else:
            coalition = (present << torch.arange(absent.shape[-1])).sum(1)
            earned = self._game.gather(1, coalition[:, None])[:, 0]
        return rollouts.replace(terminal_rewards=earned, turn_rewards=torch.zeros_like(batch.turn_rewards))

    def returns_without(self, rollouts: Rollouts, absent: Tensor) -> Tensor:
        """(R,) the same returns."""
        return self.ablated(rollouts, absent).returns

    def turn_scores(self, rollouts: Rollouts) -> Tensor:
        """(R, K): each turn's logged value."""
        return self._logged("turn_values", rollouts, "prm")

    def rollout_scores(self, rollouts: Rollouts) -> Tensor:
        """(R,): the logged returns."""
        self._use("reward_model")
        return rollouts.replace(needs=None).returns

    def marks(self, rollouts: Rollouts, votes: int) -> Tensor:
        """(R, K, votes): right in every vote where the logged value of the turn is above 0.5."""
        values = self._logged("turn_values", rollouts, "judge")
        return (values > 0.5).to(values.dtype)[..., None].expand(*values.shape, votes)

    def rescored_logprobs(self, rollouts: Rollouts, given: Given) -> Tensor:  # noqa: ARG002 - one is logged
        """(B, T): the logged ones of the reference, whatever is given."""
        return self._logged("logprobs_reference", rollouts, "rescoring")

    def answer_logprobs(self, rollouts: Rollouts, of: Tensor | None = None) -> Tensor:  # noqa: ARG002 - one is logged
        """(R, K): the logged values, less 1, so that none is above 0, whoever's answer it is."""
        return self._logged("turn_values", rollouts, "rescoring") - 1

    def second_logprobs(self, rollouts: Rollouts) -> Tensor:
        """(B, T): the logged ones of the reference."""
        return self._logged("logprobs_reference", rollouts, "prm", "reward_model")

    def fit_second(self, rollouts: Rollouts, loss: Callable[[Tensor], Tensor], learning_rate: float) -> float:  # noqa: ARG002
        """Return the loss of the logged log-probs of the reference; nothing is fitted."""
        return float(loss(self._logged("logprobs_reference", rollouts, "prm", "reward_model")))

    def replay(self, count: int) -> tuple[Rollouts, ...]:
        """Return the logged batch as if it were the only earlier one."""
        self._use("off_policy_buffer")
        return (self._rollouts,)[:count]

    def exact_advantages(self, rollouts: Rollouts) -> Tensor:
        """(R, K) of zeros: what is exact cannot be logged."""
        self._use("oracle")
        return torch.zeros_like(rollouts.replace(needs=None).turn_rewards)

    def _logged(self, name: str, rollouts: Rollouts, *needs: str) -> Tensor:
        self._use(*needs)
        return rollouts.replace(needs=None).require(name)

    def _use(self, *needs: str) -> None:
        if self._needs.isdisjoint(needs):
            raise UndeclaredNeedError(f"a service was called that needs {' or '.join(f'`{need}`' for need in needs)}")
        self.used.update(self._needs.intersection(needs))


def _credits(numbers: list[float], row: RolloutRow, file: Path | str | None) -> list[float | None]:
    credits_ = [n if turn.tokens else None for n, turn in zip(numbers, row.turns, strict=False)]
    for number in credits_:
        if number is not None and not math.isfinite(number):
            repair = "give `logprobs` in every turn if the rule reads them, and rewards of a moderate size"
            raise UserError("the rule gives a credit that is not finite", file=file, value=number, repair=repair)
    return credits_


def _given(rows: Sequence[RolloutRow], name: str) -> bool:
    said = set[bool]().union(*(row.given(name) for row in rows))
    if len(said) > 1:
        raise UserError(f"only some turns give `{name}`", repair=f"give `{name}` in every turn, or in none")
    return said != {False}  # where there is no token at all, nothing is missing


def _numbers_of(name: str) -> Callable[[TurnRow], Sequence[float]]:
    def read(turn: TurnRow) -> Sequence[float]:
        numbers: Sequence[float] | None = getattr(turn, name)
        return [math.nan] * len(turn.tokens) if numbers is None else numbers

    return read


def _ones(turn: TurnRow) -> Sequence[float]:
    return [1.0] * len(turn.tokens)


def _codes(texts: Iterable[str | None]) -> list[int]:
    """Number the texts in order of appearance."""
    codes: dict[str | None, int] = {}
    return [codes.setdefault(text, len(codes)) for text in texts]


class _Table:
    """Lays turns out in rows of tokens."""

    def __init__(self, rows: Sequence[RolloutRow], layout: Layout) -> None:
        """Set `cells`: for each row of tokens, the (rollout, turn) pairs that stand in it."""
        self.rows = rows
        episodes = [[(r, k) for k in range(len(row.turns))] for r, row in enumerate(rows)]
        self.cells = episodes if layout == "episode" else [[cell] for episode in episodes for cell in episode]

    def per_token(self, action: Callable[[TurnRow], Sequence[float]], observation: float) -> Tensor:
        """Return (B, T) from the numbers of a turn's action tokens and the number of its observation token."""
        rows = [[n for _, turn in row for n in (observation, *action(turn))] for row in self._turns()]
        return _stack(rows, 0.0, torch.float64)

    def turn_ids(self) -> Tensor:
        """Return (B, T) long, -1 off actions."""
        return _stack([[n for k, turn in row for n in (-1, *[k] * len(turn.tokens))] for row in self._turns()], -1)

    def token_ids(self) -> Tensor:
        """Return (B, T) long; as in a vocabulary, equal texts have one number."""
        texts = [[text for _, turn in row for text in (turn.observation, *turn.tokens)] for row in self._turns()]
        codes = iter(_codes(text for row in texts for text in row))
        return _stack([[next(codes) for _ in row] for row in texts], 0)

    def per_turn(self, read: Callable[[TurnRow], float]) -> Tensor:
        """Return (R, K), 0 at turns that did not take place."""
        return _stack([[read(turn) for turn in row.turns] for row in self.rows], 0.0, torch.float64)

    def keys(self, name: str) -> Tensor:
        """Return (R, K) long, equal exactly where the texts are equal; -1 at turns that did not take place."""
        codes = iter(_codes(getattr(turn, name) for row in self.rows for turn in row.turns))
        return _stack([[next(codes) for _ in row.turns] for row in self.rows], -1)

    def _turns(self) -> list[list[tuple[int, TurnRow]]]:
        return [[(k, self.rows[r].turns[k]) for r, k in row] for row in self.cells]


def _stack(rows: Sequence[Sequence[float]], padding: float, dtype: torch.dtype = torch.long) -> Tensor:
    return pad_sequence([torch.tensor(row, dtype=dtype) for row in rows], batch_first=True, padding_value=padding)
