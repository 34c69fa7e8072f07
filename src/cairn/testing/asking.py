"""What all checks are made of: running a rule over logged rollouts, and saying what was wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from cairn.errors import UserError
from cairn.interchange import Layout, Playback, to_rollouts
from cairn.method import Method
from cairn.rollouts import Credit, Rollouts
from cairn.testing.samples import Rows

TOLERANCE = 1e-9


class ContractError(AssertionError):
    """A rule broke its contract; the message is a full sentence."""


def prepared(method: Method, rollouts: Rollouts) -> Rollouts:
    """Run what comes before the credit: `collect`, with services that play logged rollouts back, and `reward`."""
    collected = method.collect(Playback(rollouts, method.needs)).declare(method.needs)
    return method.reward(collected).replace(needs=None)


def turn_credits(method: Method, rows: Rows, layout: Layout = "turn") -> list[list[float | None]]:
    """Return, for each turn of each rollout, the mean advantage over its tokens; None for a turn without tokens.

    Rollouts that `collect` adds come after those that were logged, and are left out.
    """
    rollouts = prepared(method, to_rollouts(rows, layout))
    numbers = rollouts.mean_over_turns(credit_of(method, rollouts).advantages).tolist()
    return [
        [number if turn.tokens else None for number, turn in zip(given, row.turns, strict=False)]
        for given, row in zip(numbers, rows, strict=False)
    ]


def credit_of(method: Method, rollouts: Rollouts) -> Credit:
    """Run the credit stage behind the gate; its shapes, types and finiteness are asked for every time."""
    credit = method.credit(rollouts.declare(method.needs))
    shape, got = rollouts.token_ids.shape, credit.advantages
    ask(
        got.shape == shape,
        f"{name_of(method)} gives advantages of shape {tuple(got.shape)}; tokens are {tuple(shape)}.",
    )
    ask(got.is_floating_point(), f"{name_of(method)} gives advantages of type {got.dtype}.")
    ask(bool(got.isfinite().all()), f"{name_of(method)} gives an advantage that is not finite.")
    mask = credit.loss_mask
    fits = mask is None or (mask.shape == shape and mask.dtype == torch.bool)
    ask(fits, f"{name_of(method)} gives a loss mask that is not bool of the tokens' shape.")
    return credit


def run_stages(method: Method, rollouts: Rollouts) -> set[str]:
    """Run all stages in order over logged data and return the needs that they used."""
    services = Playback(rollouts, method.needs)
    seen = method.collect(services).declare(method.needs)
    method.filter(seen)
    seen = method.reward(seen)
    logprobs = (seen.logprobs_behaviour * 0.9).requires_grad_()
    method.loss(logprobs, seen, method.credit(seen))
    method.fit(seen, services)
    return services.used | seen.used


def loss_and_gradient(method: Method, rollouts: Rollouts, credit: Credit) -> tuple[Tensor, Tensor]:
    """Return the loss, as a number with a finite gradient, and that gradient (B, T), near the policy that sampled."""
    logprobs = (rollouts.logprobs_behaviour * 0.9).requires_grad_()
    loss = method.loss(logprobs, rollouts.declare(method.needs), credit)
    ask(loss.shape == (), f"{name_of(method)} has a loss of shape {tuple(loss.shape)} instead of one number.")
    (gradient,) = torch.autograd.grad(loss, logprobs)
    finite = bool(loss.isfinite()) and bool(gradient.isfinite().all())
    ask(finite, f"{name_of(method)} has a loss or a gradient that is not finite.")
    return loss.detach(), gradient


def ask_defined(method: Method, rows: Rows, case: str) -> list[Tensor]:
    """Ask for finite credit, loss and gradient in both layouts and float types; both layouts have one credit and loss.

    Returns the credit of each turn, (R, K), by layout and type.
    """
    by_turn: list[Tensor] = []
    losses: list[Tensor] = []
    for rollouts in both_layouts(rows):
        for logged in (rollouts, to_float32(rollouts)):
            try:
                batch = prepared(method, logged)
                credit = credit_of(method, batch)
                losses.append(loss_and_gradient(method, batch, credit)[0])
            except (ContractError, ArithmeticError, IndexError, RuntimeError, UserError, ValueError) as error:
                raise ContractError(f"{name_of(method)} fails on {case}: {error}") from error
            by_turn.append(batch.mean_over_turns(credit.advantages))
    for what, found in (("credit", by_turn), ("loss", losses)):
        same = torch.allclose(found[0], found[2], rtol=TOLERANCE, atol=TOLERANCE)
        ask(same, f"{name_of(method)} gives each layout a {what} of its own on {case}.")
    return by_turn


def ask_nothing(method: Method, given: Sequence[Tensor], case: str) -> None:
    """Ask a rule that compares within groups, and nothing else, for a credit of exactly zero."""
    silent = "zero_mean_in_group" not in method.invariants or not any(bool(credit.any()) for credit in given)
    ask(silent, f"{name_of(method)} gives credit on {case}, where there is nothing to compare.")


def to_float32(rollouts: Rollouts) -> Rollouts:
    """Return the batch in the type in which the laboratory trains."""
    return rollouts.replace(
        **{name: value.float() for name, value in tensors(rollouts).items() if value.is_floating_point()}
    )


def both_layouts(rows: Rows) -> tuple[Rollouts, Rollouts]:
    """Return the batch with a row for each turn, and with one for each episode."""
    return to_rollouts(rows, "turn"), to_rollouts(rows, "episode")


def layouts_of(method: Method, rows: Rows) -> tuple[Rollouts, Rollouts]:
    """Return both layouts, prepared for the credit of the rule."""
    turns, episodes = both_layouts(rows)
    return prepared(method, turns), prepared(method, episodes)


def tensors(rollouts: Rollouts) -> dict[str, Tensor]:
    """Return the tensors of a batch that were collected, by name."""
    fields = {field.name: getattr(rollouts, field.name) for field in dataclasses.fields(rollouts)}
    return {name: value for name, value in fields.items() if isinstance(value, Tensor)}


def ask_equal(got: Tensor, wanted: Tensor, message: str) -> None:
    """Ask that two tensors agree to the tolerance of the contract."""
    ask(torch.allclose(got, wanted, rtol=0.0, atol=TOLERANCE), message)


def ask_same_turns(
    got: Sequence[Sequence[float | None]],
    wanted: Sequence[Sequence[float | None]],
    method: Method,
    place: str,
    tolerance: float = TOLERANCE,
) -> None:
    """Ask that two tables of turn credits agree; `place` completes the sentence that says where they differ."""
    for r, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
        for k, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            same = one == other if one is None or other is None else abs(one - other) <= tolerance
            message = (
                f"{name_of(method)} gives turn {k} of rollout {r} another credit {place}: {one} instead of {other}."
            )
            ask(same, message)


def ask(holds: bool, message: str) -> None:
    """Raise ContractError with `message` unless the condition holds."""
    if not holds:
        raise ContractError(message)


def name_of(method: Method) -> str:
    """Return the name of the rule for a sentence."""
    return type(method).__name__
