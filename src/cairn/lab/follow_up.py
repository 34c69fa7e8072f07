"""Studies of a reproduction that was seen: its open claims once more, on other knobs, or with something else changed.

They have seeds of their own, so that no number is used twice.
"""

from __future__ import annotations

from dataclasses import replace

from cairn.evidence.claims import Claim
from cairn.lab.experiment import Arm, Reproduction

LATER_SEEDS = 100  # so much later than those of a reproduction begin its follow-ups' seeds


def once_more(tested: Reproduction, *claims: str, about: str = "") -> Reproduction:
    """Return the study that puts claims of a reproduction to the test again, with later seeds that share none of its.

    To be run with more seeds, it says whether an open verdict was for want of them. Nothing else changes: the arms that
    the claims need are the reproduction's own, and so are its margins and words. The claims are of its first task, on
    which alone it runs. about: a word for the id, where it is not the only such study of a reproduction. Raises
    ValueError for claims of other tasks.
    """
    again = _tested_again(replace(tested, checks=()), tested.tasks[0], claims)
    name = "-".join(filter(None, (tested.id, about, "once-more")))
    return replace(again, id=name, title=f"{tested.title}: open tests once more, with other and more seeds")


def on_other_knobs(id: str, tested: Reproduction, task: str, why: str, *claims: str) -> Reproduction:
    """Return the study that asks claims of a reproduction where its first task is set otherwise, with later seeds.

    task: the same family with other knobs, all of them named: none is taken over from the tested task. why: what that
    may explain, for the claims' own. The checks come along: a task that is set otherwise may not be able to judge
    credit. Raises ValueError for claims that are not of its first task.
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
