"""The embedded model and small worlds; tests marked `rebuild` run only when `-m rebuild` asks for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel, load, quiet
from cairn.lab.pretrain import embedded_model
from cairn.lab.protocol import build_panel
from cairn.lab.tasks import quest
from cairn.lab.world import World

HERE = Path(__file__).parent
SMALL = quest.Knobs(horizon=8, forks=1, fog=0.0, slip=0.1)
NOTED = quest.Knobs(horizon=12, forks=3)


def corridor(horizon: int = 24) -> World:
    """A world worked out by hand: one room, one phrase, then the end, which pays."""
    return World(
        name="corridor",
        header="goal yard .",
        prompts=(
            "goal yard . memory empty . room hut wing none passage . act",
            "goal yard . memory empty . room yard . act",
        ),
        options=(("go on .",), ()),
        observations=("room hut wing none passage", "room yard"),
        state_prompt=np.array([0, 1]),
        state_observation=np.array([0, 1]),
        successors=np.array([[[1], [0]], [[1], [1]]]),
        probabilities=np.ones((2, 2, 1)),
        terminal=np.array([False, True]),
        payoffs=np.array([0.0, 1.0]),
        bifurcations=np.array([False, False]),
        start=0,
        horizon=horizon,
        recurrence=1.0,
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what takes minutes unless it is asked for."""
    if "rebuild" in config.option.markexpr:
        return
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("rebuild"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run it with -m rebuild"))


@pytest.fixture(scope="session", autouse=True)
def _one_quiet_thread() -> None:
    torch.set_num_threads(1)
    quiet()


@pytest.fixture(scope="session")
def model() -> LanguageModel:
    """The embedded model as experiments use it. Trainers copy it; nothing may change it."""
    return load(embedded_model("quest"))


@pytest.fixture(scope="session")
def crew() -> LanguageModel:
    """The embedded model of a team."""
    return load(embedded_model("relay"))


@pytest.fixture(scope="session")
def model64() -> LanguageModel:
    """The same weights in float64, for comparisons that must not drown in rounding."""
    return load(embedded_model("quest"), dtype=torch.float64)


@pytest.fixture(scope="session")
def panel() -> Panel:
    """A few instances with notes, traps and a loop."""
    return build_panel("quest", NOTED, (1000, 4), (0, 2))


@pytest.fixture
def rng() -> np.random.Generator:
    """Fresh dice for each test."""
    return np.random.default_rng(20260401)
