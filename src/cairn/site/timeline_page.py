"""When each paper first appeared, by the month in its arXiv id: a picture by setting, and the same as a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cairn.inventory import Entry, Inventory
from cairn.site.charts import svg, text
from cairn.site.part import VERSION, DataFile, Part, Whole, as_csv
from cairn.site.tables import Column, Ordered, Row, live
from cairn.site.terms import entry_links, overview
from cairn.site.text import Content, Html, element, link, paragraph, words

_DATA = f"{VERSION}/timeline.csv"
_ARXIV = re.compile(r"(?:[a-z-]+(?:\.[A-Z]{2})?/)?(\d\d)(\d\d)")
_FIRST_CENTURY_YEAR = 91  # arXiv began in 1991: two digits from here on are of the last century
WIDTH, LEFT, STEP, PAD = 456, 4, 9, 20


@dataclass(frozen=True, order=True)
class Month:
    """A month of a year."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02d}"


def first_month(entry: Entry) -> Month | None:
    """Return the month of the first version, which the arXiv id names; None without an id."""
    found = _ARXIV.match(entry.bibliography.arxiv)
    if found is None:
        return None
    short, month = map(int, found.groups())
    return Month(short + (1900 if short >= _FIRST_CENTURY_YEAR else 2000), month)


def make(whole: Whole) -> Part:
    """Return the page of the timeline."""
    inventory = whole.inventory
    dated = {entry.id: month for entry in inventory if (month := first_month(entry)) is not None}
    undated = [entry.id for entry in inventory if entry.id not in dated]
    rest = [paragraph("Without an arXiv id, hence without a month: ", entry_links(inventory, undated), ".")]
    page = [
        "---\nhide: [toc]\n---",
        "# Timeline",
        _about(inventory, dated),
        _picture(inventory, dated),
        paragraph("The same as a table, to sort; data: ", link("timeline.csv", f"../data/{_DATA}"), "."),
        "## Month by month",
        live("months", [Column("Month"), Column("Entries", numeric=True), *_settings(inventory)],
             _rows(inventory, dated)),
        *(rest if undated else []),
    ]  # fmt: skip
    rows = _plain(inventory, dated)
    data = DataFile(_DATA, "Timeline", "month of the first version and settings of each entry", as_csv(rows))
    return Part({"inventory/timeline.md": "\n\n".join(page) + "\n"}, (data,))


def _plain(inventory: Inventory, dated: dict[str, Month]) -> Iterable[Sequence[object]]:
    yield ["id", "month", "settings", "surveyed"]
    for entry in inventory:
        month, surveyed = dated.get(entry.id), entry.survey is not None
        yield [entry.id, str(month or ""), " ".join(entry.labels.setting), "yes" if surveyed else "no"]


def _about(inventory: Inventory, dated: dict[str, Month]) -> str:
    several = sum(len(entry.labels.setting) > 1 for entry in inventory if entry.id in dated)
    return paragraph(
        f"{len(dated)} of {len(inventory)} entries by the month of their first version. A full mark is an entry that "
        f"the survey labels, a ring one that it does not. {several} entries are used in more than one setting and "
        "stand in each of them. How many papers a month has says as much about where we looked as about the field."
    )


def _settings(inventory: Inventory) -> list[Column]:
    return [Column(words(setting)) for setting in inventory.counts("setting")]


def _by_month(inventory: Inventory, dated: dict[str, Month]) -> dict[Month, list[Entry]]:
    found: dict[Month, list[Entry]] = {}
    for entry in inventory:
        if entry.id in dated:
            found.setdefault(dated[entry.id], []).append(entry)
    return dict(sorted(found.items(), reverse=True))


def _rows(inventory: Inventory, dated: dict[str, Month]) -> Iterable[Row]:
    settings = [*inventory.counts("setting")]
    for month, held in _by_month(inventory, dated).items():
        among = [[one.id for one in held if setting in one.labels.setting] for setting in settings]
        cells: list[Content | Ordered] = [str(month), str(len(held)), *(entry_links(inventory, ids) for ids in among)]
        yield Row(cells)


@dataclass(frozen=True)
class _Axis:
    """Months from `first` to `last` side by side; what is older stands in one column before them."""

    first: Month
    last: Month

    @property
    def columns(self) -> int:
        return (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1

    def x(self, month: Month) -> float:
        """Return the horizontal place; the column of older months is one step wide and stands two before the first."""
        at = (month.year - self.first.year) * 12 + month.month - self.first.month
        step = (WIDTH - 2 * LEFT) / (self.columns + 3)
        return LEFT + step * (0.5 if at < 0 else at + 3)


def _axis(months: Sequence[Month]) -> _Axis:
    """Return the axis from January of the first year after which no year is without an entry."""
    years = {month.year for month in months}
    first = max(years)
    while first - 1 in years:
        first -= 1
    return _Axis(Month(first, 1), max(months))


def _picture(inventory: Inventory, dated: dict[str, Month]) -> str:
    if not dated:
        return ""
    axis = _axis(list(dated.values()))
    parts: list[Html] = []
    top: float = 0
    for setting in inventory.counts("setting"):
        lane, height = _lane(inventory, dated, axis, setting, top)
        parts += lane
        top += height
    parts = [*_years(axis, top), *parts]
    label = f"Entries by month of first version, {axis.first.year} to {axis.last}, one lane for each setting"
    caption = element("figcaption", f"{label}. Each mark is an entry and leads to its page.")
    return f'<figure class="cairn-chart cairn-timeline">\n{svg(WIDTH, top + 26, label, parts)}\n{caption}\n</figure>'


def _lane(
    inventory: Inventory, dated: dict[str, Month], axis: _Axis, setting: str, top: float
) -> tuple[list[Html], float]:
    """Return the marks of one setting, stacked by month from the floor of its lane, and the height of the lane."""
    stacks: dict[float, list[str]] = {}
    for entry in sorted((one for one in inventory if one.id in dated), key=lambda one: (dated[one.id], one.id)):
        if setting in entry.labels.setting:
            stacks.setdefault(axis.x(dated[entry.id]), []).append(entry.id)
    height = STEP * max(map(len, stacks.values()), default=0) + PAD
    floor = top + height
    named = element("a", text(0, top + PAD / 2 + 8, words(setting), "start"), href=overview(setting=setting))
    line = Html(f'<path class="cairn-grid" d="M0 {floor:.1f}H{WIDTH}"/>')
    marks = [
        _mark(inventory[one], str(dated[one]), x, floor - STEP * (place + 0.5))
        for x, ids in sorted(stacks.items())
        for place, one in enumerate(ids)
    ]
    return [line, named, *marks], height


def _mark(entry: Entry, month: str, x: float, y: float) -> Html:
    tip = element("title", f"{entry.bibliography.name}, {month}")
    kind = "cairn-ring" if entry.survey is None else "cairn-full"
    dot = Html(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.6">{tip}</circle>')
    return element("a", dot, href=f"../methods/{entry.id}.html")


def _years(axis: _Axis, bottom: float) -> list[Html]:
    parts = [text(0, bottom + 18, "older", "start", "cairn-quiet")]
    for year in range(axis.first.year, axis.last.year + 1):
        x = axis.x(Month(year, 1)) - (axis.x(Month(axis.first.year, 2)) - axis.x(axis.first)) / 2
        parts.append(Html(f'<path class="cairn-grid" d="M{x:.1f} 4V{bottom + 4:.1f}"/>'))
        parts.append(text(x + 4, bottom + 18, str(year), "start"))
    return parts
