"""The taxonomy as heat maps: the unit that receives credit, by how the credit is computed; ours and the survey's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from cairn.inventory import Entry, Grid, Inventory
from cairn.inventory.criteria import FAMILY
from cairn.inventory.grid import arrange
from cairn.site.catalogue import IN_SURVEY
from cairn.site.part import VERSION, DataFile, Part, Whole, as_json
from cairn.site.tables import Heat, HeatRow, heat_map
from cairn.site.terms import entry_link, entry_links, overview, term
from cairn.site.text import (
    Content,
    Html,
    bullets,
    definitions,
    details,
    element,
    join,
    link,
    paragraph,
    words,
)  # fmt: skip

_ROWS, _COLUMNS = "granularity", "methodology-family"
_NOT_FILED = "not-filed"  # the family of a label of the survey that falls under none of our words
_DATA = f"{VERSION}/grid.json"


@dataclass(frozen=True)
class _Map:
    """A grid and where a click on one of its cells leads, from the granularity and the family (empty: all)."""

    grid: Grid
    target: Callable[[str, str], str]


def make(whole: Whole) -> Part:
    """Return the page of the grids."""
    inventory = whole.inventory
    surveyed = replace(inventory, entries=tuple(one for one in inventory if one.survey is not None))
    everything = _Map(inventory.grid(), _overview())
    ours = _Map(surveyed.grid(), _overview(survey=IN_SURVEY))
    theirs = _Map(_surveys_grid(surveyed), _place)
    page = [
        "---\nhide: [toc]\n---",
        "# Granularity by methodology",
        _about(inventory),
        "## All entries",
        _drawn(everything, inventory),
        _twice(everything.grid, inventory),
        details("The entries of each cell", _listed(everything.grid, inventory)),
        "## The survey's labels and ours",
        _pair(ours, theirs, inventory),
        details("The entries of each cell, by the survey's labels", _listed(theirs.grid, inventory, _place)),
        "## Each methodology",
        paragraph("The same entries by the word for their mechanism, under its family."),
        _by_methodology(inventory),
        paragraph("The numbers and ids: ", link("grid.json", f"../data/{_DATA}"), "."),
    ]
    grids = {"all": everything, "surveyed_our_labels": ours, "surveyed_their_labels": theirs}
    text = as_json({name: one.grid.to_dict() for name, one in grids.items()})
    data = DataFile(_DATA, "Grid", "ids of each cell, totals, entries in several rows; all, and the surveyed", text)
    return Part({"inventory/grid.md": "\n\n".join(page) + "\n"}, (data,))


def _overview(**more: str) -> Callable[[str, str], str]:
    def target(row: str, column: str) -> str:
        asked = {"granularity": row, FAMILY: column, **more}
        return overview(**{name: word for name, word in asked.items() if word})

    return target


def _place(row: str, column: str) -> str:
    return "#" + "-".join(filter(None, ("survey", row, column)))


def _surveys_grid(surveyed: Inventory) -> Grid:
    """Return the grid of the survey's own labels; its label for the methodology is filed under the family of our word.

    A label that falls under none of our words has no family, and stands apart.
    """
    known = surveyed.vocabulary("methodology").words
    families = {label: one.family for one in known.values() for label in one.survey}
    columns = (*surveyed.vocabulary(_COLUMNS).words, _NOT_FILED)
    rows = tuple(surveyed.vocabulary(_ROWS).words)
    relabelled = [_as_surveyed(one) for one in surveyed]
    return arrange(relabelled, rows, columns, lambda one: (families.get(one.labels.methodology, _NOT_FILED),))


def _as_surveyed(entry: Entry) -> Entry:
    if entry.survey is None:
        return entry
    theirs = {"granularity": entry.survey.granularity, "methodology": entry.survey.methodology}
    return entry.model_copy(update={"labels": entry.labels.model_copy(update=theirs)})


def _about(inventory: Inventory) -> str:
    return paragraph(
        f"{len(inventory)} entries by the finest unit that receives its own credit (rows) and by how that credit is "
        "computed (columns: the survey's five families, and what falls under none of them). A number leads to the "
        "entries behind it. The assignment of a methodology to its family is ours; ",
        link("the words and their definitions", "vocabulary.html"),
        ".",
    )


def _drawn(one: _Map, inventory: Inventory) -> str:
    grid = one.grid
    rows = [_row(one, row, inventory) for row in grid.rows if grid.row(row)]
    foot = [_heat(one, "", column, grid.column(column), inventory) for column in grid.columns]
    foot.append(_heat(one, "", "", grid.ids, inventory))
    heads = [*(_head(column, inventory) for column in grid.columns), "all"]
    return heat_map(heads, [("", rows)], ("all", foot))


def _head(column: str, inventory: Inventory) -> Content:
    return term(inventory, _COLUMNS, column)


def _row(one: _Map, row: str, inventory: Inventory) -> HeatRow:
    inner = [_heat(one, row, column, one.grid.cells[row, column].ids, inventory) for column in one.grid.columns]
    return term(inventory, _ROWS, row), [*inner, _heat(one, row, "", one.grid.row(row), inventory)]


def _heat(one: _Map, row: str, column: str, ids: Sequence[str], inventory: Inventory) -> Heat:
    names = ", ".join(inventory[entry].bibliography.name for entry in ids)
    called = ", ".join(words(word) for word in (row, column) if word) or "all"
    return Heat(len(ids), one.target(row, column), f"{called}: {names or 'no entry'}")


def _twice(grid: Grid, inventory: Inventory) -> str:
    """Return which entries stand in several rows, so that the columns add up to more than their total."""
    if not grid.several:
        return paragraph("No entry stands in two rows: rows and columns add up.")
    listed = [
        join([entry_link(inventory, one), f" ({', '.join(words(row) for row in rows)})"])
        for one, rows in grid.several.items()
    ]
    return paragraph(
        f"An entry has one methodology and may have several granularities. {len(grid.several)} stand in more than one "
        "row and are counted in each of them, so a column may add up to more than its total: ",
        join(listed, ", "),
        ".",
    )


def _listed(grid: Grid, inventory: Inventory, place: Callable[[str, str], str] | None = None) -> str:
    """Return the entries of every cell that has some, by granularity; place: gives each cell its id on the page."""
    parts: list[str] = []
    for row in grid.rows:
        held = [column for column in grid.columns if grid.cells[row, column].ids]
        if held:
            told = [(_named(row, column, place), _cell(grid, row, column, inventory)) for column in held]
            parts += [element("p", element("strong", words(row)), id=place and place(row, "")[1:]), definitions(told)]
    return "\n".join([*_anchors(grid, place), *parts])


def _anchors(grid: Grid, place: Callable[[str, str], str] | None) -> list[str]:
    """Return the places that the totals of columns lead to: the whole list."""
    if place is None:
        return []
    return [element("span", id=place("", column)[1:]) for column in ("", *grid.columns)]


def _named(row: str, column: str, place: Callable[[str, str], str] | None) -> Content:
    return element("span", words(column), id=place(row, column)[1:]) if place else words(column)


def _cell(grid: Grid, row: str, column: str, inventory: Inventory) -> Html:
    found = grid.cells[row, column].by_methodology
    known = inventory.vocabulary("methodology").words
    # A label of the survey is no word of ours, and stays as it is written.
    named = {words(word) if word in known else word: ids for word, ids in found.items()}
    return join((join([f"{word}: ", entry_links(inventory, ids)]) for word, ids in named.items()), "<br>")


def _pair(ours: _Map, theirs: _Map, inventory: Inventory) -> str:
    moved = _moved(ours.grid, theirs.grid)
    about = paragraph(
        f"The {len(ours.grid.ids)} entries that the survey labels, background included, once by its labels and once by "
        "ours. The survey gives granularity in letters and methodology in words of its own, without a family: its word "
        "is filed here under the family of the word of ours that covers it, and stands apart where none does. "
        f"{len(moved)} entries stand in another cell by our labels; ",
        link("why", "../literature/survey.html#labels-that-differ"),
        ".",
    )
    sides = [("By the survey's labels", theirs), ("By our labels", ours)]
    maps = "\n".join(f"<div>\n<h3>{title}</h3>\n{_drawn(one, inventory)}\n</div>" for title, one in sides)
    twice = [join([title, ": ", _names_of(one.grid, inventory)]) for title, one in sides]
    two = paragraph("Counted in more than one row:") + "\n" + bullets(twice)
    which = details("Entries in another cell", paragraph(entry_links(inventory, moved))) if moved else ""
    return "\n\n".join(filter(None, [about, f'<div class="cairn-pair">\n{maps}\n</div>', two, which]))


def _names_of(grid: Grid, inventory: Inventory) -> Content:
    return entry_links(inventory, grid.several) if grid.several else "none"


def _moved(ours: Grid, theirs: Grid) -> list[str]:
    """Return the ids whose cells are not the same in both grids."""
    cells = [{one: _cells_of(grid, one) for one in grid.ids} for grid in (ours, theirs)]
    return [one for one in ours.ids if cells[0][one] != cells[1][one]]


def _cells_of(grid: Grid, entry: str) -> set[tuple[str, str]]:
    return {place for place, cell in grid.cells.items() if entry in cell.ids}


def _by_methodology(inventory: Inventory) -> str:
    rows = [word for word in inventory.vocabulary(_ROWS).words if inventory.counts("granularity").get(word)]
    groups = [
        (term(inventory, _COLUMNS, family), [_method_row(word, held, rows) for word, held in _methods(among)])
        for family, among in inventory.groupby(FAMILY).items()
    ]
    heads = [*(term(inventory, _ROWS, row) for row in rows), "all"]
    return heat_map(heads, groups)


def _methods(among: Inventory) -> Iterable[tuple[str, Inventory]]:
    return among.groupby("methodology").items()


def _method_row(word: str, held: Inventory, rows: Sequence[str]) -> HeatRow:
    found = {row: held.groupby("granularity").get(row) for row in rows}
    inner = [_asked(one, methodology=word, granularity=row) for row, one in found.items()]
    return term(held, "methodology", word), [*inner, _asked(held, methodology=word)]


def _asked(held: Inventory | None, **asked: str) -> Heat:
    names = ", ".join(one.bibliography.name for one in held) if held else "no entry"
    return Heat(len(held) if held else 0, overview(**asked), f"{', '.join(map(words, asked.values()))}: {names}")
