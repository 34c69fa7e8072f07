"""Rules that the bare text of a file can keep or break, whether or not it has the shape of an entry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cairn.inventory.findings import WARNING, Finding, Rule, shown
from cairn.inventory.reader import Document, Location, strings, texts

LONGEST_TEXT_CHARACTERS = 6_000

TODO = Rule("CA090", "todo", "An entry is finished: the templates' marks are gone.")
MARKUP = Rule("CA091", "markup", "Text is text: no script or other active HTML (pages escape the rest).")
INVISIBLE = Rule("CA092", "invisible-character", "No control or direction characters: a reviewer could not see them.")
EDITOR_LINE = Rule("CA101", "editor-line", "The first line names the schema, so that editors can help.", WARNING)
LONG_TEXT = Rule("CA170", "long-text", f"A text has at most {LONGEST_TEXT_CHARACTERS} characters: facts only.")

EDITOR_COMMENT = "# yaml-language-server: $schema=../../schemas/entry.schema.json"

_LINES_SHOWN_AS_SPACE = str.maketrans("\n", " ")
_TODO = re.compile(r"\b(TODO|FIXME)\b")
_TAGS = r"</?(script|iframe|object|embed|svg|style|link|meta|form|img)\b"
_ACTIVE = re.compile(_TAGS + r"|javascript:|\bon\w+\s*=\s*[\"']", re.IGNORECASE)
_TAG_START = re.compile("<[/a-z]", re.IGNORECASE)
_QUOTED = re.compile(r"=\s*[\"']")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def is_todo(value: str) -> bool:
    """Say whether a value is nothing but the mark of a template."""
    return _TODO.fullmatch(value) is not None


def check_text(document: Document) -> Iterator[Finding]:
    """Yield what the text of a document and its values break."""
    if "TODO" in document.text or "FIXME" in document.text:
        yield from _marks(document)
    if _may_break(texts(document)):
        for location, text in strings(document):
            yield from _text(document, location, text)


def _may_break(found: list[str]) -> bool:
    """Say cheaply whether any of many texts can break a rule; most files hold none that does."""
    joined = "\n".join(found)
    return (
        not joined.translate(_LINES_SHOWN_AS_SPACE).isprintable()
        or _TAG_START.search(joined) is not None
        or _QUOTED.search(joined) is not None
        or "javascript:" in joined.lower()
        or max(map(len, found), default=0) > LONGEST_TEXT_CHARACTERS
    )


def _marks(document: Document) -> Iterator[Finding]:
    for number, line in enumerate(document.text.split("\n"), start=1):
        match = _TODO.search(line)
        if match:
            repair = "fill it in, or write unknown where it is not known"
            yield Finding(TODO, document.file, number, shown(line.strip()), f"{match[1]} is left", repair)


def _text(document: Document, location: Location, text: str) -> Iterator[Finding]:
    if len(text) > LONGEST_TEXT_CHARACTERS:
        message = f"a text of {len(text)} characters"
        repair = f"say it in at most {LONGEST_TEXT_CHARACTERS} characters, in your own words"
        yield Finding(LONG_TEXT, document.file, document.line(location), shown(text, 40), message, repair)
    active, invisible = _ACTIVE.search(text), _INVISIBLE.search(text)
    if active:
        value, repair = shown(ascii(active[0])), "describe it in words"
        yield Finding(MARKUP, document.file, document.line(location), value, "active HTML in a text", repair)
    if invisible:
        value, repair = shown(ascii(invisible[0])), "delete the character"
        message = "an invisible character in a text"
        yield Finding(INVISIBLE, document.file, document.line(location), value, message, repair)


def check_first_line(document: Document) -> Iterator[Finding]:
    """Yield a warning when the first line does not name the schema."""
    first = document.text.split("\n", 1)[0].strip()
    if first != EDITOR_COMMENT:
        repair = f"put this on line 1: {EDITOR_COMMENT}"
        yield Finding(EDITOR_LINE, document.file, 1, shown(first), "the first line does not name the schema", repair)
