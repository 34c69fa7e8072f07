"""Rules about what an entry rests on: sources, who shows what, and marks that their own evidence supports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from datetime import date

from cairn.inventory.findings import WARNING, Finding, Rule, near
from cairn.inventory.inspection import Around, Inspected
from cairn.inventory.models import UNKNOWN

NOT_APPLICABLE = Rule(
    "CA033", "not-applicable", "Only a diagnostic, which proposes no rule of credit, has not-applicable marks."
)
UNDEFINED_SOURCE = Rule("CA050", "undefined-source", "Each key under `from` is defined in `sources`.")
UNUSED_SOURCE = Rule("CA051", "unused-source", "Each source is used by a block; else why is it listed?", WARNING)
REPOSITORY_ACCOUNT = Rule(
    "CA150", "repository-account", "What a repository shows rests on a source of kind repo, readme, docs or pages."
)
PAPER_ACCOUNT = Rule("CA151", "paper-account", "What the paper says does not rest on the survey alone.")
THIRD_ACCOUNT = Rule("CA152", "third-party-account", "Someone else's account does not rest on the paper itself alone.")
CONFIDENCE = Rule(
    "CA153", "unfounded-confidence", "High confidence rests on a source of kind paper, repo, docs or pages."
)
SURVEY_SOURCE = Rule("CA154", "survey-source", "The survey's labels rest on a source of kind survey.")
UNSEEN = Rule("CA155", "unseen-yes", "A mark `yes` has evidence that was seen.")
SOURCE_DAY = Rule("CA156", "source-day", "The `date` of a source is a day that has come, as YYYY-MM-DD, or unknown.")
READING = Rule("CA157", "reading", "A mark for compute that is not `no` or `unknown` says which reading it meets.")

READ_IN_DEPTH = frozenset({"paper", "repo", "docs", "pages"})
OF_A_REPOSITORY = frozenset({"repo", "readme", "docs", "pages"})
OF_THE_PAPER = frozenset({"paper", "abstract"})
SURVEY = "survey"
SEEN, PARTLY = "yes", "partial"
TWO_READINGS = "compute_controlled_baseline"  # "the same compute budget, or an explicit comparison of compute"

_UNSEEN = re.compile(r"(unknown|none|not (seen|read|found|reported|stated|given|established|known))\b", re.IGNORECASE)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check(case: Inspected, around: Around) -> Iterator[Finding]:
    """Yield every breach of the rules of this module."""
    yield from source_keys(case)
    yield from days(case, around.today)
    yield from accounts(case)
    yield from marks(case)
    yield from readings(case)
    yield from standing(case)


def source_keys(case: Inspected) -> Iterator[Finding]:
    """Yield keys under `from` that are not defined, and sources that nothing uses."""
    used: set[str] = set()
    for location, _, value in case.fields:
        if location[-1] != "from":
            continue
        used.update(value)
        for index, key in enumerate(value):
            if key not in case.entry.sources:
                message = "this source is not defined"
                repair = near(key, case.entry.sources, "keys of `sources`") + f", or define {key} under `sources`"
                yield case.finding(UNDEFINED_SOURCE, (*location, index), key, message, repair)
    for key in case.entry.sources:
        if key not in used:
            repair = "name it under the `from` of a block that rests on it, or remove it"
            yield case.finding(UNUSED_SOURCE, ("sources", key), key, "no block uses this source", repair)


def days(case: Inspected, today: date) -> Iterator[Finding]:
    """Yield sources whose day has not come or is none."""
    for key, source in case.entry.sources.items():
        if source.date != UNKNOWN and not _has_come(source.date, today):
            repair = f"write the day it was read as YYYY-MM-DD, not after {today}, or unknown"
            yield case.finding(SOURCE_DAY, ("sources", key, "date"), source.date, "not a day that has come", repair)


def _has_come(day: str, today: date) -> bool:
    try:
        return _DAY.fullmatch(day) is not None and date.fromisoformat(day) <= today
    except ValueError:
        return False


def accounts(case: Inspected) -> Iterator[Finding]:
    """Yield accounts whose sources cannot have shown them. Keys that are not defined are another rule's."""
    for location, account, block in case.accounts():
        kinds = case.kinds(block)
        if kinds and (fault := _misplaced(account, kinds)) is not None:
            rule, message, repair = fault
            yield case.finding(rule, location, account, message, repair)


