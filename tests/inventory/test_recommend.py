"""The ranking on a small tree, its scores added up by hand, and the trials."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from cairn.errors import UserError
from cairn.inventory import Inventory, read_all
from cairn.inventory.decision import DecisionTree
from cairn.inventory.recommend import (
    Case,
    hit_rate,
    load_tree,
    make_case,
    newer,
    own_case,
    recommend,
    retrospective,
)


@pytest.fixture
def two(tree: Path) -> tuple[Inventory, DecisionTree]:
    """Return alpha beside gamma, which the survey does not have: by turns, entropy, low cost, one MATH benchmark."""
    text = (tree / "inventory/methods/alpha.yaml").read_text(encoding="utf-8")
    before, survey = text.split("survey:\n", 1)
    text = before + "survey: null\nlabels:\n" + survey.split("labels:\n", 1)[1]
    for old, new in (('"2002.00002"', '"2002.00003"'), ("abs/2002.00002", "abs/2002.00003"),
                     ("granularity: [step]", "granularity: [turn]"),
                     ("methodology: mc-continuations", "methodology: entropy"), ("compute: high", "compute: low"),
                     ("benchmarks: [gsm8k, math]", "benchmarks: [math]"), ("  why:\n", "  why: {}\n"),
                     ("    granularity: The code cuts at steps.\n", ""),
                     ("needs: [mc_continuations, segmenting]", "needs: [entropy]")):  # fmt: skip
        assert old in text, old
        text = text.replace(old, new, 1)
    (tree / "inventory/methods/gamma.yaml").write_text(text, encoding="utf-8")
    reading = read_all(tree, date(2026, 2, 1))
    assert not reading.errors, [str(error) for error in reading.errors]
    inventory = Inventory(reading.entries, reading.vocabularies)
    return inventory, load_tree(inventory, tree)


def _ranking(two: tuple[Inventory, DecisionTree], case: Case, *, named: bool = True) -> list[tuple[str, int]]:
    return [(one.entry.id, one.score) for one in recommend(*two, case, named=named).ranked]


def test_weights_are_added_up(two: tuple[Inventory, DecisionTree]) -> None:
    # alpha: named 2 + step 3 + Monte Carlo 1 = 6, and 2 more where an episode has many turns; gamma: nothing.
    assert _ranking(two, Case({"setting": "reasoning"})) == [("alpha", 6), ("gamma", 0)]
    assert _ranking(two, Case({"setting": "reasoning", "turns": "many"})) == [("alpha", 8), ("gamma", 0)]
    assert _ranking(two, Case({"setting": "reasoning"}), named=False) == [("alpha", 4), ("gamma", 0)]


def test_what_cannot_be_had_is_ruled_out_with_its_reason(two: tuple[Inventory, DecisionTree]) -> None:
    cases = {
        "published for another setting": (Case({"setting": "agentic"}), []),
        "costs more than there is": (Case({"setting": "reasoning"}, compute="medium"), ["gamma"]),
        "the environment cannot be saved": (Case({"setting": "reasoning", "turns": "very-many"}), ["gamma"]),
    }
    for reason, (case, left) in cases.items():
        answer = recommend(*two, case)
        assert [one.entry.id for one in answer.ranked] == left
        assert answer.ruled_out == {reason: 2 - len(left)}


def test_an_auxiliary_model_that_is_not_to_be_had_rules_out(tree: Path, two: tuple[Inventory, DecisionTree]) -> None:
    path = tree / "inventory/methods/gamma.yaml"
    path.write_text(path.read_text().replace("aux_model: none", "aux_model: critic"))
    reading = read_all(tree, date(2026, 2, 1))
    inventory = Inventory(reading.entries, reading.vocabularies)
    case = Case({"setting": "reasoning"}, aux=frozenset({"none"}))
    assert [one.entry.id for one in recommend(inventory, two[1], case).ranked] == ["alpha"]
    case = Case({"setting": "reasoning"}, aux=frozenset({"critic"}))
    assert [one.entry.id for one in recommend(inventory, two[1], case).ranked] == ["alpha", "gamma"]


@pytest.mark.parametrize(("turns", "answer"), [(1, "few"), (20, "few"), (21, "many"), (40, "many"), (41, "very-many")])
def test_a_number_of_turns_becomes_an_answer(turns: int, answer: str, two: tuple[Inventory, DecisionTree]) -> None:
    assert make_case(*two, {"turns": turns, "setting": None}).answers == {"turns": answer}


@pytest.mark.parametrize(
    ("arguments", "repair"),
    [(({"setting": "agentik"},), "agentic"), (({}, "lou"), "low"), (({}, None, ["kritic"]), "critic")],
)
def test_a_word_that_is_no_answer_is_refused(
    arguments: tuple[object, ...], repair: str, two: tuple[Inventory, DecisionTree]
) -> None:
    with pytest.raises(UserError) as caught:
        make_case(*two, *arguments)  # type: ignore[arg-type]
    assert repair in str(caught.value)


def test_the_branches_are_taken_by_answer_and_by_cost(two: tuple[Inventory, DecisionTree]) -> None:
    leaf = two[1].leaf
    assert [leaf({"setting": "reasoning", "compute": "low"}), leaf({"compute": "low"}), leaf({})] == [
        "sums",
        "cheap",
        "sums",
    ]


def test_the_case_of_a_paper_is_read_by_rule(two: tuple[Inventory, DecisionTree]) -> None:
    inventory, tree = two
    # gsm8k says few turns and math says many: where benchmarks disagree nothing is answered.
    assert own_case(tree, inventory["alpha"]).answers == {"setting": "reasoning"}
    assert own_case(tree, inventory["gamma"]) == Case(
        {"setting": "reasoning", "turns": "many"}, compute="low", aux=frozenset({"none"})
    )


def test_trials_of_the_surveys_pairs_and_of_newer_methods(two: tuple[Inventory, DecisionTree]) -> None:
    (pair,) = retrospective(*two)
    assert (pair.id, pair.place, pair.allowed) == ("alpha", 1, 2)
    (fresh,) = newer(*two, named=True)
    # alpha costs more than gamma's own case allows, so that gamma is alone.
    assert (fresh.id, fresh.place, fresh.allowed) == ("gamma", 1, 1)
    assert hit_rate([pair, fresh], 1) == (1.0, 0.75)  # by chance 1/2 and 1
    assert hit_rate([], 1) == (0.0, 0.0)


def test_a_tree_that_is_not_there_is_said(tree: Path, two: tuple[Inventory, DecisionTree]) -> None:
    shutil.move(tree / "inventory/decision-tree.yaml", tree / "elsewhere.yaml")
    with pytest.raises(UserError, match="no decision tree"):
        load_tree(two[0], tree)
