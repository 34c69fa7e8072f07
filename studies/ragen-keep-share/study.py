"""Does RAGEN's filter throw away too much? A half and three quarters of the groups kept, instead of a quarter.

Run: python studies/ragen-keep-share/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.ragen import RAGEN

STUDY = afterwards(
    id="ragen-keep-share",
    title="RAGEN with more groups kept",
    tasks=("quest",),
    arms=(
        Arm("all", "control", "StarPO: the same without a filter.", RAGEN(keep_share=1.0)),
        Arm("quarter", "control", "StarPO-S as it was tested: a quarter of the groups kept.", RAGEN()),
        Arm("half", "variant", "Half of the groups kept.", RAGEN(keep_share=0.5)),
        Arm("three-quarters", "variant", "Three quarters of the groups kept.", RAGEN(keep_share=0.75)),
    ),
    claims=(
        Claim(
            id="half-helps",
            text="Keeping half of the groups teaches faster than keeping a quarter.",
            arm="half",
            control="quarter",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="An update has four tasks here, so that a quarter is a single one.",
            explains=("ragen#over-starpo", "ragen#over-grpo-at-equal-compute"),
        ),
        Claim(
            id="three-quarters-lose-nothing",
            text="Keeping three quarters loses nothing against keeping all.",
            arm="all",
            control="three-quarters",
            direction="not_greater",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="If the dropped groups are those that differ least, the first one to go should hardly be missed.",
            explains=("ragen#over-starpo",),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
