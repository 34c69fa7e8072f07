"""PPO with GAE: does a learned critic teach faster than no critic, and is it its values for each state that do it?

Run: python reproductions/ppo-gae/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledCredit, ShuffledValues
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import baseline_arms, calibration_checks, ceiling_arms, places_claim, shuffled_credit_arm
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE

# As printed: arXiv 1707.06347, table 3 (gamma, lambda); advantages are not whitened there.
PAPER = PPOGAE(gamma=0.99, lambda_=0.95, whiten=False)

REPRODUCTION = Reproduction(
    id="ppo-gae",
    title="A learned critic against GRPO, against a mere baseline, and against values of the wrong states",
    tasks=("quest",),
    arms=(
        Arm("paper", "method", "gamma = 0.99, lambda = 0.95, not whitened.", PAPER, granularity="token"),
        Arm(
            "released",
            "variant",
            "The default of verl: gamma = lambda = 1, whitened. The critic is a baseline and spreads no credit.",
            PPOGAE(),
            granularity="token",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "shuffled-values",
            "null",
            "The paper's rule with the critic's values permuted among the tokens of each rollout; since its targets "
            "lean on the values, the critic is fitted to permuted ones, too.",
            PAPER,
            ShuffledValues(),
            granularity="token",
        ),
        shuffled_credit_arm(PAPER, "token", "tokens of each rollout", null=ShuffledCredit(unit="token")),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-grpo",
            text="A learned critic teaches faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="the survey, section 2.6: the critic gives each token its credit",
            why="The papers on PPO and GAE have no such control; credit by token must beat none, which is what GRPO "
            "gives inside a rollout, if the critic's credit is worth its fitting.",
        ),
        Claim(
            id="over-grpo-at-equal-compute",
            text="A learned critic teaches faster than GRPO at equal metered compute.",
            arm="paper",
            control="grpo-equal-compute",
            axis="flops",
            margin=0.02,
            basis="the protocol: every method is set against GRPO at equal metered compute",
            why="The critic's passes and its fitting are billed; GRPO gets as much for more rollouts.",
        ),
        Claim(
            id="bootstrapping-over-baseline",
            text="With lambda below 1 and a discount it learns faster than with the critic as a mere baseline.",
            arm="paper",
            control="released",
            margin=0.02,
            basis="the survey, section 2.6, against the defaults of libraries for language models",
            why="At gamma = lambda = 1 the advantage is the return less a value, and differences of values move no "
            "credit inside a rollout. If the critic gives credit, it must help to let it.",
        ),
        Claim(
            id="bootstrapping-orders-turns",
            text="With lambda below 1 and a discount it orders turns more as exact credit does than with a mere "
            "baseline.",
            arm="paper",
            control="released",
            metric="rank_correlation",
            margin=0.02,
            basis="the survey, section 2.6, against the defaults of libraries for language models",
            why="The same question asked of the credit itself, under the initial policy, for which the critic of each "
            "arm was fitted alike.",
        ),
        Claim(
            id="values-carry-it",
            text="It matters which state has which value: a critic's values for the wrong states teach less.",
            arm="paper",
            control="shuffled-values",
            margin=0.02,
            basis="the protocol: what carries a rule is corrupted by itself",
            why="The same loop with values of the same rollout in other places. If that did as well, the critic would "
            "know nothing about states.",
        ),
        places_claim("token", why="The null control of every experiment: the same numbers on the wrong tokens."),
        Claim(
            id="clipping",
            text="The clipped ratio does better than none.",
            arm="paper",
            control="grpo",
            basis="ppo-gae#clipping",
            why="The first claim of the paper on PPO; it is about the loss and not about credit.",
            not_testable="The protocol takes one step on each batch, on which every ratio is 1 and no clip acts",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        (
            "A language model in a text world stands for networks on control tasks; a time step is an action token, so "
            "that the paper's gamma and lambda decay credit by tokens (our reading)."
        ),
        "A small word-level model and a synthetic text world stand for language models as PPO trains them today.",
        "Clip range, KL coefficient and learning rate are the protocol's, the same for all arms; so is the critic's.",
        "One update for each batch instead of several epochs of minibatches, so that the clip never acts.",
        "Rollouts are played to their end; the paper cuts them off after a number of steps and bootstraps there.",
        "The loss of the critic is not clipped, and no entropy bonus is paid.",
        "The KL to the initial policy is in the loss, where libraries for language models often pay it as a reward.",
        (
            "The critic is a model of its own that starts from the initial policy's body, with values of 0, and is "
            "trained once on each batch."
        ),
        "PPO with another task's or an exact critic is not run; exact credit is the ceiling.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
