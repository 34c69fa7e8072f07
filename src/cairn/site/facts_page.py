"""The part of a method page that the inventory answers: paper, rule, example, needs, labels, claims, sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from cairn.evidence.golden import GoldenCase
from cairn.inventory import Entry, Inventory
from cairn.inventory.models import NONE, UNKNOWN, CreditRule, Labels, SurveyLabels, vocabulary_of
from cairn.site import strip
from cairn.site.marks import status_marks, verdict_badges
from cairn.site.subject import Subject
from cairn.site.terms import entry_link, term, terms
from cairn.site.text import (
    Content,
    Html,
    bullets,
    cite,
    code,
    definitions,
    details,
    element,
    escape,
    front_matter,
    join,
    markdown,
    notice,
    outward,
    paragraph,
    table,
    words,
)

FACETS = ("type", "setting", "granularity", "methodology", "baseline_family", "aux_model", "compute")
LABELS = (*FACETS, "evidence", "benchmarks")
"""Our labels that the survey has too."""
CODED = tuple(label for label in LABELS if vocabulary_of(SurveyLabels.model_fields[label].json_schema_extra))
"""Labels for which the survey's letters stand for words of our lists; the others are in its own words."""
_LISTS = {label: vocabulary_of(info.json_schema_extra) for label, info in Labels.model_fields.items()}


def lead(subject: Subject, inventory: Inventory) -> str:
    """Return what is seen first: name, rule in a sentence or two, paper, code, labels, statuses."""
    entry, paper = subject.entry, subject.entry.bibliography
    facts: list[tuple[Content, Content]] = [
        ("Paper", join([outward(paper.title, paper.url), _authors(entry), _venue(entry)], "<br>")),
        ("Code", _code(entry)),
        ("Labels", _label_links(entry, inventory)),
        ("Status", join([status_marks(subject), verdict_badges(subject)], " ")),
    ]
    head = f"{front_matter(paper.name)}\n\n# {markdown(paper.name)}"
    summary = paragraph(entry.rule.credited, " ", cite(entry.rule.from_), class_="cairn-lead")
    return "\n\n".join([head, *_notices(entry, inventory), summary, definitions(facts)])


def _notices(entry: Entry, inventory: Inventory) -> list[str]:
    """Return what a reader must know first: that the entry has moved, or no longer counts."""
    moved, gone = entry.moved_to != NONE, entry.withdrawn != NONE
    to = entry_link(inventory, entry.moved_to)
    return [
        *([notice("warning", "Moved", "This entry has moved to ", to, ". It stays here for links.")] if moved else []),
        *([notice("danger", "Withdrawn", entry.withdrawn)] if gone else []),
    ]


def _authors(entry: Entry) -> Html:
    paper = entry.bibliography
    if paper.authors == (UNKNOWN,):
        return escape("authors not established")
    names = [" ".join(reversed(author.split(", ", 1))) for author in paper.authors]
    return escape(", ".join(names) + ("" if paper.authors_complete else " and others"))


def _venue(entry: Entry) -> Html:
    paper = entry.bibliography
    venue = {NONE: "preprint", UNKNOWN: "venue not established"}.get(paper.venue, paper.venue)
    year = "" if str(paper.year) in venue else f", {paper.year}"
    arxiv = "" if paper.arxiv == NONE else f", arXiv {paper.arxiv}"
    return join([f"{venue}{year}{arxiv} ", cite(paper.from_)])


def _code(entry: Entry) -> Html:
    paper = entry.bibliography
    if paper.code_url in (NONE, UNKNOWN):
        return escape("none found" if paper.code_url == NONE else "not established")
    licence = "licence not established" if paper.code_license == UNKNOWN else f"licence {paper.code_license}"
    return join([outward(paper.code_url.partition("://")[2], paper.code_url), f", {licence}"])


def called(label: str, inventory: Inventory) -> str:
    """Return what a label is called: the title of its list."""
    return inventory.vocabulary(_LISTS[label]).title


def values_of(entry: Entry, label: str) -> tuple[str, ...]:
    """Return the words of one of our labels."""
    found = getattr(entry.labels, label)
    return found if isinstance(found, tuple) else (found,)


