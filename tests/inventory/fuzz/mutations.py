"""Changes of a text as a hurried or a hostile hand makes them; chosen by numbers, so that they shrink."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

# Other types and forms for a scalar, and pieces that mean something to YAML or to a rule.
SCALARS = (
    b"", b"null", b"true", b"7", b"2.5", b"1e999", b"[]", b"{}", b"[a, [b]]", b"{a: {b: c}}", b"none", b"unknown",
    b"TODO", b"s9", b'"\\u2028"', b'"\\x00"', b"'<script>'", b"!!int 3", b"&a x", b"*a", b"2190-01-01", b"2025-02-30",
    b"0000.00000", b'"2505.10978"', b"cs/0112017", b"https://arxiv.org/abs/2505.10978v9", b"[s1, s1]",
    b"|\n  x", b">-\n      y", b"not-applicable", b"diagnostic", b"[none, unknown]", b"9" * 400, b"x" * 7000,
    "é\u202e".encode(), b"alpha", b"base", b"- a",
)  # fmt: skip
PIECES = (
    b"\r", b"\r\n", b"\t", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xc2\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"---\n",
    b"...\n", b"%YAML 1.1\n", b"? ", b"<<: ", b": ", b"- ", b"\n", b"#", b"'", b'"', b"[", b"]", b"{", b"}", b"&a ",
    b"*a ",
)  # fmt: skip
_SCALAR = re.compile(rb"(?<=: )[^\s\[{][^\n,}\]]*")

Numbers = Sequence[int]


def change(text: bytes, numbers: Numbers) -> bytes:
    """Return `text` after one change: the first number chooses which, the others where and by what."""
    how, *rest = numbers
    return _CHANGES[how % len(_CHANGES)](text, rest)


def _lines(text: bytes) -> list[bytes]:
    return text.split(b"\n")


def _delete(text: bytes, numbers: Numbers) -> bytes:
    lines = _lines(text)
    start = numbers[0] % len(lines)
    return b"\n".join(lines[:start] + lines[start + 1 + numbers[1] % 3 :])


def _duplicate(text: bytes, numbers: Numbers) -> bytes:
    lines = _lines(text)
    start, end = sorted((numbers[0] % len(lines), numbers[1] % len(lines)))
    return b"\n".join(lines[:end] + lines[start : start + 12] + lines[end:])


def _swap(text: bytes, numbers: Numbers) -> bytes:
    lines = _lines(text)
    one, other = numbers[0] % len(lines), numbers[1] % len(lines)
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _retype(text: bytes, numbers: Numbers) -> bytes:
    found = [*_SCALAR.finditer(text)]
    if not found:
        return text
    match = found[numbers[0] % len(found)]
    return text[: match.start()] + SCALARS[numbers[1] % len(SCALARS)] + text[match.end() :]


def _indent(text: bytes, numbers: Numbers) -> bytes:
    lines = _lines(text)
    which = numbers[0] % len(lines)
    lines[which] = b" " * (numbers[1] % 9) + lines[which].lstrip(b" ")
    return b"\n".join(lines)


def _splice(text: bytes, numbers: Numbers) -> bytes:
    place = numbers[0] % (len(text) + 1)
    return text[:place] + PIECES[numbers[1] % len(PIECES)] + text[place + numbers[2] % 3 :]


def _move(text: bytes, numbers: Numbers) -> bytes:
    start, length = numbers[0] % (len(text) + 1), 1 + numbers[1] % 60
    piece, rest = text[start : start + length], text[:start] + text[start + length :]
    place = numbers[2] % (len(rest) + 1)
    return rest[:place] + piece + rest[place:]


def _nest(text: bytes, numbers: Numbers) -> bytes:
    found = [*_SCALAR.finditer(text)]
    if not found:
        return text
    match, depth = found[numbers[0] % len(found)], 1 + numbers[1] % 30
    opening, closing = ((b"[", b"]"), (b"{a: ", b"}"))[numbers[2] % 2]
    return text[: match.start()] + opening * depth + match[0] + closing * depth + text[match.end() :]


def _reuse(text: bytes, numbers: Numbers) -> bytes:
    """Put one scalar of the text in place of another."""
    found = [*_SCALAR.finditer(text)]
    if not found:
        return text
    match, other = found[numbers[0] % len(found)], found[numbers[1] % len(found)]
    return text[: match.start()] + other[0] + text[match.end() :]


_CHANGES: tuple[Callable[[bytes, Numbers], bytes], ...] = (
    _delete, _duplicate, _swap, _retype, _indent, _splice, _move, _nest, _reuse)  # fmt: skip
