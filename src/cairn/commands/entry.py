"""`cairn show`: one entry of the inventory, readable, each block with the sources it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cairn.commands.terminal import DASH, AsJson, add, heading, output, print_json, printable, table, words
from cairn.evidence.status import statuses
from cairn.inventory import Entry, load
from cairn.inventory.models import NONE

_SURVEY_LABELS = "Labels: ours, the survey's, and why they differ"


def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="An entry of the inventory; see `cairn list`.")],
    as_json: AsJson = False,
) -> None:
    """Show an entry: its paper, rule, labels, claims, reporting marks, sources, and what has been done about it."""
    entry = load()[id]
    if as_json:
        print_json({**entry.to_dict(), "status": list(statuses(entry.id))})
    else:
        _print(output(), entry)


def _print(console: Console, entry: Entry) -> None:
    console.print(_head(entry))
    for title, body in _sections(entry):
        heading(console, title)
        console.print(Padding(body, (0, 0, 0, 2)))


def _sections(entry: Entry) -> Iterator[tuple[str, RenderableType]]:
    yield "Rule" + _from(entry.rule.from_), _rule(entry)
    if entry.rule.hyperparameters:
        yield "Hyperparameters", _hyperparameters(entry)
    if entry.rule.variants:
        yield "Variants", _variants(entry)
    yield f"{_SURVEY_LABELS}{_from(entry.labels.from_)}", _labels(entry)
    yield "Interface and properties" + _from([*entry.interface.from_, *entry.properties.from_]), _interface(entry)
    yield "Claims of the paper", _claims(entry)
    yield "Reporting checklist: what the paper and its code report", _reporting(entry)
    if entry.relations:
        yield "Relations", _relations(entry)
    if entry.survey_discrepancy:
        yield (
            "Where the survey differs" + _from(entry.survey_discrepancy.from_),
            Text(_clean(entry.survey_discrepancy.text)),
        )
    yield "Sources", _sources(entry)


def _from(keys: Sequence[str]) -> str:
    return f" [{', '.join(dict.fromkeys(keys))}]"


def _clean(text: str) -> str:
    return printable(" ".join(text.split()))


def _pairs(pairs: dict[str, str]) -> Table:
    """Return names beside texts, without a heading."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column()
    for name, text in pairs.items():
        rows.add_row(name, Text(_clean(text) or DASH))
    return rows


def _head(entry: Entry) -> RenderableType:
    paper = entry.bibliography
    authors = "; ".join(paper.authors) + ("" if paper.authors_complete else "; and others")
    code = paper.code_url if paper.code_url == NONE else f"{paper.code_url} ({paper.code_license})"
    pairs = {
        "authors": authors,
        "published": paper.venue if str(paper.year) in paper.venue else f"{paper.venue}, {paper.year}",
        "paper": paper.url if paper.arxiv == NONE else f"{paper.url} (arXiv {paper.arxiv})",
        "code": code,
        "entry": f"{entry.kind}, confidence {entry.confidence}, last checked {entry.checked.isoformat()}",
        "status": words(statuses(entry.id)),
    }
    pairs |= {} if entry.moved_to == NONE else {"moved to": entry.moved_to}
    pairs |= {} if entry.withdrawn == NONE else {"withdrawn": entry.withdrawn}
    title = Text(_clean(f"{entry.id}: {paper.name}. {paper.title}") + _from(paper.from_), style="bold")
    return Group(title, _pairs(pairs))


def _rule(entry: Entry) -> RenderableType:
    rule = entry.rule
    steps = "\n".join(f"{number}. {_clean(step)}" for number, step in enumerate(rule.procedure, start=1))
    pairs = _pairs({"credited": rule.credited, "formula": rule.formula})
    pairs.add_row("procedure", Text(steps))
    for name in ("normalisation", "loss"):
        pairs.add_row(name, Text(_clean(getattr(rule, name))))
    return pairs


def _hyperparameters(entry: Entry) -> Table:
    rows = table("name", "meaning", "paper", "released", "from")
    for one in entry.rule.hyperparameters:
        add(rows, one.name, one.meaning, one.paper, one.released, ", ".join(one.from_))
    return rows


def _variants(entry: Entry) -> Table:
    return _pairs({f"{one.name} ({one.account})": f"{one.text}{_from(one.from_)}" for one in entry.rule.variants})


def _labels(entry: Entry) -> Table:
    rows = table("label", "ours", "survey", "why")
    survey = entry.survey.model_dump(mode="json") if entry.survey else {}
    for name, value in entry.labels.model_dump(mode="json", exclude={"why", "from_"}).items():
        add(rows, name.replace("_", " "), _joined(value), _joined(survey.get(name)), entry.labels.why.get(name, ""))
    return rows


def _joined(value: object) -> str:
    return DASH if value is None else value if isinstance(value, str) else words([str(one) for one in value])  # type: ignore[attr-defined]


def _interface(entry: Entry) -> Table:
    limits = "; ".join(f"{one.id} when {one.when}" for one in entry.properties.reduces_to)
    pairs = {
        "needs": words(entry.needs),
        "overrides": words(entry.hooks),
        "invariants": words(entry.properties.invariants),
        "reduces to": limits,
        "note": " ".join(part for part in (entry.interface.note, entry.properties.note) if part),
    }
    return _pairs(pairs)


def _claims(entry: Entry) -> RenderableType:
    claims = {
        one.key: f"{one.text} Numbers: {one.numbers}. Benchmark: {one.benchmark}. Model: {one.base_model}. "
        f"Read in: {one.where}{_from(one.from_)}"
        for one in entry.claims
    }
    return _pairs(claims) if claims else Text("none recorded")


def _reporting(entry: Entry) -> Table:
    rows = table("item", "mark", "evidence")
    for item, mark in entry.reporting.marks():
        evidence = " ".join(f"{one.account}: {one.text}{_from(one.from_)}" for one in mark.evidence)
        add(rows, item.replace("_", " "), mark.status, _clean(evidence))
    return rows


def _relations(entry: Entry) -> Table:
    rows = table("kind", "to", "note", "from")
    for one in entry.relations:
        names = (one.id, f"arXiv {one.arxiv}" if one.arxiv != NONE else NONE, one.name)
        add(rows, one.kind, next((name for name in names if name != NONE), DASH), one.note, ", ".join(one.from_))
    return rows


def _sources(entry: Entry) -> Table:
    rows = table("key", "kind", "reference", "what was read", "on")
    for key, one in entry.sources.items():
        add(rows, key, one.kind, one.ref, one.seen, one.date)
    return rows
