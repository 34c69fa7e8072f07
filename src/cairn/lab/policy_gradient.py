"""The exact gradient of the expected return, and the direction in which an update on one batch would go.

    grad J = sum_t sum_s d_t(s) sum_c grad pi(c | s) A_t(s, c),   J = mean over worlds of the chance of success

d_t(s) is the chance to stand in state s with t turns gone, by forward recursion; pi(c | s) is the chance that the
policy says phrase c, a product over its tokens; `stay` has what is left. No trajectory is sampled. Valid where
`cairn.lab.exact` is: the prompt must be a function of the state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cairn.lab.exact import ExactCredit
from cairn.lab.guard import at_work
from cairn.lab.loop import drop_rows
from cairn.lab.model import LanguageModel
from cairn.lab.policy import pad
from cairn.lab.reading import action_logprobs, logprobs
from cairn.method import Method
from cairn.rollouts import Credit, Rollouts

FloatArray = NDArray[np.float64]
ROWS_AT_ONCE = 512  # bounds memory; the sum does not depend on it but for rounding


def visits(exact: ExactCredit) -> FloatArray:
    """(H, S) chance to stand in each state that is no end, with t turns gone; each world begins with chance 1."""
    worlds = exact.table.worlds
    flow = exact.table.option_probs[:, :, None] * worlds.probabilities
    chance = np.zeros((worlds.horizon, worlds.terminal.size))
    chance[0, worlds.starts] = 1.0
    for turn in range(worlds.horizon - 1):
        moving = (chance[turn] * ~worlds.terminal)[:, None, None] * flow
        chance[turn + 1] = np.bincount(worlds.successors.ravel(), moving.ravel(), minlength=worlds.terminal.size)
    return np.asarray(chance * ~worlds.terminal)


def option_weights(exact: ExactCredit) -> FloatArray:
    """(P, C + 1) sum over turns and states with a prompt of visit chance times advantage of each option."""
    worlds, chance = exact.table.worlds, visits(exact)
    turn, state = np.nonzero(chance)
    gain = exact.action_values(turn, state) - exact.values[turn, state][:, None]
    weights = np.zeros((len(exact.table.prompt_tokens), worlds.n_options + 1))
    np.add.at(weights, worlds.prompt[state], chance[turn, state][:, None] * gain)
    return weights


def return_gradient(model: LanguageModel, exact: ExactCredit) -> Tensor:
    """Return the gradient of the mean success over the worlds that were solved, all weights in one row."""
    phrases, weights = _weighted_phrases(model, exact)
    total = torch.zeros(model.parameters, dtype=torch.float64)
    for at in range(0, len(phrases), ROWS_AT_ONCE):
        chances = _chances(model, phrases[at : at + ROWS_AT_ONCE])
        part = (chances * torch.from_numpy(weights[at : at + ROWS_AT_ONCE])).sum()
        total += _flat(torch.autograd.grad(part, list(model.network.parameters())))
    return total / len(exact.table.worlds.worlds)


def update_direction(model: LanguageModel, method: Method, rollouts: Rollouts, credit: Credit) -> Tensor:
    """Return minus the gradient of a method's own loss on one batch, its KL term left out, all weights in one row.

    rollouts: as the loss may read them. The policy is the one that sampled, so that every ratio is 1.
    """
    weights = list(model.network.parameters())
    seen, given = drop_rows(rollouts, credit)
    if not seen.token_ids.numel():
        return torch.zeros(model.parameters, dtype=torch.float64)
    plain = at_work(dataclasses.replace(method, kl_coefficient=0.0))
    loss = plain.loss(action_logprobs(model.network, seen), seen, given)
    if not loss.requires_grad:
        return torch.zeros(model.parameters, dtype=torch.float64)
    return -_flat(torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True))


def cosine(one: Tensor, other: Tensor) -> float | None:
    """Return the cosine of two directions; None where one of them is 0."""
    sizes = float(one.norm() * other.norm())
    return float(one @ other) / sizes if sizes > 0 else None


def _weighted_phrases(model: LanguageModel, exact: ExactCredit) -> tuple[list[tuple[list[int], list[int]]], FloatArray]:
    """Return (prompt, phrase) in tokens, and the weight of the phrase against `stay`, where it is not 0."""
    weights, found, kept = option_weights(exact), [], []
    texts = (options for world in exact.table.worlds.worlds for options in world.options)
    for prompt, row, options in zip(exact.table.prompt_tokens, weights, texts, strict=True):
        for option, phrase in enumerate(options):
            weight = row[option] - row[-1]
            if weight:
                found.append((prompt, list(model.tokenizer(phrase, add_special_tokens=False)["input_ids"])))
                kept.append(weight)
    return found, np.array(kept)


def _chances(model: LanguageModel, phrases: list[tuple[list[int], list[int]]]) -> Tensor:
    """(N,) chance of each phrase behind its prompt, with gradient."""
    rows, mask = pad([prompt + phrase for prompt, phrase in phrases])
    begin = torch.tensor([len(prompt) for prompt, _ in phrases])[:, None]
    said = mask & (torch.arange(rows.shape[1]) >= begin)
    return logprobs(model.network, rows, mask, said).double().sum(1).exp()


def _flat(gradients: Iterable[Tensor]) -> Tensor:
    return torch.cat([gradient.detach().flatten().double().cpu() for gradient in gradients])
