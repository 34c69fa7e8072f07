"""REINFORCE, RLOO, REINFORCE++: how much of what a critic or a standard deviation is for does a plain baseline do?

Run: python reproductions/reinforce/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import baseline_arms, calibration_checks, ceiling_arms
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.reinforce import REINFORCE, REINFORCE_PLUS_PLUS, REINFORCE_PLUS_PLUS_BASELINE, RLOO

REPRODUCTION = Reproduction(
    id="reinforce",
    title="RLOO and REINFORCE++ against a critic, a weaker baseline and GRPO",
    tasks=("chain",),
    arms=(
        Arm("paper", "method", "RLOO: each rollout against the others, KL in the reward.", RLOO, granularity="episode"),
        Arm(
            "past-mean",
            "control",
            "REINFORCE: the mean of all earlier returns as baseline, KL in the reward.",
            REINFORCE,
            granularity="episode",
        ),
        Arm(
            "plus-plus",
            "variant",
            "REINFORCE++: the outcome less the KL from the token on, whitened over the batch.",
            REINFORCE_PLUS_PLUS,
            granularity="token",
        ),
        Arm(
            "plus-plus-baseline",
            "variant",
            "REINFORCE++ with a baseline: the group's mean taken off, whitened over the batch, KL in the loss.",
            REINFORCE_PLUS_PLUS_BASELINE,
            granularity="episode",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "ppo-gae",
            "control",
            "PPO with a learned critic, gamma = lambda = 1: both papers' own control.",
            PPOGAE(),
            granularity="token",
        ),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-ppo",
            text="RLOO learns faster than PPO with a learned critic, update for update.",
            arm="paper",
            control="ppo-gae",
            margin=0.02,
            basis="reinforce#over-ppo-and-dpo",
            why="The central claim of the paper on RLOO: other samples are a better baseline than a critic. The area "
            "under the curve of success stands for its win rates.",
        ),
        Claim(
            id="over-past-mean",
            text="The others of its group are a better baseline than the mean of the past.",
            arm="paper",
            control="past-mean",
            margin=0.02,
            basis="the paper's Table 1 and Figure 2, as a third party reports them",
            why="The paper's own step from REINFORCE to RLOO; nothing but the baseline is changed.",
        ),
        Claim(
            id="std-adds-nothing",
            text="GRPO, with its division by the group's standard deviation, learns no faster than RLOO.",
            arm="grpo",
            control="paper",
            direction="not_greater",
            margin=0.02,
            basis="the question of our fact sheet; RLOO is n / (n - 1) times GRPO's numerator",
            why="On tasks of different difficulty the two weigh groups differently, and in nothing else that steps of "
            "AdamW could feel but the place of the KL.",
        ),
        Claim(
            id="std-adds-nothing-at-equal-compute",
            text="Nor does it at equal metered compute.",
            arm="grpo-equal-compute",
            control="paper",
            axis="flops",
            direction="not_greater",
            margin=0.02,
            basis="the protocol: every method is set against GRPO at equal metered compute",
            why="Both credits are free, so that equal compute is about as many updates.",
        ),
        Claim(
            id="plus-plus-level-with-grpo",
            text="GRPO learns no faster than REINFORCE++.",
            arm="grpo",
            control="plus-plus",
            direction="not_greater",
            margin=0.02,
            basis="reinforce#plus-plus-chat",
            why="The second paper finds them level. It gives GRPO four responses for a prompt and REINFORCE++ one; "
            "here both get the same groups, which REINFORCE++ does not look at.",
        ),
        Claim(
            id="plus-plus-baseline-over-grpo",
            text="REINFORCE++ with a baseline learns faster than GRPO.",
            arm="plus-plus-baseline",
            control="grpo",
            margin=0.02,
            basis="reinforce#plus-plus-tools",
            why="The second paper's comparison on tasks of many steps: the deviation of the batch in the place of the "
            "group's.",
        ),
        Claim(
            id="plus-plus-baseline-over-ppo",
            text="REINFORCE++ with a baseline learns faster than PPO with a learned critic.",
            arm="plus-plus-baseline",
            control="ppo-gae",
            margin=0.02,
            basis="reinforce#plus-plus-tools",
            why="The other half of that comparison.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        (
            "A small word-level model and synthetic chains of arithmetic stand for language models with reward models "
            "and on competition mathematics."
        ),
        "The paper on RLOO was read at third hand: the arm is our reading of it, which agrees with verl's function.",
        (
            "Clip range, KL coefficient and learning rate are the protocol's. So is the weight of the KL where it "
            "stands in the reward: 0.001 for each nat, with a reward of 1 for a right answer, where RLOO has 0.03 and "
            "0.10 with a reward model."
        ),
        (
            "The KL in the loss is the protocol's estimate for every arm; REINFORCE++ with a baseline has half the "
            "squared log-ratio."
        ),
        (
            "One update for each batch, so that no clip acts and the level of the ratio, a token's or a sequence's, "
            "plays no part; the libraries' variants of RLOO differ in that alone."
        ),
        "The loss is averaged over all action tokens of the batch; RLOO sums over a response first.",
        (
            "REINFORCE++ gets groups of eight, where its own setting is one response for a prompt, and batches of 32 "
            "rollouts, where it asks for large ones: the mean and deviation of a small batch are those of few tasks. "
            "In a batch without a right answer, what is left to be whitened is the KL alone."
        ),
        (
            "The variance of gradients, which the fact sheet asks for beside success, is not measured: norms of "
            "losses of different scales do not compare."
        ),
        "Credit that is the same for all turns of a rollout cannot be shuffled inside it; exact credit is, instead.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
