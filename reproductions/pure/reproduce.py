"""PURE: does a sum of process rewards collapse where their minimum teaches?

Run: python reproductions/pure/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.scorers import Oracle
from cairn.lab.standard import (
    baseline_arms,
    calibration_checks,
    ceiling_arms,
    equal_compute_claim,
    places_claim,
    shuffled_credit_arm,
)
from cairn.methods.grpo import GRPO
from cairn.methods.pure import PURE

ERRING = Oracle(false_positive_rate=0.1, false_negative_rate=0.02, consistent=True)

REPRODUCTION = Reproduction(
    id="pure",
    title="PURE: the worst process reward against the sum of them",
    tasks=("chain",),
    arms=(
        Arm(
            "paper",
            "method",
            "Min-form credit, T = 0.1, from a PRM that marks the first wrong step without error; no outcome reward. "
            "The released default is the same.",
            PURE(),
            scorer=Oracle(),
            granularity="turn",
        ),
        Arm(
            "sum",
            "control",
            "The same PRM, its scores summed: the paper's own control, and a mode of the released code.",
            PURE(form="sum"),
            scorer=Oracle(),
            granularity="turn",
        ),
        Arm(
            "erring-prm",
            "variant",
            "Min-form credit from a PRM with blind spots: the same words always get the same opinion, and it is wrong "
            "on a tenth of the wrong steps and on one right step in fifty.",
            PURE(),
            scorer=ERRING,
            granularity="turn",
        ),
        Arm(
            "erring-prm-sum",
            "control",
            "The scores of that PRM, summed.",
            PURE(form="sum"),
            scorer=ERRING,
            granularity="turn",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "untrained",
            "control",
            "GRPO with a learning rate of 0: the initial policy.",
            GRPO(),
            learning_rate_factor=0.0,
            granularity="episode",
        ),
        shuffled_credit_arm(PURE(), "turn", "steps of each response", scorer=Oracle()),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="min-over-sum",
            text="The min form learns faster than the sum form from the same PRM.",
            arm="paper",
            control="sum",
            margin=0.02,
            basis="pure#sum-form-collapses",
            why="The paper's central comparison: one PRM, one loop, two ways to make returns of its scores.",
        ),
        Claim(
            id="sum-collapses",
            text="The sum form ends below the untrained policy.",
            arm="sum",
            control="untrained",
            metric="final_success",
            direction="less",
            margin=0.02,
            basis="pure#sum-form-figures",
            why="Collapse in the paper's own measure: an average below that of the model before training. The PRM "
            "never errs, so that the form alone can be to blame.",
        ),
        Claim(
            id="min-does-not-collapse",
            text="The min form ends above the untrained policy.",
            arm="paper",
            control="untrained",
            metric="final_success",
            margin=0.1,
            basis="pure#sum-form-figures",
            why="The other half of the claim: on the same scores the min form trains.",
        ),
        Claim(
            id="sum-pays-for-steps",
            text="Under the sum form responses get longer than under the min form.",
            arm="sum",
            control="paper",
            metric="environment_steps",
            margin=512,
            basis="pure#sum-form-collapses",
            why="The mechanism: each step that is not marked adds to a sum, whatever it is for. A step that is not "
            "understood, while there is slack, or that follows a mistake is not marked. 512 steps are 0.2 for each of "
            "the 2,560 responses of a run.",
        ),
        Claim(
            id="min-over-sum-with-an-erring-prm",
            text="The min form learns faster than the sum form from a PRM with blind spots, too.",
            arm="erring-prm",
            control="erring-prm-sum",
            margin=0.02,
            basis="pure#sum-form-collapses",
            why="The paper's PRM is a model that errs, and its theorem 1 bounds what an error costs in each form.",
        ),
        Claim(
            id="over-grpo",
            text="The min form learns faster than GRPO from the outcome.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="pure#fewer-steps",
            why="The paper reaches the level of training on outcomes in a part of the steps; the area under the curve "
            "asks for it throughout. The PRM here knows more than the paper's does.",
        ),
        equal_compute_claim(
            "The min form",
            "grpo",
            "GRPO",
            "The same, with the passes of a PRM as large as the policy on its bill.",
            basis="pure#fewer-steps",
        ),
        places_claim("step"),
    ),
    checks=calibration_checks("grpo", "GRPO"),
    deviations=(
        "A small word-level model and synthetic chains of modular arithmetic stand for Qwen2.5 on mathematics.",
        (
            "An oracle stands for the PRM, a 7B model trained on PRM800K. It marks the first step after which the "
            "answer cannot be right any more, and no step behind it. It is billed as one pass of a model as large as "
            "the policy."
        ),
        (
            "A question fixes which steps are due: a response can grow only by steps that are not understood, and by "
            "no more than the slack of the task. The paper's filler, thinking without solving, does not exist here."
        ),
        (
            "Not run: the released mode of the strict minimum, the branch for OpenRLHF with its baseline by step, a "
            "PRM that is trained, and the mixture with 10 per cent verifiable rewards, which has the paper's best "
            "average."
        ),
        "GRPO stands for training on the outcome alone; the paper's own arm has the leave-one-out baseline by token.",
        (
            "Clip range, KL coefficient and learning rate are the protocol's. The released KL, 0.001, stands in the "
            "reward."
        ),
        "The baseline is spread over the longest response of the batch, the released one over the padded length.",
        "One update for each batch, so that the clip never acts.",
        (
            "Success is that of sampling at temperature 1 at the end of training; the paper decodes greedily and "
            "takes the best checkpoint."
        ),
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
