"""The same facts for programs: JSON, CSV, BibTeX, a plain listing, and the raw records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cairn.evidence.base import pretty_json
from cairn.evidence.report import Report
from cairn.inventory import bibtex
from cairn.site.facts_page import FACETS, values_of
from cairn.site.part import VERSION, DataFile, Part, Whole, as_csv, as_json
from cairn.site.subject import Shown, Subject, file_of
from cairn.site.text import Html, element, join, link, plain, table


def make(whole: Whole, others: Sequence[DataFile]) -> Part:
    """Return the data of all entries, and the page that lists it with the data of the other parts, `others`."""
    general = [*_general(whole), *others]
    files = {one.path: one.text for one in general}
    for subject in whole.subjects:
        files[_json_of(subject)] = as_json({**_summary(subject), "entry": subject.entry.to_dict()})
        files |= _evidence(subject, subject.report)
    for study in whole.studies:
        files |= _evidence(study, study.report)
    return Part({"data/index.md": _page(whole, general), **{f"data/{path}": files[path] for path in files}})


def _general(whole: Whole) -> list[DataFile]:
    subjects = whole.subjects
    summaries = as_json([_summary(subject) for subject in subjects])
    records = "\n".join(bibtex(subject.entry) for subject in subjects)
    return [
        DataFile(f"{VERSION}/entries.json", "All entries, short", "id, kind, name, labels, needs, statuses, verdicts",
                 summaries),
        DataFile("entries.csv", "All entries", "the same as a table", as_csv(_entry_rows(subjects))),
        DataFile("arms.csv", "All arms", "success of every arm with intervals", as_csv(_arm_rows(subjects))),
        DataFile("cairn.bib", "BibTeX", "one record for each entry", records),
        DataFile("llms.txt", "Listing", "plain text, one line for each entry", _listing(subjects)),
    ]  # fmt: skip


def _evidence(subject: Shown, report: Report | None) -> dict[str, str]:
    found = {f"{subject.id}/results/{file_of(record)}": pretty_json(record) for record in subject.records}
    if report is not None:
        found[f"{subject.id}/report.json"] = pretty_json(report)
        found[f"{subject.id}/curves.csv"] = as_csv(_curve_rows(report))
    return found


def _summary(subject: Subject) -> dict[str, Any]:
    entry = subject.entry
    return {
        "id": subject.id,
        "kind": entry.kind,
        "name": entry.bibliography.name,
        "title": entry.bibliography.title,
        "year": entry.bibliography.year,
        "arxiv": entry.bibliography.arxiv,
        "statuses": list(subject.statuses),
        "labels": {label: list(values_of(entry, label)) for label in FACETS},
        "needs": list(entry.needs),
        "hooks": list(entry.hooks),
        "verdicts": [
            {"claim": test.claim.id, "basis": test.claim.basis, **test.verdict.model_dump(mode="json")}
            for test in (subject.tests if subject.verdicts else ())
        ],
    }


def _entry_rows(subjects: Sequence[Subject]) -> Iterable[Sequence[object]]:
    yield ["id", "kind", "name", "title", "year", "arxiv", *FACETS, "needs", "hooks", "statuses", "verdicts"]
    for subject in subjects:
        entry, paper = subject.entry, subject.entry.bibliography
        labels = [" ".join(values_of(entry, label)) for label in FACETS]
        lists = (entry.needs, entry.hooks, subject.statuses, subject.verdicts)
        head = [subject.id, entry.kind, paper.name, paper.title, paper.year, paper.arxiv]
        yield [*head, *labels, *(" ".join(one) for one in lists)]


def _arm_rows(subjects: Sequence[Subject]) -> Iterable[Sequence[object]]:
    yield ["method", "preset", "task", "arm", "role", "seeds", "metric", "statistic", "estimate", "low", "high"]
    for subject in subjects:
        for arm in subject.report.arms if subject.report else ():
            for metric, summary in arm.success.items():
                for statistic, found in (("mean", summary.mean), ("iqm", summary.iqm)):
                    preset = subject.report.preset if subject.report else None
                    head = [subject.id, preset, arm.task, arm.arm, arm.role, len(arm.seeds)]
                    yield [*head, metric, statistic, found.estimate, found.low, found.high]


def _curve_rows(report: Report) -> Iterable[Sequence[object]]:
    yield ["task", "arm", "axis", "at", "mean", "low", "high", "seeds"]
    for arm in report.arms:
        for band in arm.curves:
            for at, mean, low, high in zip(band.at, band.mean, band.low, band.high, strict=True):
                yield [arm.task, arm.arm, band.axis, at, mean, low, high, band.seeds]


def _listing(subjects: Sequence[Subject]) -> str:
    """Return a listing for readers who have no browser: one line for each entry."""
    lines = [
        "# Cairn: credit assignment in reinforcement learning of language models",
        "",
        "> A validated inventory of methods, with a source for each block of facts, and tests of what they claim on",
        "> small models. Small models on synthetic tasks test the mechanism, not the paper's benchmark numbers.",
        "",
        "## Entries",
        "",
    ]
    for subject in subjects:
        paper = subject.entry.bibliography
        facts = f"{plain(paper.title)}; {', '.join(subject.statuses)}"
        lines.append(f"- [{plain(paper.name)}](../methods/{subject.id}.html): {facts}; data: {_json_of(subject)}")
    return "\n".join(lines) + "\n"


def _json_of(subject: Subject) -> str:
    return f"{VERSION}/entries/{subject.id}.json"


def _page(whole: Whole, general: Sequence[DataFile]) -> str:
    """Return the page that tells where the data is."""
    rows = [(one.what, link(element("code", one.path), one.path), one.holds) for one in general]
    each = [
        (
            subject.entry.bibliography.name,
            link(element("code", _json_of(subject)), _json_of(subject)),
            _links(subject) if subject.report else None,
            f"{len(subject.records)} records",
        )
        for subject in whole.subjects
    ]
    studies = [(one.report.title, _links(one), f"{len(one.records)} records") for one in whole.studies]
    about = (
        "Everything on these pages is also here for programs, under CC-BY-4.0. The folder's name is the version of its "
        "shape: fields may be added within a version, none is renamed or taken away."
    )
    parts = ["# Data", about, table(["What", "File", "Holds"], rows), "## Each entry"]
    parts.append(table(["Entry", "Facts", "Evidence", "Raw records"], each))
    if studies:
        parts += ["## Each study", table(["Study", "Evidence", "Raw records"], studies)]
    return "\n\n".join(parts) + "\n"


def _links(shown: Shown) -> Html:
    return join([link("report", f"{shown.id}/report.json"), ", ", link("curves", f"{shown.id}/curves.csv")])
