"""The rendered site: strict build, whole links, no request to another host, text of strangers stays text."""

from __future__ import annotations

import html
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from tests.site.conftest import HOSTILE, METHOD, bare_root
from tests.site.html_reader import Page, read

from cairn.errors import UserError
from cairn.inventory import load
from cairn.site import build

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
        "methods/index",
        "inventory/grid",
        "inventory/timeline",
        "inventory/vocabulary",
        "inventory/choosing",
        "leaderboard/index",
        "literature/audit",
        "literature/survey",
        "data/index",
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


def test_counts_lead_to_filters_that_the_overview_knows(site: Path) -> None:
    overview = (site / "methods" / "index.html").read_text(encoding="utf-8")
    pages = [*(site / "inventory").glob("*.html")]
    targets = {target for page in pages for target in read(page).all("a", "href") if "methods/index.html?" in target}
    asked = {pair for target in targets for pair in parse_qsl(urlsplit(target).query)}
    assert {name for name, _ in asked} >= {"granularity", "family", "methodology", "setting", "need", "survey"}
    for label, word in asked:
        select = overview.split(f'<select name="{label}">')[1].split("</select>")[0]
        assert f'value="{word}"' in select, (label, word)


def test_a_count_is_the_number_of_rows_that_its_filter_leaves(site: Path) -> None:
    rows = [one for tag, one in read(site / "methods" / "index.html").elements if tag == "tr" and "data-kind" in one]
    cells = re.findall(r'<td[^>]*><a href="\.\./methods/index\.html\?([^"]*)"[^>]*>(\d+)</a>', _text(site, "grid"))
    assert len(cells) > 50
    for query, count in cells:
        asked = parse_qsl(html.unescape(query))
        held = [row for row in rows if all(word in row[f"data-{name}"].split() for name, word in asked)]
        assert len(held) == int(count), query


def _text(site: Path, page: str) -> str:
    return (site / "inventory" / f"{page}.html").read_text(encoding="utf-8")


def test_labels_lead_to_their_definition(site: Path) -> None:
    known = read(site / "inventory" / "vocabulary.html").ids
    targets = [one for one in read(site / "methods" / f"{METHOD}.html").all("a", "href") if "vocabulary.html#" in one]
    assert {"granularity-turn", "setting-agentic", "needs-state_keys"} <= {one.split("#")[1] for one in targets}
    assert {one.split("#")[1] for one in targets} <= known


@pytest.fixture(scope="module")
def hostile_page(hostile_site: Path) -> Page:
    return read(hostile_site / "methods" / f"{METHOD}.html")


HOSTILE_PAGES = {
    f"methods/{METHOD}": ("why", "survey methodology", "withdrawn", "note", "when", "text"),
    "methods/index": ("name",),
    "leaderboard/toy--cpu": ("name",),
    "inventory/grid": ("methodology",),
    "inventory/timeline": ("name",),
    "inventory/vocabulary": ("title", "about", "definition"),
    "inventory/choosing": ("ask", "title", "survey_row", "because"),
    "literature/audit": ("name", "text", "words"),
    "literature/survey": ("why", "text", "says", "remark", "row"),
    "data/index": ("name",),
}


@pytest.mark.parametrize("name", HOSTILE_PAGES)
def test_text_of_strangers_opens_nothing(hostile_site: Path, name: str) -> None:
    page = read(hostile_site / f"{name}.html")
    handlers = [(tag, key) for tag, attributes in page.elements for key in attributes if key.startswith("on")]
    assert handlers == []
    assert not [one for one in page.all("a", "href") if one.lower().startswith("javascript")]
    assert [one for one in page.all("img", "src") if one == "x"] == []
    assert "<script>alert" not in page.source


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, found in HOSTILE_PAGES.items() for field in found])
def test_text_of_strangers_reaches_the_page_as_text(hostile_site: Path, name: str, field: str) -> None:
    page = read(hostile_site / f"{name}.html")
    told = [value for _, attributes in page.elements for key, value in attributes.items() if key in ("title", "label")]
    shown = " ".join([page.text, *told])
    assert f"{field.removeprefix('survey ')} {SHOWN}" in shown


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
