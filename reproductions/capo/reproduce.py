"""CAPO: does a judge that marks wrong steps teach faster than the outcome alone, and how good must it be?

Run: python reproductions/capo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.capo import CAPO
from cairn.methods.grpo import GRPO


def judge(error: float) -> Oracle:
    """Return a judge that calls this share of right steps wrong, and of wrong steps right, in each critique anew."""
    return Oracle(false_positive_rate=error, false_negative_rate=error)


REPRODUCTION = Reproduction(
    id="capo",
    title="CAPO: flagged steps against the outcome alone, with judges from faultless to blind",
    tasks=("chain",),
    arms=(
        Arm(
            "paper",
            "method",
            "Outcome 2, penalty 1, four critiques that must agree; each errs on one step in ten.",
            CAPO(),
            scorer=judge(0.1),
            granularity="turn",
        ),
        Arm(
            "faultless",
            "variant",
            "The same with a judge that never errs.",
            CAPO(),
            scorer=judge(0.0),
            granularity="turn",
        ),
        Arm(
            "poor",
            "variant",
            "The same with a judge that errs on three steps in ten.",
            CAPO(),
            scorer=judge(0.3),
            granularity="turn",
        ),
        Arm(
            "poor-one-critique",
            "variant",
            "That poor judge, asked once.",
            CAPO(critiques=1),
            scorer=judge(0.3),
            granularity="turn",
        ),
        Arm(
            "random-flags",
            "null",
            "The same with a judge that tosses a coin: four agree on one step in sixteen, whatever it is.",
            CAPO(),
            scorer=judge(0.5),
            granularity="turn",
        ),
        Arm(
            "no-penalty",
            "control",
            "Penalty 0: the outcome alone, normalised over all tokens of a group. The marks are paid for and not used.",
            CAPO(penalty=0.0),
            scorer=judge(0.1),
            granularity="episode",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        shuffled_credit_arm(CAPO(), "turn", "steps of each response", scorer=judge(0.1)),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-grpo",
            text="CAPO learns faster than GRPO with the outcome reward, update for update.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="capo#over-rule-reward",
            why="The paper's central claim is a higher accuracy than GRPO with a rule-based reward. The area under the "
            "success curve asks for it throughout training.",
        ),
        equal_compute_claim(
            "CAPO",
            "grpo",
            "GRPO",
            "The comparison that a reviewer missed: four critiques, each billed as a pass of a model as large as "
            "the policy. The paper's judge is larger by an order of magnitude or two, and so is its bill.",
            basis="capo#over-rule-reward",
        ),
        Claim(
            id="penalty-carries-it",
            text="The gain comes from the penalty: the same normalisation without it teaches less.",
            arm="paper",
            control="no-penalty",
            margin=0.02,
            basis="capo#over-rule-reward",
            why="CAPO also changes whose mean and deviation are taken; this arm changes nothing else.",
        ),
        Claim(
            id="marks-carry-it",
            text="The gain comes from where the flags are: flags at random teach less.",
            arm="paper",
            control="random-flags",
            margin=0.02,
            basis="capo#over-rule-reward",
            why="If random flags did as well, they would work as noise or as normalisation, and not as credit.",
        ),
        places_claim(
            "step", why="The null control of every experiment: the same numbers, and as many flags, in the wrong steps."
        ),
        Claim(
            id="quality-of-the-judge",
            text="A better judge teaches faster: one that never errs, against one that errs on three steps in ten.",
            arm="faultless",
            control="poor",
            margin=0.02,
            basis="our question: the paper sweeps critiques, not how good the judge is",
            why="Where the judge's quality did not matter, the marks could not be what teaches.",
        ),
        Claim(
            id="more-critiques-help",
            text="With a poor judge four critiques that must agree teach faster than one.",
            arm="poor",
            control="poor-one-critique",
            margin=0.02,
            basis="capo#more-critiques",
            why="The paper's safeguard against errors is the vote. Here it flags 1 right step in 123 instead of 3 in "
            "10, and 1 wrong step in 4 instead of 7 in 10.",
        ),
    ),
    checks=calibration_checks("grpo", "GRPO"),
    deviations=(
        (
            "Our reading: the paper's body was not read and no code is released; the rule is that of a third-party "
            "account."
        ),
        "A small word-level model and synthetic chains of modular arithmetic stand for Llama and Qwen on mathematics.",
        (
            "An oracle stands for the judge: it knows the first step after which the answer cannot be right any more, "
            "marks no step behind it, and errs at stated rates, in each critique independently of the others. Errors "
            "of a language model are neither independent nor as frequent in one step as in another."
        ),
        "That the paper's judge is shown the gold answer has no counterpart: the oracle knows it in any case.",
        (
            "A critique is billed as one pass of a model as large as the policy; the paper's judge is far larger, and "
            "writes."
        ),
        "Of the votes the one that the account calls best for the smallest policies is run: all critiques agree.",
        "Groups have 8 responses instead of 16. Clip range, KL coefficient and learning rate are the protocol's.",
        "One update for each batch, so that the clip never acts.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
