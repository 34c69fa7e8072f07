"""A second trainable language model: an implicit reward model, for one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cairn.lab.model import LanguageModel
from cairn.lab.reading import LastReading, action_logprobs
from cairn.rollouts import Rollouts


class SecondModel:
    """Starts as the initial policy."""

    def __init__(self, model: LanguageModel, clip_norm: float) -> None:
        """Copy a model. clip_norm: of its gradient."""
        self.cost, self._clip_norm = model.cost, clip_norm
        self._network = copy.deepcopy(model.network)
        self._reading = LastReading(lambda rollouts: action_logprobs(self._network, rollouts))
        self._optimiser = torch.optim.AdamW(self._network.parameters(), weight_decay=0.0)

    def logprobs(self, rollouts: Rollouts) -> Tensor:
        """(B, T) log-probs of the action tokens, 0 elsewhere."""
        return self._reading.of(rollouts).detach()

    def fit(self, rollouts: Rollouts, loss: Callable[[Tensor], Tensor], learning_rate: float) -> float:
        """Take one step down the loss of the log-probs (B, T); return the loss before it.

        Raises FloatingPointError where the loss or its gradient is not finite.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        value = loss(self._reading.of(rollouts))
        if not value.requires_grad:
            return float(value)  # nothing of the batch entered it
        self._optimiser.zero_grad()
        value.backward()
        self._reading.forget()
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), self._clip_norm)
        if not (value.isfinite() and norm.isfinite()):
            raise FloatingPointError(f"second model: loss {float(value.detach())}, gradient norm {float(norm)}")
        self._optimiser.step()
        return float(value.detach())
