"""The networks of a run, and what else lasts across its updates."""

from __future__ import annotations

from dataclasses import dataclass

from cairn.lab.critic import Critic
from cairn.lab.model import LanguageModel


@dataclass(frozen=True)
class Models:
    """The networks of a run: the policy in training, the initial policy, and the critic of methods that learn one."""

    policy: LanguageModel
    reference: LanguageModel
    critic: Critic | None
