"""Naming an experiment on the command line."""

from __future__ import annotations

from cairn.errors import UserError
from cairn.evidence.homes import scripts
from cairn.inventory import load
from cairn.inventory.findings import near


def known_experiment(id: str) -> str:
    """Return the id of a reproduction or a study as it is. Raises UserError for any other."""
    if id in scripts():
        return id
    raise UserError(
        "there is no reproduction of this entry" if id in load() else "there is no reproduction or study with this id",
        value=id,
        repair=near(id, list(scripts())),
    )
