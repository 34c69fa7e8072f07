"""Why does SPA-RL end without success? Grounding as small as a share of the outcome, and no decay.

Run: python studies/spa-rl-grounding/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.spa_rl import SPARL

STUDY = afterwards(
    id="spa-rl-grounding",
    title="What keeps SPA-RL from learning: the size of grounding, or the estimated contributions?",
    tasks=("quest",),
    arms=(
        Arm("tested", "control", "SPA-RL as it was tested: grounding pays 0.5 a turn.", SPARL()),
        Arm("small-grounding", "variant", "Grounding pays 0.01 a turn.", SPARL(grounding=0.01)),
        Arm(
            "outcome-small-grounding",
            "control",
            "The outcome undivided, and 0.01 a turn.",
            SPARL(contributions="outcome", grounding=0.01),
        ),
        Arm(
            "outcome-grounding",
            "control",
            "The outcome undivided, and the 0.5 a turn that was tested.",
            SPARL(contributions="outcome"),
        ),
    ),
    claims=(
        Claim(
            id="small-grounding-helps",
            text="SPA-RL learns faster where grounding pays 0.01 a turn.",
            arm="small-grounding",
            control="tested",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="At 0.5 some twenty turns of anything that is understood are paid ten times as much as success.",
            explains=("spa-rl#over-ppo", "spa-rl#attribution-carries-it", "spa-rl#over-grpo-at-equal-compute"),
        ),
        Claim(
            id="grounding-alone-does-the-harm",
            text="The undivided outcome, too, learns faster with small grounding than with large.",
            arm="outcome-small-grounding",
            control="outcome-grounding",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="If grounding does the harm, it does so whatever stands beside it.",
            explains=(
                "spa-rl#over-ppo",
                "spa-rl#attribution-carries-it",
                "spa-rl#over-released",
                "spa-rl#places-carry-it",
            ),
        ),
        Claim(
            id="dividing-costs",
            text="With small grounding, estimated contributions teach less than the outcome that they divide.",
            arm="small-grounding",
            control="outcome-small-grounding",
            direction="less",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="What is left when grounding is out of the way is the estimator, which has seen few successes.",
            explains=("spa-rl#contributions-over-outcome", "spa-rl#finds-progress"),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
