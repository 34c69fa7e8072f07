"""What a rule looks at: one entry with its document, and what stands around it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from cairn.inventory.findings import Finding, Rule, shown
from cairn.inventory.models import Entry, Sourced, walk
from cairn.inventory.reader import Document, Location
from cairn.inventory.vocabulary import Vocabularies


@dataclass(frozen=True)
class Around:
    """What one entry is judged against: the word lists, and the day that is today."""

    vocabularies: Vocabularies
    today: date

    def needs_of(self, methodology: str) -> tuple[str, ...]:
        """Return the needs without which a methodology cannot be; none for a word that the list does not have."""
        words = self.vocabularies["methodology"].words if "methodology" in self.vocabularies else {}
        return words[methodology].needs if methodology in words else ()


@dataclass(frozen=True)
class Inspected:
    """One entry under inspection: its document and its model."""

    document: Document
    entry: Entry

    @cached_property
    def fields(self) -> tuple[tuple[Location, str, Any], ...]:
        """Every field of the entry: (location, vocabulary or "", value)."""
        return tuple(walk(self.entry))

    def finding(self, rule: Rule, location: Location, value: object, message: str, repair: str) -> Finding:
        """Return a breach of `rule` at `location`."""
        return Finding(rule, self.document.file, self.document.line(location), shown(value), message, repair)

    def kinds(self, block: Sourced) -> set[str]:
        """Return the kinds of the sources that a block names and the entry defines."""
        return {self.entry.sources[key].kind for key in block.from_ if key in self.entry.sources}

    def accounts(self) -> Iterator[tuple[Location, str, Sourced]]:
        """Yield (location, account, block) for everything of which the entry says who shows it."""
        for index, variant in enumerate(self.entry.rule.variants):
            yield ("rule", "variants", index, "account"), variant.account, variant
        for item, mark in self.entry.reporting.marks():
            for index, shown_by in enumerate(mark.evidence):
                yield ("reporting", item, "evidence", index, "account"), shown_by.account, shown_by
