"""The contradictions marked `program` in the frozen survey, found again from its tables, kind by kind."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from cairn.inventory.survey import FOLDER, Survey, load_survey, read_table
from cairn.paths import data_root

SURVEY: Survey = load_survey()
COMPARED = {row["Method"]: row for row in read_table(5)}
INVENTORY = {row["Method"]: row for row in read_table(10) if row["#"]}


def _ids(name: str) -> list[str]:
    with (data_root() / FOLDER / "names.csv").open(encoding="utf-8", newline="") as stream:
        return [row["entry"] for row in csv.DictReader(stream) if row["name"] == name]


def _recorded(kind: str) -> list[str]:
    found = [one for one in SURVEY.contradictions if one.kind == kind]
    assert {one.found_by for one in found} == {"program"}, kind
    return sorted(" ".join(one.subject) for one in found)


def _not_in_the_index() -> list[str]:
    indexed = {entry for row in read_table(9) for entry in _ids(row["Abbreviation"])}
    return [method.entry for method in SURVEY.surveyed if method.entry not in indexed]


def _index_order() -> list[str]:
    """Ids of rows after which a row follows that sorts before it, whether hyphens count or not."""
    names = [row["Abbreviation"].lower() for row in read_table(9)]
    orders: list[Callable[[str], str]] = [str, lambda name: re.sub("[^a-z0-9]", "", name)]
    pairs = [(one, two) for one, two in pairwise(names) if all(key(one) > key(two) for key in orders)]
    return [one for one, _ in pairs]


def _index_identifiers() -> list[str]:
    return [] if any(re.search(r"[0-9]{4}\.[0-9]{5}", cell) for row in read_table(9) for cell in row.values()) else [""]


def _venue_year() -> list[str]:
    years = {name: re.search("’([0-9]{2})$", row["Venue"]) for name, row in COMPARED.items()}
    return [_ids(name)[0] for name, year in years.items() if year and f"20{year[1]}" != COMPARED[name]["Year"]]


def _items_not_validated() -> list[str]:
    return sorted(set(SURVEY.items) - {row.item for row in SURVEY.marks})


def _denominator() -> list[str]:
    return [""] if {count.of for count in SURVEY.coarse_audit} != {len(SURVEY.surveyed)} else []


def _pairs_not_recovered() -> list[str]:
    def recovered(task: str, method: str) -> bool:
        named = re.sub("’.*", "", task)
        return any(named in one.scenario and method in one.candidates for one in SURVEY.scenarios)

    return [pair.method for pair in SURVEY.pairs if not recovered(pair.task, pair.method)]


def _critics_in_critic_free() -> list[str]:
    free = [one for one in SURVEY.scenarios if one.consideration.startswith("Critic-free")]
    found = {candidate for one in free for candidate in one.candidates}
    return sorted(entry for entry in found if (row := SURVEY.method(entry)) and row.aux_model == "critic")


def _numbers(text: str) -> list[int]:
    found = re.findall(r"([0-9][0-9,.]*)(K|M)?", text)
    return [int(float(number.replace(",", "")) * {"K": 1000, "M": 1_000_000}.get(unit, 1)) for number, unit in found]


def _horizon() -> list[str]:
    """One empty subject for each row of Table 2 that begins below what Table 3 or Table 8 gives for it."""
    typical = next(row for row in read_table(3) if row["Dimension"] == "Typical horizon")
    _, *reasoning = _numbers(typical["Reasoning RL"].replace("0.5K–", "500–"))
    turns, _, tokens, _ = _numbers(typical["Agentic RL"].replace("100K–1M", "100000–1000000"))
    software = next(one for one in SURVEY.scenarios if "SWE-bench" in one.scenario)
    found = []
    for row in read_table(2):
        least_turns, least_tokens = _numbers(row["Turns"])[0], _numbers(row["Tokens"])[0]
        agentic = row["Setting"].startswith("Agentic")
        below = least_tokens < (tokens if agentic else reasoning[0]) or (agentic and least_turns < turns)
        found += [""] * below
        found += [""] * ("SWE-bench" in row["Setting"] and least_turns < _numbers(software.characteristics)[0])
    return found


def _methodology_labels() -> list[str]:
    # The abstract names five: Monte Carlo, temporal difference, model-based, game-theoretic, information-theoretic.
    uses = Counter(row["Methodology"] for row in INVENTORY.values())
    return [""] if len(uses) > 5 and sum(n == 1 for n in uses.values()) > len(uses) / 2 else []


def _granularity_levels() -> list[str]:
    named = {"Token", "Segment", "Step", "Turn", "Multi-Agent"}  # the abstract
    return (
        [""] if {row["Gran."] for row in INVENTORY.values()} - named == {"Sub-step", "Token/Seg", "Token/Turn"} else []
    )


def _also_multi_agent() -> list[str]:
    # Section 6.2: "6 dedicated papers in our inventory (...) plus C3's cross-setting framework".
    mixed = [method.entry for method in SURVEY.surveyed if {"agentic", "multi-agent"} <= set(method.setting)]
    return [entry for entry in mixed if entry != "c3"]


FOUND_AGAIN: dict[str, Callable[[], list[str]]] = {
    "not-in-the-index": _not_in_the_index,
    "index-order": _index_order,
    "index-identifiers": _index_identifiers,
    "venue-year": _venue_year,
    "item-not-validated": _items_not_validated,
    "denominator": _denominator,
    "pair-not-recovered": _pairs_not_recovered,
    "critic-in-critic-free": _critics_in_critic_free,
    "horizon": _horizon,
    "methodology-labels": _methodology_labels,
    "granularity-levels": _granularity_levels,
    "also-multi-agent": _also_multi_agent,
}


@pytest.mark.parametrize("kind", FOUND_AGAIN)
def test_the_tables_contradict_each_other_as_recorded(kind: str) -> None:
    assert sorted(FOUND_AGAIN[kind]()) == _recorded(kind)


def test_every_kind_marked_program_has_a_program() -> None:
    assert {one.kind for one in SURVEY.contradictions if one.found_by == "program"} == set(FOUND_AGAIN)


@pytest.mark.parametrize(
    ("compared", "listed"),
    [("Granularity", "Gran."), ("Methodology", "Methodology"), ("Setting", "Setting"), ("Type", "Type")],
)
def test_tables_5_and_10_agree_in_what_both_say(compared: str, listed: str) -> None:
    by_entry = {_ids(name)[0]: row[compared] for name, row in COMPARED.items()}
    assert by_entry == {_ids(name)[0]: row[listed] for name, row in INVENTORY.items()}


def test_years_of_table_5_are_those_of_the_references_in_table_9() -> None:
    cited = {_ids(row["Abbreviation"])[0]: re.findall(r"\(([0-9]{4})", row["Reference"])[0] for row in read_table(9)}
    years = {method.entry: str(method.year) for method in SURVEY.surveyed}
    assert {entry: years[entry] for entry in cited} == cited
