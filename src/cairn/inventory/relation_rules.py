"""Rules about how one entry stands to others, as far as the entry alone can tell."""

from __future__ import annotations

from collections.abc import Iterator

from cairn.inventory.findings import Finding, Rule
from cairn.inventory.inspection import Around, Inspected
from cairn.inventory.models import NONE

NAMELESS_RELATION = Rule("CA070", "nameless-relation", "A relation names the other by exactly one of id, arxiv, name.")
MOVED_AND_WITHDRAWN = Rule("CA164", "moved-and-withdrawn", "An entry has moved or is withdrawn, not both.")
RELATED_TO_ITSELF = Rule("CA167", "related-to-itself", "A relation leads to another paper than the entry's own.")


def check(case: Inspected, around: Around) -> Iterator[Finding]:  # noqa: ARG001 (each module is asked alike)
    """Yield every breach of the rules of this module."""
    entry = case.entry
    for index, relation in enumerate(entry.relations):
        given = [field for field in ("id", "arxiv", "name") if getattr(relation, field) != NONE]
        if len(given) != 1:
            message = f"a relation names the other side once, here {len(given)} times"
            repair = "give `id` for an entry of this inventory, else `arxiv`, else `name`"
            yield case.finding(NAMELESS_RELATION, ("relations", index), ", ".join(given), message, repair)
        if relation.arxiv != NONE and relation.arxiv == entry.bibliography.arxiv:
            message = "this is the arXiv id of the entry itself"
            repair = "give the other paper's id; another title of the same paper goes under `name`"
            yield case.finding(RELATED_TO_ITSELF, ("relations", index, "arxiv"), relation.arxiv, message, repair)
    if NONE not in (entry.moved_to, entry.withdrawn):
        message = "the entry has moved and is withdrawn"
        repair = "keep `moved_to` where another entry took its place, else `withdrawn`"
        yield case.finding(MOVED_AND_WITHDRAWN, ("withdrawn",), entry.withdrawn, message, repair)
