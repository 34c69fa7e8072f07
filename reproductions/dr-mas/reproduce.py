"""Dr. MAS: do statistics of each agent's own turns keep the gradient steadier than those of the whole task?

Run: python reproductions/dr-mas/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledAgents
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import (
    baseline_arms,
    calibration_checks,
    ceiling_arms,
    equal_compute_claim,
    places_claim,
    shuffled_credit_arm,
)
from cairn.methods.dr_mas import DrMAS
from cairn.methods.grpo import GRPO

# A lost mission ends at once, so that who speaks late acts mostly in missions that are still open.
UNEQUAL = "relay-alarm=1"
# One round and no scout: each agent acts exactly once in every rollout.
EACH_ONCE = "relay-rounds=1-scouts=0"

REPRODUCTION = Reproduction(
    id="dr-mas",
    title="Dr. MAS against GRPO where agents act unequally often, and where each acts once",
    tasks=(UNEQUAL, EACH_ONCE),
    arms=(
        Arm(
            "paper",
            "method",
            "The paper's algorithm 1: mean and population deviation of the agent's own turns.",
            DrMAS(),
            granularity="multi-agent",
        ),
        Arm(
            "released",
            "variant",
            "The released code: the unbiased deviation; an agent with a single turn in its group keeps the raw reward.",
            DrMAS(population_std=False, single_turn="raw"),
            tasks=(UNEQUAL, EACH_ONCE),
            granularity="multi-agent",
        ),
        Arm(
            "agent-mean",
            "variant",
            "The paper's ablation: the agent's own mean, over the deviation of the task's rollouts.",
            DrMAS(statistics="agent_mean"),
            granularity="multi-agent",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper", (UNEQUAL, EACH_ONCE)),
        Arm(
            "shuffled-agents",
            "null",
            "The paper's rule with the names of the agents permuted among the turns of each task group.",
            DrMAS(),
            ShuffledAgents(),
            granularity="multi-agent",
        ),
        shuffled_credit_arm(DrMAS(), "multi-agent"),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="fewer-spikes",
            text="The largest gradient of a run stands out less from the typical one than with GRPO.",
            arm="paper",
            control="grpo",
            metric="gradient_norm_peak",
            direction="less",
            margin=0.5,
            basis="dr-mas#fewer-gradient-spikes",
            why="A spike is a gradient far above the usual: the largest norm of a run, unclipped, over the median. "
            "The margin is half a typical gradient.",
        ),
        Claim(
            id="smaller-largest-gradient",
            text="The largest gradient of a run is smaller than with GRPO.",
            arm="paper",
            control="grpo",
            metric="gradient_norm_max",
            direction="less",
            margin=0.05,
            basis="dr-mas#fewer-gradient-spikes",
            why="The paper's lemmas speak of the size: with the task's statistics the second moment of an agent's "
            "gradient grows without bound. Both rules divide by a deviation, so that sizes can be compared; the "
            "margin is a twentieth of the norm at which gradients are clipped here.",
        ),
        Claim(
            id="over-grpo",
            text="Dr. MAS learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="dr-mas#search-over-grpo",
            why="The paper's result: a higher score than multi-agent GRPO with the same rollouts and hyperparameters.",
        ),
        equal_compute_claim(
            "Dr. MAS",
            "grpo",
            "GRPO",
            "The rule costs nothing, but what it teaches changes how long missions last, and so what they cost.",
            basis="dr-mas#search-over-grpo",
        ),
        Claim(
            id="own-deviation-helps",
            text="The agent's own deviation helps beyond its own mean.",
            arm="paper",
            control="agent-mean",
            margin=0.02,
            basis="dr-mas#both-statistics-help",
            why="The paper's ablation, run there in a setting in which the control had collapsed.",
        ),
        Claim(
            id="agents-carry-it",
            text="It matters whose turns are compared: shuffled agents teach less.",
            arm="paper",
            control="shuffled-agents",
            margin=0.02,
            basis="dr-mas#search-over-grpo",
            why="If groups of the same sizes of anybody's turns did as well, the agents would not be what helps.",
        ),
        places_claim(),
    ),
    checks=(
        *calibration_checks("grpo", "GRPO"),
        Claim(
            id="grpo-where-each-acts-once",
            text="Where each agent acts exactly once, the released rule is GRPO.",
            arm="released",
            control="grpo",
            direction="equivalent",
            margin=0.0,
            task=EACH_ONCE,
            basis="protocol",
            why="An identity of the rule with the unbiased deviation; any difference would be a fault of ours.",
        ),
    ),
    deviations=(
        "A small word-level model and a synthetic team of six stand for Qwen models that solve, verify and search.",
        "The task's alarm is set, which ends a lost mission at once: agents of a group else act equally often.",
        "The alarm was tried with GRPO and exact credit alone, on seeds 0 and 1, before the claims were written.",
        "All agents share one model; separate models, with which the paper's control collapsed, are not run.",
        "Gradient norms are those of the shared model; the paper's lemmas speak of each agent's gradient.",
        "No penalty for a turn that is not understood: the agents' rewards differ by participation alone.",
        "The KL coefficient, the clip range and the learning rate are the protocol's; the released scripts have no KL.",
        "The loss is averaged over all action tokens of the batch.",
        "One update for each batch, so that the clip never acts.",
        "The ablation with the agent's deviation alone is not run: it can divide by 0.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
