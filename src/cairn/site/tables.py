"""Tables that a script can sort and filter, and heat maps. Both are whole without the script, and fit a phone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cairn.site.text import Content, Html, element, escape, join


@dataclass(frozen=True)
class Column:
    """A column with its name; numeric: it is sorted by the numbers in it."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Ordered:
    """A cell that is sorted by something else than its text, such as the place of a word in its list."""

    content: Content
    order: str | int


@dataclass(frozen=True)
class Row:
    """Cells, the first of which names the row, and what filters ask of it: filter to words with spaces between."""

    cells: Sequence[Content | Ordered]
    words: Mapping[str, str] = field(default_factory=dict)


def live(name: str, columns: Sequence[Column], rows: Iterable[Row]) -> str:
    """Return a table that the script sorts; on a phone each row is a card whose cells say which column they are of.

    name: the table's id, which a form of filters names in `data-for`.
    """
    heads = join(element("th", one.name, scope="col", data_sort=_kind(one)) for one in columns)
    body = "\n".join(_row(columns, row) for row in rows)
    opening = f'<table id="{escape(name)}" data-cairn data-cards>'
    return f"{opening}\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _kind(column: Column) -> str:
    return "number" if column.numeric else "text"


def _row(columns: Sequence[Column], row: Row) -> str:
    words = "".join(f' data-{name.replace("_", "-")}="{escape(value)}"' for name, value in row.words.items())
    cells = join(_cell(column, cell, at == 0) for at, (column, cell) in enumerate(zip(columns, row.cells, strict=True)))
    return f"<tr{words}>{cells}</tr>"


def _cell(column: Column, cell: Content | Ordered, first: bool) -> Html:
    content, order = (cell.content, str(cell.order)) if isinstance(cell, Ordered) else (cell, None)
    if first:
        return element("th", content, scope="row", data_order=order)
    return element("td", content, data_label=column.name, data_order=order)


@dataclass(frozen=True)
class Heat:
    """One cell of a heat map: how many, where a click leads, and what is told about it."""

    count: int
    target: str
    told: str


HeatRow = tuple[Content, Sequence[Heat]]


def heat_map(
    columns: Sequence[Content], groups: Sequence[tuple[Content, Sequence[HeatRow]]], totals: HeatRow | None = None
) -> str:
    """Return counts as a table whose colour grows with the count; an empty cell is a point without a link.

    groups: rows under a common head; an empty head is not printed. What adds up has no colour: the last cell of each
    row, and the row `totals`.
    """
    largest = max((cell.count for _, rows in groups for _, cells in rows for cell in cells[:-1]), default=0) or 1
    heads = join(element("th", element("span", name), scope="col") for name in columns)
    parts = ['<table class="cairn-heat">', f"<thead><tr><td></td>{heads}</tr></thead>"]
    for head, rows in groups:
        above = element("tr", element("th", head, scope="rowgroup", colspan=str(len(columns) + 1))) if head else ""
        lines = "\n".join(_heat_row(row, largest) for row in rows)
        parts.append(f"<tbody>{above}\n{lines}\n</tbody>")
    foot = [] if totals is None else [f"<tfoot>{_heat_row(totals, None)}</tfoot>"]
    return "\n".join([*parts, *foot, "</table>"])


def _heat_row(row: HeatRow, largest: int | None) -> str:
    name, (*inner, total) = row
    drawn = join(_heat_cell(cell, cell.count / largest if largest else None) for cell in inner)
    return f"<tr>{element('th', name, scope='row')}{drawn}{_heat_cell(total, None)}</tr>"


def _heat_cell(cell: Heat, strength: float | None) -> Html:
    if not cell.count:
        return element("td", element("span", "·", class_="cairn-quiet", title=cell.told))
    style = None if strength is None else f"--cairn-share: {strength:.2f}"
    return element("td", element("a", str(cell.count), href=cell.target, title=cell.told), style=style)
