"""Where the survey and the papers differ, where the survey contradicts itself, and what of it did not survive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cairn.inventory import Entry, Inventory
from cairn.inventory.models import UNKNOWN
from cairn.inventory.survey import Contradiction, Lost, Survey
from cairn.site.facts_page import FACETS, called, label_table, values_of
from cairn.site.part import VERSION, DataFile, Part, Whole, as_csv, as_json
from cairn.site.terms import entry_link, entry_links
from cairn.site.text import (
    Content,
    Html,
    bullets,
    details,
    element,
    join,
    link,
    paragraph,
    table,
    words,
)  # fmt: skip

_COMPARED = (*FACETS, "evidence")
_DIFFERENCES = f"{VERSION}/survey-differences.json"
_CONTRADICTIONS, _LOST = f"{VERSION}/survey-contradictions.csv", f"{VERSION}/survey-lost.csv"


def make(whole: Whole) -> Part:
    """Return the page of differences."""
    inventory, survey = whole.inventory, whole.survey
    labelled = [entry for entry in inventory if entry.survey is not None]
    apart = [entry for entry in inventory if _parts(entry)]
    page = [
        "# Where the survey and the papers differ",
        _about(labelled, apart),
        "## Labels that differ",
        _labels(labelled, inventory),
        "## Entry by entry",
        *(block for entry in apart for block in _entry(entry, inventory)),
        "## Where the survey contradicts itself",
        *_contradictions(survey.contradictions, inventory),
        "## What of the survey did not survive",
        *_lost(survey.lost),
        _files(),
    ]
    return Part({"literature/survey.md": "\n\n".join(page) + "\n"}, _data(apart, survey))


def _parts(entry: Entry) -> bool:
    return bool(entry.labels.why) or entry.survey_discrepancy is not None


def _about(labelled: Sequence[Entry], apart: Sequence[Entry]) -> str:
    told = sum(entry.survey_discrepancy is not None for entry in apart)
    differ = sum(any(not _open(entry, label) for label in entry.labels.why) for entry in apart)
    return paragraph(
        f"The survey labels {len(labelled)} of our entries, background included. For {differ} of them at least one "
        f"label that we could establish differs. For {told} entries, some of which it only mentions, a remark says "
        "where its account and the sources that we read part. Each remark names its sources; what we read was often "
        "not the whole paper. An error of ours is mended in the entry's file."
    )


def _open(entry: Entry, label: str) -> bool:
    """Say whether ours differs only because it could not be established."""
    return UNKNOWN in values_of(entry, label)


def _labels(labelled: Sequence[Entry], inventory: Inventory) -> str:
    about = paragraph(
        "Agree: the same, or other words for the same. Open: the survey gives a label, and what we read does not "
        "establish one. Benchmarks are not compared: the survey names them in words of its own, and only some."
    )
    rows = []
    for label in _COMPARED:
        apart = [entry for entry in labelled if label in entry.labels.why]
        differ = [entry.id for entry in apart if not _open(entry, label)]
        unknown = [entry.id for entry in apart if _open(entry, label)]
        counts = (str(len(labelled) - len(apart)), str(len(differ)), str(len(unknown)))
        listed = (entry_links(inventory, ids) or None for ids in (differ, unknown))
        rows.append((called(label, inventory), *counts, *listed))
    return about + "\n\n" + table(["Label", "Agree", "Differ", "Open", "Which differ", "Which are open"], rows)


def _entry(entry: Entry, inventory: Inventory) -> Iterator[str]:
    yield element("h3", entry_link(inventory, entry.id), id=f"entry-{entry.id}")
    if entry.survey_discrepancy is not None:
        yield paragraph(entry.survey_discrepancy.text, " ", _cited(entry, entry.survey_discrepancy.from_))
    differing = [label for label in _COMPARED if label in entry.labels.why]
    if differing:
        yield label_table(entry, inventory, differing)


def _cited(entry: Entry, keys: Sequence[str]) -> Html:
    """Return references to the sources on the entry's page, each with what it is."""
    links = (element("a", key, href=f"../methods/{entry.id}.html#{key}", title=entry.sources[key].ref) for key in keys)
    return element("span", "[", join(links, ", "), "]", class_="cairn-cite")


def _contradictions(found: Sequence[Contradiction], inventory: Inventory) -> Iterator[str]:
    by = Counter(one.found_by for one in found)
    told = " and ".join(f"{count} by {way}" for way, count in by.items())
    yield paragraph(
        f"{len(found)} places, found {told}: what a program finds, a test finds again in the frozen tables."
    )
    rows = [
        (
            words(one.kind),
            entry_links(inventory, one.subject) if one.subject else None,
            _statement(one.where, one.says),
            _statement(one.against, one.says_against),
            one.remark or None,
        )
        for one in found
    ]
    yield table(["Kind", "About", "Here", "There", "Remark"], rows)


def _statement(where: str, says: str) -> Html:
    return join([element("strong", where), ": ", says])


def _lost(found: Sequence[Lost]) -> Iterator[str]:
    tables = Counter(one.table for one in found)
    yield paragraph(
        f"{len(found)} cells and marks did not survive in the text that we have. They are not guessed: an empty cell "
        "of the transcription stands here with what can still be read of it."
    )
    yield bullets(f"Table {number}: {count}" for number, count in sorted(tables.items()))
    rows = [(f"Table {one.table}, {one.row}", one.column or None, one.read or None, one.why) for one in found]
    yield details("Each of them", table(["Row", "Column", "What is left", "Why it is lost"], rows))


def _files() -> str:
    paths = (_DIFFERENCES, _CONTRADICTIONS, _LOST)
    shown: list[Content] = [link(path.rpartition("/")[2], f"../data/{path}") for path in paths]
    return paragraph("The same for programs: ", join(shown, ", "), ".")


def _data(apart: Sequence[Entry], survey: Survey) -> tuple[DataFile, ...]:
    differences = {entry.id: _plain(entry) for entry in apart}
    return (
        DataFile(_DIFFERENCES, "Survey and papers", "labels that differ with the reason, and accounts that differ",
                 as_json(differences)),
        DataFile(_CONTRADICTIONS, "The survey against itself", "places that contradict each other",
                 as_csv(_rows(survey.contradictions, Contradiction))),
        DataFile(_LOST, "Lost cells", "cells and marks of the survey that did not survive",
                 as_csv(_rows(survey.lost, Lost))),
    )  # fmt: skip


def _plain(entry: Entry) -> dict[str, object]:
    found = entry.to_dict()
    ours, theirs = found["labels"], found["survey"]
    labels = {label: {"survey": theirs[label], "ours": ours[label], "why": why}
              for label, why in entry.labels.why.items()}  # fmt: skip
    return {"labels": labels, "account": found["survey_discrepancy"]}


def _rows(found: Sequence[Contradiction | Lost], model: type[Contradiction | Lost]) -> Iterator[Sequence[object]]:
    yield [*model.model_fields]
    for one in found:
        values = one.model_dump().values()
        yield [" ".join(value) if isinstance(value, tuple) else value for value in values]
