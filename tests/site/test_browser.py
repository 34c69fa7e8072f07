"""The built site in a real browser: quiet console, no other host, nothing too wide for a phone, filters that work.

Skipped where Playwright or a Chromium is absent (`nox -s browser` has both, or says that it has not).
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.site.conftest import METHOD
from tests.site.test_build import HOSTILE_PAGES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright drives the browser")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-first-run"]
WIDTHS = {"desktop": 1280, "phone": 390}


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@dataclass
class Tab:
    """A page of the browser with everything about it that should not happen."""

    page: Page
    address: str
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda one: self._note(one.type in ("error", "warning"), f"console: {one.text}"))
        self.page.on("pageerror", lambda one: self._note(True, f"script: {one}"))
        self.page.on("request", lambda one: self._note(not one.url.startswith((self.address, "data:")), one.url))
        self.page.on("response", lambda one: self._note(one.status >= 400, f"{one.status}: {one.url}"))
        self.page.on("dialog", self._dialog)

    def _note(self, bad: bool, what: str) -> None:
        if bad:
            self.faults.append(what)

    def _dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, path: str) -> None:
        """Load a page and wait until it has fetched all it wants."""
        self.page.goto(f"{self.address}/{path}")
        self.page.wait_for_load_state("networkidle")

    def shown_rows(self) -> list[str]:
        """Return the names in the rows of the overview that are not hidden."""
        return [name.inner_text() for name in self.page.locator("#catalogue tbody tr:visible th").all()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    yield from _serve(site)


@pytest.fixture(scope="module")
def hostile_address(hostile_site: Path) -> Iterator[str]:
    yield from _serve(hostile_site)


def _serve(folder: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(params=WIDTHS, ids=str)
def tab(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Tab]:
    context = browser.new_context(viewport={"width": WIDTHS[request.param], "height": 900})
    yield Tab(context.new_page(), address)
    context.close()


def test_every_page_is_quiet_and_fits(tab: Tab, site: Path) -> None:
    wide = []
    for path in sorted(site.rglob("*.html")):
        if path.name == "404.html":
            continue
        name = path.relative_to(site).as_posix()
        tab.page.goto(f"{tab.address}/{name}")
        root = "document.documentElement"
        excess = tab.page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")
        wide += [f"{name}: {excess} px"] if excess > 0 else []
    assert (tab.faults, wide) == ([], [])


def test_filters_stand_in_the_address_and_come_from_it(tab: Tab) -> None:
    tab.open("methods/index.html?status=judged")
    assert tab.shown_rows() == ["GiGPO"]
    tab.page.select_option("select[name=status]", "")
    everything = tab.shown_rows()
    assert len(everything) > 1
    tab.page.get_by_text("More filters").click()
    tab.page.select_option("select[name=kind]", "background")
    assert "kind=background" in tab.page.url
    assert "status" not in tab.page.url
    assert 0 < len(tab.shown_rows()) < len(everything)
    tab.page.fill("input[name=q]", "no entry says this")
    assert tab.shown_rows() == []
    assert "choose fewer" in tab.page.locator(".cairn-filter output").inner_text()
    tab.page.click(".cairn-filter button[type=reset]")
    tab.page.wait_for_function("!location.search")
    assert tab.shown_rows() == everything
    assert tab.faults == []


def test_columns_sort_as_numbers_and_the_address_keeps_it(tab: Tab) -> None:
    tab.open("methods/index.html?sort=Year&order=down")
    years = [int(cell.inner_text()) for cell in tab.page.locator("#catalogue tbody td:nth-child(2)").all()]
    assert years == sorted(years, reverse=True)
    assert len(set(years)) > 1
    tab.page.get_by_role("button", name="Year").click()
    assert "order" not in tab.page.url
    years = [int(cell.inner_text()) for cell in tab.page.locator("#catalogue tbody td:nth-child(2)").all()]
    assert years == sorted(years)


def test_a_filtered_table_survives_a_reload(tab: Tab) -> None:
    tab.open("methods/index.html")
    tab.page.select_option("select[name=granularity]", "turn")
    turns = tab.shown_rows()
    tab.page.select_option("select[name=without_need]", "learned_critic")
    tab.page.get_by_text("More filters").click()
    tab.page.select_option("select[name=survey]", "core")
    tab.page.get_by_role("button", name="Compute").click()
    shown = tab.shown_rows()
    assert 0 < len(shown) < len(turns)
    assert "GiGPO" in shown
    tab.page.reload()
    assert tab.shown_rows() == shown
    # The filter that stands behind a click is seen, because it is set.
    assert tab.page.locator("select[name=survey]").is_visible()
    assert tab.page.locator("select[name=without_need]").input_value() == "learned_critic"
    assert tab.faults == []


def test_labels_are_sorted_in_the_order_of_their_words(tab: Tab) -> None:
    tab.open("methods/index.html?sort=Compute")
    cells = [cell.inner_text() for cell in tab.page.locator("#catalogue tbody td[data-label=Compute]").all()]
    words = list(dict.fromkeys(cell.removeprefix("Compute").strip() for cell in cells))
    assert words == ["low", "medium", "high", "unknown"]


def test_a_cell_of_the_grid_leads_to_its_entries(tab: Tab) -> None:
    tab.open("inventory/grid.html")
    cell = tab.page.locator("table.cairn-heat").first.get_by_title("turn, monte carlo: ", exact=False)
    count, names = int(cell.inner_text()), cell.get_attribute("title") or ""
    cell.click()
    tab.page.wait_for_url("**/methods/index.html?*")
    shown = tab.shown_rows()
    assert len(shown) == count
    assert all(name in names for name in shown)
    assert tab.faults == []


def test_a_mark_leads_to_its_evidence(tab: Tab) -> None:
    tab.open("literature/audit.html")
    row = tab.page.locator(".cairn-matrix tbody tr").filter(has_text="GiGPO")
    row.get_by_role("link").nth(10).click()  # the name, and ten marks: the estimate of variance is the tenth item
    tab.page.wait_for_url(f"**/methods/{METHOD}.html#reporting-variance")
    item = tab.page.locator("tr").filter(has=tab.page.locator("#reporting-variance"))
    assert "3 random seeds" in item.inner_text()
    assert item.is_visible()
    assert tab.faults == []


def test_a_label_leads_to_its_definition(tab: Tab) -> None:
    tab.open(f"methods/{METHOD}.html")
    tab.page.locator(".cairn-labels").get_by_role("link", name="Granularity turn").click()
    tab.page.wait_for_url("**/inventory/vocabulary.html#granularity-turn")
    assert tab.page.locator("#granularity-turn").is_visible()
    assert tab.faults == []


def test_a_mark_of_the_timeline_leads_to_its_entry(tab: Tab) -> None:
    tab.open("inventory/timeline.html")
    mark = tab.page.locator(".cairn-timeline a").filter(has_text="GiGPO, 2025-05")
    assert mark.count() == 1
    assert (mark.get_attribute("href") or "").endswith(f"methods/{METHOD}.html")


def test_a_strange_address_does_no_harm(tab: Tab) -> None:
    tab.open("methods/index.html?kind=%3Cimg%20src=x%20onerror=alert(1)%3E&sort=%22&q=")
    assert len(tab.shown_rows()) > 1
    assert tab.faults == []


def test_without_scripts_all_is_readable(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 900})
    tab = Tab(context.new_page(), address)
    tab.open("methods/index.html")
    assert len(tab.shown_rows()) > 1
    assert not tab.page.locator(".cairn-filter").is_visible()
    tab.open(f"methods/{METHOD}.html")
    assert tab.page.locator(".cairn-strips svg").first.is_visible()
    tab.page.get_by_text("The same as a table").first.click()
    assert tab.page.locator("td[data-label='Reward after it']").first.is_visible()
    tab.open("inventory/grid.html")
    tab.page.get_by_text("The entries of each cell", exact=True).click()
    assert tab.page.locator("details dd").get_by_role("link", name="GiGPO").first.is_visible()
    for path, told in READABLE.items():
        tab.open(path)
        assert tab.page.get_by_text(told).first.is_visible(), path
    context.close()
    assert tab.faults == []


# Pages with a piece of each that must be there without a script.
READABLE = {
    "inventory/timeline.html": "Month by month",
    "inventory/vocabulary.html": "Everything that the policy writes between two observations",
    "inventory/choosing.html": "Where is credit to be assigned?",
    "literature/audit.html": "Total GPU-hours of training",
    "literature/survey.html": "visits of a state are grouped, not prefixes",
}


def test_text_of_strangers_starts_nothing(browser: Browser, hostile_address: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = Tab(context.new_page(), hostile_address)
    for name in HOSTILE_PAGES:
        tab.open(f"{name}.html")
    # The search shows pieces of pages that a script put together.
    tab.page.locator("input[name=query]").click()
    tab.page.keyboard.type("onclick alert")
    tab.page.locator(".md-search-result__item").first.wait_for()
    context.close()
    assert tab.faults == []
