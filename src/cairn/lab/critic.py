"""A learned critic: a copy of the language model's body with a value head."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cairn.lab.model import LanguageModel, model_cost
from cairn.lab.reading import LastReading, read_before
from cairn.rollouts import Rollouts


def values_states_alone(needs: frozenset[str]) -> bool:
    """Say whether a method's critic is a `Critic`, whose values come with each batch, and no critic of actions."""
    return "learned_critic" in needs and "action_critic" not in needs


class Critic:
    """Values of the state before each action token, trained by regression."""

    def __init__(self, model: LanguageModel, learning_rate: float, clip_norm: float) -> None:
        """Start from the initial policy's body; the head starts at zero, so that all values do."""
        self._body = cast(PreTrainedModel, copy.deepcopy(model.network.base_model))
        self._head = nn.Linear(model.network.config.hidden_size, 1).to(model.device, model.network.dtype)
        nn.init.zeros_(self._head.weight)
        nn.init.zeros_(self._head.bias)
        self._weights = [*self._body.parameters(), *self._head.parameters()]
        self._optimiser = torch.optim.AdamW(self._weights, lr=learning_rate, weight_decay=0.0)
        self._clip_norm = clip_norm
        self._reading = LastReading(self._forward)
        body = model_cost(self._body)
        self.cost = replace(body, matmul_weights=body.matmul_weights + self._head.weight.numel())

    def values(self, rollouts: Rollouts) -> Tensor:
        """(B, T) value of the state before each action token, 0 elsewhere."""
        return self._reading.of(rollouts).detach()

    def fit(self, rollouts: Rollouts, targets: Tensor) -> float:
        """One step on the mean squared error over action tokens; returns the error before the step."""
        mask = rollouts.action_mask
        error = ((self._reading.of(rollouts) - targets) ** 2 * mask).sum() / mask.sum().clamp_min(1)
        self._optimiser.zero_grad()
        error.backward()
        self._reading.forget()
        nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        self._optimiser.step()
        return float(error.detach())

    def _forward(self, rollouts: Rollouts) -> Tensor:
        rows = rollouts.token_ids, rollouts.attention_mask, rollouts.action_mask
        return read_before(self._body, *rows, lambda states, _: self._head(states).squeeze(-1))


def critic_for(needs: frozenset[str], model: LanguageModel, learning_rate: float, clip_norm: float) -> Critic | None:
    """Return the critic of a method with such needs, None where it has no use for one."""
    return Critic(model, learning_rate, clip_norm) if values_states_alone(needs) else None
