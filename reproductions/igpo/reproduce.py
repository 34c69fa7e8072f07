"""IGPO: does the policy's own belief in the gold answer say which step helped, and does that teach faster?

Run: python reproductions/igpo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.igpo import IGPO
from cairn.methods.reinforce import RLOO

CHAIN = "chain"
QUEST = "quest"

REPRODUCTION = Reproduction(
    id="igpo",
    title="IGPO: gain of information about the gold answer, against the outcome alone",
    tasks=(CHAIN, QUEST),
    arms=(
        Arm(
            "paper",
            "method",
            "The final version's rule: log-probability, gains and outcomes standardised apart, gamma = 1.",
            IGPO(),
            tasks=(CHAIN, QUEST),
            granularity="turn",
        ),
        Arm(
            "released",
            "variant",
            "The released rule: probability, joint returns less the group's mean at the same token, no division.",
            IGPO(gain="probability", form="released"),
            granularity="turn",
        ),
        Arm(
            "discounted",
            "variant",
            "The paper's rule with gamma = 0.9, so that the gains no longer telescope.",
            IGPO(gamma=0.9),
            granularity="turn",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper", (CHAIN, QUEST)),
        Arm("rloo", "control", "RLOO on the outcome alone: a baseline of the paper.", RLOO, granularity="episode"),
        Arm(
            "merged",
            "null",
            "GRPO on the outcome plus all gains: what the gains add to a whole rollout, and no turn told from another.",
            IGPO(form="merged"),
            granularity="episode",
        ),
        Arm(
            "other-answer",
            "null",
            "The paper's rule with the gold answer of another question of the update.",
            IGPO(answer="other"),
            granularity="turn",
        ),
        shuffled_credit_arm(IGPO(), "turn"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-grpo",
            text="IGPO learns faster than GRPO on the outcome alone, from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="igpo#over-outcome-rl",
            why="The paper's central comparison: the same configuration with and without gains; the area under the "
            "success curve asks for it throughout training.",
        ),
        equal_compute_claim(
            "IGPO",
            "grpo",
            "GRPO",
            "The paper measures the extra pass as small; it must then win when its FLOPs are spent on GRPO.",
            basis="igpo#over-outcome-rl",
        ),
        Claim(
            id="over-rloo",
            text="IGPO learns faster than RLOO, update for update.",
            arm="paper",
            control="rloo",
            margin=0.02,
            basis="igpo#over-outcome-rl",
            why="Another outcome-only baseline of the paper's table, without the division by the standard deviation.",
        ),
        Claim(
            id="gains-say-which-step-helped",
            text="The credit follows the exact credit better with the gold answer than with another question's.",
            arm="paper",
            control="other-answer",
            metric="rank_correlation",
            margin=0.02,
            basis="the paper's mechanism: a turn that helps raises the probability of the gold answer",
            why="Rank correlation with exact advantages under the initial policy; the arms differ in the answer alone.",
        ),
        Claim(
            id="answer-carries-it",
            text="The gain comes from the gold answer: another question's teaches less.",
            arm="paper",
            control="other-answer",
            margin=0.02,
            basis="igpo#over-outcome-rl",
            why="If a wrong answer did as well, information about the answer would not be what helps.",
        ),
        Claim(
            id="over-merged",
            text="It matters that gains are credited to turns: added to a whole rollout's outcome, they teach less.",
            arm="paper",
            control="merged",
            margin=0.02,
            basis="igpo#over-outcome-rl",
            why="With gamma = 1 the gains telescope; GRPO on the merged reward has the same sum without the places.",
        ),
        places_claim(),
        Claim(
            id="over-grpo-on-quest",
            text="On quest, too, IGPO learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            task=QUEST,
            basis="igpo#over-outcome-rl",
            why="A task of many turns with an environment, as the paper's; its gold answer names the right exits.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and synthetic tasks stand for Qwen2.5 on search questions.",
        "The first task is `chain`, of reasoning steps: only its questions have an answer that the policy itself says.",
        "The outcome is 1 or 0, in place of word-level F1; a format error costs a turn and is not punished otherwise.",
        "The answer is put in place of a turn, right behind its prompt, without a text that closes a thought.",
        "With the windowed prompt the policy sees the current value or room, not the whole history.",
        "What quest calls its answer is the right exits in their order, which the small model never says in one go.",
        "Clip range, KL coefficient and learning rate are the protocol's.",
        "One update for each batch, so that the clip never acts.",
        "The loss is averaged over all action tokens of the batch; the paper averages within each sample first.",
        "Positions of the released baseline count action tokens only.",
        "That gains leave no group without advantage is not measured: records do not count such groups.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
