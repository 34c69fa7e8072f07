"""SPA-RL: does dividing the outcome by a learned progress estimator teach PPO faster than the outcome itself?

Run: python reproductions/spa-rl/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.spa_rl import SPARL

REPRODUCTION = Reproduction(
    id="spa-rl",
    title="SPA-RL: contributions of a learned estimator against the outcome alone, and against grounding alone",
    tasks=("quest",),
    arms=(
        Arm(
            "paper",
            "method",
            "Contribution plus grounding as the reward of each turn, in PPO.",
            SPARL(),
            granularity="token",
        ),
        Arm(
            "released",
            "variant",
            "The released WebShop script and trainer: the outcome less the mean of the task's other rollouts in place "
            "of every contribution, plus grounding, times the turns that follow.",
            SPARL(contributions="leave_one_out", times_remaining=True),
            granularity="token",
        ),
        Arm(
            "no-grounding",
            "variant",
            "The contributions as the only reward.",
            SPARL(grounding=0.0),
            granularity="token",
        ),
        Arm(
            "grounding-alone",
            "null",
            "The grounding signal as the only reward: no outcome at all.",
            SPARL(contributions="none"),
            granularity="token",
        ),
        Arm(
            "ppo",
            "control",
            "PPO with the outcome in the last turn, the same critic, lambda and whitening: the paper's own baseline.",
            SPARL(contributions="outcome", grounding=0.0),
            granularity="token",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        shuffled_credit_arm(SPARL(), "token"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-ppo",
            text="PPO learns faster from contributions and grounding than from the outcome.",
            arm="paper",
            control="ppo",
            margin=0.02,
            basis="spa-rl#over-previous-best",
            why="The paper's idea is that a delayed reward, divided among the steps, teaches PPO more; critic, lambda "
            "and everything else are the same in the two arms.",
        ),
        Claim(
            id="contributions-over-outcome",
            text="The contributions alone teach PPO faster than the outcome that they divide.",
            arm="no-grounding",
            control="ppo",
            margin=0.02,
            basis="the abstract: the final reward is decomposed into stepwise contributions",
            why="Grounding pays up to 0.5 for each of some twenty turns, where all contributions together make 0 or 1; "
            "without it the two arms differ in nothing but where the outcome stands.",
        ),
        Claim(
            id="attribution-carries-it",
            text="The gain is due to the contributions: grounding alone teaches less.",
            arm="paper",
            control="grounding-alone",
            margin=0.02,
            basis="spa-rl#over-previous-best",
            why="The reward of a turn has two parts, and one of them asks for no estimator.",
        ),
        Claim(
            id="over-released",
            text="The contributions teach more than the released script, which does not use them.",
            arm="paper",
            control="released",
            margin=0.02,
            basis="spa-rl#over-previous-best",
            why="What the paper describes and what its code does are two rules; only the first divides the outcome.",
        ),
        Claim(
            id="finds-progress",
            text="Credit from the contributions goes along with exact credit more than credit from the outcome does.",
            arm="no-grounding",
            control="ppo",
            metric="rank_correlation",
            margin=0.02,
            basis="the abstract: each contribution reflects a step's progress towards the completion of the task",
            why="Rank correlation of turns with exact credit under the initial policy, after both have learnt from 20 "
            "batches of it; grounding is left out, since it says nothing of progress.",
        ),
        equal_compute_claim(
            "SPA-RL", "grpo", "GRPO", "The estimator is a second network of the policy's size, and is paid for."
        ),
        places_claim(),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "The full text of the paper was not read: the rule is the abstract's, and the code's where that is silent.",
        "A small word-level model and a synthetic text world stand for Llama-3.2-3B on three agent benchmarks.",
        "The outcome is 1 if all of a few decisions were right; it is no sum of planted contributions.",
        "Estimator and critic are heads of one network; the paper has a model for each.",
        "The estimator learns online, a step on each batch; the paper's is fitted once, on rollouts of the SFT policy.",
        "Rollouts are fresh and not stored; no SFT stage, since the initial model was taught by demonstrations.",
        "Grounding is read from a raw observation that stays as it was; nearly every phrase here moves something.",
        "gamma, lambda and whitening are the defaults of the authors' library; their settings are not public.",
        "Grounding accuracy, the paper's second metric, is not measured.",
        "Clip range, KL coefficient and learning rate are the protocol's; KL stands in the loss.",
        "One update for each batch, so that the clip never acts.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
