"""More rollouts, or better credit: which is the better use of compute as the horizon grows?

Every arm may spend what GRPO spends in its own number of updates with the same seed: on more updates (GRPO itself), on
larger groups, on continuations that buy credit (VinePPO with 1, 3 or 9 from every turn), or on rules whose credit costs
nothing (GiGPO, and exact credit as the bound). The six decisions that matter stay the same; what grows is the number
of routine turns around them.

Run: python studies/frontier/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from collections.abc import Iterator

from cairn.evidence.claims import Claim
from cairn.lab.controls import ExactCredit
from cairn.lab.experiment import Arm, Reproduction
from cairn.method import Method
from cairn.methods.gigpo import GiGPO
from cairn.methods.grpo import GRPO
from cairn.methods.vineppo import VinePPO

HORIZONS = (16, 32, 64)
TASKS = tuple(f"quest-horizon={horizon}" for horizon in HORIZONS)
QUESTION = "the survey's open question whether more rollouts or better credit is the better use of compute"


def at_equal_compute(name: str, description: str, method: Method, granularity: str, group_size_factor: int = 1) -> Arm:
    """Return an arm that spends as much as GRPO."""
    return Arm(
        name,
        "ceiling" if isinstance(method, ExactCredit) else "variant",
        f"{description}, until it has spent what GRPO spent with the same seed.",
        method,
        tasks=TASKS,
        spends_like="grpo",
        granularity=granularity,
        group_size_factor=group_size_factor,
    )


def claims() -> Iterator[Claim]:
    """Yield what is asked at each horizon, always against GRPO at equal metered compute."""
    for horizon, task in zip(HORIZONS, TASKS, strict=True):
        for arm, text in (
            ("vineppo-3", "Compute spent on continuations for credit teaches more than compute spent on updates."),
            ("gigpo", "Credit from anchor states, which costs nothing, teaches more per compute than none."),
            ("grpo-large-groups", "Groups four times as large teach more per compute than four times the updates."),
            ("exact", "Exact credit, if it cost nothing, would teach more per compute than none."),
        ):
            yield Claim(
                id=f"{arm}-{horizon}-turns",
                text=f"{text} Horizon: {horizon} turns.",
                arm=arm,
                control="grpo",
                axis="flops",
                margin=0.02,
                task=task,
                basis=QUESTION,
                why="The area under the success curve up to the same metered compute asks which use of it teaches "
                "faster.",
                explains=("vineppo#over-grpo-at-equal-compute",) if arm.startswith("vineppo") else (),
            )


STUDY = Reproduction(
    id="frontier",
    title="More rollouts or better credit at equal compute, as the horizon grows",
    tasks=TASKS,
    arms=(
        Arm("grpo", "control", "GRPO for the preset's number of updates.", GRPO(), tasks=TASKS, granularity="episode"),
        at_equal_compute("grpo-large-groups", "GRPO with groups four times as large", GRPO(), "episode", 4),
        at_equal_compute("gigpo", "GiGPO", GiGPO(), "turn"),
        at_equal_compute("vineppo-1", "VinePPO with 1 continuation from every turn", VinePPO(continuations=1), "turn"),
        at_equal_compute("vineppo-3", "VinePPO with 3 continuations from every turn", VinePPO(continuations=3), "turn"),
        at_equal_compute("vineppo-9", "VinePPO with 9 continuations from every turn", VinePPO(continuations=9), "turn"),
        at_equal_compute("exact", "Exact credit, which is not billed", ExactCredit(), "turn"),
    ),
    claims=tuple(claims()),
    deviations=(
        "Curves have a point every few updates: the arms that make few updates with the same compute have coarse ones.",
        "One learning rate for all arms, which was chosen for GRPO; a larger group might bear a larger one.",
        "The same embedded model at every horizon; it was taught on walks of the task's default length.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
