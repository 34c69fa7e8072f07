"""What can be asked of an entry: for each criterion, the words it knows and the words that an entry has for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from cairn.errors import UserError
from cairn.inventory.findings import near
from cairn.inventory.models import NONE, Entry
from cairn.inventory.tree_rules import FOLDERS

Words = tuple[str, ...]
WordsOf = Callable[[Entry], Words]
STANDINGS: Words = ("current", "moved", "withdrawn")


@dataclass(frozen=True)
class Facet:
    """A criterion that is computed elsewhere, for example from evidence, and handed to the inventory.

    words: all its words in their order. of: entry id to the entry's words; an id that is absent has none.
    """

    words: Words
    of: Mapping[str, Words]


# criterion -> (word list, the words of an entry)
LISTED: Mapping[str, tuple[str, WordsOf]] = {
    "type": ("type", lambda entry: (entry.labels.type,)),
    "setting": ("setting", lambda entry: entry.labels.setting),
    "granularity": ("granularity", lambda entry: entry.labels.granularity),
    "methodology": ("methodology", lambda entry: (entry.labels.methodology,)),
    "baseline_family": ("baseline-family", lambda entry: (entry.labels.baseline_family,)),
    "evidence": ("evidence", lambda entry: (entry.labels.evidence,)),
    "aux_model": ("aux-model", lambda entry: (entry.labels.aux_model,)),
    "compute": ("compute", lambda entry: (entry.labels.compute,)),
    "benchmark": ("benchmarks", lambda entry: entry.labels.benchmarks),
    "need": ("needs", lambda entry: entry.needs),
    "hook": ("hooks", lambda entry: entry.hooks),
    "invariant": ("properties", lambda entry: entry.properties.invariants),
    "confidence": ("confidence", lambda entry: (entry.confidence,)),
}


def _standing(entry: Entry) -> Words:
    return (STANDINGS[2] if entry.withdrawn != NONE else STANDINGS[1] if entry.moved_to != NONE else STANDINGS[0],)


# criterion -> (words that no list of the vocabulary holds, the words of an entry)
FIXED: Mapping[str, tuple[Words, WordsOf]] = {
    "kind": (tuple(FOLDERS.values()), lambda entry: (entry.kind,)),
    "standing": (STANDINGS, _standing),
}
FAMILY = "family"
CRITERIA: Words = (*FIXED, FAMILY, *LISTED)
"""Criteria that take words. Each has a counterpart `without_<name>`."""


def any_of(name: str, asked: str | Iterable[str], known: Words) -> frozenset[str]:
    """Return the words asked for. Raises UserError for none, and for one that the criterion does not know."""
    given: tuple[object, ...] = (asked,) if isinstance(asked, str) or not isinstance(asked, Iterable) else tuple(asked)
    if not given:
        raise UserError(f"no word is given for {name}", repair="use one of: " + ", ".join(known))
    for word in given:
        if word not in known:
            raise UserError(f"not a word for {name}", value=word, repair=near(str(word), known))
    return frozenset(str(word) for word in given)


def year_tests(years: int | Iterable[int] | None, first: int | None, last: int | None) -> list[Callable[[Entry], bool]]:
    """Return tests of the year: one of `years`, not before `first`, not after `last`; each left out where None.

    Raises UserError for what is no whole number, and for a range that holds no year.
    """
    tests: list[Callable[[Entry], bool]] = []
    if years is not None:
        wanted = frozenset(_year(one) for one in (years if isinstance(years, Iterable) else [years]))
        tests.append(lambda entry: entry.bibliography.year in wanted)
    low, high = (None if bound is None else _year(bound) for bound in (first, last))
    if low is not None and high is not None and low > high:
        raise UserError("the range of years is empty", value=f"{low} to {high}", repair="give the earlier year first")
    if low is not None:
        tests.append(lambda entry: entry.bibliography.year >= low)
    if high is not None:
        tests.append(lambda entry: entry.bibliography.year <= high)
    return tests


def _year(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise UserError("a year is a whole number", value=value, repair="write it as 2025")
