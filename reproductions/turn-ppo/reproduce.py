"""Turn-PPO: does a critic that values turns teach faster, and more steadily, than one that values tokens?

Run: python reproductions/turn-ppo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.turn_ppo import TurnPPO

REPRODUCTION = Reproduction(
    id="turn-ppo",
    title="PPO with turns as steps against PPO with tokens as steps, and against GRPO",
    tasks=("quest",),
    arms=(
        Arm(
            "paper",
            "method",
            "gamma = 0.99 and lambda = 0.9 from turn to turn, the ratio of a turn the product of its tokens' ratios.",
            TurnPPO(),
            granularity="turn",
        ),
        Arm(
            "ppo-gae",
            "control",
            "PPO by token, gamma = lambda = 1: nothing decays.",
            PPOGAE(),
            granularity="token",
        ),
        Arm(
            "ppo-gae-same-decay",
            "control",
            "PPO by token, gamma = 0.99 and lambda = 0.9 from token to token.",
            PPOGAE(gamma=0.99, lambda_=0.9),
            granularity="token",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        shuffled_credit_arm(TurnPPO(), "turn"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-token-ppo",
            text="PPO by turn learns faster than PPO by token with the same decay.",
            arm="paper",
            control="ppo-gae-same-decay",
            margin=0.02,
            basis="turn-ppo#over-grpo-and-token-ppo",
            why="The paper's central comparison, with nothing changed but what a step is: credit decays once a turn "
            "instead of once a token.",
        ),
        Claim(
            id="over-token-ppo-without-decay",
            text="PPO by turn learns faster than PPO by token without decay.",
            arm="paper",
            control="ppo-gae",
            margin=0.02,
            basis="turn-ppo#over-grpo-and-token-ppo",
            why="The settings of the paper's token baseline are not known; with lambda = 1 no length decays its "
            "credit, so that what is left of the gain is not a matter of decay.",
        ),
        Claim(
            id="steadier-than-token-ppo",
            text="PPO by turn ends higher than PPO by token without decay.",
            arm="paper",
            control="ppo-gae",
            metric="final_success",
            margin=0.02,
            basis="turn-ppo#over-grpo-and-token-ppo",
            why="Stability, in one number: a run that collapses has lost its success at the end.",
        ),
        Claim(
            id="over-grpo",
            text="PPO by turn learns faster than GRPO, update for update.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="turn-ppo#over-grpo-and-token-ppo",
            why="The paper's other control, on the same batches.",
        ),
        equal_compute_claim("PPO by turn", "grpo", "GRPO", "GRPO gets the FLOPs that the critic takes."),
        places_claim(),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "Our reading: the paper was read in its abstract only, and there is no public code.",
        "A small word-level model and a synthetic text world stand for Qwen models on WebShop and Sokoban.",
        "All turns are about three tokens long, so that lambda by token decays little; long reasoning is not tested.",
        "Clip range, KL coefficient and both learning rates are the protocol's.",
        "The critic learns at the policy's rate; the paper's learns faster.",
        "One update for each batch, so that the clip never acts.",
        "The geometric mean has no arm: with turns of equal length and ratios of 1 it differs by a constant factor.",
        "Advantages are whitened over turns, and a turn counts once in the loss.",
        "The critic starts from the initial policy's body and is trained once on each batch.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
