"""Is CARL slow because it trains on few actions, or because its steps are small?

Run: python studies/carl-rate-and-forks/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.carl import CARL
from cairn.methods.grpo import GRPO

OPEN = ("carl#success-kept", "carl#more-than-a-mask", "carl#over-grpo-at-equal-compute")

STUDY = afterwards(
    id="carl-rate-and-forks",
    title="Does CARL learn faster with larger steps or with more forks?",
    tasks=("quest",),
    arms=(
        Arm("grpo-16", "control", "GRPO with 16 rollouts of each task.", GRPO(), group_size_factor=2),
        Arm("tested", "control", "CARL as it was tested: 8 whole rollouts, 16 forks.", CARL()),
        Arm("double-rate", "variant", "CARL at twice the protocol's learning rate.", CARL(), learning_rate_factor=2.0),
        Arm("more-forks", "variant", "CARL with 48 forks: three times as many.", CARL(forks=48)),
    ),
    claims=(
        Claim(
            id="rate-helps",
            text="CARL learns faster at twice the learning rate.",
            arm="double-rate",
            control="tested",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="Its credits are differences of values and are not divided by a deviation; the protocol's rate was "
            "found with GRPO's, which are.",
            explains=OPEN,
        ),
        Claim(
            id="forks-help",
            text="CARL learns faster with three times as many forks, at equal updates.",
            arm="more-forks",
            control="tested",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="Sixteen forks leave most states with one child; a value that rests on one leaf is a coin.",
            explains=(*OPEN, "carl#values-carry-it", "carl#surprise-carries-it"),
        ),
        Claim(
            id="success-kept-with-more-forks",
            text="With three times as many forks it loses nothing against GRPO with 16 rollouts.",
            arm="grpo-16",
            control="more-forks",
            direction="not_greater",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="The reproduction's claim, where the rule has more to go by.",
            explains=("carl#success-kept",),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
