"""What there is about one entry, or one study: facts, worked example, records, report; and what follows from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cairn.evidence.audit import Labels, labels_of
from cairn.evidence.claims import Claim
from cairn.evidence.comparison import ClaimReport
from cairn.evidence.explanations import Attempt, Attempts, attempts, key_of
from cairn.evidence.golden import Golden, golden_path, read_golden
from cairn.evidence.homes import STUDIES, home, ids
from cairn.evidence.records import Record, read_records, record_name
from cairn.evidence.report import Report, read_report
from cairn.evidence.status import module_path, statuses
from cairn.inventory import Entry, Inventory


class Shown(Protocol):
    """Whatever has a report to show. records: by file name."""

    @property
    def id(self) -> str:
        """Return the id, by which its data is found."""

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the raw records, none where only the report is there."""

    def stands_for(self, claim: Claim) -> str | None:
        """Return in words what a test stands for in the paper; None where there is no paper, or no such claim."""

    def looked_into(self, found: ClaimReport) -> tuple[Attempt, ...]:
        """Return the tests of studies that were made to explain the verdict of one of its tests."""


@dataclass(frozen=True)
class Study:
    """An experiment of our own, which belongs to no entry."""

    id: str
    records: tuple[Record, ...]
    report: Report
    attempts: Attempts = field(default_factory=dict)

    def stands_for(self, claim: Claim) -> None:
        """See `Shown`."""

    def looked_into(self, found: ClaimReport) -> tuple[Attempt, ...]:
        """See `Shown`."""
        return self.attempts.get(key_of(self.id, found), ())


@dataclass(frozen=True)
class Subject:
    """One entry with everything that was found about it below the data root.

    records: by file name. module: the file of the package that holds the rule, as a path in the repository, or None.
    """

    entry: Entry
    module: str | None
    golden: Golden | None
    records: tuple[Record, ...]
    report: Report | None
    statuses: tuple[str, ...]
    attempts: Attempts = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Return the entry's id."""
        return self.entry.id

    @property
    def tests(self) -> tuple[ClaimReport, ...]:
        """Return our tests of the method's claims."""
        return self.report.claims if self.report else ()

    @property
    def verdicts(self) -> tuple[str, ...]:
        """Return the labels of the verdicts, one for each test that has records to rest on."""
        return tuple(test.verdict.label for test in self.tests) if self.report and self.report.records else ()

    @property
    def labels(self) -> Labels:
        """Return what the checklist asks of the inventory; null where it is unknown."""
        return labels_of(self.entry)

    def stands_for(self, claim: Claim) -> str | None:
        """See `Shown`."""
        known = {one.key: one.text for one in self.entry.claims}
        return known.get(claim.basis.removeprefix(f"{self.id}#"))

    def looked_into(self, found: ClaimReport) -> tuple[Attempt, ...]:
        """See `Shown`."""
        return self.attempts.get(key_of(self.id, found), ())

    def tests_of(self, claim_key: str) -> tuple[ClaimReport, ...]:
        """Return our tests that stand for one of the paper's claims."""
        names = (claim_key, f"{self.id}#{claim_key}")
        return tuple(test for test in self.tests if test.claim.basis in names)


def gather(inventory: Inventory, root: Path, studies: Sequence[Study]) -> tuple[Subject, ...]:
    """Return a subject for each entry, in the order of the inventory. Raises UserError for evidence that is broken.

    studies: those that may have looked into verdicts.
    """
    tried = attempts(study.report for study in studies)
    return tuple(_subject(entry, root, tried) for entry in inventory)


def _subject(entry: Entry, root: Path, tried: Attempts) -> Subject:
    golden = golden_path(entry.id, root)
    folder = golden.parent
    module = module_path(entry.id)
    report = folder / "report.json"
    return Subject(
        entry=entry,
        module=f"src/cairn/methods/{module.name}" if module.is_file() else None,
        golden=read_golden(golden) if golden.is_file() else None,
        records=tuple(read_records(folder / "results")),
        report=read_report(report) if report.is_file() else None,
        statuses=statuses(entry.id, root),
        attempts=tried,
    )


def gather_studies(root: Path) -> tuple[Study, ...]:
    """Return the studies that have a report, by id. Raises UserError for evidence that is broken."""
    folders = [home(one, root) for one in ids(STUDIES, root)]
    found = {folder: read_report(folder / "report.json") for folder in folders if (folder / "report.json").is_file()}
    tried = attempts(found.values())
    return tuple(
        Study(report.id, tuple(read_records(folder / "results")), report, tried) for folder, report in found.items()
    )


def file_of(record: Record) -> str:
    """Return the file name of a record."""
    return record_name(record.task, record.arm, record.seed)
