"""Checks of what every rule owes on ordinary batches."""

from __future__ import annotations

import random
from typing import Any

import torch

from cairn.evidence.golden import Golden
from cairn.interchange import to_rollouts
from cairn.method import Method
from cairn.rollouts import TOKEN_FIELDS, TURN_FIELDS, Rollouts, UndeclaredNeedError
from cairn.testing.asking import (
    ContractError,
    ask,
    ask_equal,
    ask_same_turns,
    both_layouts,
    credit_of,
    layouts_of,
    loss_and_gradient,
    name_of,
    prepared,
    run_stages,
    tensors,
    turn_credits,
)
from cairn.testing.invariants import INVARIANTS
from cairn.testing.samples import Rows


def check_shapes(method: Method, rows: Rows) -> None:
    """Advantages are floats (B, T), finite; a loss mask is bool (B, T); the filter gives a bool for each rollout."""
    for rollouts in layouts_of(method, rows):
        credit_of(method, rollouts)
        keep = method.filter(rollouts.declare(method.needs))
        fits = keep.shape == rollouts.group_ids.shape and keep.dtype == torch.bool
        ask(fits, f"{name_of(method)} filters by {keep.dtype} of shape {tuple(keep.shape)}, not by a bool a rollout.")


def check_zero_off_actions(method: Method, rows: Rows) -> None:
    """Prompt, environment and padding tokens get exactly zero."""
    for rollouts in layouts_of(method, rows):
        stray = credit_of(method, rollouts).advantages[~rollouts.action_mask].count_nonzero().item()
        ask(not stray, f"{name_of(method)} gives credit to {stray} tokens that the policy did not choose.")


def check_padding(method: Method, rows: Rows) -> None:
    """More padding, at either end of the rows and after the last turn, changes no credit."""
    for rollouts in both_layouts(rows):
        plain = credit_of(method, prepared(method, rollouts)).advantages
        wider = padded(rollouts, left=2, right=3, turns=2)
        more = credit_of(method, prepared(method, wider)).advantages[:, 2:-3]
        ask_equal(more, plain, f"{name_of(method)} gives another credit when padding is added.")


def check_order(method: Method, rows: Rows) -> None:
    """The order of rollouts, and of the rows of tokens, changes no credit."""
    order = random.Random(1).sample(range(len(rows)), len(rows))
    moved = turn_credits(method, [rows[i] for i in order])
    ask_same_turns(moved, [turn_credits(method, rows)[i] for i in order], method, "when rollouts are reordered")
    rollouts = to_rollouts(rows)
    index = torch.randperm(len(rollouts.token_ids), generator=torch.Generator().manual_seed(1))
    fields = {name: value[index] for name in TOKEN_FIELDS if (value := getattr(rollouts, name)) is not None}
    shuffled = rollouts.replace(row_rollout=rollouts.row_rollout[index], **fields)
    wanted = credit_of(method, prepared(method, rollouts)).advantages[index]
    message = f"{name_of(method)} gives another credit when rows of tokens are reordered."
    ask_equal(credit_of(method, prepared(method, shuffled)).advantages[: len(index)], wanted, message)


def check_inputs_untouched(method: Method, rows: Rows) -> None:
    """No stage writes into the batch that it was given."""
    rollouts = to_rollouts(rows)
    before = {name: value.clone() for name, value in tensors(rollouts).items()}
    run_stages(method, rollouts)
    for name, value in tensors(rollouts).items():
        ask(torch.equal(value, before[name]), f"{name_of(method)} writes into `{name}` of the batch that it was given.")


