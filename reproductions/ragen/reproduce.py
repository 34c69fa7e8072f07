"""RAGEN: does training on the prompts whose outcome is least certain put off the collapse of multi-turn training?

Run: python reproductions/ragen/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledCredit
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
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.ragen import RAGEN

# At this multiple of the protocol's rate GRPO, the control, falls to no success at all for much of its training
# (reproductions/grpo, arm `double-rate`): groups then have nothing to compare. The filter had not been run there.
STRAIN = 2.0

REPRODUCTION = Reproduction(
    id="ragen",
    title="StarPO-S against StarPO: a filter of groups by the spread of their returns, where training is stable and "
    "where it collapses",
    tasks=("quest",),
    arms=(
        Arm(
            "paper",
            "method",
            "StarPO-S: the quarter of the groups with the widest spread of returns, a critic, an uneven clip, no KL.",
            RAGEN(),
            granularity="token",
        ),
        Arm(
            "starpo",
            "control",
            "StarPO with PPO: all groups, the same critic, an even clip, KL. The paper's own control.",
            PPOGAE(),
            granularity="token",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "random-groups",
            "null",
            "As the paper's arm, but the quarter of the groups is drawn at random.",
            RAGEN(kept="random"),
            granularity="token",
        ),
        shuffled_credit_arm(RAGEN(), "token", "tokens of each rollout", null=ShuffledCredit(unit="token")),
        Arm(
            "strained-filtered",
            "variant",
            "The filter in the GRPO form, at twice the protocol's learning rate.",
            RAGEN(baseline="group"),
            learning_rate_factor=STRAIN,
            granularity="episode",
        ),
        Arm(
            "strained-all",
            "control",
            "All groups in the GRPO form, at twice the protocol's learning rate; clip and KL as with the filter.",
            RAGEN(baseline="group", keep_share=1.0),
            learning_rate_factor=STRAIN,
            granularity="episode",
        ),
        Arm(
            "strained-random",
            "null",
            "A quarter of the groups drawn at random, in the GRPO form, at twice the protocol's learning rate.",
            RAGEN(baseline="group", kept="random"),
            learning_rate_factor=STRAIN,
            granularity="episode",
        ),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="filter-delays-collapse",
            text="Where training with all groups collapses, the filter keeps success alive for longer.",
            arm="strained-filtered",
            control="strained-all",
            margin=0.02,
            basis="ragen#filter-delays-collapse",
            why="Collapse is success that is lost and stays lost; the area under the success curve is the larger, the "
            "later it comes and the less it takes. The rate is one at which GRPO was seen to collapse on this task.",
        ),
        Claim(
            id="spread-lasts",
            text="Where training with all groups collapses, the filter keeps returns apart within groups.",
            arm="strained-filtered",
            control="strained-all",
            metric="mean_of_return_spread",
            margin=0.02,
            basis="ragen#echo-trap",
            why="The paper sees the trap in the spread of rewards within a group, which goes to 0. It is measured over "
            "all groups that were sampled, before the filter, in the unit of the return (0 or 1).",
        ),
        Claim(
            id="uncertainty-carries-it",
            text="Where training with all groups collapses, a random quarter of the groups serves less than the most "
            "uncertain one.",
            arm="strained-filtered",
            control="strained-random",
            margin=0.02,
            basis="ragen#filter-delays-collapse",
            why="If a random quarter did as well, the smaller batch and not the choice would be what helps.",
        ),
        Claim(
            id="over-starpo",
            text="Filter, critic, uneven clip and no KL together learn faster than StarPO from the same rollouts.",
            arm="paper",
            control="starpo",
            margin=0.02,
            basis="ragen#stabilised-training",
            why="The paper's comparison of StarPO-S with StarPO, at the rate that suits the control.",
        ),
        Claim(
            id="choice-carries-it",
            text="At the protocol's rate a random quarter of the groups teaches less than the most uncertain one.",
            arm="paper",
            control="random-groups",
            margin=0.02,
            basis="ragen#stabilised-training",
            why="The same control as above, where nothing collapses.",
        ),
        equal_compute_claim(
            "StarPO-S", "grpo", "GRPO", "The filter saves the training on three groups in four, and the critic costs."
        ),
        places_claim(
            "token",
            why="With gamma and lambda 1 credits differ inside a rollout by the critic's value alone; StarPO-S claims "
            "nothing about places, and a contradicted claim here says that places do not matter to it.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        "A small word-level model and a synthetic text world stand for Qwen2.5-0.5B on three symbolic games.",
        "4 groups of 8 rollouts an update, of which one stays; the paper has 8 groups of 16, of which two stay.",
        "The strained arms take the GRPO form; the paper shows its curves of the filter for PPO and for GRPO.",
        "Twice the protocol's learning rate stands for longer training: at its rate GRPO does not collapse in time.",
        "The ledger of the strained arms holds a critic that the GRPO form does not use; no claim rests on it.",
        "One update for each batch, so that the clip never acts, and what it adds is not tested.",
        "KL coefficient and learning rate are the protocol's; StarPO-S has no KL term, as in the paper.",
        "No entropy bonus and no penalty for format.",
        "Entropy is in the curves but in no claim: a policy that solves the task has little of it, too.",
        "Spread and entropy are read at every fifth update.",
        "Paper and released code agree where they were read, so that there is no arm `released`.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
