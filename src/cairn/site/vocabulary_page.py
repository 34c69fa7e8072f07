"""Every word list with its definitions, an anchor for each word, and the entries that use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cairn.inventory import Entry, Inventory, Vocabulary
from cairn.inventory.criteria import FAMILY
from cairn.inventory.models import walk
from cairn.inventory.vocabulary import Word
from cairn.site.part import VERSION, DataFile, Part, Whole, as_json
from cairn.site.terms import anchor, criterion_of, entry_links, list_of, overview, term
from cairn.site.text import Content, Html, definitions, element, join, link, markdown, paragraph, words

_LISTS, _USE = f"{VERSION}/vocabularies.json", f"{VERSION}/vocabulary-use.json"
_SURVEY = "survey"  # the block of an entry that repeats the survey's labels; here our words are counted
Use = Mapping[str, Mapping[str, tuple[str, ...]]]


def make(whole: Whole) -> Part:
    """Return the page of word lists."""
    inventory = whole.inventory
    used = _used(inventory)
    page = [
        "# Vocabulary",
        paragraph(
            "The closed lists that labels and marks come from. A count leads to the overview of these entries; the "
            "names lead to their pages. What an entry has in several places counts once. The lists for programs: ",
            link("vocabularies.json", f"../data/{_LISTS}"),
            ", and which entry uses which word: ",
            link("vocabulary-use.json", f"../data/{_USE}"),
            ".",
        ),
        *(block for name in _order(inventory) for block in _list(name, inventory.vocabularies[name], used, inventory)),
    ]
    lists = {name: one.model_dump(mode="json") for name, one in inventory.vocabularies.items()}
    data = (
        DataFile(_LISTS, "Word lists", "every word that a label may be, with its definition", as_json(lists)),
        DataFile(_USE, "Use of the words", "ids of the entries that use each word of each list", as_json(used)),
    )
    return Part({"inventory/vocabulary.md": "\n\n".join(page) + "\n"}, data)


def _order(inventory: Inventory) -> list[str]:
    """Return the lists that entries are chosen by, in the order of the criteria, and then the others."""
    asked = [list_of(criterion) for criterion in inventory.criteria if list_of(criterion)]
    return [*asked, *(name for name in inventory.vocabularies if name not in asked)]


def _used(inventory: Inventory) -> Use:
    """Return list -> word -> the ids of the entries that use it, in the order of the lists."""
    found: dict[str, dict[str, dict[str, None]]] = {
        name: {word: {} for word in one.words} for name, one in inventory.vocabularies.items()
    }
    for entry in inventory:
        for name, word in _words(entry):
            found[name].setdefault(word, {})[entry.id] = None
        for word in inventory.words_of(entry, FAMILY):
            found[list_of(FAMILY)][word][entry.id] = None
    return {name: {word: tuple(ids) for word, ids in one.items()} for name, one in found.items()}


def _words(entry: Entry) -> Iterator[tuple[str, str]]:
    for location, name, value in walk(entry):
        if name and location[0] != _SURVEY:
            for word in value if isinstance(value, tuple) else (value,):
                yield name, word


def _list(name: str, one: Vocabulary, used: Use, inventory: Inventory) -> Iterator[str]:
    yield f"## {markdown(one.title)}"
    yield paragraph(one.about)
    yield definitions((_named(name, word), _told(name, word, found, used, inventory))
                      for word, found in one.words.items())  # fmt: skip


def _named(name: str, word: str) -> Html:
    spelt = [element("code", word)] if words(word) != word else []
    return element("span", join([words(word), *spelt], "<br>"), id=anchor(name, word))


def _told(name: str, word: str, found: Word, used: Use, inventory: Inventory) -> Html:
    ids = used[name][word]
    lines: list[Content] = [found.definition, *_survey(found), *_family(found, inventory)]
    count: Content = f"{len(ids)} {'entry' if len(ids) == 1 else 'entries'}"
    criterion = criterion_of(name)
    if criterion and ids:
        counted = link(count, overview(**{criterion: word}))
        lines.append(element("small", counted, ": ", entry_links(inventory, ids)))
    else:
        lines.append(element("small", count))
    return join(lines, "<br>")


def _survey(found: Word) -> list[Content]:
    if not found.survey:
        return []
    return [element("small", "The survey's labels under it: ", "; ".join(found.survey))]


def _family(found: Word, inventory: Inventory) -> list[Content]:
    if not found.family:
        return []
    return [element("small", "Family: ", term(inventory, list_of(FAMILY), found.family, told=False))]
