"""A claim put to the test once more: what the study takes over, and what it leaves out."""

from __future__ import annotations

import dataclasses

import pytest

from cairn.evidence.claims import Claim
from cairn.evidence.homes import STUDIES, ids
from cairn.lab.experiment import Arm, Reproduction, load_reproduction
from cairn.lab.follow_up import afterwards, on_other_knobs, once_more
from cairn.lab.standard import baseline_arms, calibration_checks, ceiling_arms
from cairn.methods.grpo import GRPO

CLAIMS = tuple(
    Claim(id=name, text="x", arm=arm, control=control, basis="invented", why="invented")
    for name, arm, control in (
        ("faster", "paper", "plain"), ("frugal", "paper", "plain-equal-compute"), ("placed", "paper", "shuffled"),
    )
)  # fmt: skip
TESTED = Reproduction(
    id="sample",
    title="A sample",
    tasks=("quest",),
    arms=(
        Arm("paper", "method", "x", GRPO()),
        Arm("variant", "variant", "x", GRPO(scale_by_std=False)),
        *baseline_arms("plain", "Plain", GRPO(), "variant"),
        Arm("shuffled", "null", "x", GRPO()),
        *ceiling_arms(),
    ),
    claims=CLAIMS,
    checks=calibration_checks("plain", "Plain"),
    deviations=("Small.",),
)


def test_it_has_the_arms_of_its_claims_and_those_whose_spending_they_follow() -> None:
    study = once_more(TESTED, "frugal")
    assert [arm.name for arm in study.arms] == ["paper", "variant", "plain-equal-compute"]
    assert study.arms == tuple(TESTED.arm(arm.name) for arm in study.arms)
    assert [claim.id for claim in study.claims] == ["frugal"]
    assert not study.checks
    assert study.deviations == TESTED.deviations


def test_each_claim_says_which_test_it_repeats_and_changes_in_nothing_else() -> None:
    study = once_more(TESTED, "faster", "placed")
    assert [claim.explains for claim in study.claims] == [("sample#faster",), ("sample#placed",)]
    assert [one.model_copy(update={"explains": ()}) for one in study.claims] == [CLAIMS[0], CLAIMS[2]]


def test_a_second_one_of_a_reproduction_has_another_name() -> None:
    assert once_more(TESTED, "faster").id == "sample-once-more"
    assert once_more(TESTED, "placed", about="places").id == "sample-places-once-more"


def test_its_seeds_begin_behind_those_that_were_used() -> None:
    assert once_more(TESTED, "faster").later_seeds == 100
    assert TESTED.later_seeds == 0


def test_it_runs_on_the_first_task_alone() -> None:
    wider = dataclasses.replace(
        TESTED,
        tasks=("quest", "lake"),
        arms=tuple(dataclasses.replace(a, tasks=("quest", "lake")) for a in TESTED.arms),
    )
    study = once_more(wider, "faster")
    assert study.declaration(5).cells() == [("quest", "paper"), ("quest", "plain")]


def test_a_claim_that_is_not_declared_is_refused() -> None:
    with pytest.raises(ValueError, match="sample does not declare all of faster, slower"):
        once_more(TESTED, "faster", "slower")


def test_on_other_knobs_the_claims_move_and_the_checks_come_along() -> None:
    study = on_other_knobs("sample-long", TESTED, "quest-horizon=48", "Longer.", "placed")
    assert (study.id, study.tasks, study.later_seeds) == ("sample-long", ("quest-horizon=48",), 100)
    assert [arm.name for arm in study.arms] == ["paper", "plain", "shuffled", "exact", "exact-shuffled"]
    assert study.checks == TESTED.checks
    assert [(claim.why, claim.explains) for claim in study.claims] == [("Longer.", ("sample#placed",))]
    assert study.claims[0].model_copy(update={"why": "invented", "explains": ()}) == CLAIMS[2]


def test_what_is_asked_afterwards_says_so_and_uses_other_seeds() -> None:
    study = afterwards("asked", "Asked", ("quest",), TESTED.arms, CLAIMS)
    assert study.deviations == ("Chosen after the reproduction was seen, with seeds that it has not used.",)
    assert study.later_seeds == 100


@pytest.mark.parametrize("study", ids(STUDIES))
def test_what_a_study_looks_into_is_declared_somewhere(study: str) -> None:
    for claim in load_reproduction(study).claims:
        for key in claim.explains:
            experiment, _, test = key.partition("#")
            assert test in {one.id for one in load_reproduction(experiment).claims}, key
