"""Contract tests for any credit rule, ours or a stranger's.

    from cairn.testing import contract

    @pytest.mark.parametrize("check", contract(MyMethod()), ids=str)
    def test_contract(check):
        check()

Each `check_*` takes a method and logged rollouts in the interchange format (by default `sample_rollouts()`, which gives
every optional field) and raises ContractError with a sentence that says what the rule did. Comparisons of credit are
made in float64 with an absolute tolerance of `TOLERANCE`.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cairn.errors import UserError
from cairn.evidence.golden import Golden
from cairn.interchange import Playback, RolloutRow, TurnRow, to_rollouts, turn_credit
from cairn.method import Method
from cairn.rollouts import TOKEN_FIELDS, TURN_FIELDS, Credit, Rollouts, UndeclaredNeedError

TOLERANCE = 1e-9
Rows = Sequence[RolloutRow]


class ContractError(AssertionError):
    """A rule broke its contract; the message is a full sentence."""


@dataclass(frozen=True)
class Check:
    """One check made ready: call it. Its text is its name."""

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Raise ContractError when the rule breaks this part of the contract."""
        self.run()

    def __str__(self) -> str:
        return self.name


def contract(method: Method, rows: Rows | None = None) -> list[Check]:
    """Return every check for a method, on the given rollouts or on `sample_rollouts()`."""
    batch = sample_rollouts() if rows is None else rows

    def ready(check: Callable[[Method, Rows], None]) -> Check:
        return Check(check.__name__.removeprefix("check_"), lambda: check(method, batch))

    return [ready(check) for check in CHECKS]


def check_shapes(method: Method, rows: Rows) -> None:
    """Advantages are floats (B, T), finite; a loss mask is bool (B, T)."""
    for rollouts in _both_layouts(rows):
        _credit(method, rollouts)


def check_zero_off_actions(method: Method, rows: Rows) -> None:
    """Prompt, environment and padding tokens get exactly zero."""
    for rollouts in _both_layouts(rows):
        stray = _credit(method, rollouts).advantages[~rollouts.action_mask].count_nonzero().item()
        _ask(not stray, f"{_name(method)} gives credit to {stray} tokens that the policy did not choose.")


def check_padding(method: Method, rows: Rows) -> None:
    """More padding, at either end of the rows and after the last turn, changes no credit."""
    for rollouts in _both_layouts(rows):
        plain = _credit(method, rollouts).advantages
        padded = _credit(method, _pad(rollouts, left=2, right=3, turns=2)).advantages[:, 2:-3]
        _ask_equal(padded, plain, f"{_name(method)} gives another credit when padding is added.")


def check_order(method: Method, rows: Rows) -> None:
    """The order of rollouts, and of the rows of tokens, changes no credit."""
    order = random.Random(1).sample(range(len(rows)), len(rows))
    moved = turn_credit(method, [rows[i] for i in order])
    _ask_same_turns(moved, [turn_credit(method, rows)[i] for i in order], method, "when rollouts are reordered")
    rollouts = to_rollouts(rows)
    index = torch.randperm(len(rollouts.token_ids), generator=torch.Generator().manual_seed(1))
    fields = {name: value[index] for name in TOKEN_FIELDS if (value := getattr(rollouts, name)) is not None}
    shuffled = rollouts.replace(row_rollout=rollouts.row_rollout[index], **fields)
    wanted = _credit(method, rollouts).advantages[index]
    message = f"{_name(method)} gives another credit when rows of tokens are reordered."
    _ask_equal(_credit(method, shuffled).advantages, wanted, message)


def check_inputs_untouched(method: Method, rows: Rows) -> None:
    """No stage writes into the batch that it was given."""
    rollouts = to_rollouts(rows)
    before = {name: value.clone() for name, value in _tensors(rollouts).items()}
    _run_stages(method, rollouts)
    for name, value in _tensors(rollouts).items():
        _ask(torch.equal(value, before[name]), f"{_name(method)} writes into `{name}` of the batch that it was given.")


