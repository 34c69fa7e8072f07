"""Does storage help ArCHer where its critic takes five times as many steps?

Run: python studies/archer-storage-more-steps/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.archer import ArCHer

STUDY = afterwards(
    id="archer-storage-more-steps",
    title="Do stored rollouts help ArCHer where its critic takes more steps?",
    tasks=("lake",),
    arms=(
        Arm(
            "stored",
            "method",
            "30 steps an update, half of what they learn from stored.",
            ArCHer(critic_steps=30, critic_rollouts=8, warm_up=10),
        ),
        Arm(
            "nothing-stored",
            "variant",
            "30 steps an update on the newest batch alone.",
            ArCHer(critic_steps=30, critic_rollouts=8, warm_up=10, stored_updates=0),
        ),
    ),
    claims=(
        Claim(
            id="storage-carries-it",
            text="Stored rollouts help where the critic takes 30 steps: it learns less from the newest batch alone.",
            arm="stored",
            control="nothing-stored",
            margin=0.02,
            basis="the paper's ablation of its replay buffer, as a third party reports it",
            why="6 steps on 8 rollouts hardly see the newest batch of 32 more than once, so that there is no want of "
            "other rollouts; 30 steps see it many times over.",
            explains=("archer#storage-carries-it",),
        ),
        Claim(
            id="storage-closer",
            text="Its credit goes along with exact credit more.",
            arm="stored",
            control="nothing-stored",
            metric="rank_correlation",
            margin=0.05,
            basis="an open question of our own reproduction",
            why="The critic's own quality, under the initial policy, where every batch is of the same policy.",
            explains=("archer#storage-carries-it",),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
