"""The overview of all entries: rows that are there without a script, and the filters that a script puts to work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cairn.evidence.catalogue import STATUS
from cairn.evidence.status import STATUSES
from cairn.inventory import Entry, Inventory
from cairn.inventory.collection import WITHOUT
from cairn.inventory.criteria import FAMILY, STANDINGS
from cairn.site.marks import badge
from cairn.site.part import Part, Whole
from cairn.site.subject import Subject
from cairn.site.tables import Column, Ordered, Row, live
from cairn.site.terms import PAGE, list_of, term
from cairn.site.text import Content, Html, details, element, escape, join, link, paragraph, words

_COLUMNS = (
    Column("Method"),
    Column("Year", numeric=True),
    Column("Setting"),
    Column("Granularity"),
    Column("Methodology"),
    Column("Auxiliary model"),
    Column("Compute", numeric=True),
    Column("Evidence", numeric=True),
    Column("Status", numeric=True),
    Column("Verdicts", numeric=True),
)
_LABELS = ("setting", "granularity", "methodology", "aux_model")
_SCALES = ("compute", "evidence")  # labels whose words stand in an order
_NEED = "need"
SURVEY = "survey"
IN_SURVEY, NOT_IN_SURVEY = "yes", "no"
# Shown at once; the other criteria stand behind a click.
_FIRST = ("setting", "granularity", FAMILY, "methodology", _NEED, WITHOUT + _NEED, STATUS, "verdict")
_LONG = 40
_USUAL = ("method", STANDINGS[0])  # said of a row only where it is something else
_CALLED = {
    SURVEY: "in the survey",
    FAMILY: "methodology family",
    _NEED: "needs",
    WITHOUT + _NEED: "does without",
    "hook": "replaces the stage",
    "evidence": "evidence of the paper",
    "confidence": "confidence in the rule",
}

Options = Mapping[str, int]


def make(whole: Whole) -> Part:
    """Return the overview."""
    inventory = whole.inventory
    methods, others = len(inventory.methods), len(inventory) - len(inventory.methods)
    about = paragraph(
        f"{methods} methods, and {others} entries beside them: background that they are compared with, and "
        "diagnostics. Each row leads to its page: the rule, a worked example, what the paper claims, and what came out "
        "when we tested it. Labels are ours and lead to ",
        link("their definitions", PAGE),
        "; the survey's stand beside them on each page.",
    )
    stages = paragraph(
        "Status: listed, an entry with sources; implemented, a module and a worked example that is a test; run, "
        "records of our own; judged, verdicts on declared claims. It is computed from the files that exist."
    )
    subjects = sorted(whole.subjects, key=lambda subject: subject.entry.bibliography.name.casefold())
    rows = (_row(subject, inventory) for subject in subjects)
    parts = ["---\nhide: [toc]\n---", "# Methods", about, stages, _form(inventory), live("catalogue", _COLUMNS, rows)]
    return Part({"methods/index.md": "\n\n".join(parts) + "\n"})


def _words(entry: Entry, inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """Return the words of an entry for every filter of the form."""
    found = {name: inventory.words_of(entry, name) for name in inventory.criteria}
    surveyed = (NOT_IN_SURVEY,) if entry.survey is None else (IN_SURVEY, entry.survey.type)
    return found | {SURVEY: surveyed, "year": (str(entry.bibliography.year),)}


def _options(inventory: Inventory) -> dict[str, Options]:
    """Return for each filter its words with how many entries have them, in the order in which to offer them."""
    counted: dict[str, Counter[str]] = {}
    for entry in inventory:
        for name, found in _words(entry, inventory).items():
            counted.setdefault(name, Counter()).update(dict.fromkeys(found, 1))
    offered = {name: _in_order(name, counts, inventory) for name, counts in counted.items()}
    needs = inventory.vocabulary(list_of(_NEED)).words
    without = {word: len(inventory) - offered[_NEED].get(word, 0) for word in needs}
    return {**{name: offered[name] for name in _FIRST if name in offered}, **offered, WITHOUT + _NEED: without}


def _in_order(name: str, counts: Counter[str], inventory: Inventory) -> Options:
    """Return words as their list has them; long lists without an order by name, years and the rest by name too."""
    known = list(inventory.vocabulary(list_of(name)).words) if list_of(name) else sorted(counts)
    if name in inventory.facets:
        known = list(inventory.facets[name].words)
    if len(known) > _LONG and name != "methodology":
        known = sorted(known)
    return {word: counts[word] for word in (reversed(known) if name == "year" else known) if counts[word]}


def _form(inventory: Inventory) -> str:
    options = {name: found for name, found in _options(inventory).items() if found}
    search = '<label>Search <input type="search" name="q" autocomplete="off"></label>'
    first = "\n".join(_select(name, options[name], inventory) for name in _FIRST if name in options)
    more = "\n".join(_select(name, found, inventory) for name, found in options.items() if name not in _FIRST)
    rest = details("More filters", f'<div class="cairn-fields">\n{more}\n</div>')
    fields = f'<div class="cairn-fields">\n{search}\n{first}\n</div>\n{rest}'
    reset = '<p><button type="reset">Show all</button> <output></output></p>'
    # Hidden until the script runs: without it the controls would do nothing.
    return f'<form class="cairn-filter" data-for="catalogue" hidden>\n{fields}\n{reset}\n</form>'


def _select(name: str, options: Options, inventory: Inventory) -> str:
    offered = _grouped(options, inventory) if name == "methodology" else _offered(options.items())
    select = f'<select name="{escape(name)}"><option value="">any</option>{offered}</select>'
    called = _CALLED.get(name) or (inventory.vocabulary(list_of(name)).title if list_of(name) else words(name))
    return f"<label>{escape(called[0].upper() + called[1:])} {select}</label>"


def _offered(options: Iterable[tuple[str, int]]) -> Html:
    return join(element("option", f"{words(word)} ({count})", value=word) for word, count in options)


def _grouped(options: Options, inventory: Inventory) -> Html:
    """Return methodologies under their families."""
    known = inventory.vocabulary("methodology").words
    families = dict.fromkeys(known[word].family for word in options)
    return join(
        element("optgroup", _offered((word, count) for word, count in options.items() if known[word].family == family),
                label=words(family))
        for family in families
    )  # fmt: skip


def _row(subject: Subject, inventory: Inventory) -> Row:
    entry = subject.entry
    data = {name: " ".join(found) for name, found in _words(entry, inventory).items()}
    notes = [word for word in (entry.kind, *inventory.words_of(entry, "standing")) if word not in _USUAL]
    name = join([link(entry.bibliography.name, f"{subject.id}.html"), *(element("small", f" {one}") for one in notes)])
    cells: list[Content | Ordered] = [name, str(entry.bibliography.year)]
    cells += [_label(entry, label, inventory) for label in _LABELS]
    cells += [Ordered(_label(entry, label, inventory), _place(entry, label, inventory)) for label in _SCALES]
    return Row([*cells, _status(subject), Ordered(_verdicts(subject), len(subject.verdicts))], data)


def _label(entry: Entry, label: str, inventory: Inventory) -> Html:
    found = inventory.words_of(entry, label)
    return join((term(inventory, list_of(label), word, told=False) for word in found), ", ")


def _place(entry: Entry, label: str, inventory: Inventory) -> int:
    return list(inventory.vocabulary(list_of(label)).words).index(inventory.words_of(entry, label)[0])


def _status(subject: Subject) -> Ordered:
    """Return the four statuses as dots, with the name of the last one reached."""
    dots = "".join("●" if status in subject.statuses else "○" for status in STATUSES)
    told = ", ".join(subject.statuses)
    shown = element("span", f"{dots} {subject.statuses[-1]}", title=told, class_="cairn-nowrap")
    return Ordered(shown, len(subject.statuses))


def _verdicts(subject: Subject) -> Html:
    counts: Sequence[tuple[str, int]] = list(Counter(subject.verdicts).items())
    return join(
        (element("span", badge(label), f" × {count}", class_="cairn-nowrap") for label, count in counts), "<br>"
    )
