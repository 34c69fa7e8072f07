"""What a check says: numbered rules, and findings that name the file, the line, the value and the repair."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cairn.errors import UserError

ERROR = "error"
WARNING = "warning"
MOST_WORDS_PRINTED = 30
MOST_ERRORS_A_FILE = 100


@dataclass(frozen=True)
class Rule:
    """One numbered rule. `help` says what is asked and why; the number never changes its meaning."""

    code: str
    name: str
    help: str
    severity: str = ERROR


@dataclass(frozen=True)
class Finding:
    """One breach of one rule. `file` is relative to the data root; `line` counts from 1."""

    rule: Rule
    file: str
    line: int
    value: str
    message: str
    repair: str

    def __str__(self) -> str:
        value = f" (got {self.value!r})" if self.value else ""
        return f"{self.file}:{self.line}: {self.rule.code} {self.message}{value}. Repair: {self.repair}"

    def to_dict(self) -> dict[str, str | int]:
        """Return the finding as plain data, for JSON output and for annotations on a pull request."""
        return {
            "rule": self.rule.code,
            "name": self.rule.name,
            "severity": self.rule.severity,
            "file": self.file,
            "line": self.line,
            "value": self.value,
            "message": self.message,
            "repair": self.repair,
        }

    def as_error(self, root: Path) -> UserError:
        """Return the finding as the one error that the command line prints; `root` is the data root."""
        message = f"{self.rule.code} {self.message}"
        return UserError(message, file=root / self.file, line=self.line, value=self.value or None, repair=self.repair)


def first_errors(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings of one file until there are too many errors to be read; the last one says that it is cut."""
    errors = 0
    for finding in findings:
        errors += finding.rule.severity == ERROR
        if errors == MOST_ERRORS_A_FILE:
            yield replace(finding, message=f"{finding.message}; what else is wrong in this file is left out")
            return
        yield finding


def shown(value: object, limit_characters: int = 80) -> str:
    """Return `value` as short, printable, one-line text, whatever a stranger's file holds."""
    text = value if isinstance(value, str) else repr(value)
    line = "".join(character if character.isprintable() else "�" for character in text[: 4 * limit_characters])
    return line if len(line) <= limit_characters else line[: limit_characters - 3] + "..."


def slug(text: str) -> str:
    """Return the id or key nearest to `text`: small letters and digits, joined by single hyphens."""
    joined = re.sub(r"[^a-z0-9]+", "-", text[:80].lower()).strip("-")
    return joined if re.match(r"[a-z]", joined) else f"m-{joined}".strip("-")


def near(word: str, known: Iterable[str], listed: str = "") -> str:
    """Return a repair that offers the known words nearest to `word`; all when none is near and they are few.

    listed: what they are and where they stand, for the case that they are many: "words of inventory/vocab/x.yaml".
    """
    words = sorted(set(known))
    by_folded = {candidate.casefold(): candidate for candidate in words}
    close = difflib.get_close_matches(word[:80].casefold(), list(by_folded), n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(by_folded[match] for match in close) + "?"
    if len(words) > MOST_WORDS_PRINTED:
        return f"use one of the {len(words)} " + (listed or f"names that there are, such as {', '.join(words[:3])}")
    return "use one of: " + ", ".join(words) if words else "no word is defined yet"
