"""A critic of actions: what a turn says is valued in the state in which it is said, by two heads, beside the state."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from cairn.lab.model import LanguageModel, model_cost
from cairn.lab.prefixes import Packed
from cairn.lab.reading import LastReading
from cairn.method import ActionValues
from cairn.rollouts import Rollouts

HEADS = 2
SEED = 20260401  # the heads must differ, and be the same in every run
START = 1e-3  # their weights' standard deviation: all values are close to 0, as those of `Critic` are 0


class _Network(nn.Module):
    """The body of a language model; linear heads read its last states before a turn, and at the end of the turn."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.body = cast(PreTrainedModel, copy.deepcopy(model.network.base_model))
        width = model.network.config.hidden_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            heads = nn.Linear(2 * width, HEADS), nn.Linear(width, HEADS)
            for head in heads:
                nn.init.normal_(head.weight, std=START)
                nn.init.zeros_(head.bias)
        self.of_actions, self.of_states = (head.to(model.device, model.network.dtype) for head in heads)

    def forward(self, rollouts: Rollouts) -> ActionValues:
        packed = Packed.of_rows(self.body, rollouts.token_ids, rollouts.attention_mask)
        starts, ends = rollouts.turn_starts().nonzero(), rollouts.turn_ends().nonzero()
        first = packed.place[starts[:, 0].numpy(), (starts[:, 1] - 1).clamp_min(0).numpy()]
        last = packed.place[ends[:, 0].numpy(), ends[:, 1].numpy()]
        before, behind = packed.outputs(np.concatenate([first, last])).split([len(first), len(last)])
        states, actions = self.of_states(before).cpu(), self.of_actions(torch.cat([before, behind], 1)).cpu()
        shape = rollouts.turn_mask.shape
        cells = rollouts.row_rollout[starts[:, 0]] * shape[1] + rollouts.turn_ids[starts[:, 0], starts[:, 1]]
        empty = states.new_zeros(shape.numel(), HEADS)
        actions, states = (empty.index_copy(0, cells, each).reshape(*shape, HEADS) for each in (actions, states))
        return ActionValues(actions, states)


class ActionCritic:
    """Values of actions and states, trained by regression, and a copy that follows them."""

    def __init__(self, model: LanguageModel, learning_rate: float, clip_norm: float) -> None:
        """Start from the initial policy's body, with small heads that differ from each other."""
        self._network, self._clip_norm = _Network(model), clip_norm
        self._lagging = copy.deepcopy(self._network)
        self._reading: LastReading[ActionValues] = LastReading(self._network)
        self._optimiser = torch.optim.AdamW(self._network.parameters(), lr=learning_rate, weight_decay=0.0)
        body = model_cost(self._network.body)
        heads = sum(head.weight.numel() for head in (self._network.of_actions, self._network.of_states))
        self.cost = replace(body, matmul_weights=body.matmul_weights + heads)

    @torch.no_grad()
    def values(self, rollouts: Rollouts, lagging: bool) -> ActionValues:
        """Return what the critic, or its lagging copy, thinks."""
        found: ActionValues = self._lagging(rollouts) if lagging else self._reading.of(rollouts)
        return ActionValues(found.actions.detach(), found.states.detach())

    def fit(self, rollouts: Rollouts, targets: ActionValues, teaches_states: Tensor, follow: float) -> float:
        """Take one step on the mean squared errors, summed over heads; return them as they were before it."""
        spoken = rollouts.turn_tokens() > 0
        found = self._reading.of(rollouts)
        error = _mean_square(found.actions - targets.actions, spoken)
        error = error + _mean_square(found.states - targets.states, spoken & teaches_states[:, None])
        self._optimiser.zero_grad()
        error.backward()
        self._reading.forget()
        nn.utils.clip_grad_norm_(self._network.parameters(), self._clip_norm)
        self._optimiser.step()
        with torch.no_grad():
            for slow, fast in zip(self._lagging.parameters(), self._network.parameters(), strict=True):
                slow.lerp_(fast, follow)
        return float(error.detach())


def _mean_square(difference: Tensor, mask: Tensor) -> Tensor:
    """Mean over the turns in `mask` (R, K) of the squares, summed over heads."""
    return (difference.square().sum(-1) * mask).sum() / mask.sum().clamp_min(1)
