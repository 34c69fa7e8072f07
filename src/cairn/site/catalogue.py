"""The overview of all entries: rows that are there without a script, and the filters that a script puts to work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cairn.evidence.status import STATUSES
from cairn.inventory import Inventory
from cairn.site.facts_page import FACETS, values_of
from cairn.site.marks import badge
from cairn.site.subject import Subject
from cairn.site.text import Html, element, escape, join, link, paragraph, words

_ANY = "any"
_COLUMNS = ("Method", "Year", "Kind", "Granularity", "Methodology", "Setting", "Auxiliary model", "Status", "Verdicts")
_NUMBERS = frozenset({"Year"})

# filter name in the address -> the words of an entry
Facet = Callable[[Subject], tuple[str, ...]]


def _facet_of(label: str) -> Facet:
    return lambda subject: values_of(subject.entry, label)


_FACETS: Mapping[str, Facet] = {
    "kind": lambda subject: (subject.entry.kind,),
    **{label: _facet_of(label) for label in FACETS},
    "need": lambda subject: subject.entry.needs,
    "status": lambda subject: subject.statuses,
    "verdict": lambda subject: subject.verdicts,
}


def render(subjects: Sequence[Subject], inventory: Inventory) -> str:
    """Return the overview page as Markdown."""
    methods, background = len(inventory.methods), len(inventory.background)
    about = paragraph(
        f"{methods} methods and {background} background entries that they are compared with. Each row leads to its "
        "page: the rule, a worked example, what the paper claims, and what came out when we tested it. "
        "Labels are ours; the survey's stand beside them on each page."
    )
    stages = paragraph(
        "Status: listed, an entry with sources; implemented, a module and a worked example that is a test; run, "
        "records of our own; judged, verdicts on declared claims. It is computed from the files that exist."
    )
    return "\n\n".join(["---\nhide: [toc]\n---", "# Methods", about, stages, _form(subjects), _table(subjects)]) + "\n"


def _form(subjects: Sequence[Subject]) -> str:
    selects = "\n".join(filter(None, (_select(name, facet, subjects) for name, facet in _FACETS.items())))
    search = '<label>Search <input type="search" name="q" autocomplete="off"></label>'
    reset = '<button type="reset">Show all</button> <output></output>'
    # Hidden until the script runs: without it the controls would do nothing.
    return f'<form class="cairn-filter" data-for="catalogue" hidden>\n{search}\n{selects}\n{reset}\n</form>'


def _select(name: str, facet: Facet, subjects: Sequence[Subject]) -> str:
    found = {word for subject in subjects for word in facet(subject)}
    ordered = [word for word in STATUSES if word in found] if name == "status" else sorted(found)
    if not ordered:
        return ""
    options = join(element("option", words(word), value=word) for word in ordered)
    select = f'<select name="{escape(name)}"><option value="">{_ANY}</option>{options}</select>'
    return f"<label>{escape(words(name))} {select}</label>"


def _table(subjects: Sequence[Subject]) -> str:
    head = "".join(
        f'<th scope="col" data-sort="{"number" if name in _NUMBERS else "text"}">{name}</th>' for name in _COLUMNS
    )
    rows = "\n".join(_row(subject) for subject in subjects)
    return f'<table id="catalogue" data-cairn>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'


def _row(subject: Subject) -> str:
    entry = subject.entry
    data = " ".join(
        f'data-{name.replace("_", "-")}="{escape(" ".join(facet(subject)))}"' for name, facet in _FACETS.items()
    )
    name = element("th", link(entry.bibliography.name, f"{subject.id}.html"), scope="row")
    listed = [
        str(entry.bibliography.year),
        entry.kind,
        *(
            ", ".join(map(words, values_of(entry, label)))
            for label in ("granularity", "methodology", "setting", "aux_model")
        ),
        _status(subject),
        _verdicts(subject),
    ]
    return f"<tr {data}>{name}{join(element('td', cell) for cell in listed)}</tr>"


def _status(subject: Subject) -> Html:
    """Return the four statuses as dots, with the name of the last one reached."""
    dots = "".join("●" if status in subject.statuses else "○" for status in STATUSES)
    return element("span", f"{dots} {subject.statuses[-1]}", title=", ".join(subject.statuses), class_="cairn-nowrap")


def _verdicts(subject: Subject) -> Html:
    counts = {label: subject.verdicts.count(label) for label in dict.fromkeys(subject.verdicts)}
    return join(
        (element("span", badge(label), f" × {count}", class_="cairn-nowrap") for label, count in counts.items()), "<br>"
    )
