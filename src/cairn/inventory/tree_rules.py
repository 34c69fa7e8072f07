"""Rules that only the whole tree can keep or break: names, duplicates, references."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from cairn.inventory.findings import Finding, Rule, first_errors, near, shown, slug
from cairn.inventory.inspection import Inspected
from cairn.inventory.models import NONE, SLUG_PATTERN, Entry
from cairn.inventory.reader import Location

FILE_NAME = Rule("CA040", "file-name", "The file name is the id: small letters and digits, joined by single hyphens.")
STRAY_FILE = Rule("CA041", "stray-file", "A folder of entries holds <id>.yaml files and nothing else.")
TWO_FILES = Rule("CA042", "two-files", "An id stands in one folder only.")
SAME_ARXIV = Rule("CA043", "same-arxiv", "One paper, one entry: the arXiv id is the key against duplicates.")
NO_FOLDER = Rule("CA044", "no-folder", "The data root has inventory/methods, background, diagnostics and vocab.")
NO_VOCABULARY = Rule("CA045", "no-vocabulary", "Every word list that the models name is there.")
RELATION_TO_NOTHING = Rule("CA071", "relation-to-nothing", "A relation or limit by id leads to another entry.")
KNOWN_BY_ARXIV = Rule("CA072", "known-by-arxiv", "An entry of the inventory is named by its id, not by its arXiv id.")
MOVED_TO_NOTHING = Rule("CA073", "moved-to-nothing", "moved_to leads to another entry that has not moved itself.")

FOLDERS: Mapping[str, str] = {"methods": "method", "background": "background", "diagnostics": "diagnostic"}
VOCABULARY_FOLDER = "vocab"
BLOCKS = frozenset({"bibliography", "relations", "properties", "moved_to"})  # in which these rules name lines
IDS = "ids that `cairn list --ids` prints"


def entry_files(root: Path) -> Iterator[Path | Finding]:
    """Yield the entry files below `root`/inventory in order, and a finding for each file that is none."""
    for folder in (*FOLDERS, VOCABULARY_FOLDER):
        directory = root / "inventory" / folder
        place = f"inventory/{folder}"
        if not directory.is_dir() or directory.is_symlink():
            yield Finding(NO_FOLDER, place, 1, folder, "this folder is missing", "point at a folder with inventory/")
        elif folder != VOCABULARY_FOLDER:
            for path in sorted(directory.iterdir()):
                yield from _named_as_entry(path, f"{place}/{shown(path.name)}")


def _named_as_entry(path: Path, file: str) -> Iterator[Path | Finding]:
    if path.name.startswith("."):
        return
    if path.suffix != ".yaml" or path.is_dir():
        yield Finding(STRAY_FILE, file, 1, path.name, "this is not an entry", "name it <id>.yaml or move it away")
    elif not re.fullmatch(SLUG_PATTERN, path.stem):
        repair = f"rename it, for example to {slug(path.stem)}.yaml"
        yield Finding(FILE_NAME, file, 1, path.stem, "the file name is not an id", repair)
    else:
        yield path


def check_tree(cases: Sequence[Inspected], ids: AbstractSet[str]) -> Iterator[Finding]:
    """Yield every breach among entries. `ids` holds the id of every file, readable or not."""
    yield from duplicates(cases)
    by_arxiv = {case.entry.bibliography.arxiv: case.entry.id for case in cases}
    moved = {case.entry.id for case in cases if case.entry.moved_to != NONE}
    for case in cases:
        yield from first_errors(references(case, ids, by_arxiv))
        yield from moves(case, ids, moved)


def duplicates(cases: Sequence[Inspected]) -> Iterator[Finding]:
    """Yield each file whose id or arXiv id another file has too; which of them is to go is for a person to say."""
    for other, case in _sharing(cases, lambda entry: entry.id):
        yield case.finding(TWO_FILES, (), case.entry.id, f"{other} has this id too", "keep one of the two files")
    for other, case in _sharing(cases, lambda entry: entry.bibliography.arxiv):
        message = f"{other} has this arXiv id too"
        repair = "keep one entry, and write the other name there as a relation of kind alias"
        yield case.finding(SAME_ARXIV, ("bibliography", "arxiv"), case.entry.bibliography.arxiv, message, repair)


def _sharing(cases: Sequence[Inspected], key_of: Callable[[Entry], str]) -> Iterator[tuple[str, Inspected]]:
    """Yield (another file with the same key, case) for every case that shares its key."""
    by_key: dict[str, list[Inspected]] = {}
    for case in cases:
        by_key.setdefault(key_of(case.entry), []).append(case)
    for key, sharing in by_key.items():
        if key != NONE and len(sharing) > 1:
            for case in sharing:
                other = sharing[0] if case is not sharing[0] else sharing[1]
                yield other.entry.file, case


def references(case: Inspected, ids: AbstractSet[str], by_arxiv: Mapping[str, str]) -> Iterator[Finding]:
    """Yield relations and limits that lead nowhere, or that name an entry by its arXiv id."""
    relations, limits = case.entry.relations, case.entry.properties.reduces_to
    named: list[tuple[Location, str]] = [(("relations", i, "id"), other.id) for i, other in enumerate(relations)]
    named += [(("properties", "reduces_to", i, "id"), other.id) for i, other in enumerate(limits)]
    for location, other in named:
        if other == NONE:
            continue
        if other not in ids or other == case.entry.id:
            message = "this leads to no other entry"
            repair = near(other, ids - {case.entry.id}, IDS)
            if location[0] == "relations":
                repair += f"{'' if repair.endswith('?') else ';'} else give `arxiv` or `name` in place of `id`"
            yield case.finding(RELATION_TO_NOTHING, location, other, message, repair)
    for index, relation in enumerate(case.entry.relations):
        if relation.arxiv not in {NONE, case.entry.bibliography.arxiv} and relation.arxiv in by_arxiv:
            repair = f"write `id: {by_arxiv[relation.arxiv]}` in its place"
            message = "an entry has this arXiv id"
            yield case.finding(KNOWN_BY_ARXIV, ("relations", index, "arxiv"), relation.arxiv, message, repair)


def moves(case: Inspected, ids: AbstractSet[str], moved: AbstractSet[str]) -> Iterator[Finding]:
    """Yield a move to nothing, to itself, or to an entry that has moved as well."""
    target = case.entry.moved_to
    if target != NONE and (target not in ids or target == case.entry.id or target in moved):
        repair = near(target, ids - moved - {case.entry.id}, IDS)
        yield case.finding(MOVED_TO_NOTHING, ("moved_to",), target, "no standing entry has this id", repair)


def missing_vocabularies(named: AbstractSet[str], there: AbstractSet[str]) -> Iterator[Finding]:
    """Yield the word lists that the models name and the folder lacks."""
    for name in sorted(named - there):
        file = f"inventory/{VOCABULARY_FOLDER}/{name}.yaml"
        yield Finding(NO_VOCABULARY, file, 1, name, "this word list is missing", "restore it from the last release")
