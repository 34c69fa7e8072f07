"""Write the generated pages and data below `docs/`, and let mkdocs render the whole."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from cairn.errors import UserError
from cairn.evidence.catalogue import with_evidence
from cairn.evidence.checklist import load_items
from cairn.evidence.difficulty import difficulty_root, read_difficulties
from cairn.evidence.fidelity import fidelity_root, read_tables
from cairn.evidence.literature import literature_audit
from cairn.inventory import load
from cairn.inventory.recommend import load_tree
from cairn.inventory.survey import load_survey
from cairn.site import (
    audit_page,
    board,
    catalogue,
    choosing_page,
    data_files,
    difficulty_page,
    fidelity_page,
    grid_page,
    method_page,
    study_page,
    survey_page,
    timeline_page,
    vocabulary_page,
)
from cairn.site.part import Whole
from cairn.site.subject import gather, gather_studies

GENERATED = ("methods", "inventory", "literature", "leaderboard", "studies", "fidelity", "difficulty", "data")
_PARTS = (
    catalogue,
    method_page,
    study_page,
    grid_page,
    timeline_page,
    vocabulary_page,
    choosing_page,
    board,
    fidelity_page,
    difficulty_page,
    audit_page,
    survey_page,
)
_INSTALL = "python -m pip install 'mkdocs>=1.6,<2' 'mkdocs-material>=9.6'"


def generate(root: Path, docs: Path) -> list[Path]:
    """Write the generated part of the site and return the files written, in order.

    root: the data root, with `inventory/` and `reproductions/`. docs: the folder of pages; its subfolders in GENERATED
    are written anew, everything else in it is left alone. The same input gives the same bytes. Raises UserError for
    input that cannot be used, before anything is written, and for a folder that cannot be.
    """
    pages = _pages(_gather(root))
    try:
        for folder in GENERATED:
            shutil.rmtree(docs / folder, ignore_errors=True)
        return [_write(docs / name, text) for name, text in sorted(pages.items(), key=_path)]
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write: {reason}", file=docs, repair="choose a folder that you may write") from error


def _gather(root: Path) -> Whole:
    entries = load(root)
    studies = gather_studies(root)
    subjects = gather(entries, root, studies)
    inventory, survey = with_evidence(entries, root), load_survey(root)
    audit = literature_audit(inventory, survey, load_items(root))
    tree, fidelity = load_tree(inventory, root), read_tables(fidelity_root(root))
    difficulty = read_difficulties(difficulty_root(root))
    return Whole(subjects, inventory, survey, audit, tree, studies, fidelity, difficulty)


def _pages(whole: Whole) -> dict[str, str]:
    parts = [part.make(whole) for part in _PARTS]
    parts.append(data_files.make(whole, [one for part in parts for one in part.data]))
    return {name: text for part in parts for name, text in part.pages.items()}


def _path(page: tuple[str, str]) -> Path:
    return Path(page[0])


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def build(root: Path, out: Path) -> Path:
    """Generate into a copy of the hand-written pages, render with `mkdocs build --strict` into `out`, return `out`.

    Raises UserError when the pages or mkdocs are not installed, when `out` is a folder that holds something else than
    a site, and when mkdocs finds a fault.
    """
    _refuse(root, out)
    with tempfile.TemporaryDirectory(prefix="cairn-site-") as temporary:
        docs, made = Path(temporary) / "docs", Path(temporary) / "site"
        shutil.copytree(root / "docs", docs, ignore=shutil.ignore_patterns(*GENERATED))
        generate(root, docs)
        config = Path(temporary) / "mkdocs.yml"
        inherited = (root / "mkdocs.yml").resolve()
        settings = {"INHERIT": str(inherited), "docs_dir": str(docs), "site_dir": str(made)}
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        _render(config)
        _replace(made, out)
    return out


def _replace(made: Path, out: Path) -> None:
    """Put the finished site in the place of the old one; a site that could not be rendered replaces nothing."""
    try:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(made, out, dirs_exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write: {reason}", file=out, repair="choose a folder that you may write") from error


def _refuse(root: Path, out: Path) -> None:
    if not (root / "mkdocs.yml").is_file() or not (root / "docs").is_dir():
        raise UserError(
            "the hand-written pages are not here",
            file=root,
            value="mkdocs.yml and docs/",
            repair="run this in a checkout of the repository",
        )
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        raise UserError("mkdocs, which renders the pages, is not installed", repair=_INSTALL)
    # What is there gives way to the new site.
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "search").is_dir())):
        raise UserError("this exists and is not an earlier build of the site", file=out, repair="name an empty folder")


def _render(config: Path) -> None:
    # Not `--quiet`: it would hide the warnings from `--strict` itself.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
    calm = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's notice about mkdocs 2, which is pinned away
    outcome = subprocess.run(command, capture_output=True, text=True, check=False, env=calm)
    if outcome.returncode:
        lines = [line.strip() for line in (outcome.stderr + outcome.stdout).splitlines() if line.strip()]
        faults = [line for line in lines if line.startswith(("WARNING", "ERROR"))] or lines[-3:]
        raise UserError("mkdocs found a fault: " + " | ".join(faults), repair="mend the page that it names")
