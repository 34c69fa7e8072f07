"""What a credit rule reads and what it returns.

Shape legend, stated once for the whole project:
    B rows of tokens, T tokens in a row, R rollouts (trajectories), K turns or steps in a rollout,
    G rollouts in a group (same task), A agents.

A rollout may be one row (the whole episode with its history) or one row a turn (a windowed prompt). Rules that think
in rollouts and turns work on (R,) and (R, K) tensors and never see the difference; `spread_rollouts` and
`spread_turns` carry their result to tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from cairn.errors import UserError

M = TypeVar("M")

# A gated field may be read only by a method that declares one of these needs (words of inventory/vocab/needs.yaml).
GATED_FIELDS: dict[str, tuple[str, ...]] = {
    "turn_ids": ("turn_boundaries", "segmenting"),
    "turn_mask": ("turn_boundaries", "segmenting"),
    "turn_rewards": ("turn_boundaries", "segmenting"),
    "observation_keys": ("state_keys",),
    "logprobs_reference": ("reference_policy",),
    "values": ("learned_critic",),
    "turn_values": ("mc_continuations",),
    "entropies": ("entropy",),
    "exact_advantages": ("oracle",),
    "agent_ids": ("agent_ids",),
    "rollout_ids": ("tree_rollouts", "env_fork"),
    "parent_ids": ("tree_rollouts", "env_fork"),
    "fork_turns": ("tree_rollouts", "env_fork"),
    "state_handles": ("mc_continuations",),
    "pairs": ("preference_pairs",),
    "imitated": ("sft_stage", "expert_demos"),
}

# Tensor fields by shape, for whoever selects, pads or reorders a batch.
TOKEN_FIELDS = (
    "token_ids",
    "attention_mask",
    "action_mask",
    "dense_rewards",
    "token_scores",
    "turn_ids",
    "logprobs_behaviour",
    "logprobs_reference",
    "entropies",
    "values",
)  # (B, T)
TURN_FIELDS = (
    "turn_mask",
    "turn_rewards",
    "observation_keys",
    "turn_values",
    "turn_scores",
    "exact_advantages",
    "agent_ids",
    "state_handles",
)  # (R, K)
ROLLOUT_FIELDS = (
    "group_ids",
    "terminal_rewards",
    "truncated",
    "rollout_ids",
    "parent_ids",
    "fork_turns",
    "imitated",
)  # (R,)


class UndeclaredNeedError(AttributeError):
    """A method read a field, or called a service, that it does not declare in `needs`."""


class NotCollectedError(ValueError):
    """A rule cannot do without a field that the batch does not hold; `field` is its name."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the batch has no `{field}`")
        self.field = field


class ActionIndex(NamedTuple):
    """Where the action tokens of each rollout lie, in the order in which they were produced.

    flat: (R, L) index into a (B, T) tensor flattened to B * T; 0 where `mask` is False.
    mask: (R, L) bool, True first, then False.
    shape: (B, T).
    """

    flat: Tensor
    mask: Tensor
    shape: torch.Size

    def pack(self, per_token: Tensor) -> Tensor:
        """Line up a (B, T) tensor: (R, L), 0 where `mask` is False."""
        return per_token.flatten()[self.flat] * self.mask

    def unpack(self, packed: Tensor) -> Tensor:
        """Move a (R, L) tensor back to (B, T), 0 off the action tokens."""
        result = packed.new_zeros(self.shape.numel())
        result[self.flat[self.mask]] = packed[self.mask]
        return result.reshape(self.shape)


