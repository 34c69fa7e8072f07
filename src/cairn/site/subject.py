"""What there is about one entry: facts, worked example, records, report; and the statuses that follow from that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cairn.evidence.audit import Labels, labels_of
from cairn.evidence.comparison import ClaimReport
from cairn.evidence.golden import Golden, golden_path, read_golden
from cairn.evidence.records import Record, read_records, record_name
from cairn.evidence.report import Report, read_report
from cairn.evidence.status import module_path, statuses
from cairn.inventory import Entry, Inventory


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

    def tests_of(self, claim_key: str) -> tuple[ClaimReport, ...]:
        """Return our tests that stand for one of the paper's claims."""
        names = (claim_key, f"{self.id}#{claim_key}")
        return tuple(test for test in self.tests if test.claim.basis in names)


def gather(inventory: Inventory, root: Path) -> tuple[Subject, ...]:
    """Return a subject for each entry, in the order of the inventory. Raises UserError for evidence that is broken."""
    return tuple(_subject(entry, root) for entry in inventory)


def _subject(entry: Entry, root: Path) -> Subject:
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
    )


def file_of(record: Record) -> str:
    """Return the file name of a record."""
    return record_name(record.task, record.arm, record.seed)
