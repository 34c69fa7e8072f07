"""iStar: does a reward model learnt from which rollouts won say which turn helped, and does that teach faster?

Run: python reproductions/istar/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledTurnScores
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
from cairn.methods.istar import IStar
from cairn.methods.reinforce import RLOO

RATE = 7e-4  # twice the protocol's rate of the policy, as 1e-6 is twice 5e-7 in paper and code

REPRODUCTION = Reproduction(
    id="istar",
    title="iStar: implicit step rewards of a second model, against a model that does not learn",
    tasks=("quest",),
    arms=(
        Arm(
            "paper",
            "method",
            "The paper's rule: DPO on whole rollouts, both parts standardised in the group, w = 1.",
            IStar(reward_learning_rate=RATE),
            granularity="turn",
        ),
        Arm(
            "released",
            "variant",
            "The released rule: means over turns, leave-one-out against first turns, and a pair loss whose gradient "
            "does not reach the second model.",
            IStar(reward_learning_rate=RATE, trajectory_score="mean", comparison="leave_one_out", trained=False),
            granularity="turn",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm("rloo", "control", "RLOO: what the paper adds its step rewards to.", RLOO, granularity="episode"),
        Arm("gigpo", "control", "GiGPO: the paper's strongest baseline on WebShop.", GiGPO(), granularity="turn"),
        Arm(
            "frozen",
            "null",
            "The paper's rule with a second model that stays as it began, so that its reward is the policy's drift.",
            IStar(reward_learning_rate=RATE, trained=False),
            granularity="turn",
        ),
        Arm(
            "random-rewards",
            "null",
            "The paper's rule with step rewards dealt out anew among all turns of the group: same mean and variance.",
            IStar(reward_learning_rate=RATE),
            ShuffledTurnScores(within="group"),
            granularity="turn",
        ),
        shuffled_credit_arm(IStar(reward_learning_rate=RATE), "turn"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-grpo",
            text="iStar learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="istar#over-strong-baselines",
            why="The paper claims better success and sample efficiency than GRPO at equal rollouts; the area under the "
            "success curve asks for both.",
        ),
        equal_compute_claim(
            "iStar",
            "grpo",
            "GRPO",
            "The paper does not match the training of the second model; here its FLOPs are spent on GRPO instead.",
            basis="istar#over-strong-baselines",
        ),
        Claim(
            id="over-rloo",
            text="iStar learns faster than RLOO from the same number of rollouts.",
            arm="paper",
            control="rloo",
            margin=0.02,
            basis="istar#over-strong-baselines",
            why="RLOO is the rule that the paper adds step rewards to, and the first row of its ablation.",
        ),
        Claim(
            id="over-gigpo",
            text="iStar learns faster than GiGPO from the same number of rollouts.",
            arm="paper",
            control="gigpo",
            margin=0.02,
            basis="istar#over-strong-baselines",
            why="The strongest baseline of the paper's WebShop table, and one that gives credit to turns, too.",
        ),
        Claim(
            id="reward-says-which-turn-helped",
            text="A second model that has learnt from pairs gives credit that follows the exact credit better than one "
            "that has not.",
            arm="paper",
            control="frozen",
            metric="rank_correlation",
            margin=0.02,
            basis="the paper's mechanism: preferences between whole rollouts teach the value of their steps",
            why="Rank correlation with exact advantages under the initial policy, after twenty batches of pairs; the "
            "arms differ in the learning alone.",
        ),
        Claim(
            id="learning-carries-it",
            text="The gain comes from what the second model learns: a frozen one teaches less.",
            arm="paper",
            control="frozen",
            margin=0.02,
            basis="istar#over-strong-baselines",
            why="If the frozen model did as well, the step reward would be a penalty on drift.",
        ),
        Claim(
            id="rewards-carry-it",
            text="The gain comes from the step rewards: random ones of the same variance teach less.",
            arm="paper",
            control="random-rewards",
            margin=0.02,
            basis="istar#over-strong-baselines",
            why="If they did as well, noise of that size would be what helps.",
        ),
        places_claim(),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and a synthetic text world stand for Qwen2.5 on WebShop, Sokoban and SOTOPIA.",
        "The second model learns at 7e-4, twice the policy's rate, as in the paper (1e-6 and 5e-7).",
        "One step of the second model for each batch, on all pairs at once; its gradient clip is 1.0, not 10.",
        "Clip range, KL coefficient and learning rate are the protocol's; the paper has no KL term.",
        "One update for each batch, so that the clip never acts, and token and step ratios are both 1.",
        "The loss is averaged over all action tokens of the batch.",
        "No penalty for invalid actions; a phrase that the room does not understand costs a turn.",
        "The released rule is read with its defect (detached pair loss), which its function shows when it is run.",
        "A log-ratio of a token below 1e-5 nats counts as 0: so much two passes of one model differ in float32.",
        "How many pairs the second model orders rightly is not measured, nor the number of turns of a success.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
