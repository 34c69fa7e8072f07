"""SPRO: do the policy's own log-ratios, compared step by step, teach faster than the outcome alone at the same cost?

Run: python reproductions/spro/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import baseline_arms, calibration_checks, ceiling_arms, places_claim, shuffled_credit_arm
from cairn.methods.grpo import GRPO
from cairn.methods.spro import SPRO
from cairn.methods.vineppo import VinePPO

REPRODUCTION = Reproduction(
    id="spro",
    title="SPRO's masked step advantage against the outcome alone at equal compute",
    tasks=("chain",),
    arms=(
        Arm(
            "paper",
            "method",
            "Our reading of the paper: the masked step advantage, one number a step, beta 0.05, plus the outcome.",
            SPRO(),
            granularity="step",
        ),
        Arm(
            "token-index",
            "variant",
            "The third-party reading: a step is a token position.",
            SPRO(unit="token"),
            granularity="token",
        ),
        Arm(
            "beta-0.2",
            "variant",
            "The process part four times as large; the paper's beta is not known.",
            SPRO(beta=0.2),
            granularity="step",
        ),
        Arm(
            "leave-one-out",
            "variant",
            "The survey's reading: what the chance of a right answer loses without the step, from nine continuations "
            "with it and nine without.",
            VinePPO(),
            granularity="step",
        ),
        Arm(
            "pooled",
            "control",
            "The same process rewards compared with all steps of the group, as in PRIME, not with the same step.",
            SPRO(pooled=True),
            granularity="step",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        shuffled_credit_arm(SPRO(), "step", "steps of each rollout"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-grpo-at-equal-compute",
            text="SPRO learns faster than outcome-only GRPO at equal metered compute.",
            arm="paper",
            control="grpo-equal-compute",
            axis="flops",
            margin=0.02,
            basis="spro#efficiency",
            why="The paper's central claim: more from the same compute, since the process reward costs no more than "
            "the reference's log-probs. The control pays for those too, for its KL term.",
        ),
        Claim(
            id="over-grpo",
            text="SPRO ends above GRPO after the same number of updates.",
            arm="paper",
            control="grpo",
            metric="final_success",
            margin=0.02,
            basis="spro#efficiency",
            why="The paper's gain in test accuracy, from the same rollouts.",
        ),
        Claim(
            id="same-step-matters",
            text="Comparing at the same step teaches faster than comparing with all steps of the group.",
            arm="paper",
            control="pooled",
            margin=0.02,
            basis="the abstract: comparison step by step; reviewers miss this ablation",
            why="Against PRIME's way of comparing, on the same rewards: what is left is the masked step advantage.",
        ),
        Claim(
            id="entropy-stays-higher",
            text="The policy's entropy stays higher than with GRPO.",
            arm="paper",
            control="grpo",
            metric="mean_of_entropy_nats",
            margin=0.0,
            basis="the abstract: stable and elevated entropy throughout training",
            why="Mean entropy over the tokens sampled at the curve's points. No size is named, so that any difference "
            "counts. The rule rewards what has become more likely, from which the opposite could be expected.",
        ),
        Claim(
            id="shorter-responses",
            text="Responses become shorter than with GRPO.",
            arm="paper",
            control="grpo",
            metric="generated_tokens",
            direction="less",
            margin=0.0,
            basis="spro#efficiency",
            why="The paper's responses are about a third shorter.",
            not_testable="The question fixes how many steps a right chain has, and of how many words; only what is not "
            "understood could be saved",
        ),
        places_claim(
            "step",
            why="The same numbers at other steps of the same rollout. If they did as well, the process reward would "
            "say nothing about steps.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "The paper could not be read: the rule follows its abstract, its reviews and code of a third party.",
        "A small word-level model and synthetic arithmetic stand for Eurus-2-7B-SFT on mathematics and code.",
        "beta is that of PRIME, since the paper's is not known; one other value is an arm.",
        "The reference is the initial policy; log-ratios are those of the policy that sampled.",
        "PRIME itself, with a reward model of its own that is trained beside the policy, is not run.",
        "Leaving a step out leaves a chain where it was before: that is a Monte Carlo value difference, here whitened.",
        "No arm without the outcome: while the policy is its own reference it would train on rounding alone.",
        "Fidelity is measured under the initial policy, where all log-ratios are 0: it is that of GRPO.",
        "Clip range, KL coefficient and learning rate are the protocol's; the reviews name a KL coefficient of 0.",
        "The loss is averaged over all action tokens of the batch; the paper divides by the length of each response.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
