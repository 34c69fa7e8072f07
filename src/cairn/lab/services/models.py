"""The networks of a run, and what else lasts across its updates."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from cairn.lab.action_critic import ActionCritic
from cairn.lab.buffer import ReplayBuffer
from cairn.lab.critic import Critic
from cairn.lab.model import LanguageModel
from cairn.lab.scorers.base import LiveScorer
from cairn.lab.second import SecondModel


@dataclass(frozen=True)
class Models:
    """The networks of a run, and what else lasts across its updates.

    The policy in training, the initial policy, the critic of methods that learn one, and the scorer that the arm names.
    clip_norm: of the gradients of the second model and of the critic of actions. critic_learning_rate: of the latter.
    """

    policy: LanguageModel
    reference: LanguageModel
    critic: Critic | None
    scorer: LiveScorer | None = None
    clip_norm: float = 1.0
    critic_learning_rate: float = 1e-3
    buffer: ReplayBuffer = field(default_factory=ReplayBuffer)

    @cached_property
    def action_critic(self) -> ActionCritic:
        """Return the critic of actions, which is made when it is first asked for."""
        return ActionCritic(self.reference, self.critic_learning_rate, self.clip_norm)

    @cached_property
    def second(self) -> SecondModel:
        """Return the second model, which is made when it is first asked for."""
        return SecondModel(self.reference, self.clip_norm)
