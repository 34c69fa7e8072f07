"""Built pages as lists of elements and text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

Attributes = dict[str, str]


@dataclass
class Page(HTMLParser):
    """elements: (tag, attributes) in order. text: what a reader sees, without scripts and styles."""

    source: str
    elements: list[tuple[str, Attributes]] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    inside: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag in ("script", "style"):
            self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        """What a reader sees, runs of white space as one."""
        return " ".join("".join(self.pieces).split())

    def all(self, tag: str, attribute: str) -> list[str]:
        """Values of an attribute of all elements with a tag."""
        return [attributes[attribute] for name, attributes in self.elements if name == tag and attribute in attributes]

    @property
    def ids(self) -> set[str]:
        """All ids, which links may lead to."""
        return {attributes["id"] for _, attributes in self.elements if "id" in attributes}


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))
