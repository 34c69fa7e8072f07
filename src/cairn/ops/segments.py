"""Segments: a rollout's action tokens cut into pieces, by a delimiter, by length, by the policy's confidence.

A segmenter is a pure function of a batch. It thinks in the action tokens of each rollout in the order in which they
were produced (`Rollouts.action_index`), so that prompts, padding and what the environment says are never part of a
segment, and both batch layouts give the same segments. `resegment` puts segments in the place of turns, for any rule
that thinks in turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cairn.errors import UserError
from cairn.rollouts import ActionIndex, Rollouts


@dataclass(frozen=True)
class Segments:
    """A cut of every rollout into segments, counted from 0 without a gap and in time order."""

    ids: Tensor  # (B, T) long, segment of each action token in its rollout, -1 elsewhere
    counts: Tensor  # (R,) long, segments of each rollout, 0 for one without action tokens


def cut(rollouts: Rollouts, starts: Tensor) -> Segments:
    """Begin a segment at each action token where `starts` (R, L) bool holds, in the order of `action_index`.

    The first action token of a rollout begins a segment in any case.
    """
    index = rollouts.action_index()
    starts = starts.clone()
    starts[:, :1] = True
    place = starts.cumsum(1) - 1
    ids = torch.full((rollouts.token_ids.numel(),), -1, device=place.device)
    ids[index.flat[index.mask]] = place[index.mask]
    return Segments(ids.reshape(rollouts.token_ids.shape), (starts & index.mask).sum(1))


def by_turn(rollouts: Rollouts) -> Segments:
    """Cut where a turn begins. Turns without tokens leave no trace, so that the numbers of later turns move up."""
    turns = _in_order(rollouts.turn_ids, rollouts.action_index())
    return cut(rollouts, _changed(turns))


def within_turns(rollouts: Rollouts, segments: Segments) -> Segments:
    """Cut segments once more, where a turn begins inside them."""
    index = rollouts.action_index()
    return cut(rollouts, _changed(_in_order(segments.ids, index)) | _changed(_in_order(rollouts.turn_ids, index)))


def by_delimiter(rollouts: Rollouts, delimiters: Tensor) -> Segments:
    """Cut behind each token that is one of `delimiters` (N,) long: a line break, a full stop, the end of a step."""
    index = rollouts.action_index()
    ends = torch.isin(_in_order(rollouts.token_ids, index), delimiters)
    return cut(rollouts, _behind(ends))


def by_length(rollouts: Rollouts, tokens: int) -> Segments:
    """Cut after every `tokens` action tokens of a rollout; the last segment may be shorter.

    As the tree of SPO (arXiv 2505.23564; AIFrameResearch/SPO takes 30 tokens on GSM8K) and the macro actions of fixed
    length do. Raises UserError for less than one token.
    """
    _require_positive("tokens", tokens)
    index = rollouts.action_index()
    column = torch.arange(index.mask.shape[1], device=index.mask.device)
    return cut(rollouts, (column % tokens == 0).expand(index.mask.shape))


def by_low_probability(
    rollouts: Rollouts, threshold: float = 0.9, every: int = 1, longest: int | None = None
) -> Segments:
    """Cut before tokens to which the sampling policy gave a probability below `threshold`.

    every: keep each rollout's first such place, and then every so-many-th. longest: bound on the tokens of a segment; a
    longer one is cut again after each `longest` tokens. The chain variant of SPO (arXiv 2505.23564;
    AIFrameResearch/SPO:src/treetune/episode_generators/math_episode_generator_with_mc_advantages.py) has threshold 0.9,
    every 5 and no bound; it gives no credit to what stands before the first kept place, which is segment 0 here unless
    the first token is such a place. Raises UserError for a threshold outside [0, 1] or counts below 1.
    """
    if not 0 <= threshold <= 1:
        raise UserError("`threshold` is a probability", value=threshold, repair="Give 0 to 1.")
    _require_positive("every", every)
    index = rollouts.action_index()
    low = (_in_order(rollouts.logprobs_behaviour, index).exp() < threshold) & index.mask
    starts = low & ((low.cumsum(1) - 1) % every == 0)
    return cut(rollouts, starts if longest is None else _bounded(starts, longest))


def by_change(rollouts: Rollouts, signal: Tensor, threshold: float) -> Segments:
    """Cut where a signal (B, T) of the action tokens moves by more than `threshold` from one token to the next.

    Our reading of the abstract of adaptive segment-level rewards (arXiv 2411.00809), which puts borders where the
    reward of the tokens changes markedly; neither its formula nor its threshold was seen.
    """
    values = _in_order(signal, rollouts.action_index())
    moved = torch.zeros_like(values, dtype=torch.bool)
    moved[:, 1:] = (values[:, 1:] - values[:, :-1]).abs() > threshold
    return cut(rollouts, moved)


def resegment(rollouts: Rollouts, segments: Segments) -> Rollouts:
    """Put segments in the place of turns: `turn_ids` and `turn_mask` follow them, so that K counts segments.

    Rewards are kept: each turn's reward is paid to the segment that holds the turn's last action token, where those of
    several turns add up; for a turn without tokens it is that of the action token before it. The terminal reward stays
    terminal. A rollout without action tokens keeps one segment without tokens, which is paid all its turn rewards.

    What was collected for each turn (observation keys, Monte Carlo values, agents, state handles) goes to the segments
    where every segment of the batch begins with the first token of a turn; then `Services.continuations` forks before
    each segment. Otherwise these fields are None, and a fork inside a turn is not offered: environments are forked
    between turns. Exact advantages are always dropped, for they belong to turns. Whatever is not per turn stays valid.

    Raises UserError for a segment that lies in several rows, as may be with a row for each turn: the order of its
    tokens would be lost. `within_turns` cuts such segments.
    """
    raw = rollouts.replace(needs=None)
    _refuse_split(raw, segments)
    counts = torch.maximum(segments.counts, raw.turn_mask.any(1).long())
    width = int(counts.max().clamp_min(1)) if counts.numel() else 1
    changes = {
        "turn_ids": segments.ids,
        "turn_mask": torch.arange(width, device=counts.device) < counts[:, None],
        "turn_rewards": _merged_rewards(raw, segments, width),
        "exact_advantages": None,
        **_carried(raw, segments, width),
    }
    return rollouts.replace(**changes)


def _merged_rewards(raw: Rollouts, segments: Segments, width: int) -> Tensor:
    """(R, width) turn rewards, each at the segment of the turn's last action token."""
    terminal = torch.zeros_like(raw.terminal_rewards)
    paid = raw.replace(terminal_rewards=terminal).token_rewards()[raw.action_mask]
    cell = (raw.row_rollout[:, None] * width + segments.ids)[raw.action_mask]
    merged = paid.new_zeros(len(terminal) * width).index_add(0, cell, paid).reshape(-1, width)
    silent = segments.counts == 0
    merged[silent, 0] = (raw.turn_rewards * raw.turn_mask).sum(1)[silent].to(merged.dtype)
    return merged


