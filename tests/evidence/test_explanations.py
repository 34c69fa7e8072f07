"""Which tests of studies look into which open verdicts."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from tests.evidence.samples import sample_claim, sample_experiment, sample_records

from cairn.evidence.explanations import attempts, is_open, key_of
from cairn.evidence.report import Report, build_report


def _study(id: str, **explains: tuple[str, ...]) -> Report:
    claims = tuple(sample_claim(name, explains=keys) for name, keys in explains.items())
    experiment = sample_experiment(id=id, title=f"Study {id}", claims=claims)
    records = [one.model_copy(update={"method": id}) for one in sample_records()]
    return build_report(experiment, records, 1)


def test_a_test_may_look_into_several_and_several_into_one() -> None:
    found = attempts(
        [_study("one", first=("grpo#faster", "grpo#frugal"), aside=()), _study("two", other=("grpo#faster",))]
    )
    assert {key: [(one.study, one.found.claim.id) for one in tried] for key, tried in found.items()} == {
        "grpo#faster": [("one", "first"), ("two", "other")],
        "grpo#frugal": [("one", "first")],
    }
    assert found["grpo#frugal"][0].title == "Study one"


@pytest.mark.parametrize("key", ["grpo", "grpo#", "#faster", "grpo#Faster", "a/b#c", "grpo#faster#more"])
def test_what_names_no_test_of_an_experiment_is_refused(key: str) -> None:
    with pytest.raises(ValidationError):
        sample_claim(explains=(key,))


def test_reports_written_before_hold_no_word_of_it() -> None:
    assert "explains" not in sample_claim().model_dump()
    assert sample_claim(explains=("grpo#faster",)).model_dump()["explains"] == ("grpo#faster",)


def test_open_are_contradicted_and_inconclusive_verdicts() -> None:
    experiment = sample_experiment(
        claims=(
            sample_claim("held"),  # the arm is far ahead
            sample_claim("denied", arm="baseline", control="paper"),
            sample_claim("cannot", not_testable="no such thing here"),
        )
    )
    report = build_report(experiment, sample_records(), 1)
    few = build_report(experiment, sample_records(seeds=range(2)), 1)
    assert [is_open(one) for one in report.claims] == [False, True, False]
    assert [is_open(one) for one in few.claims] == [True, True, False]
    assert key_of("sample", report.claims[0]) == "sample#held"
