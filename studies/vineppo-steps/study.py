"""VinePPO step by step, as its paper has it: does what was found at turns hold at the reasoning steps of a chain?

On `chain` a turn is a step of the response. The reproduction of the paper runs on a text world, where a turn is an
exchange with the environment.

Run: python studies/vineppo-steps/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledTurnValues
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import baseline_arms, calibration_checks, ceiling_arms, places_claim, shuffled_credit_arm
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.vineppo import VinePPO

STUDY = Reproduction(
    id="vineppo-steps",
    title="VinePPO at reasoning steps, as its paper has it, against a learned critic and against GRPO",
    tasks=("chain",),
    arms=(
        Arm("paper", "method", "K = 9 continuations from the start of every step.", VinePPO(), granularity="step"),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "grpo-large-groups",
            "control",
            "GRPO with groups nine times as large, until it has spent what the paper's arm spent with the same seed.",
            GRPO(),
            spends_like="paper",
            group_size_factor=9,
            granularity="episode",
        ),
        Arm(
            "ppo-gae",
            "control",
            "PPO with a learned critic, gamma = lambda = 1: the paper's own control.",
            PPOGAE(),
            granularity="token",
        ),
        shuffled_credit_arm(VinePPO(), "step", "steps of each rollout"),
        Arm(
            "shuffled-values",
            "null",
            "The Monte Carlo values permuted among the steps of each rollout.",
            VinePPO(),
            ShuffledTurnValues(),
            granularity="step",
        ),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-critic",
            text="Monte Carlo values of steps teach faster than a learned critic, update for update.",
            arm="paper",
            control="ppo-gae",
            margin=0.02,
            basis="vineppo#math-small",
            why="The paper's central comparison: the same loop with the advantage taken from another source.",
        ),
        Claim(
            id="over-grpo",
            text="VinePPO learns faster than GRPO, update for update.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="the protocol: every method is set against GRPO",
            why="Credit for each step against none, on the same batches. The paper's own control is PPO.",
        ),
        Claim(
            id="over-grpo-at-equal-compute",
            text="VinePPO learns faster than GRPO at equal metered compute.",
            arm="paper",
            control="grpo-equal-compute",
            axis="flops",
            margin=0.02,
            basis="the protocol: every method is set against GRPO at equal metered compute",
            why="The paper says against PPO that the continuations pay for themselves; see the claim over the critic.",
            explains=("vineppo#over-grpo-at-equal-compute",),
        ),
        Claim(
            id="over-larger-groups",
            text="Compute spent on K continuations teaches faster than compute spent on groups K times as large.",
            arm="paper",
            control="grpo-large-groups",
            axis="flops",
            margin=0.02,
            basis="the protocol: every method is set against GRPO at equal metered compute",
            why="The other use of more samples for each question. If it did as well, step values would not be needed.",
        ),
        Claim(
            id="signs-over-critic",
            text="The sign of a step's credit is right more often than with a learned critic.",
            arm="paper",
            control="ppo-gae",
            metric="sign_accuracy",
            margin=0.02,
            basis="vineppo#critics-rank-near-chance",
            why="On steps whose exact advantage under the initial policy is not negligible. The fidelity table, "
            "which is older than this declaration, measures the same with other draws.",
        ),
        places_claim("step"),
        Claim(
            id="values-carry-it",
            text="It matters which state gets which value: shuffled values teach less.",
            arm="paper",
            control="shuffled-values",
            margin=0.02,
            basis="the rule: an advantage is the difference of two values that follow each other",
            why="Differences of unrelated values are as large and point nowhere.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and synthetic arithmetic stand for language models on GSM8K and MATH.",
        "Each step is written from a window: the value stated last and what is due next, not the whole response.",
        "States count as identical when environment state and prompt agree, whatever was written before.",
        "Clip range, KL coefficient and learning rate are the protocol's, the same for all arms.",
        "One update for each batch instead of two epochs of minibatches, so that the clip never acts.",
        "Advantages are whitened over the whole batch; the released code whitens within each backward pass.",
        "Rollouts and continuations are sampled at temperature 1; the paper samples at 0.6 with top-p 0.9.",
        "The cap on valued steps is not applied: the released one of 20 is longer than these chains.",
        "The critic starts from the initial policy's body and is trained once on each batch.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
