"""The rendered site: strict build, whole links, no request to another host, text of strangers stays text."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.site.conftest import HOSTILE, METHOD, bare_root
from tests.site.html_reader import Page, read

from cairn.errors import UserError
from cairn.inventory import load
from cairn.site import build
from cairn.site.writer import GENERATED

LOADING = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
# The site keeps the text but for runs of spaces.
SHOWN = " ".join(HOSTILE.split())


def test_the_site_has_all_pages(site: Path, root: Path) -> None:
    ids = {entry.id for entry in load(root)}
    assert ids <= {path.stem for path in (site / "methods").glob("*.html")}
    for page in (
        "index",
        "verdicts",
        "quest",
        "own-logs",
        "log",
        "contributing",
        *(f"{one}/index" for one in GENERATED),
    ):
        assert (site / f"{page}.html").is_file(), page


def test_links_inside_the_site_lead_somewhere(site: Path) -> None:
    pages = {path: read(path) for path in site.rglob("*.html") if path.name != "404.html"}
    faults = [
        f"{path.relative_to(site)}: {target}"
        for path, page in pages.items()
        for target in page.all("a", "href")
        if not urlsplit(target).scheme and not _leads_somewhere(path, target, pages)
    ]
    assert faults == []


def _leads_somewhere(path: Path, target: str, pages: dict[Path, Page]) -> bool:
    parts = urlsplit(target)
    place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if place.is_dir():
        place = place / "index.html"
    if not place.is_file():
        return False
    # Links such as `#__toc` and those of the theme's header have an element; a file that is no page has none.
    return not parts.fragment or place not in pages or unquote(parts.fragment) in pages[place].ids


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    faults = []
    for path in site.rglob("*.html"):
        page = read(path)
        loaded = [value for tag, attribute in LOADING.items() for value in page.all(tag, attribute)]
        faults += [f"{path.name}: {value}" for value in loaded if urlsplit(value).netloc]
    styles = [
        path for path in site.rglob("*.css") if re.search(r"(url\(|@import\s)[\"']?(https?:)?//", path.read_text())
    ]
    assert (faults, styles) == ([], [])


def test_tables_are_whole_without_a_script(site: Path, root: Path) -> None:
    page = read(site / "methods" / "index.html")
    assert all(entry.bibliography.name in page.text for entry in load(root))
    (form,) = [attributes for tag, attributes in page.elements if tag == "form" and "data-for" in attributes]
    assert "hidden" in form


def test_labels_lead_to_words_that_the_overview_knows(site: Path) -> None:
    targets = [
        one for one in read(site / "methods" / f"{METHOD}.html").all("a", "href") if one.startswith("index.html?")
    ]
    overview = (site / "methods" / "index.html").read_text(encoding="utf-8")
    assert targets
    for target in targets:
        label, word = target.removeprefix("index.html?").split("=")
        select = overview.split(f'<select name="{label}">')[1].split("</select>")[0]
        assert f'value="{word}"' in select


@pytest.fixture(scope="module")
def hostile_page(hostile_site: Path) -> Page:
    return read(hostile_site / "methods" / f"{METHOD}.html")


def test_text_of_strangers_opens_nothing(hostile_page: Page) -> None:
    handlers = [
        (tag, name) for tag, attributes in hostile_page.elements for name in attributes if name.startswith("on")
    ]
    assert handlers == []
    assert not [one for one in hostile_page.all("a", "href") if one.lower().startswith("javascript")]
    assert [one for one in hostile_page.all("img", "src") if one == "x"] == []
    assert "<script>alert" not in hostile_page.source


def test_text_of_strangers_is_shown_as_it_is(hostile_page: Page) -> None:
    shown = hostile_page.text
    for field in ("title", "credited", "formula", "loss", "text", "numbers", "ref", "seen"):
        assert f"{field} {SHOWN}" in shown, field
    # Claim, reason of the failure, deviation, worked example; the heading and the title carry the name.
    assert shown.count(SHOWN) >= 15
    assert f"name {SHOWN}" in shown


def test_another_folder_is_never_emptied(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("material")
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(UserError, match="not an earlier build"):
        build(root, tmp_path)
    assert (tmp_path / "thesis.tex").is_file()


def test_without_pages_it_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hand-written pages.*checkout"):
        build(tmp_path, tmp_path / "out")


def test_a_broken_link_is_a_fault(tmp_path: Path) -> None:
    pytest.importorskip("material")
    root = bare_root(tmp_path / "root")
    (root / "docs" / "log.md").write_text("# Log\n\n[nowhere](nowhere.md)\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"nowhere\.md"):
        build(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()
