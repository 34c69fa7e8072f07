"""Is ArCHer's critic too young? Five times as many of its steps in each update.

Run: python studies/archer-critic-steps/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.archer import ArCHer
from cairn.methods.grpo import GRPO

STUDY = afterwards(
    id="archer-critic-steps",
    title="Does ArCHer learn where its critic takes more steps?",
    tasks=("lake",),
    arms=(
        Arm("grpo", "control", "GRPO for the same number of updates.", GRPO()),
        Arm("six", "control", "ArCHer as it was tested.", ArCHer(critic_steps=6, critic_rollouts=8, warm_up=10)),
        Arm("thirty", "variant", "30 steps an update.", ArCHer(critic_steps=30, critic_rollouts=8, warm_up=10)),
    ),
    claims=(
        Claim(
            id="thirty-teach-more",
            text="ArCHer learns faster with 30 steps of its critic in an update than with 6.",
            arm="thirty",
            control="six",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="Five minutes allowed 6 where the code takes 50. Nothing else is changed.",
            explains=("archer#over-token-ppo", "archer#over-grpo", "archer#over-grpo-at-equal-compute"),
        ),
        Claim(
            id="thirty-closer",
            text="Its credit goes along with exact credit more.",
            arm="thirty",
            control="six",
            metric="rank_correlation",
            margin=0.05,
            basis="an open question of our own reproduction",
            why="The critic's own quality, under the initial policy.",
            explains=("archer#credit-closer-than-gae", "archer#places-carry-it"),
        ),
        Claim(
            id="thirty-over-grpo",
            text="With 30 steps ArCHer learns faster than GRPO.",
            arm="thirty",
            control="grpo",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="Whether more steps are all that it takes.",
            explains=("archer#over-grpo",),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
