"""`cairn recommend`, over the real inventory: what must stay true whatever is added to it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from tests.cli.conftest import Command

from cairn.commands import choosing
from cairn.inventory import load
from cairn.inventory.recommend import load_tree


def test_each_of_the_surveys_pairs_is_recovered(cairn: Command) -> None:
    found = json.loads(cairn("recommend", "--evaluate", "--json").out)
    places = {one["id"]: one["place"] for one in found["retrospective"]}
    # Section 7.5 of the survey names these six.
    assert {*places} == {"spo", "hicra", "vineppo", "gigpo", "sweet-rl", "hcapo"}
    assert all(place is not None and place <= 5 for place in places.values()), places


def test_every_newer_method_is_tried_and_none_is_ruled_out_by_its_own_paper(cairn: Command) -> None:
    found = json.loads(cairn("recommend", "--evaluate", "--json").out)
    expected = {
        entry.id
        for entry in load().methods
        if entry.survey is None and entry.labels.setting[0] in ("reasoning", "agentic", "multi-agent")
    }
    for trials in found["newer"].values():
        assert {one["id"] for one in trials} == expected
        assert all(one["place"] is not None for one in trials)


def test_the_judgement_says_what_the_rates_say(cairn: Command) -> None:
    found = json.loads(cairn("recommend", "--evaluate", "--json").out)
    better = [rate["hit"] > rate["random_order"] for rates in found["hit_rate"].values() for rate in rates.values()]
    text = " ".join(cairn("recommend", "--evaluate").out.split())
    assert ("beats a random order nowhere" in text) is (not any(better))
    assert ("more often than a random order does" in text) is all(better)


def test_an_answer_has_reasons_needs_and_both_kinds_of_evidence(cairn: Command) -> None:
    outcome = cairn("recommend", "--setting", "agentic", "--turns", "12", "--verifiable", "--aux", "none", "--top", "3")
    assert outcome.code == 0
    for part in ("The survey's row: Tool-use agents", "(section 7.4)", "needs: ", "evidence: paper: ", "; ours: "):
        assert part in outcome.out
    found = json.loads(cairn("recommend", "--setting", "agentic", "--turns", "12", "--aux", "none", "--json").out)
    assert found["case"] == {"answers": {"setting": "agentic", "turns": "few"}, "compute": None, "aux": ["none"]}
    assert all(one["aux_model"] in ("none", "unknown") for one in found["ranked"])
    scores = [one["score"] for one in found["ranked"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nobody to ask"),
        (("--setting", "agentik"), "did you mean agentic"),
        (("--setting", "agentic", "--compute", "lots"), "low, medium"),
        (("--setting", "agentic", "--aux", "lllm"), "did you mean llm"),
    ],
)
def test_wrong_answers_are_refused(arguments: tuple[str, ...], message: str, refused: Callable[..., str]) -> None:
    assert message in refused("recommend", *arguments)


def test_in_a_terminal_it_asks_until_it_can_read_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = load()
    given = iter(["agentik", "agentic", "0", "60", "", "no", "", "", "none"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("rich.prompt.Prompt.ask", lambda *_, **__: next(given))
    case = choosing._ask(inventory, load_tree(inventory))
    assert dict(case.answers) == {"setting": "agentic", "turns": "very-many", "verifiable": "no"}
    assert (case.compute, case.aux) == (None, frozenset({"none"}))
    assert next(given, None) is None
