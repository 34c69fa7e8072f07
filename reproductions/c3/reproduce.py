"""C3: do alternatives at one frozen transcript teach faster than comparing whole rollouts at the same cost?

Run: python reproductions/c3/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import CreditShuffledInGroup
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import (
    baseline_arms,
    calibration_checks,
    ceiling_arms,
    equal_compute_claim,
    places_claim,
    shuffled_credit_arm,
)
from cairn.methods.c3 import C3
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE

REPRODUCTION = Reproduction(
    id="c3",
    title="C3: alternatives at one frozen transcript against whole rollouts",
    tasks=("relay",),
    arms=(
        Arm(
            "paper",
            "method",
            "The paper's formula: a second message at every turn, played to the end; leave-one-out among the two.",
            C3(),
            granularity="turn",
        ),
        Arm(
            "released",
            "variant",
            "As the released script has it, credit is standardised among siblings; of two, the sign is left.",
            C3(standardised=True),
            granularity="turn",
        ),
        Arm(
            "no-replay",
            "null",
            "The paper's ablation: the same rollouts, compared among all messages of the task's turn, whatever was "
            "said before.",
            C3(replay=False),
            granularity="turn",
        ),
        *baseline_arms("grpo", "GRPO (the paper's MAGRPO)", GRPO(), "paper"),
        Arm(
            "ppo-gae",
            "control",
            "PPO with one learned critic for all agents: the paper's MAPPO.",
            PPOGAE(),
            granularity="token",
        ),
        shuffled_credit_arm(C3(), "turn", "compared messages of each task", null=CreditShuffledInGroup()),
        *ceiling_arms(),
    ),
    claims=(
        equal_compute_claim(
            "C3",
            "grpo",
            "GRPO",
            "The paper gives all methods the same number of sampled leaves. A branch costs less than a rollout, "
            "and only compared messages are trained on, so that FLOPs are matched here.",
            basis="c3#over-multi-agent-baselines",
        ),
        Claim(
            id="over-grpo",
            text="C3 learns faster than GRPO, update for update.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="the protocol: every method is set against GRPO",
            why="The same trunks, and beside them the branches: what credit by message is worth if it were free.",
        ),
        Claim(
            id="over-critic",
            text="C3 learns faster than PPO with a learned critic, update for update.",
            arm="paper",
            control="ppo-gae",
            margin=0.02,
            basis="c3#over-multi-agent-baselines",
            why="The paper's second control, whose baseline is learnt instead of sampled.",
        ),
        Claim(
            id="replay-carries-it",
            text="It matters that siblings share their transcript: without replay the same rollouts teach less.",
            arm="paper",
            control="no-replay",
            margin=0.02,
            basis="c3#closer-to-true-effect",
            why="The paper's ablation of the frozen transcript.",
        ),
        Claim(
            id="standardisation-changes-little",
            text="Standardised among siblings, as released, C3 learns as fast as the paper's formula.",
            arm="released",
            control="paper",
            direction="equivalent",
            margin=0.05,
            basis="the released script, which leaves standardisation on",
            why="With two siblings it makes every difference one of size 1; if that cost anything, the released runs "
            "would not be tests of the formula.",
        ),
        places_claim(
            "message",
            why="The same numbers on the wrong messages of a task. A branch is trained on one message alone, so that "
            "shuffling inside a rollout would leave half of the credit where it was.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and a synthetic team of six stand for two Qwen agents that reason and answer.",
        "In place of the nested tree over two messages, trunks with one branch before each of 21 turns (our reading).",
        "The rollouts of a task are siblings at their first message, which all of them begin from the same prompt.",
        "What a branch says after the message that is compared is not trained on, since it has no siblings.",
        "Arms are matched by metered compute instead of 8 leaves a question.",
        "The released default with a learned critic in the baseline (value_assisted) is not run.",
        "How close credit comes to a message's true effect is asked by `cairn fidelity`, not by a claim here.",
        "The transcript is the environment's state, of which an agent sees its own part.",
        "Clip range, KL coefficient and learning rate are the protocol's, the same for all arms.",
        "Messages are sampled at temperature 1; the released script samples at 0.7 with top-p 0.8 and top-k 20.",
        "One update for each batch, so that the clip never acts.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
