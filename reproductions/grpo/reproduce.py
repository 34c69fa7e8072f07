"""GRPO: the control of every experiment, and the calibration of the protocol itself.

Run: python reproductions/grpo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ExactCredit, ShuffledCredit
from cairn.lab.experiment import Arm, Reproduction
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
        Arm(
            "exact",
            "ceiling",
            "The exact advantage of each turn under the current policy.",
            ExactCredit(),
            granularity="turn",
        ),
        Arm(
            "exact-shuffled",
            "null",
            "The exact advantages permuted among the turns of each rollout.",
            ExactCredit(),
            ShuffledCredit(),
            granularity="turn",
        ),
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
    checks=(
        Claim(
            id="exact-over-grpo",
            text="Exact credit learns faster than GRPO.",
            arm="exact",
            control="paper",
            margin=0.02,
            basis="protocol",
            why="A task on which exact credit does not help cannot judge credit.",
        ),
        Claim(
            id="shuffled-exact-no-better",
            text="Shuffled exact credit learns no faster than GRPO.",
            arm="exact-shuffled",
            control="paper",
            direction="not_greater",
            margin=0.0,
            basis="protocol",
            why="If misplaced exact credit helped, the numbers and not their places would do the work.",
        ),
    ),
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