@dataclass(frozen=True)
class Rollouts:
    """One batch, read-only. Fields that are None were not collected.

    A reward that is NaN or infinite raises UserError on construction: it would spoil its whole group in silence.
    """

    token_ids: Tensor  # (B, T) long
    attention_mask: Tensor  # (B, T) bool, False on padding
    action_mask: Tensor  # (B, T) bool, True on tokens that the policy chose
    turn_ids: Tensor  # (B, T) long, turn of each action token in its rollout, -1 elsewhere
    row_rollout: Tensor  # (B,) long, rollout to which the row belongs
    group_ids: Tensor  # (R,) long, rollouts of the same task share a value
    terminal_rewards: Tensor  # (R,) float, paid after the last turn
    truncated: Tensor  # (R,) bool, cut off by the turn limit
    turn_mask: Tensor  # (R, K) bool, the turn took place; True first, then False
    turn_rewards: Tensor  # (R, K) float, paid after turn k, without the terminal reward
    logprobs_behaviour: Tensor  # (B, T) float, of the policy that sampled; 0 off actions
    dense_rewards: Tensor | None = None  # (B, T) float, paid at action tokens beside the others; by a `reward` stage
    observation_keys: Tensor | None = None  # (R, K) long, equal exactly where the raw observations are equal
    logprobs_reference: Tensor | None = None  # (B, T) float, of the initial policy; 0 off actions
    entropies: Tensor | None = None  # (B, T) float, nats, of the policy's next-token distribution
    values: Tensor | None = None  # (B, T) float, critic's value of the state before the action token
    turn_values: Tensor | None = None  # (R, K) float, Monte Carlo value of the state before turn k
    turn_scores: Tensor | None = None  # (R, K) float, what a `collect` stage found out about turn k for its credit
    token_scores: Tensor | None = None  # (B, T) float, the same about an action token
    exact_advantages: Tensor | None = None  # (R, K) float, exact advantage of turn k under the current policy
    agent_ids: Tensor | None = None  # (R, K) long, who acted in turn k
    rollout_ids: Tensor | None = None  # (R,) long, a number that no other rollout of the run has
    parent_ids: Tensor | None = None  # (R,) long, `rollout_ids` of the one from which this was forked, -1 for none
    fork_turns: Tensor | None = None  # (R,) long, turns taken over from the parent, 0 for none
    state_handles: Tensor | None = None  # (R, K) long, opaque: only the services can open them
    pairs: Tensor | None = None  # (P, 2) long, two rollouts of which the first is preferred
    imitated: Tensor | None = None  # (R,) bool, rollouts that a supervised loss imitates
    memory: Any = None  # what the method's `remember` returned after the update before; read with `recall`
    draw_seed: int = 0  # for rules and controls that draw at random: same batch, same draw
    needs: frozenset[str] | None = None  # None: no gate (the laboratory itself)
    used: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse rewards that are not finite, at masked turns too."""
        for name in ("terminal_rewards", "turn_rewards", "dense_rewards"):
            rewards: Tensor | None = object.__getattribute__(self, name)
            if rewards is None:
                continue
            bad = (~rewards.isfinite()).nonzero()
            if len(bad):
                place = bad[0].tolist()
                message = f"a reward is not a finite number: `{name}` [{', '.join(map(str, place))}]"
                repair = "mend the reward function, or drop the rollout"
                raise UserError(message, value=float(rewards[tuple(place)]), repair=repair)

    def __getattribute__(self, name: str) -> Any:
        if name in GATED_FIELDS:
            _pass_gate(self, name)
        return object.__getattribute__(self, name)

    def require(self, name: str) -> Tensor:
        """Return a field that the rule cannot do without. Raises NotCollectedError where it has none."""
        value: Tensor | None = getattr(self, name)
        if value is None:
            raise NotCollectedError(name)
        return value

    def recall(self, fresh: M) -> M:
        """Return what the method's `remember` left after the update before, or `fresh` where nothing came before.

        Raises TypeError where it left something of another type than that of `fresh`.
        """
        if self.memory is None:
            return fresh
        if not isinstance(self.memory, type(fresh)):
            kinds = f"{type(self.memory).__name__}, not {type(fresh).__name__}"
            raise TypeError(f"the method remembers something else than it recalls: {kinds}")
        return self.memory

    @property
    def returns(self) -> Tensor:
        """(R,) undiscounted return: the turn rewards, the terminal reward, and dense rewards if there are any."""
        paid = object.__getattribute__(self, "turn_rewards") * object.__getattribute__(self, "turn_mask")
        total = torch.as_tensor(paid.sum(1) + self.terminal_rewards)
        if self.dense_rewards is None:
            return total
        return total.index_add(0, self.row_rollout, (self.dense_rewards * self.action_mask).sum(1).to(total.dtype))

    def declare(self, needs: frozenset[str]) -> Rollouts:
        """Return the same batch behind the gate of `needs`; reads outside it raise `UndeclaredNeedError`."""
        return self.replace(needs=needs, used=set())

    def replace(self, **changes: Any) -> Rollouts:
        """Return a copy with some fields exchanged; the gate does not apply to writing."""
        kept = {f.name: object.__getattribute__(self, f.name) for f in dataclasses.fields(self)}
        return Rollouts(**{**kept, **changes})

    def keep_rollouts(self, keep: Tensor) -> Rollouts:
        """Return the batch without the rollouts outside `keep` (R,), all their rows and pairs gone with them."""
        if bool(keep.all()):
            return self
        rows, renumbered = keep[self.row_rollout], keep.cumsum(0) - 1
        pairs: Tensor | None = object.__getattribute__(self, "pairs")
        kept = self._chosen(TOKEN_FIELDS, rows) | self._chosen((*TURN_FIELDS, *ROLLOUT_FIELDS), keep)
        whole = None if pairs is None else renumbered[pairs[keep[pairs].all(1)]]
        return self.replace(**kept, row_rollout=renumbered[self.row_rollout[rows]], pairs=whole)

    def keep_rows(self, keep: Tensor) -> Rollouts:
        """Return the batch without the rows of tokens outside `keep` (B,).

        Rollouts, turns and rewards stay, also of a rollout that has no row left.
        """
        if bool(keep.all()):
            return self
        return self.replace(**self._chosen((*TOKEN_FIELDS, "row_rollout"), keep))

    def _chosen(self, names: Iterable[str], index: Tensor) -> dict[str, Tensor]:
        present = {name: object.__getattribute__(self, name) for name in names}
        return {name: value[index] for name, value in present.items() if value is not None}

    def spread_rollouts(self, per_rollout: Tensor) -> Tensor:
        """Copy a (R,) tensor to every action token of the rollout: (B, T), zero elsewhere."""
        return per_rollout[self.row_rollout][:, None] * self.action_mask

    def spread_turns(self, per_turn: Tensor) -> Tensor:
        """Copy a (R, K) tensor to every action token of the turn: (B, T), zero elsewhere."""
        per_token = per_turn[self.row_rollout].gather(1, self.turn_ids.clamp_min(0))
        # In place, and floats by bytes instead of bools: several times as fast where a batch is large.
        floating = per_token.is_floating_point()
        return per_token.mul_(self.action_mask.view(torch.uint8) if floating else self.action_mask)

    def units(self, level: Literal["turn", "rollout"]) -> Tensor:
        """Label each action token with the turn or rollout that it belongs to: (B, T) long; elsewhere, any number."""
        rollouts = self.row_rollout[:, None]
        if level == "rollout":
            return rollouts.expand(self.token_ids.shape)
        turns: Tensor = object.__getattribute__(self, "turn_mask")
        return rollouts * turns.shape[1] + self.turn_ids

    def sum_over_rollouts(self, per_token: Tensor) -> Tensor:
        """Sum of a (B, T) tensor over each rollout's action tokens: (R,)."""
        total = per_token.new_zeros(self.group_ids.shape)
        return total.index_add(0, self.row_rollout, (per_token * self.action_mask).sum(1))

    def mean_over_turns(self, per_token: Tensor) -> Tensor:
        """Mean of a (B, T) tensor over each turn's action tokens: (R, K), 0 for a turn without tokens."""
        return self.sum_over_turns(per_token) / self.turn_tokens().clamp_min(1)

    def sum_over_turns(self, per_token: Tensor) -> Tensor:
        """Sum of a (B, T) tensor over each turn's action tokens: (R, K)."""
        cell, shape = self._turn_cells()
        return per_token.new_zeros(shape.numel()).index_add(0, cell, per_token[self.action_mask]).reshape(shape)

    def turn_tokens(self) -> Tensor:
        """(R, K) long: the action tokens of each turn; 0 for a turn that did not take place or said nothing."""
        cell, shape = self._turn_cells()
        return torch.bincount(cell, minlength=shape.numel()).reshape(shape)

    def first_of_turns(self, per_token: Tensor) -> Tensor:
        """Return what a (B, T) tensor holds at each turn's first action token: (R, K), 0 for a turn without tokens.

        Of a critic's values it is the value of the state before the turn.
        """
        cell, shape = self._turn_cells()
        column = self.action_mask.nonzero()[:, 1]
        first = cell.new_full((shape.numel(),), self.token_ids.shape[1]).scatter_reduce(0, cell, column, "amin")
        chosen = column == first[cell]
        result = per_token.new_zeros(shape.numel())
        result[cell[chosen]] = per_token[self.action_mask][chosen]
        return result.reshape(shape)

    def turn_ends(self) -> Tensor:
        """Mark the last action token of each turn: (B, T) bool."""
        return self._turn_borders(-1)

    def turn_starts(self) -> Tensor:
        """Mark the first action token of each turn: (B, T) bool."""
        return self._turn_borders(1)

    def _turn_borders(self, step: Literal[1, -1]) -> Tensor:
        """Mark the action tokens whose neighbour against `step` belongs to another turn, or is none."""
        index, turn_ids = self.action_index(), self.turn_ids
        turns = torch.where(index.mask, turn_ids.flatten()[index.flat], -1)
        beside = torch.nn.functional.pad(turns, (1, 1), value=-1)[:, 1 - step :][:, : turns.shape[1]]
        return index.unpack((turns != beside) & index.mask)

    def _turn_cells(self) -> tuple[Tensor, torch.Size]:
        """Return the cell of each action token in a flattened (R, K) tensor, and that tensor's shape."""
        turn_ids: Tensor = object.__getattribute__(self, "turn_ids")
        shape: torch.Size = object.__getattribute__(self, "turn_mask").shape
        return (self.row_rollout[:, None] * shape[1] + turn_ids)[self.action_mask], shape

    def token_rewards(self) -> Tensor:
        """Pay each turn's reward at its last action token and the terminal reward at the rollout's last one: (B, T).

        Dense rewards are paid where they stand.
        The reward of a turn without tokens goes to the action token before it, or to the first one if there is none.
        """
        turn_ids, turn_mask, turn_rewards = (
            object.__getattribute__(self, name) for name in ("turn_ids", "turn_mask", "turn_rewards")
        )
        index = self.action_index()
        turns = torch.where(index.mask, turn_ids.flatten()[index.flat], torch.iinfo(torch.long).max)
        steps = torch.arange(turn_mask.shape[1], device=turns.device).expand(turn_mask.shape).contiguous()
        place = (torch.searchsorted(turns, steps, right=True) - 1).clamp_min(0)
        rewards = torch.zeros(turns.shape, dtype=turn_rewards.dtype, device=turns.device)
        if rewards.shape[1]:
            rewards.scatter_add_(1, place, turn_rewards * turn_mask)
            last = (index.mask.sum(1, keepdim=True) - 1).clamp_min(0)
            rewards.scatter_add_(1, last, self.terminal_rewards[:, None])
        per_token = index.unpack(rewards)
        return per_token if self.dense_rewards is None else per_token + self.dense_rewards * self.action_mask

    def action_index(self) -> ActionIndex:
        """Line up each rollout's action tokens in time order, whatever rows they stand in."""
        turn_ids: Tensor = object.__getattribute__(self, "turn_ids")
        row, column = self.action_mask.nonzero(as_tuple=True)
        rollout = self.row_rollout[row]
        width = self.token_ids.shape[1]
        steps = int(turn_ids.max().item()) + 1 if row.numel() else 1
        order = torch.argsort((rollout * steps + turn_ids[row, column]) * width + column)
        rollout, flat = rollout[order], (row * width + column)[order]
        counts = torch.bincount(rollout, minlength=self.group_ids.shape[0])
        starts = counts.cumsum(0) - counts
        mask = torch.arange(int(counts.max().item()) if row.numel() else 0, device=flat.device) < counts[:, None]
        index = torch.zeros(mask.shape, dtype=torch.long, device=flat.device)
        index[rollout, torch.arange(flat.numel(), device=flat.device) - starts[rollout]] = flat
        return ActionIndex(index, mask, self.token_ids.shape)


