from __future__ import annotations

import pytest
import torch
from tests.lab_history.tiny import EMBEDDED_MODEL

from cairn.lab.model import LanguageModel, load, quiet
from cairn.lab.tasks import quest
from cairn.lab.world import WorldBatch, join


@pytest.fixture(scope="session")
def model() -> LanguageModel:
    quiet()
    torch.set_num_threads(1)
    return load(EMBEDDED_MODEL)


@pytest.fixture(scope="session")
def short_worlds() -> WorldBatch:
    knobs = quest.Knobs(horizon=12, forks=3)
    return join([quest.build(knobs, seed) for seed in range(4)])