def _label_links(entry: Entry, inventory: Inventory) -> Html:
    links = [
        term(inventory, _LISTS[label], word, join([element("small", called(label, inventory)), f" {words(word)}"]))
        for label in FACETS
        for word in values_of(entry, label)
    ]
    return element("span", join(links, " "), class_="cairn-labels")


def rule(entry: Entry, inventory: Inventory) -> str:
    """Return formula, steps, normalisation, loss, hyperparameters and variants."""
    found = entry.rule
    notes = definitions([("Normalisation", found.normalisation), ("Loss", found.loss)])
    parts = [
        "## The rule",
        element("p", found.formula, class_="cairn-formula"),
        bullets(found.procedure, "ol"),
        notes,
        *_settings(found),
        *_variants(found, inventory),
    ]
    return "\n\n".join(parts)


def _settings(found: CreditRule) -> list[str]:
    if not found.hyperparameters:
        return []
    rows = [
        (
            one.name,
            one.meaning,
            _known(one.paper),
            _known(one.released),
            cite(one.from_),
        )
        for one in found.hyperparameters
    ]
    return ["### Hyperparameters", table(["Name", "Meaning", "In the paper", "In the released code", "Source"], rows)]


def _known(value: str) -> Content:
    return element("span", "not seen", class_="cairn-quiet") if value == UNKNOWN else value


def _variants(found: CreditRule, inventory: Inventory) -> list[str]:
    rows = [
        (words(one.name), term(inventory, "accounts", one.account), one.text, cite(one.from_)) for one in found.variants
    ]
    return ["### Variants", table(["Variant", "Described by", "How it differs", "Source"], rows)] if rows else []


def example(subject: Subject, names: Mapping[str, str]) -> str:
    """Return the worked example as strips of turns beside other rules on the same batch, or that there is none."""
    head = "## Worked example"
    if subject.golden is None:
        return "\n\n".join([head, paragraph("None yet: the rule is not implemented here.", class_="cairn-quiet")])
    source = f"reproductions/{subject.id}/golden.yaml"
    origin = paragraph("Where the numbers come from: ", subject.golden.origin, " (", element("code", source), ")")
    intro = paragraph(
        "A tiny batch and the credit that each turn gets. The implementation must give these numbers: they are a test."
    )
    own = subject.entry.bibliography.name
    drawn = [(_case_title(case), strip.draw(subject.golden, case, own, names)) for case in subject.golden.cases]
    first, *others = drawn
    more = "\n\n".join(f"{paragraph(title)}\n{picture}" for title, picture in others)
    parts = [head, intro, origin, paragraph(first[0]), first[1]]
    return "\n\n".join(
        [*parts, *([details(f"Other settings on the same batch: {len(others)}", more)] if others else [])]
    )


def _case_title(case: GoldenCase) -> Html:
    given = ", ".join(f"{name} = {value}" for name, value in case.method.items())
    return join([element("strong", words(case.name)), f" ({given})" if given else ""])


def needs(subject: Subject, inventory: Inventory) -> str:
    """Return what a harness must offer and which stages the method replaces, each word with its definition."""
    entry = subject.entry
    rows = [
        (term(inventory, "needs", word, told=False), inventory.vocabulary("needs").words[word].definition)
        for word in entry.needs
    ]
    needed = table(["It needs", "That is"], rows) if rows else paragraph("It needs nothing beyond plain rollouts.")
    stages = [
        (term(inventory, "hooks", word, told=False), inventory.vocabulary("hooks").words[word].definition)
        for word in entry.hooks
    ]
    changed = (
        table(["It replaces the stage", "That is"], stages)
        if stages
        else paragraph("It replaces no stage of training.")
    )
    note = [paragraph(entry.interface.note)] if entry.interface.note else []
    cost = paragraph(
        "Auxiliary model: ",
        term(inventory, "aux-model", entry.labels.aux_model),
        "; cost beyond plain policy-gradient training: ",
        term(inventory, "compute", entry.labels.compute),
        " ",
        cite(entry.interface.from_),
        ". What it cost when we ran it stands in the ledger below." if "run" in subject.statuses else ".",
    )
    return "\n\n".join(["## What it needs", needed, changed, *note, cost])


