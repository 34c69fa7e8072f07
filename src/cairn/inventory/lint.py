"""Read the whole inventory once: entries, word lists, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType

from cairn.inventory import (
    decision,
    entry_rules,
    evidence_rules,
    interface_rules,
    list_rules,
    paper_rules,
    reader,
    relation_rules,
    shape,
    text_rules,
    tree_rules,
    vocabulary_rules,
)
from cairn.inventory.findings import ERROR, Finding, Rule, first_errors, shown
from cairn.inventory.inspection import Around, Inspected
from cairn.inventory.models import Entry, EntryFile, vocabularies_named
from cairn.inventory.reader import Document, ReadError, read
from cairn.inventory.text_rules import check_first_line, check_text, is_todo
from cairn.inventory.tree_rules import BLOCKS, FOLDERS, VOCABULARY_FOLDER, check_tree, entry_files, missing_vocabularies
from cairn.inventory.vocabulary import Vocabularies, Vocabulary
from cairn.inventory.vocabulary_rules import FAMILIES, check_lists
from cairn.paths import data_root

# Those that look at one entry alone, each by `check(case, around)`. A test holds that no module with rules is left out.
ENTRY_MODULES = (entry_rules, paper_rules, list_rules, interface_rules, evidence_rules, relation_rules)
OTHER_MODULES = (reader, text_rules, shape, vocabulary_rules, tree_rules, decision)


def _rules_of(*modules: ModuleType) -> tuple[Rule, ...]:
    found = {value for module in modules for value in vars(module).values() if isinstance(value, Rule)}
    return tuple(sorted(found, key=lambda rule: rule.code))


RULES: tuple[Rule, ...] = _rules_of(*ENTRY_MODULES, *OTHER_MODULES)


@dataclass(frozen=True)
class Reading:
    """What one pass over the tree gave: the entries that could be read, the word lists, the findings in order."""

    entries: tuple[Entry, ...]
    vocabularies: Vocabularies
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that make the inventory invalid; warnings are left out."""
        return tuple(finding for finding in self.findings if finding.rule.severity == ERROR)


def check(root: Path | None = None, today: date | None = None) -> list[Finding]:
    """Return every finding over `root`/inventory, by file and line; never raises for what the files hold.

    root: the data root, by default that of the installation. today: the day against which dates are judged.
    """
    return list(read_all(root, today).findings)


def read_all(root: Path | None = None, today: date | None = None) -> Reading:
    """Read and check everything below `root`/inventory in one pass."""
    root = data_root() if root is None else root
    findings: list[Finding] = []
    vocabularies = _vocabularies(root, findings)
    cases, ids = _entries(root, Around(vocabularies, today or datetime.now(UTC).date()), findings)
    findings += check_tree(cases, ids)
    findings += decision.read_tree(root, vocabularies, sorted(ids))[1]
    ordered = sorted(findings, key=lambda finding: (finding.file, finding.line, finding.rule.code, finding.message))
    entries = {case.entry.id: case.entry for case in reversed(cases)}
    return Reading(tuple(entries[key] for key in sorted(entries)), vocabularies, tuple(ordered))


def check_entry(case: Inspected, around: Around) -> Iterator[Finding]:
    """Yield every breach that one entry, with the word lists, makes on its own."""
    for module in ENTRY_MODULES:
        for finding in module.check(case, around):
            # The mark of a template is named once, by its own rule, and not again as a word outside its list.
            if not is_todo(finding.value):
                yield finding


def _vocabularies(root: Path, findings: list[Finding]) -> Vocabularies:
    lists: dict[str, Vocabulary] = {}
    documents: dict[str, Document] = {}
    paths = sorted((root / "inventory" / VOCABULARY_FOLDER).glob("*.yaml"))
    for path in paths:
        findings += first_errors(_vocabulary(path, lists, documents))
    findings += check_lists(documents, lists)
    findings += missing_vocabularies(vocabularies_named(EntryFile) | {FAMILIES}, {path.stem for path in paths})
    return lists


def _vocabulary(path: Path, lists: dict[str, Vocabulary], documents: dict[str, Document]) -> Iterator[Finding]:
    """Put one word list among the others, and yield what is wrong with it."""
    file = f"inventory/{VOCABULARY_FOLDER}/{shown(path.name)}"
    try:
        document = read(path, file)
    except ReadError as fault:
        yield fault.finding(file)
        return
    vocabulary, faults = shape.shape(Vocabulary, document, {})
    if vocabulary is not None:
        lists[path.stem], documents[path.stem] = vocabulary, document
    yield from check_text(document)
    yield from faults


def _entries(root: Path, around: Around, findings: list[Finding]) -> tuple[list[Inspected], set[str]]:
    """Return the entries, checked one by one, and all ids. Of a document only what the tree's rules need is kept."""
    cases: list[Inspected] = []
    ids: set[str] = set()
    for path in entry_files(root):
        if isinstance(path, Finding):
            findings.append(path)
            continue
        ids.add(path.stem)
        findings += first_errors(_entry(path, path.relative_to(root).as_posix(), around, cases))
    return cases, ids


def _entry(path: Path, file: str, around: Around, cases: list[Inspected]) -> Iterator[Finding]:
    """Put one entry among the others, and yield what is wrong with it."""
    try:
        document = read(path, file)
    except ReadError as fault:
        yield fault.finding(file)
        return
    entry, faults = shape.shape(Entry, document, {"id": path.stem, "kind": FOLDERS[path.parent.name], "file": file})
    if entry is not None:
        cases.append(Inspected(document.only(BLOCKS), entry))
    yield from check_text(document)
    yield from check_first_line(document)
    yield from (fault for fault in faults if not is_todo(fault.value))
    if entry is not None:
        yield from check_entry(Inspected(document, entry), around)
