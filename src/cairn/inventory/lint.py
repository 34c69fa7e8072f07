"""Read the whole inventory once: entries, word lists, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType

from cairn.inventory import decision, entry_rules, reader, shape, tree_rules
from cairn.inventory.entry_rules import Inspected, check_entry, check_text, editor_line
from cairn.inventory.findings import ERROR, Finding, Rule
from cairn.inventory.models import Entry, EntryFile, vocabularies_named
from cairn.inventory.reader import Document, ReadError, read
from cairn.inventory.tree_rules import FOLDERS, VOCABULARY_FOLDER, check_tree, entry_files, missing_vocabularies
from cairn.inventory.vocabulary import Vocabularies, Vocabulary
from cairn.paths import data_root


def _rules_of(*modules: ModuleType) -> tuple[Rule, ...]:
    found = {value for module in modules for value in vars(module).values() if isinstance(value, Rule)}
    return tuple(sorted(found, key=lambda rule: rule.code))


RULES: tuple[Rule, ...] = _rules_of(reader, shape, entry_rules, tree_rules, decision)


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
    cases, ids = _entries(root, findings)
    today = today or datetime.now(UTC).date()
    for case in cases:
        findings += check_entry(case, vocabularies, today)
    findings += check_tree(cases, ids)
    findings += decision.read_tree(root, vocabularies, sorted(ids))[1]
    ordered = sorted(findings, key=lambda finding: (finding.file, finding.line, finding.rule.code, finding.message))
    entries = {case.entry.id: case.entry for case in reversed(cases)}
    return Reading(tuple(entries[key] for key in sorted(entries)), vocabularies, tuple(ordered))


def _document(path: Path, file: str, findings: list[Finding]) -> Iterator[Document]:
    try:
        document = read(path, file)
    except ReadError as fault:
        findings.append(fault.finding(file))
        return
    findings += check_text(document)
    yield document


def _vocabularies(root: Path, findings: list[Finding]) -> Vocabularies:
    lists: dict[str, Vocabulary] = {}
    for path in sorted((root / "inventory" / VOCABULARY_FOLDER).glob("*.yaml")):
        file = f"inventory/{VOCABULARY_FOLDER}/{path.name}"
        for document in _document(path, file, findings):
            vocabulary, faults = shape.shape(Vocabulary, document, {})
            findings += faults
            if vocabulary is not None:
                lists[path.stem] = vocabulary
    findings += missing_vocabularies(vocabularies_named(EntryFile), lists)
    return lists


def _entries(root: Path, findings: list[Finding]) -> tuple[list[Inspected], set[str]]:
    cases: list[Inspected] = []
    ids: set[str] = set()
    for path in entry_files(root):
        if isinstance(path, Finding):
            findings.append(path)
            continue
        ids.add(path.stem)
        file = path.relative_to(root).as_posix()
        extra: Mapping[str, str] = {"id": path.stem, "kind": FOLDERS[path.parent.name], "file": file}
        for document in _document(path, file, findings):
            findings += editor_line(document)
            entry, faults = shape.shape(Entry, document, extra)
            # The mark of a template is named once, by its own rule, and not again as a value of the wrong type.
            findings += [fault for fault in faults if not entry_rules.is_todo(fault.value)]
            if entry is not None:
                cases.append(Inspected(document, entry))
    return cases, ids
