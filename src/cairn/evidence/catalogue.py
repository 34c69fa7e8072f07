"""The inventory seen together with its evidence: what has been done about each entry, and what came out.

The inventory itself knows nothing of evidence. It takes words about entries that were computed elsewhere as facets,
and this is where they are computed, from the files below `reproductions/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from cairn import inventory
from cairn.evidence.labels import Label
from cairn.evidence.status import STATUSES, standing
from cairn.inventory import CRITERIA, Facet, Inventory
from cairn.paths import data_root

STATUS, VERDICT = "status", "verdict"
ALL_CRITERIA = (*CRITERIA, STATUS, VERDICT)


def load(root: Path | None = None) -> Inventory:
    """Return the checked inventory with two more criteria, `status` and `verdict`, which exports then hold too.

    status: each of listed, implemented, run, judged that holds; `without_status="run"` finds what was never run.
    verdict: the labels of our tests of the entry's claims; an entry has several when its claims fared differently.
    Raises UserError for the first error of the inventory, and for a report that cannot be read.
    """
    root = data_root() if root is None else root
    return with_evidence(inventory.load(root), root)


def with_evidence(entries: Inventory, root: Path) -> Inventory:
    """Return the inventory with the facets `status` and `verdict`, from the evidence below `root`."""
    found = {entry.id: standing(entry.id, root) for entry in entries}
    labels: tuple[str, ...] = get_args(Label)
    # A label stands once for each entry, however many of its claims have it.
    verdicts = {key: tuple(word for word in labels if word in one.verdicts) for key, one in found.items()}
    with_status = entries.with_facet(STATUS, Facet(STATUSES, {key: one.statuses for key, one in found.items()}))
    return with_status.with_facet(VERDICT, Facet(labels, verdicts))