def _misplaced(account: str, kinds: AbstractSet[str]) -> tuple[Rule, str, str] | None:
    named = ", ".join(sorted(kinds))
    if account == "repository" and not kinds & OF_A_REPOSITORY:
        repair = "name a source of kind repo, readme, docs or pages under `from`, or write who shows it"
        return REPOSITORY_ACCOUNT, f"a repository is said to show it, and the sources are of kind {named}", repair
    if account == "paper" and kinds <= {SURVEY}:
        repair = "name where the paper was read under `from`, or write `account: third_party`"
        return PAPER_ACCOUNT, "the paper is said to show it, and the only source is the survey", repair
    if account == "third_party" and kinds <= OF_THE_PAPER:
        repair = "write `account: paper`, or name the other account under `from`"
        return THIRD_ACCOUNT, f"someone else is said to show it, and the sources are of kind {named}", repair
    return None


def marks(case: Inspected) -> Iterator[Finding]:
    """Yield marks that the kind of entry cannot have, and marks `yes` whose evidence says that nothing was seen."""
    for item, mark in case.entry.reporting.marks():
        place = ("reporting", item, "status")
        if mark.status == "not-applicable" and case.entry.kind != "diagnostic":
            message = "the checklist applies to every paper that proposes a rule of credit"
            repair = "write no, or unknown where the whole was not read"
            yield case.finding(NOT_APPLICABLE, place, mark.status, message, repair)
        if mark.status == SEEN and all(_UNSEEN.match(evidence.text) for evidence in mark.evidence):
            message = "the mark is yes, and its evidence says that it was not seen"
            repair = "say under `text` what was seen, or write unknown (no, where the whole was read)"
            yield case.finding(UNSEEN, place, mark.status, message, repair)


def readings(case: Inspected) -> Iterator[Finding]:
    """Yield marks that leave open which reading of their item they meet, and readings where there is no choice."""
    for item, mark in case.entry.reporting.marks():
        asked = item == TWO_READINGS and mark.status in (SEEN, PARTLY)
        if bool(mark.readings) is asked:
            continue
        place = ("reporting", item, "readings")
        if asked:
            repair = "add `readings: [same-budget]` or `[explicit-comparison]`, or both, as the evidence shows"
            yield case.finding(READING, place, mark.status, "it is open which reading the evidence shows", repair)
        else:
            message = f"only {TWO_READINGS} with the status yes or partial has readings"
            yield case.finding(READING, place, ", ".join(mark.readings), message, "remove this line")


def standing(case: Inspected) -> Iterator[Finding]:
    """Yield high confidence without a thorough source, and survey labels without the survey."""
    entry = case.entry
    kinds = {source.kind for source in entry.sources.values()}
    if entry.confidence == "high" and not kinds & READ_IN_DEPTH:
        message = f"confidence is high, and the sources are of kind {', '.join(sorted(kinds))}"
        repair = "write medium or low, or add the source (paper, repo, docs or pages) in which the rule was read"
        yield case.finding(CONFIDENCE, ("confidence",), entry.confidence, message, repair)
    if entry.survey is not None and (named := case.kinds(entry.survey)) and SURVEY not in named:
        message = "the survey's labels rest on no source of kind survey"
        keys = ", ".join(entry.survey.from_)
        yield case.finding(SURVEY_SOURCE, ("survey", "from"), keys, message, "name the survey's tables as their source")
