"""M-GRPO: do groups by role and an expert's mark of each call teach a team faster than one comparison of rollouts?

Run: python reproductions/m-grpo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
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
from cairn.methods.m_grpo import MGRPO

EXPERT = Oracle()
BLIND = Oracle(false_positive_rate=0.5, false_negative_rate=0.5)  # its marks say nothing of the turn

REPRODUCTION = Reproduction(
    id="m-grpo",
    title="M-GRPO on a team: groups by role, an expert's mark, and sub-agents that are trained or left alone",
    tasks=("relay",),
    arms=(
        Arm(
            "paper",
            "method",
            "The paper's rule: calls are rewarded with 0.4 outcome and 0.5 expert, in groups of the task's calls.",
            MGRPO(),
            scorer=EXPERT,
            granularity="multi-agent",
        ),
        Arm(
            "outcome-only",
            "variant",
            "Groups by role without an expert: a call is rewarded with the outcome.",
            MGRPO(outcome_weight=1.0, expert_weight=0.0),
            granularity="multi-agent",
        ),
        Arm(
            "released",
            "variant",
            "The released code: no expert, and groups of eight calls in the order in which they were handed on.",
            MGRPO(outcome_weight=1.0, expert_weight=0.0, groups="queue"),
            granularity="multi-agent",
        ),
        Arm(
            "frozen-sub",
            "control",
            "The main agent alone is trained, as in the paper's own baseline.",
            MGRPO(trained="main"),
            scorer=EXPERT,
            granularity="multi-agent",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "blind-expert",
            "null",
            "The paper's rule with an expert whose marks are drawn by the toss of a coin.",
            MGRPO(),
            scorer=BLIND,
            granularity="multi-agent",
        ),
        shuffled_credit_arm(MGRPO(), "multi-agent", scorer=EXPERT),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="co-training",
            text="Training main agent and sub-agents together teaches faster than training the main agent alone.",
            arm="paper",
            control="frozen-sub",
            margin=0.02,
            basis="m-grpo#co-training",
            why="The paper's comparison with frozen sub-agents; the area under the curve asks for it throughout.",
        ),
        Claim(
            id="over-grpo",
            text="M-GRPO learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="the protocol: every method is set against GRPO",
            why="The same team and outcome, with one comparison of whole rollouts for all agents.",
        ),
        equal_compute_claim(
            "M-GRPO", "grpo", "GRPO", "The expert reads every rollout once, and is billed like a pass of the policy."
        ),
        Claim(
            id="expert-carries-it",
            text="The gain comes from what the expert knows: blind marks teach less.",
            arm="paper",
            control="blind-expert",
            margin=0.02,
            basis="m-grpo#co-training",
            why="An expert that never errs is the most that the paper's mix of rewards can have.",
        ),
        Claim(
            id="groups-by-task",
            text="Calls that are compared within their task teach faster than calls compared with their neighbours in "
            "the released queue.",
            arm="outcome-only",
            control="released",
            margin=0.02,
            basis="m-grpo#alignment-helps",
            why="The paper groups the calls of a query; in the queue neighbours mostly come from one rollout, whose "
            "calls all have the same reward.",
        ),
        places_claim(),
        Claim(
            id="alignment-helps",
            text="Aligning the number of calls teaches faster than counting every call once.",
            arm="paper",
            control="released",
            margin=0.02,
            basis="m-grpo#alignment-helps",
            why="The paper's ablation of its trajectory alignment.",
            not_testable="every agent acts equally often in all rollouts of this task: alignment changes nothing",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and a synthetic team stand for Qwen3-30B-A3B on deep-research tasks.",
        "One policy plays all agents; the paper has two models, each trained on its own agent's turns.",
        "The team has no hierarchy: who speaks first is taken for the main agent, and each post of another for a call.",
        "The main agent decides neither whether nor whom to call.",
        "Freezing leaves the sub-agents' turns out of the loss; what the main agent learns reaches them all the same.",
        "The expert is an oracle that knows which turns threw success away; the paper's is a language model.",
        "Rewards for format are left out: nothing distinguishes formats here.",
        "Without an expert and with equally many calls the rule is GRPO but for the size of the deviation.",
        "The released queue holds trajectories of earlier policies, too; here it is that of one batch.",
        "Clip range, KL coefficient and learning rate are the protocol's; the scripts have 0.28 above, and no KL.",
        "One update for each batch, so that the clip never acts.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
