"""Text of strangers on a page: everything is escaped unless this module made it.

Pages are Markdown with blocks of HTML inside. Text from an entry or a record reaches a page through `Html` (inside a
block of HTML) or through `markdown` (in a heading); neither can open a tag, an attribute or a Markdown construct.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence

from cairn.evidence.summary import Estimate

DASH = "–"
NO_BREAK = "\u00a0"
_MARKDOWN = re.compile(r"[\\`*_{}\[\]()#+!|~^$:.=-]")
_SPACES = re.compile(r"[ \t\r\n\f\v\x85\u2028\u2029]+")  # a no-break space stays
_SAFE_URL = re.compile(r"https?://[^\s<>\"']+")
_CODE = re.compile("`([^`]+)`")
_TAG = re.compile(r"<[^>]*>")
_NARROW = 2  # columns that fit a phone side by side
_PREFIXES = ((15, "P"), (12, "T"), (9, "G"), (6, "M"))


class Html(str):
    """HTML that was made here, or text that was escaped here."""

    __slots__ = ()


Content = str | Html | int | None


def plain(text: str) -> str:
    """Return text on one line, runs of spaces as one, without control characters or marks that turn the writing."""
    line = _SPACES.sub(" ", text)
    return "".join(letter for letter in line if unicodedata.category(letter) not in {"Cc", "Cf", "Co", "Cs"})


def escape(content: Content) -> Html:
    """Return content for the inside of an element or of a quoted attribute; None is a dash."""
    if isinstance(content, Html):
        return content
    return Html(DASH if content is None else html.escape(plain(str(content)), quote=True))


def prose(content: Content) -> Html:
    """Return content for a paragraph, a list or a cell: escaped, and what stands between backticks as code."""
    return content if isinstance(content, Html) else Html(_CODE.sub(r"<code>\1</code>", escape(content)))


def markdown(text: str) -> str:
    """Return text for a line of Markdown: every character that Markdown could read as a mark is an entity."""
    # Quotation marks stay: their entities hold a mark that would be taken for one of Markdown's.
    bare = html.escape(plain(text.strip()), quote=False)
    return _MARKDOWN.sub(lambda found: f"&#{ord(found.group())};", bare)


def front_matter(title: str) -> str:
    """Return the head of a page that gives its title; themes print that one as it is, so it is escaped here.

    A title taken from the heading would be printed without its escapes.
    """
    return f"---\ntitle: {json.dumps(escape(title.strip()))}\n---"


def element(tag: str, *content: Content, **attributes: str | None) -> Html:
    """Return an element. Attribute names end in `_` where Python needs it, and `_` inside them becomes `-`."""
    named = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items() if value is not None)
    inside = "".join(f' {name}="{escape(value)}"' for name, value in named)
    return Html(f"<{tag}{inside}>{''.join(map(escape, content))}</{tag}>")


def join(parts: Iterable[Content], separator: str = "") -> Html:
    """Return parts one after the other, escaped, with a separator that is HTML."""
    return Html(separator.join(map(escape, parts)))


def link(content: Content, target: str) -> Html:
    """Return a link to a page of this site (a relative address made here)."""
    return element("a", content, href=target)


def outward(content: Content, url: str) -> Html:
    """Return a link to another site, or the bare text when `url` is not a web address."""
    if not _SAFE_URL.fullmatch(url):
        return escape(content)
    return element("a", content, href=url, rel="noopener noreferrer")


def cite(keys: Iterable[str]) -> Html:
    """Return references to the page's list of sources."""
    return element("span", "[", join((link(key, f"#{key}") for key in keys), ", "), "]", class_="cairn-cite")


