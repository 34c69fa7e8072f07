"""HCAPO: does the policy's own likelihood in hindsight say which turn decided, and does that teach faster?

Run: python reproductions/hcapo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import (
    baseline_arms,
    calibration_checks,
    ceiling_arms,
    equal_compute_claim,
    places_claim,
    shuffled_credit_arm,
)
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.methods.hcapo import HCAPO

REPRODUCTION = Reproduction(
    id="hcapo",
    title="HCAPO: hindsight by rescoring, against GRPO and against a ratio that says nothing",
    tasks=("quest",),
    arms=(
        Arm(
            "paper",
            "method",
            "The paper's rule: ratio to the rollout's own mean, omega = 1, without smoothing.",
            HCAPO(),
            granularity="turn",
        ),
        Arm(
            "smooth",
            "variant",
            "The paper's option: a turn shares half of what the next one is worth.",
            HCAPO(own_share=0.5),
            granularity="turn",
        ),
        Arm(
            "classical-ratio",
            "variant",
            "Divided by the likelihood without the outcome instead, as third parties have it.",
            HCAPO(prior="policy"),
            granularity="turn",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm("gigpo", "control", "GiGPO: the paper's own strongest baseline.", GiGPO(), granularity="turn"),
        Arm(
            "told-failure",
            "null",
            "The paper's rule with the wrong outcome put before the prompts: every rollout is read as failed.",
            HCAPO(told="failure"),
            granularity="turn",
        ),
        Arm(
            "ratio-one",
            "null",
            "The paper's rule with all ratios held at 1: only the discount tells the turns of a success apart.",
            HCAPO(lowest_ratio=1.0, highest_ratio=1.0),
            granularity="turn",
        ),
        shuffled_credit_arm(HCAPO(), "turn"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="ratio-points-at-forks",
            text="The ratio points at the turns that decide: with it the size of the credit finds the forks better "
            "than the discount alone does.",
            arm="paper",
            control="ratio-one",
            metric="bifurcation_precision",
            margin=0.02,
            basis="the paper's mechanism: the ratio amplifies instrumental actions and suppresses the others",
            why="The two arms differ in the ratio alone; average precision of the size of the credit as a detector of "
            "the planted forks, under the initial policy.",
        ),
        Claim(
            id="over-grpo",
            text="HCAPO learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="hcapo#alfworld-over-grpo",
            why="The paper's central claim is a higher success rate than GRPO at equal rollouts; the area under the "
            "success curve asks for it throughout training.",
        ),
        equal_compute_claim(
            "HCAPO",
            "grpo",
            "GRPO",
            "The paper calls the hindsight pass cheap; it must then win when its FLOPs are spent on GRPO.",
            basis="hcapo#small-overhead",
        ),
        Claim(
            id="outcome-carries-it",
            text="The gain comes from the outcome that is told: the wrong outcome teaches less.",
            arm="paper",
            control="told-failure",
            margin=0.02,
            basis="hcapo#alfworld-over-grpo",
            why="If the wrong outcome did as well, the ratio would measure the policy's confidence and no hindsight.",
        ),
        Claim(
            id="ratio-carries-it",
            text="The gain comes from the ratio: with all ratios at 1 the rest of the rule teaches less.",
            arm="paper",
            control="ratio-one",
            margin=0.02,
            basis="hcapo#gain-grows-with-omega",
            why="What is left at 1 is the discount and the doubled weight of the outcome; if they did as well, the "
            "ratio would not be what helps.",
        ),
        Claim(
            id="over-gigpo",
            text="HCAPO learns faster than GiGPO from the same number of rollouts.",
            arm="paper",
            control="gigpo",
            margin=0.02,
            basis="hcapo#search-over-gigpo",
            why="GiGPO is the baseline that the paper shares its setting with.",
        ),
        places_claim(),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "The paper was read at third hand only; there is no official code. What is our reading stands in the module.",
        "A small word-level model and a synthetic text world stand for Qwen2.5 on ALFWorld, WebShop and search.",
        "The small model was never taught what an outcome in its prompt means.",
        "On 128 of its rollouts the mean log-prob at forks was -0.220 nats, -0.222 behind either outcome's text.",
        "The outcome stands before the prompt as the two words of an omen; the paper's template is not printed.",
        "Clip range, KL coefficient and learning rate are the protocol's; the paper's KL is 0.01, its rate 1e-6.",
        "One update for each batch, so that the clip never acts.",
        "The loss is averaged over all action tokens of the batch; the paper weighs a rollout's turns by 1 / T.",
        "Success pays 1 instead of 10, and no invalid action is punished.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
