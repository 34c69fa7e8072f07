"""Where other libraries mean something else by the same name: computes the tables of docs/semantics.md.

    python -m tests.oracles.semantics verl|torchrl|recurrences [--write]

prints one table, or puts it into the page. The first two ask the library itself; the third runs recurrences that were
written anew after sources which cannot be installed on a machine without a GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from tests.oracles.batches import library
from torch import Tensor

from cairn.ops.groups import leave_one_out, standardise
from cairn.ops.packing import Packing
from cairn.ops.returns import discounted_suffix_sum
from cairn.ops.values import generalized_advantages
from cairn.ops.whiten import whiten

PAGE = Path(__file__).resolve().parents[2] / "docs" / "semantics.md"

# One row: two turns of two tokens, three environment tokens between them, reward 1 at the end, V 0.5, lambda 0.95.
MASK = torch.tensor([[1, 1, 0, 0, 0, 1, 1]]).bool()
REWARDS = torch.tensor([[0, 0, 0, 0, 0, 0, 1.0]], dtype=torch.float64)
VALUES = torch.full((1, 7), 0.5, dtype=torch.float64)
LAMBDA = 0.95


class Case(NamedTuple):
    """One input, what each side makes of it, and why ours does so."""

    given: str
    ours: str
    theirs: str
    why: str


def numbers(values: Tensor | Sequence[float], mask: Tensor | None = None) -> str:
    """Write numbers with four places; a dot stands for a token off the mask."""
    flat = torch.as_tensor(values, dtype=torch.float64).flatten().tolist()
    kept = [True] * len(flat) if mask is None else mask.flatten().tolist()
    return " ".join(f"{value:.4f}" if keep else "·" for value, keep in zip(flat, kept, strict=True))


def our_advantages(after: Tensor | None = None, lambda_: float = LAMBDA) -> Tensor:
    """Return our GAE of the row, not whitened, (1, 7)."""
    packing = Packing.of(MASK)
    steps = (packing.pack(REWARDS), packing.pack(VALUES), packing.mask)
    return packing.unpack(generalized_advantages(*steps, 1.0, lambda_, after))


def our_returns(rewards: Tensor, gamma: float) -> Tensor:
    """Return our discounted returns of the row, (1, 7)."""
    packing = Packing.of(MASK)
    return packing.unpack(discounted_suffix_sum(packing.pack(rewards), gamma))


def verl_cases() -> list[Case]:
    """Ask verl."""
    verl: Any = library("verl.trainer.ppo.core_algos")
    mask = MASK.double()
    white, targets = verl.compute_gae_advantage_return(REWARDS, VALUES, mask, 1.0, LAMBDA)
    on_environment = REWARDS.roll(-3, 1)
    config = SimpleNamespace(gamma=1.0)
    _, returns = verl.compute_reinforce_plus_plus_outcome_advantage(on_environment, mask, config=config)
    kept = verl.compute_grpo_outcome_advantage(on_environment, mask, np.array(["p"]), norm_adv_by_std_in_grpo=False)[0]
    return [
        Case(
            "`gae`, environment tokens inside a response (before whitening)",
            numbers(our_advantages(), MASK),
            numbers(targets - VALUES, MASK),
            "the same: both step over them",
        ),
        Case(
            "`gae`, what is left on environment tokens (whitened)",
            numbers(whiten(our_advantages(), MASK)[~MASK]),
            numbers(white[~MASK]),
            "the policy did not choose them; a loss that forgets its mask would learn from them",
        ),
        Case(
            "`reinforce_plus_plus`, a reward of 1 on an environment token between the turns: returns",
            numbers(our_returns(REWARDS.roll(-5, 1), 1.0), MASK),
            numbers(returns, MASK),
            "a turn's reward is paid at its last action token, so that none can be lost",
        ),
        Case(
            "`grpo` without std, the same reward: advantage of a group of one",
            numbers(standardise(torch.ones(1), torch.zeros(1).long(), False, 0.0)),
            numbers(kept[:, :1]),
            "`grpo` counts the reward that `reinforce_plus_plus` loses; for the group of one, see below",
        ),
        *_verl_groups(verl),
        *_verl_whitening(verl),
    ]


def _verl_groups(verl: Any) -> list[Case]:
    one, seven = torch.tensor([0.7]), torch.full((7,), 0.1)

    def theirs(name: str, rewards: Tensor) -> Tensor:
        prompts = np.array(["p"] * len(rewards))
        estimator = verl.get_adv_estimator_fn(name)
        result: Tensor = estimator(
            token_level_rewards=rewards[:, None].clone(), response_mask=torch.ones(len(rewards), 1), index=prompts
        )[0]
        return result[:1]

    ours = {"grpo": lambda r, g: standardise(r, g, True, 1e-6), "rloo": leave_one_out}
    alone = "nothing to compare with: a raw reward of one sign would push every token up or down"
    return [
        *(
            Case(
                f"`{name}`, a group of one with reward 0.7",
                numbers(rule(one, torch.zeros(1).long())),
                numbers(theirs(name, one)),
                alone if name == "grpo" else "the same reason; verl's own `rloo_vectorized` gives 0, too",
            )
            for name, rule in ours.items()
        ),
        Case(
            "`grpo`, seven rewards of 0.1 in float32",
            numbers(ours["grpo"](seven, torch.zeros(7).long())[:1]),
            numbers(theirs("grpo", seven)),
            "equal rewards are found equal before rounding is divided by epsilon",
        ),
    ]


def _verl_whitening(verl: Any) -> list[Case]:
    equal, all_ = torch.full((1, 7), 0.1), torch.ones(1, 7)
    try:
        single = numbers(verl.verl_F.masked_whiten(equal, all_.cumsum(1).eq(1)))
    except ValueError as error:
        single = f"ValueError: {str(error).partition(',')[0]}"
    return [
        Case(
            "whitening, seven advantages of 0.1 in float32",
            numbers(whiten(equal, all_.bool())[:, :1]),
            numbers(verl.verl_F.masked_whiten(equal, all_)[:, :1]),
            "advantages that are all equal carry no signal",
        ),
        Case("whitening, a single action token", numbers(whiten(equal, MASK & False)[:, :1]), single, "the same"),
    ]


def torchrl_cases() -> list[Case]:
    """Ask torchrl."""
    torchrl: Any = library("torchrl.objectives.value.functional")

    def row(mask: Tensor, after: float, ended: bool) -> dict[str, Tensor]:
        rewards, values = REWARDS[mask], VALUES[mask]
        done = torch.arange(len(rewards)) == len(rewards) - 1
        nexts = torch.cat([values[1:], torch.tensor([after], dtype=torch.float64)])
        parts = (values, nexts, rewards, done, done & ended)
        names = ("state_value", "next_state_value", "reward", "done", "terminated")
        return {name: part[:, None] for name, part in zip(names, parts, strict=True)}

    def gae(mask: Tensor, after: float = 0.0, ended: bool = True) -> Tensor:
        result: Tensor = torchrl.generalized_advantage_estimate(1.0, LAMBDA, **row(mask, after, ended))[0]
        return result

    everything = torch.ones_like(MASK)
    ours, loop, fast, exact = _after_400_steps(torchrl)
    return [
        Case(
            "GAE, environment tokens left in as time steps",
            numbers(our_advantages(), MASK),
            numbers(gae(everything)[:, 0], MASK),
            "an observation is no decision; its length must not decay the credit. Without those tokens both agree: "
            + numbers(gae(MASK)[:, 0]),
        ),
        Case(
            "GAE, a row that was cut off before a state worth 0.5 (`done`, not `terminated`)",
            numbers(our_advantages(), MASK),
            numbers(gae(MASK, 0.5, ended=False)[:, 0]),
            "as in verl, a truncated rollout counts as ended in the rules that train; the function itself takes the "
            "value (`after`) and then agrees: " + numbers(our_advantages(torch.tensor([0.5]))[MASK]),
        ),
        Case(
            "GAE in float64, reward 1 at the end of 400 steps: the first step, in units of 10⁻⁹",
            f"{ours * 1e9:.6f}",
            f"{loop * 1e9:.6f}; `vec_`: {fast * 1e9:.6f}",
            "torchrl's loop rounds a discount that is a plain float to float32 (as a float64 tensor it gives "
            f"{exact * 1e9:.6f}), and its fast form leaves out powers of γλ below 10⁻⁷",
        ),
        Case(
            "GAE at λ = 0",
            numbers(our_advantages(lambda_=0.0), MASK),
            numbers(torchrl.generalized_advantage_estimate(1.0, 0.0, **row(MASK, 0.0, ended=True))[0][:, 0])
            + f"; `vec_`: {_error_at_lambda_zero(torchrl, row(MASK, 0.0, ended=True))}",
            "the limit is the one-step error, and the same formula gives it",
        ),
    ]


def _error_at_lambda_zero(torchrl: Any, row: dict[str, Tensor]) -> str:
    try:
        return numbers(torchrl.vec_generalized_advantage_estimate(1.0, 0.0, **row)[0])
    except IndexError as error:
        return type(error).__name__


def _after_400_steps(torchrl: Any) -> tuple[float, float, float, float]:
    """Return the first advantage: ours, that of torchrl's loop and fast form, and of its loop with exact decays."""
    end = (torch.arange(400) == 399)[None, :, None]
    zero, reward = torch.zeros(end.shape, dtype=torch.float64), end.double()
    ours = generalized_advantages(reward[..., 0], zero[..., 0], torch.ones(1, 400).bool(), 1.0, LAMBDA)
    row, exact = (zero, zero, reward, end), torch.tensor(LAMBDA, dtype=torch.float64)
    theirs = (
        torchrl.generalized_advantage_estimate(1.0, LAMBDA, *row),
        torchrl.vec_generalized_advantage_estimate(1.0, LAMBDA, *row),
        torchrl.generalized_advantage_estimate(1.0, exact, *row),
    )
    loop, fast, precise = (float(advantages.flatten()[0]) for advantages, _ in theirs)
    return float(ours[0, 0]), loop, fast, precise


