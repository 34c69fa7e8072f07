"""Escaping and numbers; the expected texts are written by hand."""

from __future__ import annotations

import pytest

from cairn.evidence.summary import Estimate
from cairn.site import text
from cairn.site.charts import Effect, effects, ticks


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;&#x27;"),
        ("two\n  lines", "two lines"),
        ("a\u202eb\u0000c\u200bd", "abcd"),
        (None, "–"),
        (7, "7"),
    ],
)
def test_text_is_escaped(given: str | int | None, shown: str) -> None:
    assert text.escape(given) == shown


def test_what_was_made_here_is_not_escaped_twice() -> None:
    assert text.element("p", text.element("b", "<")) == "<p><b>&lt;</b></p>"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("no `a<b>` here, `c`", "no <code>a&lt;b&gt;</code> here, <code>c</code>"),
        ("one ` alone", "one ` alone"),
        ("`a\nb`", "<code>a b</code>"),
        (text.Html("`made here`"), "`made here`"),
        (None, "–"),
    ],
)
def test_what_stands_between_backticks_is_code_in_prose(given: str | None, shown: str) -> None:
    assert text.prose(given) == shown


def test_paragraphs_lists_and_cells_are_prose() -> None:
    written = "`x`"
    blocks = (
        text.paragraph(written), text.bullets([written]), text.definitions([("a", written)]),
        text.table(["a", "b"], [["a", written]]), text.notice("note", "a", written),
    )  # fmt: skip
    assert all("<code>x</code>" in block for block in blocks)


def test_markdown_marks_become_entities() -> None:
    shown = text.markdown("# [x](y) *a* `b` {: .c} <i>")
    assert not set(shown.replace("&#", "").replace(";", "")) & set("#[]()*`{}:<>")
    assert "&#91;x&#93;" in shown


def test_quotation_marks_in_a_heading_stay_themselves() -> None:
    assert text.markdown("a 'b' & \"c\"") == "a 'b' &amp; \"c\""


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//host/x", 'https://a/"onclick="x', "none", "https://a b"])
def test_only_web_addresses_become_links(url: str) -> None:
    assert text.outward("label", url) == "label"


def test_a_web_address_becomes_a_link() -> None:
    assert text.outward("a", "https://b.org/?c=1&d=2") == (
        '<a href="https://b.org/?c=1&amp;d=2" rel="noopener noreferrer">a</a>'
    )


def test_code_keeps_lines_and_indentation() -> None:
    assert text.code("@misc{a,\n  b = {<c>}\n}") == "<pre><code>@misc{a,\n  b = {&lt;c&gt;}\n}</code></pre>"


@pytest.mark.parametrize(
    ("value", "shown"), [(0.25, "+0.250"), (-0.25, "−0.250"), (0.0, "0.000"), (-0.0001, "0.000"), (None, "–")]
)
def test_credits_carry_their_sign(value: float | None, shown: str) -> None:
    assert text.signed(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(12345.6, "12,346"), (0.123456, "0.123"), (1000.0, "1,000"), (999.4, "999"), (None, "–")]
)
def test_numbers_have_three_digits(value: float | None, shown: str) -> None:
    assert text.number(value) == shown


def test_compute_has_a_unit() -> None:
    assert text.flops(2.5e12) == "2.5\u00a0TFLOP"
    assert text.flops(40.0) == "40\u00a0FLOP"


def test_an_interval_without_bounds_is_a_bare_number() -> None:
    assert text.interval(Estimate(estimate=0.5, low=None, high=None, n=1)) == "0.500"
    assert text.interval(Estimate(estimate=0.5, low=0.25, high=0.75, n=5)) == "0.500 [0.250,\u00a00.750]"


@pytest.mark.parametrize(
    ("most", "places"),
    [(20, [0, 5, 10, 15, 20]), (1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0.0, [0]), (37, [0, 10, 20, 30])],
)
def test_ticks_are_round(most: float, places: list[float]) -> None:
    assert ticks(most) == pytest.approx(places)


def test_effects_lie_on_their_side_of_zero() -> None:
    picture = effects([Effect("a", 0.2, 0.1, 0.3, 0.05), Effect("b", -0.2, -0.3, -0.1, 0.0)], "label")
    middle = 240.0
    bars = [part.split("H") for part in picture.split('class="cairn-line cairn-c0" d="M')[1:]]
    (low_a, high_a), (low_b, high_b) = (
        (float(left.split()[0]), float(right.split('"')[0])) for left, right, *_ in bars
    )
    assert middle < low_a < high_a
    assert low_b < high_b < middle
    assert picture.count("cairn-margin") == 1