def check_determinism(method: Method, rows: Rows) -> None:
    """The same batch gives the same credit bit for bit, whatever torch's global random numbers are."""
    rollouts = to_rollouts(rows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = credit_of(method, prepared(method, rollouts)).advantages
        torch.manual_seed(2)
        second = credit_of(method, prepared(method, rollouts)).advantages
    message = f"{name_of(method)} gives two credits to one batch; a rule that draws must draw from `draw_seed`."
    ask(torch.equal(first, second), message)


def check_needs(method: Method, rows: Rows) -> None:
    """The needs that the stages use are exactly those that the method declares."""
    try:
        used = run_stages(method, to_rollouts(rows))
    except UndeclaredNeedError as error:
        raise ContractError(f"{name_of(method)} uses what it does not declare: {error}.") from error
    idle = sorted(method.needs - used)
    ask(not idle, f"{name_of(method)} declares needs that no stage uses: {', '.join(idle)}.")


def check_invariants(method: Method, rows: Rows) -> None:
    """Each declared invariant holds; one that logged rollouts cannot show needs a test of its own."""
    for word in sorted(method.invariants):
        ask(word in INVARIANTS, f"{name_of(method)} declares `{word}`, for which no check on logged rollouts exists.")
        INVARIANTS[word](method, rows)


def check_limits(method: Method, rows: Rows) -> None:
    """In each declared limit the credit is that of the rule it becomes."""
    for limit in method.limits:
        limited = type(method)(**dict(limit.settings))
        place = f"with {dict(limit.settings)} from that of {name_of(limit.becomes)}"
        ask_same_turns(turn_credits(limited, rows), turn_credits(limit.becomes, rows), method, place)


def check_layouts(method: Method, rows: Rows) -> None:
    """A row for each turn and a row for each episode give the same credit, and the same loss."""
    per_turn, per_episode = turn_credits(method, rows, "turn"), turn_credits(method, rows, "episode")
    ask_same_turns(per_episode, per_turn, method, "when an episode is one row instead of one row a turn")
    losses = [loss_and_gradient(method, batch, credit_of(method, batch))[0] for batch in layouts_of(method, rows)]
    ask_equal(losses[1], losses[0], f"{name_of(method)} has another loss when an episode is one row.")


def check_loss(method: Method, rows: Rows) -> None:
    """The loss is a finite number whose gradient is finite, and zero off the action tokens."""
    for rollouts in layouts_of(method, rows):
        _, gradient = loss_and_gradient(method, rollouts, credit_of(method, rollouts))
        stray = gradient[~rollouts.action_mask].count_nonzero().item()
        ask(not stray, f"{name_of(method)} has a gradient on {stray} tokens that the policy did not choose.")


def check_dropped_rows(method: Method, rows: Rows) -> None:
    """Where a rule drops rows from the loss, the loss is the same whether they are in the batch or not.

    The laboratory takes them out: it neither passes them through the policy nor bills them.
    """
    for rollouts in layouts_of(method, rows):
        credit = credit_of(method, rollouts)
        kept = credit.trained(rollouts.action_mask).any(1)
        if credit.loss_mask is None or not kept.any():
            continue
        whole, _ = loss_and_gradient(method, rollouts, credit)
        part, _ = loss_and_gradient(method, rollouts.keep_rows(kept), credit.keep_rows(kept))
        ask_equal(part, whole, f"{name_of(method)} has another loss when the rows that it drops are not there.")


def check_memory(method: Method, rows: Rows) -> None:
    """What a rule remembers is a pure function of the batch and of what it remembered, the same in both layouts.

    The rule is taken through three updates; recalling may not change what is recalled.
    """
    if type(method).remember is Method.remember:
        return
    memories: list[Any] = [None, None]
    for _ in range(3):
        pairs = zip(both_layouts(rows), memories, strict=True)
        batches = [prepared(method, batch.replace(memory=memory)) for batch, memory in pairs]
        credits_ = [batch.mean_over_turns(credit_of(method, batch).advantages) for batch in batches]
        ask_equal(credits_[1], credits_[0], f"{name_of(method)} remembers something else in each layout.")
        again = batches[0].mean_over_turns(credit_of(method, batches[0]).advantages)
        ask_equal(again, credits_[0], f"{name_of(method)} changes what it remembers by recalling it.")
        memories = [method.remember(batch.declare(method.needs)) for batch in batches]
        twin = batches[0].replace(memory=method.remember(batches[0].declare(method.needs)))
        twins = [credit_of(method, batch).advantages for batch in (twin, batches[0].replace(memory=memories[0]))]
        ask_equal(twins[1], twins[0], f"{name_of(method)} remembers two things of one batch.")


def check_golden(method: type[Method], golden: Golden) -> None:
    """Every case of a golden example gets the credits that were calculated for it."""
    for case in golden.cases:
        settings: dict[str, Any] = dict(case.method)
        try:
            configured = method(**settings)
        except TypeError as error:
            raise ContractError(f"Case {case.name} does not fit {method.__name__}: {error}.") from error
        place = f"than the golden example in case {case.name}"
        ask_same_turns(turn_credits(configured, golden.batch), case.expected, configured, place, golden.tolerance)


def padded(rollouts: Rollouts, left: int, right: int, turns: int) -> Rollouts:
    """Add padding tokens (zeros) and turns that did not take place.

    Those turns hold junk that differs from rollout to rollout: only the mask speaks for them, and a rule that centres
    its credit would hide what is the same for all.
    """
    junk = torch.arange(len(rollouts.group_ids))[:, None].expand(-1, turns)
    present = {name: value for name, value in tensors(rollouts).items() if name in {*TOKEN_FIELDS, *TURN_FIELDS}}
    changes = {
        name: torch.nn.functional.pad(value, (left, right))
        if name in TOKEN_FIELDS
        else torch.cat([value, junk.to(value.dtype)], 1)
        for name, value in present.items()
    }
    changes["turn_mask"] = torch.nn.functional.pad(rollouts.turn_mask, (0, turns))
    changes["turn_ids"] = torch.nn.functional.pad(rollouts.turn_ids, (left, right), value=-1)
    return rollouts.replace(**changes)