def recurrence_cases() -> list[Case]:
    """Run recurrences written anew after OpenRLHF 0.11.2, openrlhf/trainer/ppo_utils/experience_maker.py."""
    mask, advantages, returns = MASK.double()[0], [0.0] * 8, [0.0] * 8
    values, rewards = (VALUES[0] * mask).tolist(), (REWARDS[0] * mask).tolist()
    for t in reversed(range(7)):
        after = values[t + 1] if t < 6 else 0.0
        advantages[t] = rewards[t] + after - values[t] + LAMBDA * advantages[t + 1]
        returns[t] = rewards[t] + 0.9 * returns[t + 1]
    four = torch.tensor([[0.5, 1, 1, 1]], dtype=torch.float64)
    biased = (four - four.mean()) / four.var(correction=0).clamp_min(1e-8).sqrt()
    return [
        Case(
            "GAE, environment tokens inside a response",
            numbers(our_advantages(), MASK),
            numbers(advantages[:7], MASK),
            "there values on those tokens are set to 0, and the recursion still steps through them",
        ),
        Case(
            "REINFORCE++ (`reinforce`), gamma 0.9: returns",
            numbers(our_returns(REWARDS, 0.9), MASK),
            numbers(returns[:7], MASK),
            "there every environment token discounts; the same as ours at gamma 1, its default",
        ),
        Case(
            "whitening of returns 0.5 1 1 1",
            numbers(whiten(four, torch.ones_like(four).bool())),
            numbers(biased),
            "ours divides by the unbiased deviation, as verl does; the biased one differs at small counts only",
        ),
    ]


