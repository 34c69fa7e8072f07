"""Rules about the labels of one entry: words of the lists, the folder of its type, reasons where labels differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cairn.inventory.findings import Finding, Rule, near, shown
from cairn.inventory.inspection import Around, Inspected
from cairn.inventory.models import UNKNOWN, Entry
from cairn.inventory.reader import Location
from cairn.inventory.vocabulary import Vocabularies

WORD = Rule("CA030", "unknown-word", "Labels, needs, hooks and marks are words of the lists in inventory/vocab.")
REPEATED_WORD = Rule("CA031", "repeated-word", "A list names each word once.")
WRONG_FOLDER = Rule("CA032", "wrong-folder", "The folder and the type agree: core and enabler are methods.")
WHY_MISSING = Rule("CA060", "why-missing", "Where our label differs from the survey's, `why` gives the reason.")
WHY_IDLE = Rule("CA061", "why-idle", "A reason stands only where the labels differ, so that the reasons cannot rot.")
FUTURE = Rule("CA080", "future-date", "`checked` is a day that has come.")

TYPES_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "method": ("core", "enabler"),
    "background": ("background",),
    "diagnostic": ("diagnostic",),
}
COMPARED_LABELS = ("type", "setting", "granularity", "baseline_family", "evidence", "aux_model", "compute")


def check(case: Inspected, around: Around) -> Iterator[Finding]:
    """Yield every breach of the rules of this module."""
    yield from words(case, around.vocabularies)
    yield from kinds(case)
    yield from reasons(case, around.vocabularies)
    if case.entry.checked > around.today:
        message = f"the day of the last check is after today ({around.today})"
        yield case.finding(FUTURE, ("checked",), str(case.entry.checked), message, "write the day of the last check")


def words(case: Inspected, vocabularies: Vocabularies) -> Iterator[Finding]:
    """Yield words outside their lists, and words named twice."""
    for location, vocabulary, value in case.fields:
        if not vocabulary:
            continue
        if isinstance(value, str):
            yield from _unknown(case, location, value, vocabulary, vocabularies)
            continue
        seen: set[str] = set()
        for index, word in enumerate(value):
            yield from _unknown(case, (*location, index), word, vocabulary, vocabularies)
            if word in seen:
                message = "this word stands twice in the list"
                yield case.finding(REPEATED_WORD, (*location, index), word, message, "keep it once")
            seen.add(word)


def _unknown(
    case: Inspected, location: Location, word: str, vocabulary: str, vocabularies: Vocabularies
) -> Iterator[Finding]:
    """Yield a finding for a word outside its list; a list that cannot be read is a finding of its own."""
    if vocabulary in vocabularies and word not in vocabularies[vocabulary].words:
        known = vocabularies[vocabulary].words
        file = f"inventory/vocab/{vocabulary}.yaml"
        yield case.finding(WORD, location, word, f"not a word of {file}", near(word, known, f"words of {file}"))


def kinds(case: Inspected) -> Iterator[Finding]:
    """Yield a type that the folder does not hold."""
    entry = case.entry
    types = TYPES_OF_KIND[entry.kind]
    if entry.labels.type not in types:
        message = f"a {entry.kind} is of type {' or '.join(types)}"
        repair = "move the file to the folder of its type, or correct the type"
        yield case.finding(WRONG_FOLDER, ("labels", "type"), entry.labels.type, message, repair)


def differing_labels(entry: Entry, vocabularies: Vocabularies) -> tuple[str, ...]:
    """Return the labels on which we differ from the survey; a label that the survey left unknown cannot differ."""
    ours, theirs = entry.labels, entry.survey
    if theirs is None:
        return ()
    differing = []
    for label in COMPARED_LABELS:
        said = getattr(theirs, label)
        if said != UNKNOWN and _as_set(getattr(ours, label)) != _as_set(said):
            differing.append(label)
    if not vocabularies["methodology"].covers(ours.methodology, theirs.methodology):
        differing.append("methodology")
    return tuple(differing)


def _as_set(label: str | tuple[str, ...]) -> set[str]:
    return set(label) if isinstance(label, tuple) else {label}


def reasons(case: Inspected, vocabularies: Vocabularies) -> Iterator[Finding]:
    """Yield missing and idle reasons for labels that differ from the survey's."""
    if "methodology" not in vocabularies:
        return
    differing = differing_labels(case.entry, vocabularies)
    for label in differing:
        if label not in case.entry.labels.why:
            value = getattr(case.entry.labels, label)
            theirs = getattr(case.entry.survey, label)
            message = f"our {label} differs from the survey's ({_plain(theirs)}) without a reason"
            repair = f"add `{label}: <the reason>` under labels.why, or take the survey's label"
            yield case.finding(WHY_MISSING, ("labels", label), _plain(value), message, repair)
    for label in case.entry.labels.why:
        if label not in differing:
            message = "this label has a reason but does not differ from the survey's"
            yield case.finding(WHY_IDLE, ("labels", "why", label), label, message, "remove the reason")


def _plain(label: str | tuple[str, ...]) -> str:
    return shown(label if isinstance(label, str) else ", ".join(label))
