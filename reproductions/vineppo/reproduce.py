"""VinePPO: do Monte Carlo values of every state teach faster than a learned critic, or than no value at all?

Run: python reproductions/vineppo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledTurnValues
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import (
    baseline_arms,
    calibration_checks,
    ceiling_arms,
    equal_compute_claim,
    places_claim,
    shuffled_credit_arm,
)
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.vineppo import VinePPO

REPRODUCTION = Reproduction(
    id="vineppo",
    title="VinePPO at turn boundaries against a learned critic and against GRPO",
    tasks=("quest",),
    arms=(
        Arm("paper", "method", "K = 9 continuations from the start of every turn.", VinePPO(), granularity="turn"),
        Arm("k1", "variant", "K = 1.", VinePPO(continuations=1), granularity="turn"),
        Arm("k3", "variant", "K = 3.", VinePPO(continuations=3), granularity="turn"),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "ppo-gae",
            "control",
            "PPO with a learned critic, gamma = lambda = 1: the paper's own control.",
            PPOGAE(),
            granularity="token",
        ),
        shuffled_credit_arm(VinePPO(), "turn"),
        Arm(
            "shuffled-values",
            "null",
            "The Monte Carlo values permuted among the turns of each rollout.",
            VinePPO(),
            ShuffledTurnValues(),
            granularity="turn",
        ),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-critic",
            text="Monte Carlo values teach faster than a learned critic, update for update.",
            arm="paper",
            control="ppo-gae",
            margin=0.02,
            basis="vineppo#gsm8k-small",
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
        equal_compute_claim(
            "VinePPO",
            "grpo",
            "GRPO",
            "The paper says against PPO that the continuations pay for themselves; see the claim over the critic.",
        ),
        Claim(
            id="more-continuations-help",
            text="K = 9 learns faster than K = 1, update for update.",
            arm="paper",
            control="k1",
            margin=0.02,
            basis="the paper's comparison of K = 1, 3 and 9, as a third party reports it",
            why="The ablation over K; what more continuations cost is in the ledger.",
        ),
        places_claim(),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "Boundaries are turns of a text world; the paper's are reasoning steps of a mathematical solution.",
        "A small word-level model and a synthetic text world stand for language models on GSM8K and MATH.",
        "Clip range, KL coefficient and learning rate are the protocol's, the same for all arms.",
        "One update for each batch instead of two epochs of minibatches, so that the clip never acts.",
        "Rollouts and continuations are sampled at temperature 1; the paper samples at 0.6 with top-p 0.9.",
        "States count as identical when environment state and prompt agree, whatever path led there.",
        "The cap on valued steps is not applied.",
        "The critic starts from the initial policy's body and is trained once on each batch.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
