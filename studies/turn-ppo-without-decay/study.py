"""Is it the turn, or the decay, that makes Turn-PPO slower than PPO by token?

Run: python studies/turn-ppo-without-decay/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm
from cairn.lab.follow_up import afterwards
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.turn_ppo import TurnPPO

STUDY = afterwards(
    id="turn-ppo-without-decay",
    title="Turn-PPO without decay: is it the turn or the decay that slows it down?",
    tasks=("quest",),
    arms=(
        Arm("tested", "control", "Turn-PPO as it was tested, gamma 0.99 and lambda 0.9.", TurnPPO()),
        Arm("no-decay", "variant", "Turn-PPO with gamma = lambda = 1.", TurnPPO(gamma=1.0, lambda_=1.0)),
        Arm("ppo-gae", "control", "PPO by token with gamma = lambda = 1.", PPOGAE()),
    ),
    claims=(
        Claim(
            id="decay-slows-it",
            text="Turn-PPO learns faster without decay.",
            arm="no-decay",
            control="tested",
            margin=0.02,
            basis="an open question of our own reproduction",
            why="With a critic that is still poor, lambda below 1 replaces what was paid by what the critic expects.",
            explains=(
                "turn-ppo#over-token-ppo-without-decay",
                "turn-ppo#over-grpo",
                "turn-ppo#over-grpo-at-equal-compute",
            ),
        ),
        Claim(
            id="level-without-decay",
            text="Without decay on either side, turns and tokens learn about as fast.",
            arm="no-decay",
            control="ppo-gae",
            direction="equivalent",
            margin=0.1,
            basis="an open question of our own reproduction",
            why="Both are then the return less a value; they differ in where the critic is read and fitted, in the "
            "ratio, and in how a turn counts in the loss. If the decay was all, they are level.",
            explains=("turn-ppo#over-token-ppo-without-decay", "turn-ppo#steadier-than-token-ppo"),
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
