"""BibTeX from an entry's bibliography."""

from __future__ import annotations

from cairn.inventory.models import NONE, UNKNOWN, Entry

_ESCAPES = str.maketrans(
    {character: "\\" + character for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)


def bibtex(entry: Entry) -> str:
    """Return a BibTeX record keyed by the entry's id; the title's letters keep their case."""
    paper = entry.bibliography
    authors = [*paper.authors] if paper.authors_complete else [*paper.authors, "others"]
    fields = {
        "title": f"{{{paper.title.translate(_ESCAPES)}}}",
        "author": " and ".join(author.translate(_ESCAPES) for author in authors),
        "year": str(paper.year),
    }
    if paper.venue not in (NONE, UNKNOWN):
        fields["note"] = paper.venue.translate(_ESCAPES)
    if paper.arxiv != NONE:
        fields |= {"eprint": paper.arxiv, "archiveprefix": "arXiv"}
    if paper.url not in (NONE, UNKNOWN):
        fields["url"] = paper.url
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{{entry.id},\n{body}\n}}\n"