def _refuse_split(raw: Rollouts, segments: Segments) -> None:
    index = raw.action_index()
    rows = index.flat // raw.token_ids.shape[1]
    ids = _in_order(segments.ids, index)
    if bool((_changed(rows) & ~_changed(ids) & index.mask).any()):
        message = "a segment lies in several rows"
        raise UserError(message, repair="Cut segments where a turn begins, or lay each episode out as one row.")


def _carried(raw: Rollouts, segments: Segments, width: int) -> dict[str, Tensor | None]:
    """Fields of a turn, for the segments, where each of them begins one; else None for each."""
    index = raw.action_index()
    turns, ids = _in_order(raw.turn_ids, index), _in_order(segments.ids, index)
    begins = _first(ids) & index.mask
    whole = bool((_first(turns) | ~begins).all())
    source = torch.zeros(len(ids), width, dtype=torch.long, device=ids.device)
    rollout, place = begins.nonzero(as_tuple=True)
    source[rollout, ids[rollout, place]] = turns[rollout, place]
    names = ("observation_keys", "turn_values", "agent_ids", "state_handles")
    fields = {name: getattr(raw, name) for name in names}
    return {n: f.gather(1, source) if f is not None and whole else None for n, f in fields.items()}


def _in_order(per_token: Tensor, index: ActionIndex) -> Tensor:
    """(R, L) values of a (B, T) tensor at the action tokens; entries outside the mask mean nothing."""
    return per_token.flatten()[index.flat]


def _changed(labels: Tensor) -> Tensor:
    """(R, L) the label differs from the one before."""
    changed = torch.zeros_like(labels, dtype=torch.bool)
    changed[:, 1:] = labels[:, 1:] != labels[:, :-1]
    return changed


def _first(labels: Tensor) -> Tensor:
    """(R, L) the first of a run of equal labels."""
    first = _changed(labels)
    first[:, :1] = True
    return first


def _behind(ends: Tensor) -> Tensor:
    return torch.nn.functional.pad(ends[:, :-1], (1, 0)) if ends.shape[1] else ends


def _bounded(starts: Tensor, longest: int) -> Tensor:
    """Add starts so that no segment has more than `longest` tokens."""
    _require_positive("longest", longest)
    column = torch.arange(starts.shape[1], device=starts.device).expand(starts.shape)
    begun = torch.where(starts, column, 0).cummax(1).values if starts.shape[1] else column
    return starts | ((column - begun) % longest == 0)


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise UserError(f"`{name}` is a count", value=value, repair="Give 1 or more.")
