"""Why does SPRO end without success? Its process part, smaller by 10 and by 100, against what was tested.

Run: python studies/spro-coefficient/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledCredit
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.grpo import GRPO
from cairn.methods.spro import SPRO

OVER_GRPO = ("spro#over-grpo", "spro#over-grpo-at-equal-compute")

STUDY = afterwards(
    id="spro-coefficient",
    title="Is it the size of SPRO's process reward that keeps it from learning?",
    tasks=("chain",),
    arms=(
        Arm("grpo", "control", "GRPO for the same number of updates on the same batches.", GRPO()),
        Arm("tested", "control", "SPRO as it was tested, beta 0.05.", SPRO()),
        Arm("tenth", "variant", "SPRO with beta 0.005.", SPRO(beta=0.005)),
        Arm("hundredth", "variant", "SPRO with beta 0.0005.", SPRO(beta=0.0005)),
        Arm(
            "tenth-pooled",
            "control",
            "beta 0.005, compared with all steps of the group instead of the same one.",
            SPRO(beta=0.005, pooled=True),
        ),
        Arm(
            "tenth-shuffled",
            "null",
            "beta 0.005, its credits permuted among the steps of each rollout.",
            SPRO(beta=0.005),
            ShuffledCredit(),
        ),
    ),
    claims=(
        Claim(
            id="tenth-learns",
            text="With a tenth of the coefficient SPRO ends above where it ends with the one that was tested.",
            arm="tenth",
            control="tested",
            metric="final_success",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="The process reward pays for what the policy has become more sure of, right or wrong. If its size "
            "drowns the outcome, a smaller one must learn.",
            explains=OVER_GRPO,
        ),
        Claim(
            id="hundredth-level-with-grpo",
            text="With a hundredth of it SPRO learns about as fast as GRPO.",
            arm="hundredth",
            control="grpo",
            direction="equivalent",
            margin=0.1,
            basis="an open question of our own reproduction",
            why="With the coefficient at 0 the credit is the outcome against the group's mean; what is left must "
            "come close to that, or something else is wrong.",
            explains=OVER_GRPO,
        ),
        Claim(
            id="tenth-over-grpo",
            text="With a tenth of the coefficient SPRO learns faster than GRPO.",
            arm="tenth",
            control="grpo",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="The paper's claim, at a coefficient at which the rule may learn at all.",
            explains=OVER_GRPO,
        ),
        Claim(
            id="tenth-same-step-matters",
            text="With a tenth of it, comparing at the same step teaches faster than comparing with all steps.",
            arm="tenth",
            control="tenth-pooled",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="At the coefficient that was tested neither comparison learns, so that nothing could be told.",
            explains=("spro#same-step-matters",),
        ),
        Claim(
            id="tenth-places-carry-it",
            text="With a tenth of it, it matters which step gets which credit.",
            arm="tenth",
            control="tenth-shuffled",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="The null control at a coefficient at which the rule may learn.",
            explains=("spro#places-carry-it",),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
