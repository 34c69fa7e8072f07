"""Does iStar's second model hold the policy back because it learns too slowly?

Run: python studies/istar-second-model-rate/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.istar import IStar
from cairn.methods.reinforce import RLOO

RATE = 7e-4  # of the second model, as it was tested: twice the policy's

STUDY = afterwards(
    id="istar-second-model-rate",
    title="Does iStar learn faster with a second model that learns faster?",
    tasks=("quest",),
    arms=(
        Arm("rloo", "control", "RLOO: the outcome alone.", RLOO),
        Arm("tested", "control", "iStar as it was tested.", IStar(reward_learning_rate=RATE)),
        Arm(
            "faster", "variant", "Its second model learns at four times the rate.", IStar(reward_learning_rate=4 * RATE)
        ),
        Arm("slower", "variant", "Its second model learns at a quarter of it.", IStar(reward_learning_rate=RATE / 4)),
    ),
    claims=(
        Claim(
            id="faster-helps",
            text="iStar learns faster where its second model learns at four times the rate.",
            arm="faster",
            control="tested",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="A turn is paid for being likelier under the second model than under the policy. If that model lags "
            "behind, it pays for going back to where both began, as one that never learns does.",
            explains=("istar#over-grpo", "istar#over-rloo", "istar#over-gigpo", "istar#over-grpo-at-equal-compute"),
        ),
        Claim(
            id="slower-harms",
            text="It learns more slowly where its second model learns at a quarter of the rate.",
            arm="slower",
            control="tested",
            direction="less",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="The other side of the same guess.",
            explains=("istar#learning-carries-it",),
        ),
        Claim(
            id="faster-over-rloo",
            text="With the faster second model it learns faster than the outcome alone.",
            arm="faster",
            control="rloo",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="If the lag was the trouble, what the step reward knows must now show.",
            explains=("istar#over-rloo", "istar#over-grpo"),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
