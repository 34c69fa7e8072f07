"""Is it the gains that make IGPO slow on `quest`, where its answer is a text that the policy never says?

Run: python studies/igpo-quest-gains/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.grpo import GRPO
from cairn.methods.igpo import IGPO

STUDY = afterwards(
    id="igpo-quest-gains",
    title="IGPO on quest: do its gains do harm?",
    tasks=("quest",),
    arms=(
        Arm("grpo", "control", "GRPO.", GRPO()),
        Arm("tested", "control", "IGPO as it was tested.", IGPO()),
        Arm("no-gains", "variant", "IGPO without its gains, the paper's own ablation.", IGPO(gains=False)),
        Arm("other-answer", "null", "IGPO with the gains of another task's answer.", IGPO(answer="other")),
    ),
    claims=(
        Claim(
            id="gains-do-harm",
            text="IGPO learns faster on quest without its gains.",
            arm="no-gains",
            control="tested",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="What remains without them is the outcome at the last turn, summed back to all turns.",
            explains=("igpo#over-grpo-on-quest",),
        ),
        Claim(
            id="level-without-gains",
            text="Without its gains it learns as fast as GRPO.",
            arm="no-gains",
            control="grpo",
            direction="equivalent",
            margin=0.05,
            basis="an open question of our own reproduction",
            why="The rule is then GRPO but for its statistics. If this holds, the gains are all of the difference.",
            explains=("igpo#over-grpo-on-quest",),
        ),
        Claim(
            id="any-gains-harm",
            text="The gains of another task's answer do the same: the two rules learn as fast.",
            arm="other-answer",
            control="tested",
            direction="equivalent",
            margin=0.05,
            basis="an open question of our own reproduction",
            why="The policy was never taught to say what the answer is there, so that its likelihood may follow "
            "anything; then it does not matter whose answer it is.",
            explains=("igpo#over-grpo-on-quest",),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
