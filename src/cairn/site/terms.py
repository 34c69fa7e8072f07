"""Links from labels to the definition of their word, and from counts to the overview filtered by them."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

from cairn.inventory import Inventory
from cairn.inventory.criteria import FAMILY, LISTED
from cairn.site.text import Content, Html, element, escape, join, link, words

PAGE = "../inventory/vocabulary.html"
_OVERVIEW = "../methods/index.html"
_LISTS = {FAMILY: "methodology-family", **{name: found[0] for name, found in LISTED.items()}}


def list_of(criterion: str) -> str:
    """Return the word list of a criterion, or an empty text when its words are of no list."""
    return _LISTS.get(criterion, "")


def criterion_of(name: str) -> str:
    """Return the criterion whose words come from a list, or an empty text when none does."""
    return next((criterion for criterion, listed in _LISTS.items() if listed == name), "")


def anchor(name: str, word: str) -> str:
    """Return the place of a word on the page of word lists."""
    return f"{name}-{word}"


def term(inventory: Inventory, name: str, word: str, content: Content = None, *, told: bool = True) -> Html:
    """Return a word linked to its definition; a word of no list stands as it is. told: a pointer shows it, too."""
    shown = words(word) if content is None else content
    if name not in inventory.vocabularies or word not in inventory.vocabularies[name].words:
        return escape(shown)
    definition = inventory.vocabularies[name].words[word].definition if told else None
    return element("a", shown, href=f"{PAGE}#{anchor(name, word)}", title=definition)


def terms(inventory: Inventory, name: str, found: Iterable[str]) -> Html:
    """Return words one after the other, each linked to its definition."""
    return join((term(inventory, name, word) for word in found), ", ")


def overview(**asked: str) -> str:
    """Return the address of the overview with filters set."""
    return f"{_OVERVIEW}?{urlencode(asked)}"


def entry_link(inventory: Inventory, entry_id: str, place: str = "") -> Html:
    """Return an entry's name linked to its page, or to a place on it; an id that is no entry stands as it is."""
    if entry_id not in inventory:
        return escape(entry_id)
    return link(inventory[entry_id].bibliography.name, f"../methods/{entry_id}.html{place and '#' + place}")


def entry_links(inventory: Inventory, ids: Iterable[str]) -> Html:
    """Return the names of entries, each linked to its page."""
    return join((entry_link(inventory, one) for one in ids), ", ")
