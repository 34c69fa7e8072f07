"""GiGPO: does comparing turns that start from the same state teach faster than comparing whole rollouts?

Run: python reproductions/gigpo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledObservations
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

QUEST = "quest"
NO_RECURRENCE = "quest-revisit=0"

REPRODUCTION = Reproduction(
    id="gigpo",
    title="GiGPO against GRPO where states recur, and where they do not",
    tasks=(QUEST, NO_RECURRENCE),
    arms=(
        Arm(
            "paper",
            "method",
            "The paper's rule: w = 1, gamma = 0.95, both parts divided by their standard deviation.",
            GiGPO(),
            tasks=(QUEST, NO_RECURRENCE),
            granularity="turn",
        ),
        Arm(
            "released",
            "variant",
            "The released default: no division by the standard deviation, and group statistics over step rows, so "
            "that long rollouts weigh more.",
            GiGPO(scale_by_std=False, episode_statistics="step_row"),
            granularity="turn",
        ),
        Arm(
            "w0",
            "variant",
            "The step part switched off (w = 0): must be GRPO to the last bit.",
            GiGPO(step_weight=0.0),
            granularity="episode",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper", (QUEST, NO_RECURRENCE)),
        Arm(
            "shuffled-anchors",
            "null",
            "The paper's rule with raw observations permuted within each task group.",
            GiGPO(),
            ShuffledObservations(),
            granularity="turn",
        ),
        shuffled_credit_arm(GiGPO(), "turn"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-grpo",
            text="GiGPO learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="gigpo#alfworld-over-grpo",
            why="The paper's central claim is a higher success rate than GRPO at equal rollouts; the area under the "
            "success curve asks for it throughout training.",
        ),
        equal_compute_claim(
            "GiGPO",
            "grpo",
            "GRPO",
            "The paper matches rollouts; credit that costs nothing must also win when FLOPs are matched.",
            basis="gigpo#alfworld-over-grpo",
        ),
        Claim(
            id="anchors-carry-it",
            text="The gain comes from anchor states: unrelated anchors teach less.",
            arm="paper",
            control="shuffled-anchors",
            margin=0.02,
            basis="gigpo#alfworld-over-grpo",
            why="If groups of unrelated turns did as well, the state grouping would not be what helps.",
        ),
        places_claim(basis="gigpo#alfworld-over-grpo"),
        Claim(
            id="grpo-without-recurrence",
            text="Where no raw observation recurs, GiGPO is GRPO.",
            arm="paper",
            control="grpo",
            direction="equivalent",
            margin=0.0,
            task=NO_RECURRENCE,
            basis="gigpo#alfworld-over-grpo",
            why="With every anchor group of size one the step part is zero by definition.",
        ),
    ),
    checks=(
        *calibration_checks("grpo", "GRPO"),
        Claim(
            id="w0-is-grpo",
            text="GiGPO with w = 0 is GRPO.",
            arm="w0",
            control="grpo",
            direction="equivalent",
            margin=0.0,
            basis="protocol",
            why="An identity of the rule; any difference would be a fault of ours.",
        ),
    ),
    deviations=(
        "A small word-level model and a synthetic text world stand for Qwen2.5 on ALFWorld and WebShop.",
        "Clip range, KL coefficient and learning rate are the protocol's; the released KL is 0.01, its rate 1e-6.",
        "One update for each batch, so that the clip never acts.",
        "No penalty for invalid actions; a phrase that the room does not understand costs a turn.",
        "The loss is averaged over all action tokens of the batch.",
        "Observations are matched exactly; the released option of fuzzy matching is not run.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
