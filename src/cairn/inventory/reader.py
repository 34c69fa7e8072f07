"""Read a stranger's YAML as plain data: bounded, without aliases or tags, every value with its line.

The text is taken as a stream of events and never expanded, so that no file can cost more than its size. Plain words
are read as YAML 1.2 reads them (`yes` and `no` are text), and a number that is not quoted stays a number, so that an
arXiv id without quotes (which would lose its last zeros) is refused by the model instead of being silently changed.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from cairn.inventory.findings import Finding, Rule, shown

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 24
MAX_NODES = 50_000
MAX_KEY_CHARACTERS = 80

NOT_A_FILE = Rule("CA001", "not-a-file", "An entry is a regular file inside the tree: no link, folder or device.")
TOO_LARGE = Rule("CA002", "too-large", f"A file holds at most {MAX_BYTES} bytes; it is refused without being read.")
NOT_UTF8 = Rule("CA003", "not-utf8", "Files are UTF-8 text.")
SYNTAX = Rule("CA004", "syntax", "The file must be one well-formed YAML document.")
DUPLICATE_KEY = Rule("CA005", "duplicate-key", "A key stands once in its mapping; YAML would silently keep the last.")
ALIAS = Rule("CA006", "alias", "Anchors and aliases are refused: facts are written out, and no alias bomb can start.")
TAG = Rule("CA007", "tag", "YAML tags are refused: a file is data and never names a type to build.")
MERGE_KEY = Rule("CA008", "merge-key", "The merge key << is refused: each block says what it says.")
TOO_COMPLEX = Rule("CA009", "too-complex", f"At most {MAX_DEPTH} levels and {MAX_NODES} values in one file.")
NOT_A_MAPPING = Rule(
    "CA010",
    "not-a-mapping",
    f"The document is a mapping; a key is plain text of at most {MAX_KEY_CHARACTERS} characters.",
)
BYTE_ORDER_MARK = Rule("CA011", "byte-order-mark", "A file starts with its text, without a byte-order mark.")
CARRIAGE_RETURN = Rule("CA012", "carriage-return", "Lines end as on Unix, so that a change of one line shows as one.")
LINE_SEPARATOR = Rule(
    "CA013", "line-separator", "Only a line feed ends a line; YAML knows three more, and editors do not."
)

Location = tuple[str | int, ...]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is about ten times faster, where it was built
_NUMBER_STARTS = frozenset("-+.0123456789")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,30}|[0-9]{1,30}\.[0-9]{0,30}|[0-9]{1,30}(?=[eE]))([eE][-+]?[0-9]{1,4})?")
_OTHER_LINE_END = re.compile("[\r\x85\u2028\u2029]")
_WORDS: Mapping[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}


class ReadError(Exception):
    """A breach of one rule met while reading; `line` counts from 1."""

    def __init__(self, rule: Rule, line: int, value: object, message: str, repair: str) -> None:
        super().__init__(message)
        self.rule, self.line, self.value, self.message, self.repair = rule, line, value, message, repair

    def finding(self, file: str) -> Finding:
        """Return the fault as a finding in `file`."""
        return Finding(self.rule, file, self.line, shown(self.value), self.message, self.repair)


@dataclass(frozen=True)
class Document:
    """One file as data: `file` relative to the root, its text, its top mapping, and the line of every value."""

    file: str
    text: str
    value: Mapping[str, object]
    lines: Mapping[Location, int]

    def line(self, location: Location) -> int:
        """Return the line of `location`, or of its nearest ancestor when it is absent from the file."""
        for length in range(len(location), 0, -1):
            if location[:length] in self.lines:
                return self.lines[location[:length]]
        return 1

    def only(self, blocks: Collection[str]) -> Document:
        """Return the document without its text and values, and with the lines of some top blocks only."""
        return Document(self.file, "", {}, {place: line for place, line in self.lines.items() if place[0] in blocks})


def read(path: Path, file: str) -> Document:
    """Read `path` and return it as a document named `file`. Raises ReadError on anything else."""
    text = _text(path)
    builder = _Builder()
    try:
        builder.take(_LOADER(text))
    except yaml.MarkedYAMLError as error:
        raise _syntax(error, text.count("\n") + 1) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        repair = "delete the character, or check quotes, indentation and brackets"
        raise ReadError(SYNTAX, _unprintable_line(text), "", "not YAML: no text can be read here", repair) from error
    if not isinstance(builder.root, dict):
        raise ReadError(NOT_A_MAPPING, 1, builder.root, "the file is not a mapping", "start from another entry")
    return Document(file, text, builder.root, builder.lines)


# What the parser says, and what a person who wrote a text by hand will have meant.
_SYNTAX_REPAIRS: Mapping[str, str] = {
    "mapping values are not allowed": "quote a text that holds a colon and a space, or correct the indentation",
    "expected ',' or": "close the bracket or brace; quote a text that holds one of , [ ] { }",
    "cannot start any token": "indent with spaces, not tabs; quote a text that starts with % @ or `",
    "expected key": "indent this line as its neighbours are; a text with quotation marks goes below `>-`, indented",
    "expected '-' indicator": "indent this line as its neighbours are",
    "expected ':'": "write `key: value`, or indent this line as the text above it",
    "violates indentation": "indent with spaces, not tabs",
    "escape": "use single quotes, or write a backslash twice",
    "unexpected end of stream": "close the quotation mark",
}


def _syntax(error: yaml.MarkedYAMLError, lines: int) -> ReadError:
    """Return the parser's error with its line, one of the file's `lines`, and the repair for what usually causes it."""
    problem_is_end = "end of stream" in str(error.problem)  # then it is where it begins that must be mended
    mark = (error.context_mark if problem_is_end else error.problem_mark) or error.problem_mark or error.context_mark
    line = min(mark.line + 1, lines) if mark else 1  # the parser counts a line behind the last one
    problem = " ".join(part for part in (error.context, error.problem) if part)
    begun = error.context_mark.line + 1 if error.context_mark else line
    begins = f" (which begins on line {begun})" if begun < line else ""
    usual = (repair for said, repair in _SYNTAX_REPAIRS.items() if said in problem)
    repair = next(usual, "check quotes, indentation and brackets near this line")
    return ReadError(SYNTAX, line, "", shown(f"not YAML: {problem}{begins}", 160), repair)


def _text(path: Path) -> str:
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ReadError(NOT_A_FILE, 1, path.name, "this is a link, a folder or a device", "put a plain file there")
        if status.st_size > MAX_BYTES:
            raise ReadError(TOO_LARGE, 1, f"{status.st_size} bytes", "the file is too large", "keep facts only")
        content = path.read_bytes()
    except OSError as error:
        raise ReadError(NOT_A_FILE, 1, path.name, f"cannot be read: {error.strerror}", "see permissions") from error
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        bad = content[error.start : error.start + 4]
        raise ReadError(NOT_UTF8, line, bad, "the text is not UTF-8", "save the file as UTF-8") from error
    _refuse_other_lines(text)
    return text


def _refuse_other_lines(text: str) -> None:
    """Raise ReadError for what would make line numbers or differences misleading."""
    if text.startswith("\ufeff"):
        repair = "save the file as UTF-8 without a byte-order mark (BOM)"
        raise ReadError(BYTE_ORDER_MARK, 1, "\\ufeff", "the file starts with a byte-order mark", repair)
    found = _OTHER_LINE_END.search(text)
    if found is None:
        return
    line = text.count("\n", 0, found.start()) + 1
    if found[0] == "\r":
        repair = "save the file with line ends of Unix (LF); git: core.autocrlf input"
        raise ReadError(CARRIAGE_RETURN, line, "\\r", "a carriage return stands here", repair)
    message = "a character that only YAML takes for the end of a line"
    raise ReadError(LINE_SEPARATOR, line, ascii(found[0])[1:-1], message, "replace it by a space or a new line")


def _unprintable_line(text: str) -> int:
    allowed = "\n\t\r"
    index = next((i for i, character in enumerate(text) if not character.isprintable() and character not in allowed), 0)
    return text.count("\n", 0, index) + 1


@dataclass(slots=True)
class _Frame:
    """One open mapping or list: its content, where it stands, and the place of the key that waits for a value."""

    content: dict[str, object] | list[object]
    location: Location
    waiting: Location | None = None


class _Builder:
    """Turns events into plain data without recursion."""

    def __init__(self) -> None:
        self.root: object = None
        self.lines: dict[Location, int] = {}
        self._stack: list[_Frame] = []
        self._documents = 0

    def take(self, parser: Any) -> None:
        """Take all events of a parser. Raises ReadError, and what the parser raises."""
        while (event := parser.get_event()) is not None:
            handler = self._HANDLERS.get(type(event))
            if handler is not None:
                handler(self, event, event.start_mark.line + 1)

    def _document(self, _: yaml.Event, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            raise ReadError(SYNTAX, line, "---", "a second document starts here", "keep one document in one file")

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        raise ReadError(ALIAS, line, f"*{event.anchor}", "an alias stands here", "write the value out")

    def _mapping(self, event: yaml.MappingStartEvent, line: int) -> None:
        _refuse_marks(event, line)
        self._open({}, line)

    def _sequence(self, event: yaml.SequenceStartEvent, line: int) -> None:
        _refuse_marks(event, line)
        self._open([], line)

    def _open(self, content: dict[str, object] | list[object], line: int) -> None:
        self._stack.append(_Frame(content, self._place(content, line)))
        if len(self._stack) > MAX_DEPTH:
            raise ReadError(TOO_COMPLEX, line, f"level {len(self._stack)}", "nested too deeply", "flatten it")

    def _end(self, _: yaml.Event, line: int) -> None:  # noqa: ARG002 (all events are handed on alike)
        self._stack.pop()

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        _refuse_marks(event, line)
        text: str = event.value
        plain = not event.style
        frame = self._stack[-1] if self._stack else None
        if frame is None or frame.waiting is not None or isinstance(frame.content, list):
            self._place(_plain_value(text) if plain else text, line)
        else:
            self._key(frame, text, line, plain=plain)

    def _key(self, frame: _Frame, text: str, line: int, *, plain: bool) -> None:
        place = (*frame.location, text)
        if plain and text == "<<":
            raise ReadError(MERGE_KEY, line, "<<", "a merge key stands here", "write the fields out")
        if not text.isprintable() or len(text) > MAX_KEY_CHARACTERS:
            raise ReadError(NOT_A_MAPPING, line, text, "a key here is not plain text", "use a word as the key")
        if place in self.lines:
            message = f"this key already stands on line {self.lines[place]} of the same mapping"
            raise ReadError(DUPLICATE_KEY, line, text, message, "keep one of the two")
        frame.waiting = place
        self.lines[place] = line

    def _place(self, value: object, line: int) -> Location:
        """Put `value` into the open container and return its location."""
        if len(self.lines) > MAX_NODES:
            raise ReadError(TOO_COMPLEX, line, f"{MAX_NODES} values", "too many values", "split or shorten the entry")
        if not self._stack:
            self.root = value
            return ()
        frame = self._stack[-1]
        if isinstance(frame.content, list):
            location: Location = (*frame.location, len(frame.content))
            self.lines[location] = line
            frame.content.append(value)
            return location
        if frame.waiting is None:
            raise ReadError(NOT_A_MAPPING, line, "", "a key here is not plain text", "use a word as the key")
        location, frame.waiting = frame.waiting, None
        frame.content[str(location[-1])] = value
        return location

    _HANDLERS: ClassVar[Mapping[type[yaml.Event], Callable[[Any, Any, int], None]]] = {
        yaml.ScalarEvent: _scalar,
        yaml.MappingStartEvent: _mapping,
        yaml.SequenceStartEvent: _sequence,
        yaml.MappingEndEvent: _end,
        yaml.SequenceEndEvent: _end,
        yaml.AliasEvent: _alias,
        yaml.DocumentStartEvent: _document,
    }


def _refuse_marks(event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int) -> None:
    """Raise ReadError for an anchor or a tag."""
    if event.anchor is not None:
        raise ReadError(ALIAS, line, f"&{event.anchor}", "an anchor stands here", "remove it and write values out")
    if event.tag is not None:
        raise ReadError(TAG, line, event.tag, "a YAML tag stands here", "remove the tag, keep the value")


def _plain_value(text: str) -> str | int | float | bool | None:
    """Resolve an unquoted scalar as the core schema of YAML 1.2 does, without infinities and NaN."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def texts(document: Document) -> list[str]:
    """Return every text value of `document`, in no order (keys are not included)."""
    found: list[str] = []
    stack: list[object] = [document.value]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
    return found


def strings(document: Document) -> Iterator[tuple[Location, str]]:
    """Yield every text value of `document` with its location (keys are not included)."""
    stack: list[tuple[Location, object]] = [((), document.value)]
    while stack:
        location, value = stack.pop()
        if isinstance(value, str):
            yield location, value
        elif isinstance(value, dict):
            stack.extend(((*location, key), item) for key, item in reversed(value.items()))
        elif isinstance(value, list):
            stack.extend(((*location, index), item) for index, item in reversed(list(enumerate(value))))
