"""ArCHer: does a critic of utterances, learnt off-policy, make more of the same interaction than on-policy rules do?

Run: python reproductions/archer/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.archer import ArCHer
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE

# What five minutes allow: 6 steps of the critic in an update, and 10 of the 80 updates for it alone.
SMALL = ArCHer(critic_steps=6, critic_rollouts=8, warm_up=10)
ON_POLICY = ArCHer(critic_steps=6, critic_rollouts=8, warm_up=10, stored_updates=0)

REPRODUCTION = Reproduction(
    id="archer",
    title="ArCHer: an off-policy critic of utterances against on-policy rules at the same interaction",
    tasks=("lake",),
    arms=(
        Arm(
            "paper",
            "method",
            "Two heads for Q and two for V, half of what they learn from stored; 6 steps of the critic in an update, "
            "the first 10 updates for the critic alone.",
            SMALL,
            granularity="turn",
        ),
        Arm(
            "nothing-stored",
            "variant",
            "The same critic, which learns from the newest batch alone.",
            ON_POLICY,
            granularity="turn",
        ),
        Arm(
            "ppo-gae",
            "control",
            "PPO by token with a learned critic, gamma = lambda = 1: the on-policy method on tokens.",
            PPOGAE(),
            granularity="token",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        shuffled_credit_arm(SMALL, "turn"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-token-ppo",
            text="ArCHer learns faster than PPO by token from the same number of rollouts.",
            arm="paper",
            control="ppo-gae",
            margin=0.02,
            basis="archer#sample-efficiency",
            why="The paper's central claim is fewer interactions than on-policy methods on tokens; at equal updates "
            "all arms play as many rollouts, the warm-up included.",
        ),
        Claim(
            id="over-grpo",
            text="ArCHer learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="archer#sample-efficiency",
            why="The same against the control of every experiment.",
        ),
        equal_compute_claim("ArCHer", "grpo", "GRPO", "What is saved in interaction is paid in steps of the critic."),
        Claim(
            id="credit-closer-than-gae",
            text="Q - V ranks turns more as exact advantages do than the token critic's advantages.",
            arm="paper",
            control="ppo-gae",
            metric="rank_correlation",
            margin=0.05,
            basis="archer#sample-efficiency",
            why="If the gain comes from better credit, the credit must be better: measured under the initial policy, "
            "after both critics were fitted on the same 20 batches, each in its own way.",
        ),
        Claim(
            id="storage-carries-it",
            text="Stored rollouts help: the same critic learns less from the newest batch alone.",
            arm="paper",
            control="nothing-stored",
            margin=0.02,
            basis="the paper's ablation of its replay buffer, as a third party reports it",
            why="Off-policy learning is what is to save interaction.",
        ),
        places_claim(),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and FrozenLake as text stand for GPT-2 on Twenty Questions, WebShop and others.",
        "On lake, whose episodes are short: on quest five minutes would not allow enough steps of the critic.",
        "6 steps of the critic in an update, each on 8 rollouts (the code: 50 on 256 utterances).",
        "10 updates of warm-up of 80 (the code: 20 of 2,000).",
        "The policy and the heads of states learn on the newest batch, which the current policy has just said.",
        "So no new utterance is sampled at stored states, as the code does for both.",
        "One step of the policy in an update; the code takes 3.",
        "Linear heads on the policy's own kind of body; the code has MLPs on RoBERTa.",
        "The critic starts close to 0 and is fitted after the policy's step.",
        "Learning rates are the protocol's. No KL term, as in the code; the GRPO and PPO arms have the protocol's.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
