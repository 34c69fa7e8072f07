"""`cairn report`: what the records show."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cairn.commands.terminal import AsJson, output, require_run_extra, say
from cairn.errors import UserError
from cairn.evidence.homes import REPRODUCTIONS, STUDIES, home, ids, scripts
from cairn.inventory import load
from cairn.paths import data_root

if TYPE_CHECKING:
    from cairn.evidence.report import Report

Folder = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Folder of a run, with results/; else the committed one.", show_default=False
    ),
]


def report(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Methods or studies; all that were run unless given.", show_default=False),
    ] = None,
    out: Folder = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; exit with 2 where a report.json is not what its records give."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build report.json anew from the records, and show one table over all methods.

    Where there are no records (an installed wheel holds none), the report that is there is shown as it is.
    """
    folders = _folders(ids or [], out)
    if check:
        _check(folders)
        return
    found = [_report(method, folder) for method, folder in folders.items()]
    if as_json:
        from cairn.commands.running import print_report_json

        print_report_json(*found)
    elif len(found) == 1 and ids:
        from cairn.commands.report_tables import print_report
        from cairn.evidence.explanations import attempts

        print_report(output(), found[0], attempts(_studies()))
    else:
        from cairn.commands.report_tables import print_reports

        print_reports(output(), found)


def _folders(ids: Sequence[str], out: Path | None) -> dict[str, Path]:
    """Return the folder of each method's evidence, by id."""
    if out is not None:
        if len(ids) != 1:
            raise UserError(
                "--out holds the run of one method or study", value=list(ids), repair="name it: ID --out DIR"
            )
        return {_known(ids[0]): out}
    chosen = {one: home(one) for one in ([_known(one) for one in ids] or scripts())}
    found = {one: folder for one, folder in chosen.items() if ids or _has_evidence(folder)}
    if not found:
        raise UserError("nothing has been run yet", file=data_root() / REPRODUCTIONS, repair="run one: cairn run ID")
    return found


def _known(id: str) -> str:
    return id if id in scripts() else load()[id].id


def _studies() -> list[Report]:
    """Return the committed reports of all studies."""
    from cairn.evidence.report import read_report

    paths = [home(one) / "report.json" for one in ids(STUDIES)]
    return [read_report(path) for path in paths if path.is_file()]


def _has_evidence(folder: Path) -> bool:
    return _has_records(folder) or (folder / "report.json").is_file()


def _has_records(folder: Path) -> bool:
    return any((folder / "results").glob("[!.]*.json"))


def _report(method: str, folder: Path) -> Report:
    if _has_records(folder):
        return _rebuilt(method, folder)
    from cairn.evidence.report import read_report

    if not (folder / "report.json").is_file():
        raise UserError(
            "there is neither a record nor a report here", file=folder, repair=f"run it: cairn run {method}"
        )
    say(f"{method}: no records here; this is the report as it was built.")
    return read_report(folder / "report.json")


def _rebuilt(method: str, folder: Path) -> Report:
    require_run_extra()
    from cairn.lab.experiment import load_reproduction
    from cairn.lab.judge import make_report
    from cairn.lab.protocol import read_protocol

    return make_report(load_reproduction(method), read_protocol(), folder, fresh=False)


def _check(folders: dict[str, Path]) -> None:
    stale = [folder / "report.json" for method, folder in folders.items() if not _is_rebuilt(method, folder)]
    for path in stale:
        output().print(f"{path} is not what its records give. Repair: cairn report", soft_wrap=True)
    if stale:
        raise typer.Exit(2)
    output().print(f"{len(folders)} reports are what their records give.")


def _is_rebuilt(method: str, folder: Path) -> bool:
    """Say whether building the report in a copy of the folder gives the same bytes."""
    committed = folder / "report.json"
    if not _has_records(folder) or not committed.is_file():
        return False
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        (copy / "results").symlink_to((folder / "results").resolve())
        shutil.copyfile(committed, copy / "report.json")
        _rebuilt(method, copy)
        return (copy / "report.json").read_bytes() == committed.read_bytes()
