"""HICRA: does more credit for the words that plan teach faster, and is it because they plan?

Run: python reproductions/hicra/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]

The grams are token ids of the task's own tokenizer. A model with another one needs grams of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledCredit
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.pretrain import own_tokenizer
from cairn.lab.standard import baseline_arms, calibration_checks, ceiling_arms, equal_compute_claim, shuffled_credit_arm
from cairn.lab.tasks import chain, find
from cairn.methods.grpo import GRPO
from cairn.methods.hicra import HICRA

NUMBERED = own_tokenizer(find("chain")).get_vocab()


def grams(phrases: Iterable[str]) -> tuple[tuple[int, ...], ...]:
    """Return the token ids of each phrase."""
    return tuple(tuple(NUMBERED[word] for word in phrase.split()) for phrase in phrases)


PLANS = grams(
    f"{chain.PLAN} {place} {operation} {chain.NUMBERS[operand]}"
    for place, deeds in chain.PLACES.items()
    for operation in deeds.values()
    for operand in chain.OPERANDS
)
EXECUTIONS = grams(f"{chain.EXECUTION} {number} {chain.END}" for number in chain.NUMBERS)
EVERYTHING = grams(chain.vocabulary())

REPRODUCTION = Reproduction(
    id="hicra",
    title="HICRA's amplified planning words against the same amplification elsewhere",
    tasks=("chain",),
    arms=(
        Arm(
            "paper",
            "method",
            "alpha 0.2 on the words of the plans, which name the operation; no division by the standard deviation.",
            HICRA(strategic_grams=PLANS),
            granularity="token",
        ),
        Arm(
            "symmetric",
            "variant",
            "Failures amplified too, not spared: credit focused on planning words, as the survey words it.",
            HICRA(strategic_grams=PLANS, symmetric=True),
            granularity="token",
        ),
        Arm(
            "no-std",
            "control",
            "GRPO without the division by the standard deviation: the rule that the paper amplifies.",
            GRPO(scale_by_std=False),
            granularity="episode",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "execution-words",
            "null",
            "The same amplification on the words that state a result.",
            HICRA(strategic_grams=EXECUTIONS),
            granularity="token",
        ),
        Arm(
            "every-word",
            "null",
            "The same amplification on all words: successes count more and failures less, whatever was said.",
            HICRA(strategic_grams=EVERYTHING),
            granularity="episode",
        ),
        shuffled_credit_arm(
            HICRA(strategic_grams=PLANS),
            "token",
            "tokens of each rollout: as many tokens amplified, at random",
            null=ShuffledCredit(unit="token"),
        ),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-plain",
            text="Amplified planning words teach faster than the same rule without amplification.",
            arm="paper",
            control="no-std",
            margin=0.02,
            basis="hicra#base-model",
            why="The paper's central comparison: nothing differs but alpha. The task suits the method: its plans are "
            "wrong more often than its results.",
        ),
        equal_compute_claim(
            "HICRA",
            "grpo",
            "GRPO",
            "Looking words up costs nothing metered, so that equal compute is equal updates here.",
        ),
        Claim(
            id="plans-not-executions",
            text="Amplifying planning words teaches faster than amplifying the words that carry plans out.",
            arm="paper",
            control="execution-words",
            margin=0.02,
            basis="the paper's hierarchy: planning is the bottleneck once execution is learnt",
            why="Both sets lie in the steps that compute, four words and three. If either did as well, planning would "
            "not be the point.",
        ),
        Claim(
            id="aim-matters",
            text="Amplifying planning words teaches faster than amplifying every word.",
            arm="paper",
            control="every-word",
            margin=0.02,
            basis="hicra#placebo-controls",
            why="The sparing of failures alone, without any aim, as the paper's untargeted controls are.",
        ),
        Claim(
            id="places-carry-it",
            text="It matters which words are amplified: as many words at random teach less.",
            arm="paper",
            control="shuffled-credit",
            margin=0.02,
            basis="hicra#placebo-controls",
            why="The paper's placebo, random grams, and the protocol's shuffled credit are the same thing here: a "
            "rollout has one advantage, and what moves is which of its words get more of it.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and synthetic arithmetic stand for Qwen and Llama models on competition mathematics.",
        "Planning words are given, not mined: the task says which words are a plan. The paper's mining is not tested.",
        "All six places and their operations are on the list, also those that a question does not need.",
        "Entropy regularisation and amplified high-entropy tokens, two controls of the paper, are not run; nor is ORZ.",
        "The entropy-gated variant that a port quotes as released is not run: as quoted it changes no advantage.",
        "Clip range (symmetric), KL coefficient and learning rate are the protocol's; the paper clips higher above.",
        "alpha = 0.2 is a small change, for which five seeds may be too few to find an effect of either sign.",
        "The loss is averaged over all action tokens of the batch.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
