"""Rules that one entry, with the word lists, can keep or break on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from cairn.inventory.findings import WARNING, Finding, Rule, near, shown
from cairn.inventory.models import NONE, UNKNOWN, Entry, walk
from cairn.inventory.reader import Document, Location, strings
from cairn.inventory.vocabulary import Vocabularies

WORD = Rule("CA030", "unknown-word", "Labels, needs, hooks and marks are words of the lists in inventory/vocab.")
REPEATED_WORD = Rule("CA031", "repeated-word", "A list names each word once.")
WRONG_FOLDER = Rule("CA032", "wrong-folder", "The folder and the type agree: core and enabler are methods.")
NOT_APPLICABLE = Rule("CA033", "not-applicable", "Only a diagnostic, which trains nothing, has not-applicable marks.")
UNDEFINED_SOURCE = Rule("CA050", "undefined-source", "Each key under `from` is defined in `sources`.")
UNUSED_SOURCE = Rule("CA051", "unused-source", "Each source is used by a block; else why is it listed?", WARNING)
WHY_MISSING = Rule("CA060", "why-missing", "Where our label differs from the survey's, `why` gives the reason.")
WHY_IDLE = Rule("CA061", "why-idle", "A reason stands only where the labels differ, so that the reasons cannot rot.")
NAMELESS_RELATION = Rule("CA070", "nameless-relation", "A relation names the other by exactly one of id, arxiv, name.")
FUTURE = Rule("CA080", "future-date", "`checked` is a day that has come.")
TODO = Rule("CA090", "todo", "An entry is finished: the templates' marks are gone.")
MARKUP = Rule("CA091", "markup", "Text is text: no script or other active HTML (pages escape the rest).")
INVISIBLE = Rule("CA092", "invisible-character", "No control or direction characters: a reviewer could not see them.")
REPEATED_CLAIM = Rule("CA100", "repeated-claim", "A claim's key is unique in its entry, for `<id>#<key>` is its name.")
EDITOR_LINE = Rule("CA101", "editor-line", "The first line names the schema, so that editors can help.", WARNING)

TYPES_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "method": ("core", "enabler"),
    "background": ("background",),
    "diagnostic": ("diagnostic",),
}
COMPARED_LABELS = ("type", "setting", "granularity", "baseline_family", "evidence", "aux_model", "compute")
EDITOR_COMMENT = "# yaml-language-server: $schema=../../schemas/entry.schema.json"

_TODO = re.compile(r"\b(TODO|FIXME)\b")
_TAGS = r"</?(script|iframe|object|embed|svg|style|link|meta|form|img)\b"
_ACTIVE = re.compile(_TAGS + r"|javascript:|\bon\w+\s*=\s*[\"']", re.IGNORECASE)
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


@dataclass(frozen=True)
class Inspected:
    """One entry under inspection: its document and its model."""

    document: Document
    entry: Entry

    def finding(self, rule: Rule, location: Location, value: object, message: str, repair: str) -> Finding:
        """Return a breach of `rule` at `location`."""
        return Finding(rule, self.document.file, self.document.line(location), shown(value), message, repair)


def check_entry(case: Inspected, vocabularies: Vocabularies, today: date) -> Iterator[Finding]:
    """Yield every breach of the rules of this module that needs a model."""
    yield from words(case, vocabularies)
    yield from kinds(case)
    yield from source_keys(case)
    yield from reasons(case, vocabularies)
    yield from claim_keys(case)
    yield from relation_names(case)
    if case.entry.checked > today:
        message = f"the day of the last check is after today ({today})"
        yield case.finding(FUTURE, ("checked",), str(case.entry.checked), message, "write the day of the last check")


def is_todo(value: str) -> bool:
    """Say whether a value is nothing but the mark of a template."""
    return _TODO.fullmatch(value) is not None


def check_text(document: Document) -> Iterator[Finding]:
    """Yield what the bare text breaks, whether or not the document has the shape of an entry."""
    for number, line in enumerate(document.text.split("\n"), start=1):
        match = _TODO.search(line)
        if match:
            repair = "fill it in, or write unknown where it is not known"
            yield Finding(TODO, document.file, number, shown(line.strip()), f"{match[1]} is left", repair)
    for location, text in strings(document):
        for rule, pattern, message in ((MARKUP, _ACTIVE, "active HTML in a text"),
                                       (INVISIBLE, _INVISIBLE, "an invisible character in a text")):  # fmt: skip
            match = pattern.search(text)
            if match:
                line_number = document.line(location)
                repair = "describe it in words" if rule is MARKUP else "delete the character"
                yield Finding(rule, document.file, line_number, shown(ascii(match[0])), message, repair)


def editor_line(document: Document) -> Iterator[Finding]:
    """Yield a warning when the first line does not name the schema."""
    first = document.text.split("\n", 1)[0].strip()
    if first != EDITOR_COMMENT:
        repair = f"put this on line 1: {EDITOR_COMMENT}"
        yield Finding(EDITOR_LINE, document.file, 1, shown(first), "the first line does not name the schema", repair)


def words(case: Inspected, vocabularies: Vocabularies) -> Iterator[Finding]:
    """Yield words outside their lists, and words named twice."""
    for location, vocabulary, value in walk(case.entry):
        if not vocabulary:
            continue
        known = vocabularies[vocabulary].words if vocabulary in vocabularies else {}
        given = value if isinstance(value, tuple) else (value,)
        for index, word in enumerate(given):
            place = (*location, index) if isinstance(value, tuple) else location
            if word not in known:
                message = f"not a word of inventory/vocab/{vocabulary}.yaml"
                yield case.finding(WORD, place, word, message, near(word, known))
            if word in given[:index]:
                yield case.finding(REPEATED_WORD, place, word, "this word stands twice in the list", "keep it once")


def kinds(case: Inspected) -> Iterator[Finding]:
    """Yield a type that the folder does not hold, and marks that only a diagnostic may have."""
    entry = case.entry
    types = TYPES_OF_KIND[entry.kind]
    if entry.labels.type not in types:
        message = f"a {entry.kind} is of type {' or '.join(types)}"
        repair = "move the file to the folder of its type, or correct the type"
        yield case.finding(WRONG_FOLDER, ("labels", "type"), entry.labels.type, message, repair)
    for item, mark in entry.reporting.marks():
        if mark.status == "not-applicable" and entry.kind != "diagnostic":
            message = "the checklist applies to every paper that trains"
            repair = "write no, or unknown where the whole was not read"
            yield case.finding(NOT_APPLICABLE, ("reporting", item, "status"), mark.status, message, repair)


def source_keys(case: Inspected) -> Iterator[Finding]:
    """Yield keys under `from` that are not defined, and sources that nothing uses."""
    used: set[str] = set()
    for location, _, value in walk(case.entry):
        if location[-1] != "from":
            continue
        used.update(value)
        for index, key in enumerate(value):
            if key not in case.entry.sources:
                message = "this source is not defined"
                yield case.finding(UNDEFINED_SOURCE, (*location, index), key, message, near(key, case.entry.sources))
    for key in case.entry.sources:
        if key not in used:
            repair = "name it under the `from` of a block that rests on it, or remove it"
            yield case.finding(UNUSED_SOURCE, ("sources", key), key, "no block uses this source", repair)


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
    methodology = vocabularies.get("methodology")
    if methodology is None or not methodology.covers(ours.methodology, theirs.methodology):
        differing.append("methodology")
    return tuple(differing)


def _as_set(label: str | tuple[str, ...]) -> set[str]:
    return set(label) if isinstance(label, tuple) else {label}


def reasons(case: Inspected, vocabularies: Vocabularies) -> Iterator[Finding]:
    """Yield missing and idle reasons for labels that differ from the survey's."""
    differing = differing_labels(case.entry, vocabularies)
    for label in differing:
        if label not in case.entry.labels.why:
            value = getattr(case.entry.labels, label)
            theirs = getattr(case.entry.survey, label)
            message = f"our {label} differs from the survey's ({shown(theirs)}) without a reason"
            yield case.finding(WHY_MISSING, ("labels", label), value, message, f"add `{label}:` under labels.why")
    for label in case.entry.labels.why:
        if label not in differing:
            message = "this label has a reason but does not differ from the survey's"
            yield case.finding(WHY_IDLE, ("labels", "why", label), label, message, "remove the reason")


def claim_keys(case: Inspected) -> Iterator[Finding]:
    """Yield claims whose key another claim of the entry has."""
    seen: set[str] = set()
    for index, claim in enumerate(case.entry.claims):
        if claim.key in seen:
            message = "another claim of this entry has this key"
            yield case.finding(REPEATED_CLAIM, ("claims", index, "key"), claim.key, message, "choose another key")
        seen.add(claim.key)


def relation_names(case: Inspected) -> Iterator[Finding]:
    """Yield relations that name the other side not at all, or in two ways that could disagree."""
    for index, relation in enumerate(case.entry.relations):
        given = [field for field in ("id", "arxiv", "name") if getattr(relation, field) != NONE]
        if len(given) != 1:
            message = f"a relation names the other side once, here {len(given)} times"
            repair = "give `id` for an entry of this inventory, else `arxiv`, else `name`"
            yield case.finding(NAMELESS_RELATION, ("relations", index), ", ".join(given), message, repair)
