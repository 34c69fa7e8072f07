"""The inventory as a typed, frozen collection that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cairn.errors import UserError
from cairn.inventory.criteria import CRITERIA, FAMILY, FIXED, LISTED, Facet, Words, WordsOf, any_of, year_tests
from cairn.inventory.findings import near
from cairn.inventory.grid import Grid, arrange
from cairn.inventory.lint import read_all
from cairn.inventory.models import Entry
from cairn.inventory.tree_rules import IDS
from cairn.inventory.vocabulary import Vocabularies, Vocabulary
from cairn.paths import data_root

if TYPE_CHECKING:
    import datasets
    import pandas as pd

WITHOUT = "without_"


@dataclass(frozen=True)
class Inventory:
    """Entries ordered by id, with the word lists that their labels come from.

    facets: further criteria that were computed elsewhere. The inventory knows nothing of evidence, so `status` and
    `verdict` are there in what `cairn.evidence.catalogue.load()` returns, and absent from what `load()` returns.
    """

    entries: tuple[Entry, ...]
    vocabularies: Vocabularies
    facets: Mapping[str, Facet] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, entry_id: object) -> bool:
        return entry_id in self._by_id

    def __getitem__(self, entry_id: str) -> Entry:
        """Return the entry named `entry_id`. Raises UserError with near matches when there is none."""
        if entry_id in self._by_id:
            return self._by_id[entry_id]
        raise UserError("no entry has this id", value=entry_id, repair=near(entry_id, self.ids, IDS))

    @cached_property
    def _by_id(self) -> dict[str, Entry]:
        return {entry.id: entry for entry in self.entries}

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids in order."""
        return tuple(self._by_id)

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

    @property
    def criteria(self) -> tuple[str, ...]:
        """The criteria that take words, facets included; each has a counterpart `without_<name>`."""
        return (*CRITERIA, *self.facets)

    def vocabulary(self, name: str) -> Vocabulary:
        """Return the word list `name`. Raises UserError with near matches when there is none."""
        if name not in self.vocabularies:
            raise UserError("no word list has this name", value=name, repair=near(name, self.vocabularies))
        return self.vocabularies[name]

    def with_facet(self, name: str, facet: Facet) -> Inventory:
        """Return the inventory with one more criterion. Raises UserError for a name that is taken."""
        if name in self.criteria:
            raise UserError("a criterion has this name already", value=name, repair="choose another name")
        return replace(self, facets={**self.facets, name: facet})

    def filter(
        self,
        *,
        year: int | Iterable[int] | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
        surveyed: bool | None = None,
        **words: str | Iterable[str],
    ) -> Inventory:
        """Return the entries that meet all criteria, judged by our labels.

        words: a name in `criteria` with one word of its list, or with several of which an entry must have at least
        one; `without_<name>` keeps the entries that have none of them. To ask for all of several words, filter again.
        year: one year, or several of which one must be the entry's. year_from, year_to: bounds, both included.
        surveyed: whether the survey labels the entry.

            filter(setting="agentic", need=["env_fork", "tree_rollouts"], without_need="learned_critic", year_from=2025)

        Takes time linear in the number of entries. Raises UserError on an unknown name or word.
        """
        tests = year_tests(year, year_from, year_to)
        if surveyed is not None:
            tests.append(lambda entry: (entry.survey is not None) is surveyed)
        tests += [self._test(name, asked) for name, asked in words.items()]
        kept: Iterable[Entry] = self.entries
        for test in tests:
            kept = filter(test, kept)
        return replace(self, entries=tuple(kept))

    def _test(self, name: str, asked: str | Iterable[str]) -> Callable[[Entry], bool]:
        criterion = name.removeprefix(WITHOUT)
        known, words_of = self._criterion(criterion)
        wanted, absent = any_of(criterion, asked, known), name.startswith(WITHOUT)
        return lambda entry: wanted.isdisjoint(words_of(entry)) is absent

    def _criterion(self, name: str) -> tuple[Words, WordsOf]:
        """Return the words that a criterion knows, and how to get those of an entry."""
        if name in FIXED:
            return FIXED[name]
        if name in LISTED:
            vocabulary, words_of = LISTED[name]
            return tuple(self.vocabulary(vocabulary).words), words_of
        if name == FAMILY:
            family_of = {word: (one.family,) for word, one in self.vocabulary("methodology").words.items()}
            return tuple(self.vocabulary("methodology-family").words), lambda entry: family_of[entry.labels.methodology]
        if name in self.facets:
            facet = self.facets[name]
            return facet.words, lambda entry: facet.of.get(entry.id, ())
        repair = near(name, self.criteria)
        repair += "" if self.facets else " (what follows from evidence is asked of `cairn.evidence.catalogue.load()`)"
        raise UserError("no such criterion", value=name, repair=repair)

    def words_of(self, entry: Entry, criterion: str) -> tuple[str, ...]:
        """Return the words that an entry has for a criterion. Raises UserError when there is no such criterion."""
        return self._criterion(criterion)[1](entry)

    def groupby(self, criterion: str) -> dict[str, Inventory]:
        """Return the entries by their words, in the order of the word list; words that no entry has are left out.

        `year` may be asked too. An entry with two words stands in two groups. Raises UserError as `filter` does.
        """
        known, words_of = self._years() if criterion == "year" else self._criterion(criterion)
        found: dict[str, list[Entry]] = {word: [] for word in known}
        for entry in self.entries:
            for word in words_of(entry):
                found[word].append(entry)
        return {word: replace(self, entries=tuple(held)) for word, held in found.items() if held}

    def _years(self) -> tuple[Words, WordsOf]:
        years = sorted({entry.bibliography.year for entry in self.entries})
        return tuple(map(str, years)), lambda entry: (str(entry.bibliography.year),)

    def counts(self, criterion: str) -> dict[str, int]:
        """Return how many entries have each word, as `groupby` groups them; an entry with two words counts twice."""
        return {word: len(held) for word, held in self.groupby(criterion).items()}

    def totals(self) -> dict[str, Any]:
        """Return how many entries there are, by kind, and how the survey divides the methods that it labels."""
        surveyed = [entry.survey.type for entry in self.methods if entry.survey is not None]
        by_type = {word: surveyed.count(word) for word in self.vocabulary("type").words if word in surveyed}
        return {
            "entries": len(self),
            "kind": self.counts("kind"),
            "surveyed_methods": {"entries": len(surveyed), "type": by_type},
        }

    def grid(self) -> Grid:
        """Return the taxonomy: granularity by family of methodologies, the ids of each cell by methodology."""
        columns, family_of = self._criterion(FAMILY)
        return arrange(self.entries, tuple(self.vocabulary("granularity").words), columns, family_of)

    def to_dicts(self, table: str = "full") -> list[dict[str, Any]]:
        """Return plain data: `full`, one nested mapping for each entry, or the rows of a flat table.

        `full` has the fields of the files, with `id`, `kind`, `file`, and under `computed` the words of each facet.
        The flat tables are `entries` (one row each, lists kept as lists, the whole entry as JSON in the last column),
        and the lists inside entries, one row an element: see `cairn.inventory.tables`. Raises UserError for no table.
        """
        from cairn.inventory import export, tables

        return export.full(self) if table == "full" else list(tables.table(table).rows(self))

    def to_pandas(self, table: str = "entries") -> pd.DataFrame:
        """Return a flat table as a data frame. Raises UserError without pandas (extra `export`), or for no table."""
        from cairn.inventory import frames

        return frames.to_pandas(self, table)

    def to_dataset(self, table: str = "entries") -> datasets.Dataset:
        """Return a flat table as a `datasets.Dataset`. Raises UserError without the extra `export`, or for no table."""
        from cairn.inventory import frames

        return frames.to_dataset(self, table)


def load(root: Path | None = None) -> Inventory:
    """Return the checked inventory below `root`, by default that of the installation.

    Raises UserError for the first error; warnings do not stop it (`check` returns them).
    """
    root = data_root() if root is None else root
    reading = read_all(root)
    for finding in reading.errors:
        raise finding.as_error(root)
    return Inventory(reading.entries, reading.vocabularies)