@dataclass(frozen=True)
class Credit:
    """What a rule hands to the loss.

    advantages: (B, T) float, zero on every token that the policy did not choose.
    loss_mask: (B, T) bool or None. Tokens outside it are dropped from the loss and from its normaliser, which is not
        the same as an advantage of zero. A row that it leaves out as a whole is not passed through the policy again
        and not billed as training; with nothing left at all the policy makes no step.
    """

    advantages: Tensor
    loss_mask: Tensor | None = None

    def trained(self, action_mask: Tensor) -> Tensor:
        """Return (B, T) bool: the action tokens that the loss is about."""
        return action_mask if self.loss_mask is None else action_mask & self.loss_mask

    def keep_rows(self, keep: Tensor) -> Credit:
        """Return the credit of the rows inside `keep` (B,)."""
        return Credit(self.advantages[keep], None if self.loss_mask is None else self.loss_mask[keep])


def _pass_gate(rollouts: Rollouts, name: str) -> None:
    declared = object.__getattribute__(rollouts, "needs")
    if declared is None:
        return
    granted = declared.intersection(GATED_FIELDS[name])
    if not granted:
        wanted = " or ".join(GATED_FIELDS[name])
        raise UndeclaredNeedError(f"`{name}` was read, but the method's `needs` does not list {wanted}")
    object.__getattribute__(rollouts, "used").update(granted)