def check_determinism(method: Method, rows: Rows) -> None:
    """The same batch gives the same credit bit for bit, whatever torch's global random numbers are."""
    rollouts = to_rollouts(rows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = _credit(method, rollouts).advantages
        torch.manual_seed(2)
        second = _credit(method, rollouts).advantages
    message = f"{_name(method)} gives two credits to one batch; a rule that draws must draw from `draw_seed`."
    _ask(torch.equal(first, second), message)


def check_needs(method: Method, rows: Rows) -> None:
    """The needs that the stages use are exactly those that the method declares."""
    try:
        used = _run_stages(method, to_rollouts(rows))
    except UndeclaredNeedError as error:
        raise ContractError(f"{_name(method)} uses what it does not declare: {error}.") from error
    idle = sorted(method.needs - used)
    _ask(not idle, f"{_name(method)} declares needs that no stage uses: {', '.join(idle)}.")


def check_invariants(method: Method, rows: Rows) -> None:
    """Each declared invariant holds; one that logged rollouts cannot show needs a test of its own."""
    for word in sorted(method.invariants):
        _ask(word in INVARIANTS, f"{_name(method)} declares `{word}`, for which no check on logged rollouts exists.")
        INVARIANTS[word](method, rows)


def check_limits(method: Method, rows: Rows) -> None:
    """In each declared limit the credit is that of the rule it becomes."""
    for limit in method.limits:
        limited = type(method)(**dict(limit.settings))
        place = f"with {dict(limit.settings)} from that of {_name(limit.becomes)}"
        _ask_same_turns(turn_credit(limited, rows), turn_credit(limit.becomes, rows), method, place)


def check_group_of_one(method: Method, rows: Rows) -> None:
    """A rollout that is alone in its group gets a finite credit."""
    _check_finite(method, [row.model_copy(update={"group": str(i)}) for i, row in enumerate(rows)], "groups of one")
    _check_finite(method, rows[:1], "a batch of one rollout")


def check_equal_rewards(method: Method, rows: Rows) -> None:
    """Rewards that are all equal, which leave nothing to compare, give a finite credit."""
    for reward in (0.0, 0.1):
        equal = [_equalised(row, reward) for row in rows]
        _check_finite(method, equal, f"rewards that are all {reward}")


def check_turns_without_tokens(method: Method, rows: Rows) -> None:
    """Turns without tokens, at any place, and a batch without any token give a finite credit."""
    for place in (0, -1):
        _check_finite(method, [_hush(row, {place % len(row.turns)}) for row in rows], f"no token in turn {place}")
    _check_finite(method, [_hush(rows[0], {*range(len(rows[0].turns))}), *rows[1:]], "a rollout without tokens")
    _check_finite(method, [_hush(row, {*range(len(row.turns))}) for row in rows], "a batch without tokens")


def check_truncation(method: Method, rows: Rows) -> None:
    """Rollouts that were cut off, some or all of them, get a finite credit."""
    for every in (2, 1):
        cut = [row.model_copy(update={"truncated": i % every == 0}) for i, row in enumerate(rows)]
        _check_finite(method, cut, "truncated rollouts")


def check_layouts(method: Method, rows: Rows) -> None:
    """A row for each turn and a row for each episode give the same credit."""
    per_turn, per_episode = turn_credit(method, rows, "turn"), turn_credit(method, rows, "episode")
    _ask_same_turns(per_episode, per_turn, method, "when an episode is one row instead of one row a turn")


def check_loss(method: Method, rows: Rows) -> None:
    """The loss is a finite number whose gradient is finite, and zero off the action tokens."""
    for rollouts in _both_layouts(rows):
        declared = rollouts.declare(method.needs)
        logprobs = (rollouts.logprobs_behaviour * 0.9).requires_grad_()
        loss = method.loss(logprobs, declared, method.credit(declared))
        _ask(loss.shape == (), f"{_name(method)} has a loss of shape {tuple(loss.shape)} instead of one number.")
        (gradient,) = torch.autograd.grad(loss, logprobs)
        finite = bool(loss.isfinite()) and bool(gradient.isfinite().all())
        _ask(finite, f"{_name(method)} has a loss or a gradient that is not finite.")
        stray = gradient[~rollouts.action_mask].count_nonzero().item()
        _ask(not stray, f"{_name(method)} has a gradient on {stray} tokens that the policy did not choose.")


def check_golden(method: type[Method], golden: Golden) -> None:
    """Every case of a golden example gets the credits that were calculated for it."""
    for case in golden.cases:
        settings: dict[str, Any] = dict(case.method)
        try:
            configured = method(**settings)
        except TypeError as error:
            raise ContractError(f"Case {case.name} does not fit {method.__name__}: {error}.") from error
        place = f"than the golden example in case {case.name}"
        _ask_same_turns(turn_credit(configured, golden.batch), case.expected, configured, place, golden.tolerance)


def sample_rollouts(seed: int = 0) -> list[RolloutRow]:
    """Return a batch that gives every optional field.

    Four groups: mixed rewards, equal rewards, turn rewards, a group of one. Observations recur within and across
    groups, some rollouts are truncated, some turns have no token, and every rollout has a token in its last turn.
    """
    rng = random.Random(seed)
    rewards = {"mixed": (1.0, 0.0, 0.5, 0.0), "equal": (1.0, 1.0, 1.0), "turns": (0.0, 1.0, 0.25), "alone": (1.0,)}
    return [_sample_rollout(rng, group, reward) for group, all_ in rewards.items() for reward in all_]


def _sample_rollout(rng: random.Random, group: str, reward: float) -> RolloutRow:
    count = rng.randint(2, 5)
    turns = [_sample_turn(rng, rng.choice((0, 1, 2, 3)) if k < count - 1 else 2, group) for k in range(count)]
    return RolloutRow(group=group, reward=reward, truncated=rng.random() < 0.3, turns=tuple(turns))


def _sample_turn(rng: random.Random, n: int, group: str) -> TurnRow:
    return TurnRow(
        observation=rng.choice(("hall", "door", "key")),
        tokens=tuple(rng.choices(("go", "left", "take", "wait"), k=n)),
        reward=rng.choice((0.0, 0.5, -0.25)) if group == "turns" else 0.0,
        logprobs=tuple(-rng.expovariate(1.0) for _ in range(n)),
        reference_logprobs=tuple(-rng.expovariate(1.0) for _ in range(n)),
        entropies=tuple(rng.uniform(0.1, 2.0) for _ in range(n)),
        values=tuple(rng.random() for _ in range(n)),
        value=rng.random(),
        agent=rng.choice(("planner", "worker")),
    )


def _zero_mean_in_group(method: Method, rows: Rows) -> None:
    """Each trajectory counts once, with the mean credit over its action tokens."""
    rollouts = to_rollouts(rows)
    index = rollouts.action_index()
    credit = _credit(method, rollouts).advantages.flatten()[index.flat] * index.mask
    per_rollout = credit.sum(1) / index.mask.sum(1).clamp_min(1)
    for group in rollouts.group_ids.unique():
        total = float(per_rollout[rollouts.group_ids == group].sum())
        _ask(abs(total) < TOLERANCE, f"{_name(method)} gives the trajectories of a group credits that sum to {total}.")


def _telescopes(method: Method, rows: Rows) -> None:
    """Without whitening and discount, over rollouts in which every turn shows its credit."""
    _ask("mc_continuations" in method.needs, f"{_name(method)} telescopes over values that the check cannot see.")
    fields = {field.name for field in dataclasses.fields(method)}
    neutral: dict[str, Any] = {n: value for n, value in (("whiten", False), ("gamma", 1.0)) if n in fields}
    spoken = [row.model_copy(update={"turns": tuple(turn for turn in row.turns if turn.tokens)}) for row in rows]
    for row, credits_ in zip(spoken, turn_credit(dataclasses.replace(method, **neutral), spoken), strict=True):
        total, start = sum(c for c in credits_ if c is not None), row.turns[0].value or 0.0
        wanted = row.reward + sum(turn.reward for turn in row.turns) - start
        message = f"{_name(method)} gives a rollout credits that sum to {total}; return less first value is {wanted}."
        _ask(abs(total - wanted) < TOLERANCE, message)


INVARIANTS: dict[str, Callable[[Method, Rows], None]] = {
    "zero_mean_in_group": _zero_mean_in_group,
    "telescopes": _telescopes,
}
CHECKS: tuple[Callable[[Method, Rows], None], ...] = (
    check_shapes,
    check_zero_off_actions,
    check_padding,
    check_order,
    check_inputs_untouched,
    check_determinism,
    check_needs,
    check_invariants,
    check_limits,
    check_group_of_one,
    check_equal_rewards,
    check_turns_without_tokens,
    check_truncation,
    check_layouts,
    check_loss,
)


def _credit(method: Method, rollouts: Rollouts) -> Credit:
    """Run the credit stage behind the gate; its shapes, types and finiteness are asked for every time."""
    credit = method.credit(rollouts.declare(method.needs))
    shape, got = rollouts.token_ids.shape, credit.advantages
    _ask(
        got.shape == shape, f"{_name(method)} gives advantages of shape {tuple(got.shape)}; tokens are {tuple(shape)}."
    )
    _ask(got.is_floating_point(), f"{_name(method)} gives advantages of type {got.dtype}.")
    _ask(bool(got.isfinite().all()), f"{_name(method)} gives an advantage that is not finite.")
    mask = credit.loss_mask
    fits = mask is None or (mask.shape == shape and mask.dtype == torch.bool)
    _ask(fits, f"{_name(method)} gives a loss mask that is not bool of the tokens' shape.")
    return credit


def _run_stages(method: Method, rollouts: Rollouts) -> set[str]:
    """Run all stages in order over logged data and return the needs that they used."""
    services = Playback(rollouts, method.needs)
    seen = method.collect(services).declare(method.needs)
    method.filter(seen)
    seen = method.reward(seen)
    logprobs = (rollouts.logprobs_behaviour * 0.9).requires_grad_()
    method.loss(logprobs, seen, method.credit(seen))
    method.fit(seen, services)
    return services.used | seen.used


def _check_finite(method: Method, rows: Rows, case: str) -> None:
    for rollouts in _both_layouts(rows):
        try:
            _credit(method, rollouts)
        except (ContractError, ArithmeticError, IndexError, RuntimeError, UserError, ValueError) as error:
            raise ContractError(f"{_name(method)} fails on {case}: {error}") from error


def _both_layouts(rows: Rows) -> tuple[Rollouts, Rollouts]:
    return to_rollouts(rows, "turn"), to_rollouts(rows, "episode")


def _equalised(row: RolloutRow, reward: float) -> RolloutRow:
    turns = tuple(turn.model_copy(update={"reward": 0.0}) for turn in row.turns)
    return row.model_copy(update={"reward": reward, "turns": turns})


def _hush(row: RolloutRow, places: set[int]) -> RolloutRow:
    """Return the rollout with no token in the turns at `places`."""
    silent = {"tokens": (), "logprobs": None, "reference_logprobs": None, "entropies": None, "values": None}
    turns = tuple(turn.model_copy(update=silent) if k in places else turn for k, turn in enumerate(row.turns))
    return row.model_copy(update={"turns": turns})


def _pad(rollouts: Rollouts, left: int, right: int, turns: int) -> Rollouts:
    """Add padding tokens (zeros) and turns that did not take place.

    Those turns hold junk that differs from rollout to rollout: only the mask speaks for them, and a rule that centres
    its credit would hide what is the same for all.
    """
    junk = torch.arange(len(rollouts.group_ids))[:, None].expand(-1, turns)
    present = {name: value for name, value in _tensors(rollouts).items() if name in {*TOKEN_FIELDS, *TURN_FIELDS}}
    changes = {
        name: torch.nn.functional.pad(value, (left, right))
        if name in TOKEN_FIELDS
        else torch.cat([value, junk.to(value.dtype)], 1)
        for name, value in present.items()
    }
    changes["turn_mask"] = torch.nn.functional.pad(rollouts.turn_mask, (0, turns))
    changes["turn_ids"] = torch.nn.functional.pad(rollouts.turn_ids, (left, right), value=-1)
    return rollouts.replace(**changes)


def _tensors(rollouts: Rollouts) -> dict[str, Tensor]:
    fields = {field.name: getattr(rollouts, field.name) for field in dataclasses.fields(rollouts)}
    return {name: value for name, value in fields.items() if isinstance(value, Tensor)}


def _ask_equal(got: Tensor, wanted: Tensor, message: str) -> None:
    _ask(torch.allclose(got, wanted, rtol=0.0, atol=TOLERANCE), message)


def _ask_same_turns(
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
            message = f"{_name(method)} gives turn {k} of rollout {r} another credit {place}: {one} instead of {other}."
            _ask(same, message)


def _ask(holds: bool, message: str) -> None:
    if not holds:
        raise ContractError(message)


def _name(method: Method) -> str:
    return type(method).__name__
