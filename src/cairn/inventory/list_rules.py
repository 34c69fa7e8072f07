"""Rules about lists inside one entry: nothing is said twice, and `none` stands alone."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from cairn.inventory.findings import Finding, Rule
from cairn.inventory.inspection import Around, Inspected
from cairn.inventory.models import NONE, UNKNOWN
from cairn.inventory.reader import Location

REPEATED_CLAIM = Rule("CA100", "repeated-claim", "A claim's key is unique in its entry, for `<id>#<key>` is its name.")
NOT_ALONE = Rule("CA140", "none-not-alone", "`none` and `unknown` stand alone in a list of words.")
REPEATED_RELATION = Rule("CA141", "repeated-relation", "A relation of one kind to one other is written once.")
REPEATED_SETTING = Rule("CA142", "repeated-hyperparameter", "Each hyperparameter is listed once, by its name.")
REPEATED_VARIANT = Rule("CA143", "repeated-variant", "A variant's name is unique in its entry.")
REPEATED_LIMIT = Rule("CA144", "repeated-limit", "A limit (the other entry and the condition) is written once.")
REPEATED_SOURCE = Rule("CA145", "repeated-source", "A source, by kind and reference, has one key.")

Named = tuple[Location, Hashable, str]  # where it stands, what makes it the same, how it is printed


def check(case: Inspected, around: Around) -> Iterator[Finding]:  # noqa: ARG001 (each module is asked alike)
    """Yield every breach of the rules of this module."""
    entry = case.entry
    yield from alone(case)
    claims = ((("claims", i, "key"), one.key, one.key) for i, one in enumerate(entry.claims))
    yield from _repeated(case, REPEATED_CLAIM, claims, "choose another key")
    relations = (
        (("relations", i, "kind"), (one.kind, one.id, one.arxiv, one.name), one.kind)
        for i, one in enumerate(entry.relations)
    )
    yield from _repeated(case, REPEATED_RELATION, relations, "keep one of the two, with the sources of both")
    settings = (
        (("rule", "hyperparameters", i, "name"), one.name, one.name) for i, one in enumerate(entry.rule.hyperparameters)
    )
    yield from _repeated(case, REPEATED_SETTING, settings, "keep one, or say in the names what tells them apart")
    variants = ((("rule", "variants", i, "name"), one.name, one.name) for i, one in enumerate(entry.rule.variants))
    yield from _repeated(case, REPEATED_VARIANT, variants, "choose another name, or join the two")
    limits = (
        (("properties", "reduces_to", i, "id"), (one.id, one.when), one.id)
        for i, one in enumerate(entry.properties.reduces_to)
    )
    yield from _repeated(case, REPEATED_LIMIT, limits, "keep one, or correct the condition of the other")
    sources = ((("sources", key), (one.kind, one.ref), key) for key, one in entry.sources.items())
    yield from _repeated(case, REPEATED_SOURCE, sources, "use one key, and say in its `seen` all that was read there")


def _repeated(case: Inspected, rule: Rule, named: Iterable[Named], repair: str) -> Iterator[Finding]:
    first: dict[Hashable, Location] = {}
    for location, same, value in named:
        if same in first:
            line = case.document.line(first[same])
            yield case.finding(rule, location, value, f"this stands on line {line} already", repair)
        else:
            first[same] = location


def alone(case: Inspected) -> Iterator[Finding]:
    """Yield `none` and `unknown` where they stand beside other words."""
    for location, vocabulary, value in case.fields:
        if vocabulary and isinstance(value, tuple) and len(value) > 1:
            for index, word in enumerate(value):
                if word in {NONE, UNKNOWN}:
                    message = f"`{word}` stands beside other words"
                    yield case.finding(NOT_ALONE, (*location, index), word, message, "keep it alone, or remove it")
