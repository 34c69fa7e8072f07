"""How an entry stands to others, in both directions, and what holds for its credit."""

from __future__ import annotations

from cairn.inventory import Entry, Inventory
from cairn.inventory.models import NONE, Relation
from cairn.site.terms import entry_link, entry_links, term
from cairn.site.text import Content, bullets, cite, element, join, outward, paragraph, table


def render(entry: Entry, inventory: Inventory) -> str:
    """Return limits, relations to others, relations of others to it, and invariants."""
    limits = [(entry_link(inventory, one.id), one.when) for one in entry.properties.reduces_to]
    limited = [
        (entry_link(inventory, other.id), one.when)
        for other in inventory
        for one in other.properties.reduces_to
        if one.id == entry.id
    ]
    outside = [
        (term(inventory, "relations", one.kind), _other(one, inventory), one.note or None, cite(one.from_))
        for one in entry.relations
    ]
    parts = [
        "## Family",
        table(["It becomes", "When"], limits) if limits else "",
        table(["Becomes it", "When"], limited) if limited else "",
        table(["Relation", "To", "Note", "Source"], outside, "What it says of others") if outside else "",
        _inward(entry, inventory),
        _invariants(entry, inventory),
    ]
    return "\n\n".join(filter(None, parts))


def _inward(entry: Entry, inventory: Inventory) -> str:
    """Return which entries name this one, by what they call it."""
    found: dict[str, list[str]] = {}
    for other in inventory:
        for kind in dict.fromkeys(one.kind for one in other.relations if one.id == entry.id):
            found.setdefault(kind, []).append(other.id)
    rows: list[tuple[Content, ...]] = [
        (term(inventory, "relations", kind), str(len(found[kind])), entry_links(inventory, found[kind]))
        for kind in inventory.vocabulary("relations").words
        if kind in found
    ]
    return table(["They call it", "How many", "Which"], rows, "What other entries say of it") if rows else ""


def _other(one: Relation, inventory: Inventory) -> Content:
    if one.id != NONE:
        return entry_link(inventory, one.id)
    if one.arxiv == NONE:
        return one.name
    called = f"arXiv {one.arxiv}" if one.name == NONE else f"{one.name} (arXiv {one.arxiv})"
    return outward(called, f"https://arxiv.org/abs/{one.arxiv}")


def _invariants(entry: Entry, inventory: Inventory) -> str:
    found, known = entry.properties, inventory.vocabulary("properties").words
    listed = [
        join([element("strong", term(inventory, "properties", word, told=False)), ": ", known[word].definition])
        for word in found.invariants
    ]
    lead_in = "Invariants of the credit:" if listed else "No invariant from our list holds for it."
    note = paragraph(found.note, " ", cite(found.from_))
    return "\n\n".join([paragraph(lead_in), *([bullets(listed)] if listed else []), note])
