"""The grid of granularities by families of methodologies, on a terminal."""

from __future__ import annotations

from rich.console import Console

from cairn.commands.terminal import add, heading, printable, table
from cairn.inventory import Grid


def print_grid(console: Console, grid: Grid, *, with_ids: bool) -> None:
    """Print how many entries each cell holds and, if asked, which; rows and columns that hold none are left out."""
    rows = [row for row in grid.rows if grid.row(row)]
    columns = [column for column in grid.columns if grid.column(column)]
    shown = table("credit to", *columns, "all", right=[*columns, "all"], whole=["credit to"])
    for row in rows:
        counts = [len(grid.cells[row, column].ids) for column in columns]
        add(shown, row, *(str(count) if count else None for count in counts), str(len(grid.row(row))))
    add(shown, "all, each once", *(str(len(grid.column(column))) for column in columns), str(len(grid.ids)))
    console.print(shown)
    if grid.several:
        told = "; ".join(f"{one} ({', '.join(words)})" for one, words in grid.several.items())
        console.print(printable(f"In more than one row: {told}."), soft_wrap=True)
    if with_ids:
        _print_ids(console, grid)


def _print_ids(console: Console, grid: Grid) -> None:
    for (row, column), cell in grid.cells.items():
        if cell.ids:
            heading(console, f"{row}, {column}")
            for methodology, ids in cell.by_methodology.items():
                console.print(printable(f"  {methodology}: {', '.join(ids)}"), soft_wrap=True)
