"""GRPO: the control of every experiment, and the calibration of the protocol itself.

Run: python reproductions/grpo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import calibration_checks, ceiling_arms
from cairn.methods.grpo import GRPO

REPRODUCTION = Reproduction(
    id="grpo",
    title="GRPO between exact and misplaced credit: can the task tell them apart?",
    tasks=("quest",),
    arms=(
        Arm(
            "paper",
            "method",
            "The paper's rule, divided by the group's standard deviation.",
            GRPO(),
            granularity="episode",
        ),
        Arm(
            "no-std",
            "variant",
            "Without the division by the group's standard deviation (the credit of Dr. GRPO).",
            GRPO(scale_by_std=False),
            granularity="episode",
        ),
        Arm(
            "half-rate",
            "control",
            "GRPO at half the protocol's learning rate.",
            GRPO(),
            learning_rate_factor=0.5,
            granularity="episode",
        ),
        Arm(
            "double-rate",
            "control",
            "GRPO at twice the protocol's learning rate.",
            GRPO(),
            learning_rate_factor=2.0,
            granularity="episode",
        ),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="rate-not-too-high",
            text="Half the learning rate does not serve GRPO better.",
            arm="half-rate",
            control="paper",
            direction="not_greater",
            margin=0.02,
            basis="protocol",
            why="The control must not be handicapped by the protocol's learning rate.",
        ),
        Claim(
            id="rate-not-too-low",
            text="Twice the learning rate does not serve GRPO better.",
            arm="double-rate",
            control="paper",
            direction="not_greater",
            margin=0.02,
            basis="protocol",
            why="The control must not be handicapped by the protocol's learning rate.",
        ),
    ),
    checks=(*calibration_checks("paper", "GRPO"),),
    deviations=(
        "Clip range, KL coefficient and learning rate are the protocol's.",
        "One update for each batch, so that the clip never acts.",
        "The loss is averaged over all action tokens of the batch; the paper averages within each response first.",
        "GRPO's own credit cannot be shuffled, since all turns of a rollout get the same; exact credit is, instead.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
