"""CARL: does it keep GRPO's success while it trains on far fewer actions, and what does it generate for that?

Run: python reproductions/carl/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.carl import CARL
from cairn.methods.grpo import GRPO

REPRODUCTION = Reproduction(
    id="carl",
    title="CARL: training on forked actions alone, against GRPO with as many rollouts",
    tasks=("quest",),
    arms=(
        Arm(
            "paper",
            "method",
            "Eight whole rollouts of each task, then 16 forks, each at the state with the most surprise for its "
            "children; value differences, forked actions only.",
            CARL(),
            granularity="turn",
        ),
        Arm(
            "outcome-credit",
            "variant",
            "The same tree and the same actions, credited with the outcome of their rollout, compared in the task.",
            CARL(credit_by="outcome"),
            granularity="episode",
        ),
        Arm(
            "random-forks",
            "null",
            "Forks at visited states drawn at random; the rest as in the paper.",
            CARL(fork_at="random"),
            granularity="turn",
        ),
        Arm(
            "survey",
            "variant",
            "The survey's reading: no tree; GRPO's credit on the 28 per cent of turns with the highest surprise.",
            CARL(kept_share=0.28),
            granularity="episode",
        ),
        Arm(
            "grpo-16",
            "control",
            "GRPO with 16 rollouts of each task: the paper's own baseline, whose sampling costs as much by its count.",
            GRPO(),
            group_size_factor=2,
            granularity="episode",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        shuffled_credit_arm(CARL(), "turn", "trained actions of each task", null=CreditShuffledInGroup()),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="success-kept",
            text="GRPO with 16 rollouts learns no faster than CARL, update for update.",
            arm="grpo-16",
            control="paper",
            direction="not_greater",
            margin=0.02,
            basis="carl#short-setting",
            why="Without loss of success: the paper's baseline, matched in sampling by the paper's own count.",
        ),
        Claim(
            id="far-fewer-trained",
            text="CARL trains on far fewer tokens than GRPO with 16 rollouts.",
            arm="paper",
            control="grpo-16",
            metric="trained_tokens",
            direction="less",
            margin=900_000,
            basis="carl#fewer-trained-actions",
            why="A row is a turn here, and rows without a trained action are neither passed nor billed, so that "
            "trained tokens count trained actions. The margin is half of what GRPO with 16 rollouts trains on, by the "
            "published records of GRPO with 8 (0.9 million in 80 updates); the paper has 60 to 72 per cent less.",
        ),
        Claim(
            id="sampling-not-saved",
            text="CARL generates about as much as GRPO with 16 rollouts.",
            arm="paper",
            control="grpo-16",
            metric="generated_tokens",
            direction="equivalent",
            margin=73_000,
            basis="carl#fewer-trained-actions",
            why="What it generates in exchange. By the paper's count, N0 / N + 1/2, sampling costs the same; its "
            "tables have 1 per cent more in one setting and 23 in the other. The margin is a quarter of what GRPO with "
            "16 rollouts generates, by the published records of GRPO with 8 (0.146 million in 80 updates).",
        ),
        equal_compute_claim(
            "CARL",
            "grpo",
            "GRPO",
            "Training is cheaper and sampling is not: the ledger weighs both.",
            basis="carl#no-more-gpu-hours",
        ),
        Claim(
            id="values-carry-it",
            text="Value differences teach faster than the outcome on the same actions.",
            arm="paper",
            control="outcome-credit",
            margin=0.02,
            basis="carl#each-part-matters",
            why="The largest of the paper's ablations.",
        ),
        Claim(
            id="surprise-carries-it",
            text="Forks at surprising states teach faster than forks at random states.",
            arm="paper",
            control="random-forks",
            margin=0.02,
            basis="carl#each-part-matters",
            why="If random forks did as well, entropy would not be what finds the critical states.",
        ),
        Claim(
            id="more-than-a-mask",
            text="The tree teaches faster than a mask by entropy alone.",
            arm="paper",
            control="survey",
            margin=0.02,
            basis="the survey's gloss of CARL",
            why="The survey has the mask for the method; by its account the tree would not be needed.",
        ),
        places_claim(
            "action",
            why="The same numbers on other trained actions. Inside one rollout often only one action is trained, so "
            "they move within the task.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "No official code; the rule is read from a third party's transcription of version 3.",
        "A small word-level model and a synthetic text world stand for Qwen models that answer questions by searching.",
        "Each sampled action is a child of its own, also where two of them are the same words.",
        "Clip range and learning rate are the protocol's; the width of the paper's clip is not known.",
        "No KL term, as in the paper; the GRPO arms have the protocol's, and pay for the reference model.",
        "One update for each batch, so that the clip never acts.",
        "The form with one whole rollout (N0 = 1) is not run: the protocol samples eight rollouts of each task.",
        "The paper's arm that trains on every action is not run: without siblings an action's credit is 0.",
        "Fidelity counts actions that are not trained on, and those that a fork took over, with a credit of 0.",
        "The survey names no share; 0.28 is the paper's 32.0 of 115.2 actions.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
