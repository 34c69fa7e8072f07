"""Rules about the word lists: what a word refers to in another list is there, and no label has two meanings."""

from __future__ import annotations

from collections.abc import Iterator

from cairn.inventory.findings import Finding, Rule, near, shown
from cairn.inventory.reader import Document, Location
from cairn.inventory.vocabulary import Vocabularies, Vocabulary

METHODOLOGY = "methodology"
FAMILIES = "methodology-family"
NEEDS = "needs"

NO_FAMILY = Rule("CA180", "no-family", f"Each methodology has a family of inventory/vocab/{FAMILIES}.yaml.")
LABEL_TWICE = Rule("CA181", "label-under-two-words", "A label of the survey stands under one word of a list.")
UNKNOWN_NEED = Rule("CA182", "unknown-need", f"What a methodology needs are words of inventory/vocab/{NEEDS}.yaml.")


def check_lists(documents: dict[str, Document], vocabularies: Vocabularies) -> Iterator[Finding]:
    """Yield every breach of the rules of this module. documents: those of the lists, by the lists' names."""
    for name, vocabulary in vocabularies.items():
        yield from _labels(vocabulary, documents[name])
    if {METHODOLOGY, FAMILIES, NEEDS} <= set(vocabularies):  # a list that cannot be read is a finding of its own
        yield from _methodologies(documents[METHODOLOGY], vocabularies)


def _labels(vocabulary: Vocabulary, document: Document) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for word, content in vocabulary.words.items():
        for index, label in enumerate(content.survey):
            if label in first:
                place: Location = ("words", word, "survey", index)
                message = f"this label of the survey stands under {first[label]} already"
                yield _finding(LABEL_TWICE, document, place, label, message, "keep it under one of the two words")
            first.setdefault(label, word)


def _methodologies(document: Document, vocabularies: Vocabularies) -> Iterator[Finding]:
    families, needs = vocabularies[FAMILIES].words, vocabularies[NEEDS].words
    for word, content in vocabularies[METHODOLOGY].words.items():
        place: Location = ("words", word)
        if content.family not in families:
            repair = f"add `family:` below {word}; " + near(content.family, families)
            yield _finding(NO_FAMILY, document, (*place, "family"), content.family, f"{word} has no family", repair)
        for index, need in enumerate(content.needs):
            if need not in needs:
                yield _finding(
                    UNKNOWN_NEED, document, (*place, "needs", index), need, "no such need", near(need, needs)
                )


def _finding(rule: Rule, document: Document, place: Location, value: str, message: str, repair: str) -> Finding:
    return Finding(rule, document.file, document.line(place), shown(value), message, repair)
