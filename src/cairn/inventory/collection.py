"""The inventory as a typed, frozen collection that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cairn.errors import UserError
from cairn.inventory.findings import near
from cairn.inventory.lint import read_all
from cairn.inventory.models import Entry
from cairn.inventory.tree_rules import FOLDERS
from cairn.inventory.vocabulary import Vocabularies, Vocabulary
from cairn.paths import data_root

_KIND_WORDS = frozenset(FOLDERS.values())

# criterion -> (word list, or "" when free; the words of an entry)
_CRITERIA: Mapping[str, tuple[str, Callable[[Entry], tuple[str, ...]]]] = {
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
CRITERIA: tuple[str, ...] = ("kind", *_CRITERIA)


@dataclass(frozen=True)
class Inventory:
    """Entries ordered by id, with the word lists that their labels come from."""

    entries: tuple[Entry, ...]
    vocabularies: Vocabularies

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, entry_id: object) -> bool:
        return any(entry.id == entry_id for entry in self.entries)

    def __getitem__(self, entry_id: str) -> Entry:
        """Return the entry named `entry_id`. Raises UserError with near matches when there is none."""
        for entry in self.entries:
            if entry.id == entry_id:
                return entry
        raise UserError("no entry has this id", value=entry_id, repair=near(entry_id, self.ids))

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids in order."""
        return tuple(entry.id for entry in self.entries)

    @property
    def methods(self) -> tuple[Entry, ...]:
        """Entries of kind method."""
        return tuple(entry for entry in self.entries if entry.kind == "method")

    @property
    def background(self) -> tuple[Entry, ...]:
        """Entries of kind background."""
        return tuple(entry for entry in self.entries if entry.kind == "background")

    @property
    def diagnostics(self) -> tuple[Entry, ...]:
        """Entries of kind diagnostic."""
        return tuple(entry for entry in self.entries if entry.kind == "diagnostic")

    def vocabulary(self, name: str) -> Vocabulary:
        """Return the word list `name`. Raises UserError with near matches when there is none."""
        if name not in self.vocabularies:
            raise UserError("no word list has this name", value=name, repair=near(name, self.vocabularies))
        return self.vocabularies[name]

    def filter(self, **criteria: str) -> Inventory:
        """Return the entries that meet all criteria, judged by our labels.

        A criterion is a name in CRITERIA and a word of its list; `without_<name>` keeps the entries that lack the word:
        `filter(setting="agentic", without_need="learned_critic")`. Raises UserError on an unknown name or word.
        """
        kept = self.entries
        for name, word in criteria.items():
            words_of = self._words_of(name.removeprefix("without_"), word)
            wanted = not name.startswith("without_")
            kept = tuple(entry for entry in kept if (word in words_of(entry)) is wanted)
        return Inventory(kept, self.vocabularies)

    def _words_of(self, criterion: str, word: str) -> Callable[[Entry], tuple[str, ...]]:
        if criterion == "kind":
            known: frozenset[str] = _KIND_WORDS
            words_of: Callable[[Entry], tuple[str, ...]] = _kind_of
        elif criterion in _CRITERIA:
            vocabulary, words_of = _CRITERIA[criterion]
            known = frozenset(self.vocabulary(vocabulary).words)
        else:
            raise UserError("no such criterion", value=criterion, repair=near(criterion, CRITERIA))
        if word not in known:
            raise UserError(f"not a word for {criterion}", value=word, repair=near(word, known))
        return words_of


def _kind_of(entry: Entry) -> tuple[str, ...]:
    return (entry.kind,)


def load(root: Path | None = None) -> Inventory:
    """Return the checked inventory below `root`, by default that of the installation.

    Raises UserError for the first error; warnings do not stop it (`check` returns them).
    """
    root = data_root() if root is None else root
    reading = read_all(root)
    for finding in reading.errors:
        raise finding.as_error(root)
    return Inventory(reading.entries, reading.vocabularies)