def table(head: Sequence[Content], rows: Iterable[Sequence[Content]], caption: str | None = None) -> str:
    """Return a table; its first column names the row. On a phone, the rows of a broad one are cards with labels."""
    cards = len(head) > _NARROW
    lines = ["<table data-cards>" if cards else "<table>"]
    if caption:
        lines.append(element("caption", caption))
    heads = join(element("th", cell, scope="col") for cell in head)
    lines += [f"<thead><tr>{heads}</tr></thead>", "<tbody>"]
    labels = [_bare(cell) if cards else None for cell in head[1:]]
    for first, *others in rows:
        cells = join(element("td", prose(cell), data_label=label) for label, cell in zip(labels, others, strict=True))
        lines.append(f"<tr>{element('th', first, scope='row')}{cells}</tr>")
    return "\n".join([*lines, "</tbody>", "</table>"])


def _bare(content: Content) -> Html:
    """Return content without the elements around its text."""
    return Html(_TAG.sub("", escape(content)))


def paragraph(*content: Content, class_: str | None = None) -> str:
    """Return a paragraph."""
    return element("p", *map(prose, content), class_=class_)


def bullets(items: Iterable[Content], tag: str = "ul") -> str:
    """Return a list, numbered with the tag `ol`."""
    lines = "\n".join(element("li", prose(item)) for item in items)
    return f"<{tag}>\n{lines}\n</{tag}>"


def definitions(pairs: Iterable[tuple[Content, Content]]) -> str:
    """Return a list of names with their values."""
    lines = "\n".join(f"<div>{element('dt', name)}{element('dd', prose(value))}</div>" for name, value in pairs)
    return f'<dl class="cairn-facts">\n{lines}\n</dl>'


def notice(kind: str, title: str, *content: Content) -> str:
    """Return a box with a title; `kind` is one of the theme's (note, warning, danger)."""
    inside = element("p", title, class_="admonition-title") + paragraph(*content)
    return element("div", Html(inside), class_=f"admonition {kind}")


def details(summary: str, inside: str) -> str:
    """Return a block that a click opens; it needs no script."""
    return f"<details>\n{element('summary', summary)}\n{inside}\n</details>"


def code(text: str) -> str:
    """Return text as a block of code, its lines kept."""
    kept = "\n".join(plain_line for line in text.splitlines() if (plain_line := _keep_indent(line)))
    return f"<pre><code>{html.escape(kept)}</code></pre>"


def _keep_indent(line: str) -> str:
    return " " * (len(line) - len(line.lstrip(" "))) + plain(line).strip()


def number(value: float | None, digits: int = 3) -> str:
    """Return a number to some significant digits, thousands apart; a dash for null."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def signed(value: float | None) -> str:
    """Return a difference or a credit with its sign, a true minus, three decimals."""
    if value is None:
        return DASH
    shown = f"{value:+.3f}"
    return "0.000" if float(shown) == 0 else shown.replace("-", "−")


def share(value: float | None) -> str:
    """Return a number between 0 and 1 with three decimals."""
    return DASH if value is None else f"{value:.3f}"


def interval(found: Estimate, show: str = "share") -> str:
    """Return an estimate with its interval; `show` is share, signed or number."""
    form = {"share": share, "signed": signed, "number": number}[show]
    bounds = "" if found.low is None or found.high is None else f" [{form(found.low)},{NO_BREAK}{form(found.high)}]"
    return form(found.estimate) + bounds


def scale_of(largest: float) -> tuple[float, str]:
    """Return the divisor and the unit in which FLOPs up to `largest` read well, such as (1e12, "TFLOP")."""
    for power, letter in _PREFIXES:
        if largest >= 10**power:
            return 10.0**power, f"{letter}FLOP"
    return 1.0, "FLOP"


def flops(value: float | None) -> str:
    """Return an amount of compute with its unit."""
    if value is None:
        return DASH
    divisor, unit = scale_of(value)
    return f"{number(value / divisor)}{NO_BREAK}{unit}"


def words(term: str) -> str:
    """Return a word of a list as a person reads it."""
    return plain(term).strip().replace("_", " ").replace("-", " ")