CASES: dict[str, Callable[[], list[Case]]] = {
    "verl": verl_cases,
    "torchrl": torchrl_cases,
    "recurrences": recurrence_cases,
}


def render(name: str) -> str:
    """Return the table of one library as Markdown."""
    title = "OpenRLHF 0.11.2, written anew" if name == "recurrences" else f"{name} {version(name)}"
    rows = [f"| case | ours | {title} | why ours |", "| --- | --- | --- | --- |"]
    return "\n".join([*rows, *(f"| {' | '.join(case)} |" for case in CASES[name]())])


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- {name}: written by python -m tests.oracles.semantics {name} --write -->", f"<!-- end {name} -->"


def _cut(name: str) -> tuple[str, str, str]:
    """Return the page up to and with the first mark, what stands between the marks, and the rest."""
    start, end = _marks(name)
    head, found, rest = PAGE.read_text(encoding="utf-8").partition(start)
    block, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{PAGE.name} has no marks for {name}: {start} ... {end}")
    return head + start, block.strip(), end + tail


def block_on_page(name: str) -> str:
    """Return the table of one library as the page has it."""
    return _cut(name)[1]


def main(arguments: Sequence[str]) -> None:
    """Print a table, or write it into the page."""
    name, write = arguments[0], arguments[1:] == ["--write"]
    table = render(name)
    if not write:
        sys.stdout.write(table + "\n")
        return
    head, _, tail = _cut(name)
    PAGE.write_text(f"{head}\n\n{table}\n\n{tail}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
