"""SHARP: does what a team would lose without an agent teach it faster than the reward that all of them share?

Run: python reproductions/sharp/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.sharp import SHARP

REPRODUCTION = Reproduction(
    id="sharp",
    title="SHARP: marginal credit beside the shared reward, in two readings of an agent's absence",
    tasks=("relay",),
    arms=(
        Arm(
            "paper",
            "method",
            "Our reading of the paper: each rollout is played again without each agent, and the others speak anew.",
            SHARP(),
            granularity="multi-agent",
        ),
        Arm(
            "words-removed",
            "variant",
            "The other reading: the agent's words are taken out of the finished rollout, everybody else's are kept.",
            SHARP(absence="words_removed"),
            granularity="multi-agent",
        ),
        Arm(
            "survey",
            "variant",
            "The survey's reading: Shapley values over all coalitions, each played as in the paper's arm.",
            SHARP(coalitions="all"),
            granularity="multi-agent",
        ),
        *baseline_arms("grpo", "GRPO (the shared reward alone)", GRPO(), "paper"),
        shuffled_credit_arm(SHARP(), "multi-agent"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-grpo",
            text="SHARP learns faster than the shared reward alone, update for update.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="sharp#over-baselines",
            why="The paper's multi-agent baselines give every agent the same reward; on this task that is GRPO.",
        ),
        equal_compute_claim(
            "SHARP",
            "grpo",
            "GRPO",
            "The rollouts without an agent cost as much as others; GRPO may spend that on rollouts of its own.",
            basis="sharp#over-baselines",
        ),
        Claim(
            id="speaking-anew-helps",
            text="Marginal credit teaches faster where the others speak anew than where words are only taken out.",
            arm="paper",
            control="words-removed",
            margin=0.02,
            basis="two accounts of the paper, which differ in what a masked agent's absence is",
            why="Where the others' words stand, a message is worth nothing: the scout here learns from the shared part "
            "of its reward alone.",
        ),
        Claim(
            id="coalitions-help",
            text="Shapley values over all coalitions teach faster than leaving out one agent, update for update.",
            arm="survey",
            control="paper",
            margin=0.02,
            basis="the survey's account, which speaks of analysis of coalitions",
            why="Of two agents who can stand in for each other both get nothing when one is left out, and share by "
            "Shapley; what the coalitions cost is in the ledger.",
        ),
        places_claim(),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "The paper's text was not read beyond its abstract: formulas and weights are third parties' (our reading).",
        "Masking an agent means here that the rollout is played again without it; the words-removed arm has the other.",
        "A small word-level model and a synthetic team of six stand for Qwen3-8B with search and other tools.",
        "There is no planner, so that nobody gets the mean of the workers' credits.",
        "There are no tools: the part of the reward for valid calls, with a weight of 0.1, is left out.",
        "All agents share one model, as in the paper; each rollout without an agent has the dice of the one with it.",
        "The paper's systems for comparison are not run; the shared reward alone stands for them.",
        "Clip range, KL coefficient and learning rate are the protocol's, the same for all arms.",
        "One update for each batch, so that the clip never acts.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