def labels(entry: Entry, inventory: Inventory) -> str:
    """Return the survey's labels beside ours, with the reason where they part."""
    rest = paragraph("Ours rest on ", cite(entry.labels.from_), ".")
    if entry.survey is None:
        parts = ["## Labels", paragraph("The survey does not label this entry."), _own_labels(entry, inventory), rest]
    else:
        told = paragraph("A dash: they agree, or differ in words only.")
        parts = ["## Labels: the survey's and ours", label_table(entry, inventory, LABELS), told, rest]
    if entry.survey_discrepancy is not None:
        found = entry.survey_discrepancy
        parts += ["### Where the survey and the paper differ", paragraph(found.text, " ", cite(found.from_))]
    return "\n\n".join(parts)


def _own_labels(entry: Entry, inventory: Inventory) -> str:
    rows = [(called(label, inventory), terms(inventory, _LISTS[label], values_of(entry, label))) for label in LABELS]
    return table(["Label", "Ours"], rows)


def label_table(entry: Entry, inventory: Inventory, shown: Sequence[str]) -> str:
    """Return some of the labels, the survey's word, ours, and the reason where they differ."""
    why = entry.labels.why
    rows = [
        (
            called(label, inventory),
            _survey(entry, label),
            terms(inventory, _LISTS[label], values_of(entry, label)),
            why.get(label),
        )
        for label in shown
    ]
    return table(["Label", "Survey", "Ours", "Why they differ"], rows)


def _survey(entry: Entry, label: str) -> Content:
    found = getattr(entry.survey, label)
    listed = found if isinstance(found, tuple) else (found,)
    return ", ".join(words(one) if label in CODED else one for one in listed)


def claims(subject: Subject) -> str:
    """Return the paper's claims, in our words with its numbers, and the verdict of each test of ours beside them."""
    rows = [
        (
            one.text,
            one.numbers,
            f"{one.benchmark}; {one.base_model}",
            join([f"{one.where} ", cite(one.from_)]),
            _tested(subject, one.key),
        )
        for one in subject.entry.claims
    ]
    head = "## Claims, and our test of them"
    if not rows:
        return "\n\n".join([head, paragraph("No claim is recorded for this entry.")])
    note = paragraph("Evidence tier of this table: the paper's own. The numbers are the paper's, not ours.")
    return "\n\n".join([head, note, table(["Claim", "Numbers", "Benchmark; base model", "Where", "Our test"], rows)])


def _tested(subject: Subject, key: str) -> Content:
    tests = subject.tests_of(key)
    if not tests:
        return element("span", "not tested", class_="cairn-quiet")
    return verdict_badges(subject, tests)


def sources(entry: Entry, inventory: Inventory) -> str:
    """Return the list of sources, each with an anchor, and how well the rule is known."""
    dated = any(one.date != UNKNOWN for one in entry.sources.values())
    rows = [
        [
            element("span", key, id=key),
            term(inventory, "source-kinds", one.kind),
            element("span", one.ref, class_="cairn-break"),
            one.seen,
            *([None if one.date == UNKNOWN else one.date] if dated else []),
        ]
        for key, one in entry.sources.items()
    ]
    head = ["Key", "Kind", "Source", "What was read there", *(["Read on"] if dated else [])]
    read = paragraph(
        "Confidence in the rule as written here: ",
        element("strong", term(inventory, "confidence", entry.confidence)),
        ". Last compared with its sources: ",
        element("time", entry.checked.isoformat(), datetime=entry.checked.isoformat()),
        ". A fact is wrong? Mend ",
        element("code", PurePosixPath(entry.file).as_posix()),
        ".",
    )
    return "\n\n".join(["## Sources", table(head, rows), read])


def citation(text: str, command: str) -> str:
    """Return the BibTeX record, and the command that prints it."""
    return "\n\n".join(
        ["## Cite the paper", code(text), paragraph("The same from the shell: ", element("code", command))]
    )
