"""Does HICRA fall behind because it spares failures on its planning words? To be run with ten seeds.

Run: python studies/hicra-symmetric/study.py --seeds 10 [--preset smoke|cpu|gpu] [--out DIR] [--resume]
"""

from __future__ import annotations

import dataclasses
from typing import cast

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm, load_reproduction
from cairn.lab.follow_up import afterwards
from cairn.methods.hicra import HICRA

TESTED = load_reproduction("hicra")


def symmetric(arm: str) -> HICRA:
    """Return the rule of an arm of the reproduction, amplifying failures as well as successes."""
    return dataclasses.replace(cast(HICRA, TESTED.arm(arm).method), symmetric=True)


STUDY = afterwards(
    id="hicra-symmetric",
    title="HICRA with failures amplified like successes",
    tasks=("chain",),
    arms=(
        TESTED.arm("paper"),
        TESTED.arm("no-std"),
        Arm("plans", "variant", "Planning words amplified, failures too.", symmetric("paper")),
        Arm("executions", "variant", "Words of execution amplified, failures too.", symmetric("execution-words")),
    ),
    claims=(
        Claim(
            id="sparing-does-harm",
            text="HICRA learns faster where failures on planning words are amplified like successes.",
            arm="plans",
            control="paper",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="The paper's rule weakens what a failure says about a planning word. The plans of the initial policy "
            "are wrong more often than its results, so that much of what it has to learn there comes from failures.",
            explains=("hicra#aim-matters", "hicra#plans-not-executions", "hicra#places-carry-it"),
        ),
        Claim(
            id="symmetric-over-plain",
            text="Amplified both ways, planning words teach faster than no amplification.",
            arm="plans",
            control="no-std",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="If sparing was the trouble, the aim at plans must now show.",
            explains=("hicra#over-plain",),
        ),
        Claim(
            id="symmetric-plans-not-executions",
            text="Amplified both ways, planning words teach faster than the words that carry plans out.",
            arm="plans",
            control="executions",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="The same comparison as in the reproduction, without the sparing.",
            explains=("hicra#plans-not-executions",),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
