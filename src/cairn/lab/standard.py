"""Arms and checks that every experiment has: baseline, ceiling, and whether the task can tell credit apart."""

from __future__ import annotations

from dataclasses import replace

from cairn.evidence.claims import Claim
from cairn.lab.controls import ExactCredit, ShuffledCredit
from cairn.lab.experiment import Arm, Reproduction
from cairn.method import Method

LATER_SEEDS = 100  # so much later begin the seeds of what is run after a reproduction was seen


def baseline_arms(
    name: str, label: str, method: Method, spends_like: str, tasks: tuple[str, ...] = ()
) -> tuple[Arm, Arm]:
    """Return a baseline at equal updates (on `tasks`) and at the metered compute of the arm `spends_like`."""
    return (
        Arm(
            name,
            "control",
            f"{label} for the same number of updates on the same batches.",
            method,
            tasks=tasks,
            granularity="episode",
        ),
        Arm(
            f"{name}-equal-compute",
            "control",
            f"{label} until it has spent what the {spends_like}'s arm spent with the same seed.",
            method,
            spends_like=spends_like,
            granularity="episode",
        ),
    )


def ceiling_arms() -> tuple[Arm, Arm]:
    """Return exact credit, and exact credit in the wrong places."""
    return (
        Arm(
            "exact",
            "ceiling",
            "The exact advantage of each turn under the current policy.",
            ExactCredit(),
            granularity="turn",
        ),
        Arm(
            "exact-shuffled",
            "null",
            "The exact advantages permuted among the turns of each rollout.",
            ExactCredit(),
            ShuffledCredit(),
            granularity="turn",
        ),
    )


def calibration_checks(control: str, label: str) -> tuple[Claim, Claim]:
    """Return the two checks of the task itself, against the arm `control`, which the text calls `label`."""
    return (
        Claim(
            id=f"exact-over-{label.lower()}",
            text=f"Exact credit learns faster than {label}.",
            arm="exact",
            control=control,
            margin=0.02,
            basis="protocol",
            why="A task on which exact credit does not help cannot judge credit.",
        ),
        Claim(
            id="shuffled-exact-no-better",
            text=f"Shuffled exact credit learns no faster than {label}.",
            arm="exact-shuffled",
            control=control,
            direction="not_greater",
            margin=0.0,
            basis="protocol",
            why="If misplaced exact credit helped, the numbers and not their places would do the work.",
        ),
    )


def calibration_study(id: str, task: str, control: str, label: str, method: Method) -> Reproduction:
    """Return the study that asks of a task whether it can judge credit at all.

    control, label: what the baseline `method` is called as an arm and in words. It must climb, and leave room above it;
    exact credit must learn faster, and the same credit in the wrong turns must not.
    """
    still = Arm(
        "untrained",
        "control",
        f"{label} with a learning rate of 0: the initial policy.",
        method,
        learning_rate_factor=0.0,
        granularity="episode",
    )
    return Reproduction(
        id=id,
        title=f"Can {task} tell exact credit from misplaced credit?",
        tasks=(task,),
        arms=(baseline_arms(control, label, method, control)[0], *ceiling_arms(), still),
        claims=(),
        checks=(*calibration_checks(control, label), *range_checks(control, label, still.name)),
    )


def once_more(tested: Reproduction, *claims: str) -> Reproduction:
    """Return the study that puts claims of a reproduction to the test again, with later seeds that share none of its.

    To be run with more seeds, it says whether an open verdict was for want of them. Nothing else changes: the arms that
    the claims need are the reproduction's own, and so are its margins and words. The claims are of its first task, on
    which alone it runs. Raises ValueError for others.
    """
    again = _tested_again(replace(tested, checks=()), tested.tasks[0], claims)
    return replace(
        again, id=f"{tested.id}-once-more", title=f"{tested.title}: open tests once more, with other and more seeds"
    )


def on_other_knobs(id: str, tested: Reproduction, task: str, why: str, *claims: str) -> Reproduction:
    """Return the study that asks claims of a reproduction where its first task is set otherwise, with later seeds.

    task: the same family with other knobs. why: what that may explain, for the claims' own. The checks come along: a
    task that is set otherwise may not be able to judge credit. Raises ValueError for claims that are not of its first
    task.
    """
    again = _tested_again(tested, task, claims)
    return replace(
        again,
        id=id,
        title=f"{tested.title}: on {task}",
        claims=tuple(claim.model_copy(update={"why": why}) for claim in again.claims),
    )


def afterwards(
    id: str, title: str, tasks: tuple[str, ...], arms: tuple[Arm, ...], claims: tuple[Claim, ...]
) -> Reproduction:
    """Return a study that was declared when a reproduction had been seen: on later seeds, and saying so."""
    said = "Chosen after the reproduction was seen, with seeds that it has not used."
    return Reproduction(id, title, tasks, arms, claims, deviations=(said,), later_seeds=LATER_SEEDS)


def _tested_again(tested: Reproduction, task: str, claims: tuple[str, ...]) -> Reproduction:
    """Return what claims and checks need of a reproduction, on one task; each claim says which test it repeats."""
    there = tested.on(task)
    chosen = [claim for claim in there.claims if claim.id in claims]
    if len(chosen) != len(claims):
        raise ValueError(f"{tested.id} does not declare all of {', '.join(claims)} on {tested.tasks[0]}")
    names = {name for claim in (*chosen, *there.checks) for name in (claim.arm, claim.control)}
    names |= {arm.spends_like for arm in there.arms if arm.name in names and arm.spends_like}
    return replace(
        there,
        arms=tuple(arm for arm in there.arms if arm.name in names),
        claims=tuple(claim.model_copy(update={"explains": (f"{tested.id}#{claim.id}",)}) for claim in chosen),
        later_seeds=LATER_SEEDS,
    )


def range_checks(control: str, label: str, still: str) -> tuple[Claim, Claim]:
    """Return two checks of the range: the baseline leaves the initial policy behind, and does not reach the ceiling."""
    return (
        Claim(
            id=f"{control}-climbs",
            text=f"{label} climbs within its budget.",
            arm=control,
            control=still,
            metric="final_success",
            margin=0.1,
            basis="protocol",
            why="Where nothing is learnt, no credit can be told from another.",
        ),
        Claim(
            id=f"{control}-leaves-room",
            text=f"{label} does not saturate: exact credit ends above it.",
            arm="exact",
            control=control,
            metric="final_success",
            margin=0.02,
            basis="protocol",
            why="Where the baseline ends at the ceiling, better credit can only show in its speed.",
        ),
    )
