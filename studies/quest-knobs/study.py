"""Does each knob of `quest` move the difficulty that it is named after?

Each knob is turned alone, from the protocol's setting or between two settings of its own, and one statistic says what
it should move: how sparse the decisions are, where success starts, how fast GRPO or another rule learns, or how high
success can come. Most claims therefore compare one arm on two tasks, seed by seed.

Run: python studies/quest-knobs/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from typing import Any

from cairn.evidence.claims import Claim
from cairn.lab.controls import ExactCredit
from cairn.lab.experiment import Arm, Reproduction
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO

BASE = "quest"
LONG, SLIPPERY = f"{BASE}-horizon=48", f"{BASE}-slip=0.1"
FEW_FORKS, ALL_LOOPS = f"{BASE}-forks=3", f"{BASE}-loops=1"
EARLY, LATE = f"{BASE}-place=early", f"{BASE}-place=late"
CLEAR, FOGGY = f"{BASE}-fog=0", f"{BASE}-fog=1"
PLAIN, MIXED = f"{BASE}-mix=0", f"{BASE}-mix=1"
TOLD = f"{BASE}-veil=0"
STRANGE = f"{BASE}-revisit=0"
TASKS = (BASE, LONG, FEW_FORKS, ALL_LOOPS, EARLY, LATE, SLIPPERY, CLEAR, FOGGY, PLAIN, MIXED, TOLD, STRANGE)


def moves(knob: str, text: str, why: str, task: str, control_task: str | None, **further: Any) -> Claim:
    """Return the claim that a knob moves a statistic of an arm: GRPO's, and success over training, unless named."""
    arm = further.pop("arm", "grpo")
    return Claim(
        **{
            "id": knob,
            "text": text,
            "arm": arm,
            "control": arm,
            "task": task,
            "control_task": control_task,
            "margin": 0.02,
            "basis": "the survey's section 4, after which the knobs are named",
            "why": why,
            **further,
        }
    )


CLAIMS = (
    moves(
        "horizon-thins-decisions",
        "With twice the turns and as many forks, a smaller share of the turns decides.",
        "Long trajectories are hard because what matters is rare in them.",
        LONG,
        BASE,
        metric="bifurcation_share",
        direction="less",
    ),
    moves(
        "horizon-slows-grpo",
        "With twice the turns, GRPO learns more slowly.",
        "One advantage for the whole trajectory spreads over more turns that decide nothing.",
        LONG,
        BASE,
        direction="less",
    ),
    moves(
        "long-horizon-needs-credit",
        "With twice the turns, exact credit learns faster than GRPO.",
        "The length that slows GRPO is no obstacle to a rule that knows which turns matter.",
        LONG,
        None,
        arm="exact",
        control="grpo",
    ),
    moves(
        "forks-lower-the-start",
        "With half the forks, success starts higher.",
        "Every fork is one more decision that the initial policy may get wrong.",
        FEW_FORKS,
        BASE,
        metric="initial_success",
        margin=0.05,
    ),
    moves(
        "loops-mend-mistakes",
        "Where all forks are loops, success starts higher.",
        "A wrong exit that leads back costs turns and not the walk.",
        ALL_LOOPS,
        BASE,
        metric="initial_success",
        margin=0.05,
    ),
    moves(
        "place-is-nothing-to-grpo",
        "GRPO learns as fast with early forks as with late ones.",
        "It gives all turns of a trajectory the same credit, wherever the decisions stand.",
        EARLY,
        LATE,
        direction="equivalent",
        margin=0.05,
    ),
    moves(
        "slip-lowers-the-ceiling",
        "Where the world slips in a tenth of the turns, exact credit ends lower.",
        "A slip at a fork can be fatal whatever the policy has learnt.",
        SLIPPERY,
        BASE,
        arm="exact",
        metric="final_success",
        direction="less",
        margin=0.05,
    ),
    moves(
        "fog-slows-grpo",
        "Where all signs are hidden, GRPO learns more slowly than where none is.",
        "A note must be read rooms before it is of use: two decisions for each fork, one of them long before.",
        FOGGY,
        CLEAR,
        direction="less",
    ),
    moves(
        "mix-slows-grpo",
        "Where all routine rooms ask for plan, tool or format phrases, GRPO learns more slowly than where none does.",
        "Phrases that decide nothing get the same credit as those that decide.",
        MIXED,
        PLAIN,
        direction="less",
    ),
    moves(
        "omens-help-a-critic",
        "Where an omen follows every fork, a critic learns faster than GRPO, and behind the veil no faster.",
        "What the omen tells, values can pass on to the turn before, without waiting for the end.",
        TOLD,
        BASE,
        not_testable="the embedded model was taught without omens and hardly ever succeeds where it sees them (see the "
        "next claim), so that no rule has anything to learn from",
    ),
    moves(
        "omens-are-strange-to-the-model",
        "Where an omen follows every fork, the embedded model starts lower.",
        "It was taught at the protocol's setting, where no prompt holds an omen; so the knob cannot be judged with it.",
        TOLD,
        BASE,
        metric="initial_success",
        direction="less",
    ),
    moves(
        "revisit-feeds-anchor-states",
        "Where no raw observation recurs, GiGPO learns more slowly.",
        "Its second comparison is among visits of the same observation; without recurrence there is none.",
        STRANGE,
        BASE,
        arm="gigpo",
        direction="less",
    ),
)

STUDY = Reproduction(
    id="quest-knobs",
    title="Does each knob of quest move the difficulty that it is named after?",
    tasks=TASKS,
    arms=(
        Arm(
            "grpo",
            "control",
            "GRPO for the preset's number of updates.",
            GRPO(),
            tasks=tuple(task for task in TASKS if task not in {SLIPPERY, STRANGE}),
            granularity="episode",
        ),
        Arm(
            "exact",
            "ceiling",
            "The exact advantage of each turn under the current policy.",
            ExactCredit(),
            tasks=(BASE, LONG, SLIPPERY),
            granularity="turn",
        ),
        Arm(
            "gigpo",
            "variant",
            "GiGPO: beside GRPO's comparison, one among visits of the same observation.",
            GiGPO(),
            tasks=(BASE, STRANGE),
            granularity="turn",
        ),
    ),
    claims=CLAIMS,
    deviations=(
        "The same embedded model starts everywhere; it was taught at the protocol's setting of the knobs.",
        "One step of each knob; what lies between is not measured.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
