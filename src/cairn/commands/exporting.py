"""`cairn cite`, `cairn export`: the inventory in the formats of other programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cairn.commands.selection import select, with_criteria
from cairn.commands.terminal import print_json, say
from cairn.errors import UserError
from cairn.evidence.base import write_atomically
from cairn.inventory import bibtex, csl, load
from cairn.inventory.export import FILES, FOLDERS, recognises

_STANDARD_OUTPUT = Path("-")


class Format(StrEnum):
    """Formats of an export."""

    json = "json"
    csv = "csv"
    bibtex = "bibtex"
    latex = "latex"
    parquet = "parquet"
    datasets = "datasets"


class Citation(StrEnum):
    """Formats of a citation."""

    bibtex = "bibtex"
    csl = "csl"


def cite(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Entries of the inventory.", show_default=False)],
    style: Annotated[Citation, typer.Option("--format", help="bibtex, or csl for CSL-JSON.")] = Citation.bibtex,
) -> None:
    """Print how to cite the papers of some entries, in the order given, each once; the keys are the ids."""
    inventory = load()
    entries = [inventory[one] for one in dict.fromkeys(ids)]
    if style is Citation.csl:
        print_json([csl(entry) for entry in entries])
    else:
        sys.stdout.write("\n".join(bibtex(entry) for entry in entries))


@with_criteria
def export(
    *,
    form: Annotated[Format, typer.Option("--format", help="What to write.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="File or folder to write; - prints.", show_default=False)
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace files that no export wrote.")] = False,
    **criteria: object,
) -> None:
    """Write the entries that meet all criteria for other programs; the options to choose are those of `cairn list`.

    An earlier export at PATH is replaced; any other file is kept unless --force is given. The format `datasets` is a
    folder. parquet and datasets need the extra `export`.
    """
    found = select(criteria)
    if not found.entries:
        raise UserError("no entry meets all criteria", repair="ask for less; `cairn list` shows what there is")
    if form in FOLDERS:
        files = {out / name: content for name, content in FOLDERS[form](found).items()}
        _refuse_strange_files(out, files)
    else:
        files = {out: FILES[form](found)}
    if out == _STANDARD_OUTPUT:
        _print(form, files)
    else:
        _write(files, force=force)
        say(f"{len(found)} {'entry' if len(found) == 1 else 'entries'} written to {out}")


def _print(form: Format, files: Mapping[Path, bytes]) -> None:
    if form in (Format.parquet, Format.datasets):
        raise UserError("this format is not text", value=str(form), repair="give --out a path")
    for content in files.values():
        sys.stdout.write(content.decode())


def _refuse_strange_files(folder: Path, files: Mapping[Path, bytes]) -> None:
    """Raise UserError when the folder holds what the export does not write: a reader would take it for a part."""
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path not in files:
                raise UserError("this folder holds other files", file=path, repair="choose an empty or a new folder")


def _write(files: Mapping[Path, bytes], *, force: bool) -> None:
    """Write files, each at once; before the first, raise UserError for one that may not be replaced."""
    for path in files:
        if path.is_dir():
            raise UserError("this is a folder", file=path, repair="name a file in it")
        if path.exists() and not force and not recognises(_read(path)):
            raise UserError(
                "this file was not written by an export", file=path, repair="choose another path, or add --force"
            )
    for path, content in files.items():
        write_atomically(path, content)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror or error}", file=path, repair="choose another path") from error
