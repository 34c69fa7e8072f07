"""Rules about the bibliography of one entry: years, addresses, authors and licence agree with each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cairn.inventory.findings import Finding, Rule
from cairn.inventory.inspection import Around, Inspected
from cairn.inventory.models import NONE, UNKNOWN

YEAR = Rule("CA130", "year-before-arxiv", "`year` is not before the year of the arXiv id, unless the venue names it.")
OTHER_PAPER = Rule("CA131", "other-paper", "An address at arxiv.org leads to the paper whose id the entry has.")
AUTHOR_FORM = Rule("CA132", "author-form", "A person of two names or more is written 'Family, Given'.")
REPEATED_AUTHOR = Rule("CA133", "repeated-author", "Each author is listed once.")
ID_AFTER_CHECK = Rule("CA134", "arxiv-after-checked", "A paper was there when the entry was checked against it.")
LICENCE = Rule("CA135", "licence-without-code", "A licence is stated for code that there is.")
OTHER_YEAR = Rule("CA136", "other-year", "`year` is the year of the venue, where the venue names one.")

_MONTHLY = re.compile(r"(?P<year>[0-9]{2})(?P<month>[0-9]{2})\.[0-9]{4,5}")
_OLD = re.compile(r"[a-z.-]+/(?P<year>[0-9]{2})(?P<month>[0-9]{2})[0-9]{3}", re.IGNORECASE)
_ADDRESS = re.compile(
    r"https?://(?:www\.|export\.)?arxiv\.org/(?:abs|pdf|html)/(.+?)(?:v[0-9]+)?(?:\.pdf)?/?", re.IGNORECASE
)
_YEAR = re.compile(r"\b(?:19|20)[0-9]{2}\b")
_GROUP = re.compile(r"\b(team|group|labs?|collaboration|consortium|project|research|AI)$", re.IGNORECASE)


def month_of(arxiv: str) -> tuple[int, int] | None:
    """Return (year, month) of an arXiv id, or None for `none`. Ids before April 2007 name the archive: cs/0112017."""
    found = _MONTHLY.fullmatch(arxiv) or _OLD.fullmatch(arxiv)
    if found is None:
        return None
    year = int(found["year"])
    return year + (1900 if year > 90 else 2000), int(found["month"])  # arXiv began in 1991


def check(case: Inspected, around: Around) -> Iterator[Finding]:  # noqa: ARG001 (each module is asked alike)
    """Yield every breach of the rules of this module."""
    yield from years(case)
    yield from address(case)
    yield from authors(case)
    yield from licence(case)


def years(case: Inspected) -> Iterator[Finding]:
    """Yield a year that is neither the venue's nor possible for the arXiv id, and an id younger than the check."""
    paper = case.entry.bibliography
    named = _YEAR.findall(paper.venue)
    if named and str(paper.year) not in named:
        message = f"the venue names another year ({paper.venue})"
        repair = f"write `year: {named[0]}`, or correct the venue"
        yield case.finding(OTHER_YEAR, ("bibliography", "year"), paper.year, message, repair)
    month = month_of(paper.arxiv)
    if month is None:
        return
    if paper.year < month[0] and not named:
        message = f"arXiv id {paper.arxiv} is of {month[0]}"
        repair = "correct the year or the id; where a venue came first, name its year in `venue`"
        yield case.finding(YEAR, ("bibliography", "year"), paper.year, message, repair)
    checked = case.entry.checked
    if month > (checked.year, checked.month):
        message = f"the id is of {month[0]}-{month[1]:02}, after the day of the last check ({checked})"
        yield case.finding(
            ID_AFTER_CHECK, ("bibliography", "arxiv"), paper.arxiv, message, "correct the id or `checked`"
        )


def address(case: Inspected) -> Iterator[Finding]:
    """Yield an address at arXiv that leads to another paper."""
    paper = case.entry.bibliography
    found = _ADDRESS.fullmatch(paper.url)
    if found and found[1] != paper.arxiv:
        message = f"this address leads to {found[1]}, and `arxiv` says {paper.arxiv}"
        repair = f"write https://arxiv.org/abs/{paper.arxiv}, or correct `arxiv`"
        if paper.arxiv == NONE:
            repair = f'write `arxiv: "{found[1]}"`'
        yield case.finding(OTHER_PAPER, ("bibliography", "url"), paper.url, message, repair)


def authors(case: Inspected) -> Iterator[Finding]:
    """Yield names without the comma, and names that stand twice."""
    seen: set[str] = set()
    for index, author in enumerate(case.entry.bibliography.authors):
        place = ("bibliography", "authors", index)
        if " " in author and "," not in author and not _GROUP.search(author):
            given, _, family = author.rpartition(" ")
            repair = f'write "{family}, {given}" (a group ends in Team, Group, Lab or the like; for et al. say '
            repair += "`authors_complete: false`)"
            yield case.finding(AUTHOR_FORM, place, author, "a name without the comma of 'Family, Given'", repair)
        if author in seen:
            repair = "keep it once; where two people share a name, say in brackets what tells them apart"
            yield case.finding(REPEATED_AUTHOR, place, author, "this author stands in the list already", repair)
        seen.add(author)


def licence(case: Inspected) -> Iterator[Finding]:
    """Yield a licence where there is no code."""
    paper = case.entry.bibliography
    if paper.code_url == NONE and not re.match(rf"({NONE}|{UNKNOWN})\b", paper.code_license):
        message = "a licence is stated, and `code_url` says that there is no code"
        repair = "give the address of the code, or write `code_license: none`"
        yield case.finding(LICENCE, ("bibliography", "code_license"), paper.code_license, message, repair)
