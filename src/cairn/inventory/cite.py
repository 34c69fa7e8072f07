"""How to cite an entry's paper: BibTeX, and CSL-JSON for reference managers and Pandoc. The key is the entry's id."""

from __future__ import annotations

import re
from typing import Any

from cairn.inventory.models import NONE, UNKNOWN, Bibliography, Entry
from cairn.inventory.tex import escape

_OTHERS = "others"


def bibtex(entry: Entry) -> str:
    """Return a BibTeX record keyed by the entry's id; the title's letters keep their case."""
    paper = entry.bibliography
    fields = {"title": f"{{{escape(paper.title)}}}"}
    if known := _people(paper):
        authors = [_author(one) for one in known] + ([] if paper.authors_complete else [_OTHERS])
        fields["author"] = " and ".join(authors)
    fields["year"] = str(paper.year)
    if _known(paper.venue):
        fields["note"] = escape(paper.venue)
    if paper.arxiv != NONE:
        fields |= {"eprint": paper.arxiv, "archiveprefix": "arXiv"}
    if _known(paper.url):
        fields["url"] = _address(paper.url)
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{entry.id},\n{body}\n}}\n"


def _people(paper: Bibliography) -> list[str]:
    """Return the authors that are known; a record without authors is legal, one by `unknown and others` misleads."""
    return [one for one in paper.authors if one != UNKNOWN]


def _author(name: str) -> str:
    """Return a name as BibTeX divides it; braces hold together what is no person, and what `and` would divide."""
    person = "," in name and not re.search(r"\band\b", name)
    return escape(name) if person else f"{{{escape(name)}}}"


def _address(url: str) -> str:
    """Return an address without what would end the field or start a command."""
    return url.replace("\\", "%5C").replace("{", "%7B").replace("}", "%7D")


def csl(entry: Entry) -> dict[str, Any]:
    """Return the paper as one item of CSL-JSON (citation-style-language/schema: csl-data.json), plain data."""
    paper = entry.bibliography
    item: dict[str, Any] = {
        "id": entry.id,
        "type": "article",
        "title": paper.title,
        "issued": {"date-parts": [[paper.year]]},
    }
    if known := _people(paper):
        item["author"] = [_name(one) for one in known] + ([] if paper.authors_complete else [{"literal": _OTHERS}])
    if _known(paper.venue):
        item["container-title"] = paper.venue
    if paper.arxiv != NONE:
        item |= {"archive": "arXiv", "archive_location": paper.arxiv}
    if _known(paper.url):
        item["URL"] = paper.url
    return item


def _name(author: str) -> dict[str, str]:
    family, comma, given = author.partition(",")
    return {"family": family.strip(), "given": given.strip()} if comma else {"literal": author}


def _known(text: str) -> bool:
    return text not in (NONE, UNKNOWN)
