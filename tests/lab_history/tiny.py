"""A world of two turns, small enough to count and to enumerate by hand."""

from __future__ import annotations

import numpy as np

from cairn.lab.pretrain import embedded_model
from cairn.lab.world import World

EMBEDDED_MODEL = embedded_model("quest")

# Two forks in a row; the second exit is right where it differs from the first. Both rooms behind the first fork look
# the same, so that what tells them apart is the history alone.
START, BEHIND_LEFT, BEHIND_RIGHT, WON, LOST = range(5)
HEADER = "goal yard ."
FIRST = "room hall wing none fork bell sign iron"
SECOND = "room den wing none fork rune sign amber"
EXITS = ("go left .", "go right .")


def tiny_world(slip: float = 0.0) -> World:
    """Build the world; with chance `slip` the other exit is taken. What is not understood costs a turn."""
    ways = {START: (BEHIND_LEFT, BEHIND_RIGHT), BEHIND_LEFT: (LOST, WON), BEHIND_RIGHT: (WON, LOST)}
    successors = np.repeat(np.arange(5)[:, None, None], 3, axis=1).repeat(2, axis=2)
    probabilities = np.zeros((5, 3, 2))
    probabilities[:, :, 0] = 1.0
    for state, (left, right) in ways.items():
        successors[state, :2] = [(left, right), (right, left)]
        probabilities[state, :2] = (1 - slip, slip)
    return World(
        name="tiny",
        header=HEADER,
        prompts=(f"{HEADER} memory empty . {FIRST} . act", f"{HEADER} memory empty . {SECOND} . act", "room yard"),
        options=(EXITS, EXITS, ()),
        observations=(FIRST, SECOND, "room yard"),
        state_prompt=np.array([0, 1, 1, 2, 2]),
        state_observation=np.array([0, 1, 1, 2, 2]),
        successors=successors,
        probabilities=probabilities,
        terminal=np.array([False, False, False, True, True]),
        payoffs=np.array([0.0, 0.0, 0.0, 1.0, 0.0]),
        bifurcations=np.array([True, True, True, False, False]),
        start=START,
        horizon=2,
        recurrence=1.0,
    )
