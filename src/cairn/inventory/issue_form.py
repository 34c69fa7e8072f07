"""The answers of an issue made with the form for a new entry: text of a stranger, read as data.

The form (`.github/ISSUE_TEMPLATE/new-entry.yml`) renders each answer below a heading of its label.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from cairn.errors import UserError
from cairn.inventory.scaffold import Known

MAX_CHARACTERS = 20_000
NO_ANSWER = "_No response_"  # what the site writes for a field that was left empty
# label of the form -> field of `Known`
LABELS: Mapping[str, str] = {
    "Id": "id",
    "Kind": "kind",
    "arXiv id": "arxiv",
    "Name": "name",
    "Title": "title",
    "Authors": "authors",
    "Year": "year",
    "Code": "code_url",
    "What receives credit": "credited",
}
REQUIRED = ("id", "arxiv")
_HEADING = re.compile(r"^### (.+?)\s*$", re.MULTILINE)


def read_answers(path: Path) -> Known:
    """Return the answers in the text of an issue. Raises UserError with the line of what cannot be used."""
    text = _text(path)
    found: dict[str, tuple[str, int]] = {}
    headings = [match for match in _HEADING.finditer(text) if match[1] in LABELS]
    ends = [*(match.start() for match in headings[1:]), len(text)]
    for match, end in zip(headings, ends, strict=False):  # without a heading there is an end and nothing to end
        answer = text[match.end() : end].strip()
        line = text.count("\n", 0, match.start()) + 1
        field = LABELS[match[1]]
        if field in found:
            message = f"the heading {match[1]!r} stands twice"
            raise UserError(message, file=path, line=line, repair="keep the answers of the form as they are")
        if answer and answer != NO_ANSWER:
            found[field] = (answer, line)
    for field in REQUIRED:
        if field not in found:
            label = next(label for label, name in LABELS.items() if name == field)
            raise UserError(f"no answer below the heading {label!r}", file=path, repair="fill in the form")
    return _known(found, path)


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("cannot be read as text", file=path, repair="give the text of the issue in UTF-8") from error
    if len(text) > MAX_CHARACTERS:
        raise UserError("the issue is too long", file=path, value=len(text), repair="keep the answers short")
    return text.replace("\r\n", "\n")


def _known(found: Mapping[str, tuple[str, int]], path: Path) -> Known:
    texts = {
        field: " ".join(answer.split()) for field, (answer, _) in found.items() if field not in ("authors", "year")
    }
    authors = tuple(line.strip() for line in found.get("authors", ("", 0))[0].split("\n") if line.strip())
    return Known(**texts, authors=authors, year=_year(found, path))


def _year(found: Mapping[str, tuple[str, int]], path: Path) -> int | None:
    if "year" not in found:
        return None
    answer, line = found["year"]
    if not re.fullmatch(r"[0-9]{4}", answer):
        raise UserError("this is not a year", file=path, line=line, value=answer, repair="write four digits")
    return int(answer)
