"""The reporting checklist over the surveyed literature: matrix, gaps, and what the survey says beside our marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cairn.evidence.literature import READINGS_NOTE, Gap, LiteratureAudit, Scope, Tally, matrix_csv
from cairn.evidence.literature_matrix import LiteratureMark, MatrixRow
from cairn.evidence.literature_survey import Agreement, Cell, CoarseComparison, Contradiction, Degree, LostRow
from cairn.inventory import Inventory
from cairn.site.marks import badge, sign
from cairn.site.part import VERSION, DataFile, Part, Whole, as_json
from cairn.site.run_page import place_of
from cairn.site.shares import shares
from cairn.site.tables import Column, Ordered, Row, live
from cairn.site.terms import entry_link, term
from cairn.site.text import Content, Html, bullets, element, join, link, paragraph, table, words

_JSON, _CSV = f"{VERSION}/literature-audit.json", f"{VERSION}/literature-matrix.csv"
_NOT_APPLICABLE = "not-applicable"
_AGREEMENTS: dict[Agreement, str] = {
    "agrees": "agree",
    "compatible": "are compatible (neither says yes)",
    "differs": "differ",
    "open": "are unknown to us",
    "lost": "did not survive in the text",
}
_DEGREES: dict[Degree, str] = {"full": "in full", "part": "in part", "count": "as a count"}
_SURVEY = {"yes": "✓", "not-yes": "any mark but ✓", "lost": "lost"}


def make(whole: Whole) -> Part:
    """Return the page of the audit."""
    audit, inventory = whole.audit, whole.inventory
    page = [
        "---\nhide: [toc]\n---",
        "# What the papers report",
        *_about(audit, inventory),
        "## The matrix",
        _matrix(audit),
        "## What is reported least",
        *_gaps(audit),
        "## The survey's Table 12 beside our marks",
        *_table_12(audit, inventory),
        "## The survey's coarse audit",
        *(block for one in audit.coarse for block in _coarse(one, audit)),
        "## Marks whose evidence contradicts the survey",
        *_contradictions(audit, inventory),
        _files(),
    ]
    data = (
        DataFile(_JSON, "Audit of the literature", "marks with evidence and sources, gaps, the survey beside them",
                 as_json(audit.model_dump(mode="json"))),
        DataFile(_CSV, "Matrix of the audit", "one mark a row, with accounts, evidence and sources", matrix_csv(audit)),
    )  # fmt: skip
    return Part({"literature/audit.md": "\n\n".join(page) + "\n"}, data)


def _files() -> str:
    shown = join((link(path.rpartition("/")[2], f"../data/{path}") for path in (_JSON, _CSV)), ", ")
    return paragraph("The same for programs: ", shown, ".")


def _about(audit: LiteratureAudit, inventory: Inventory) -> Iterator[str]:
    unknown = sum(mark.status == "unknown" for row in audit.rows for mark in row.marks)
    total = sum(len(row.marks) for row in audit.rows)
    yield paragraph(
        f"The {len(audit.items)} items of the survey's reporting checklist over the {audit.methods} methods that it "
        f"counts, {audit.core} of them core. A mark rests on what was read, and that was often not the whole paper: "
        f"{unknown} of {total} marks are ", term(inventory, "marks", "unknown"), ", which means that what was read "
        "does not say. An unknown mark is never evidence that a paper does not report something. Letters say who shows "
        "it: ",
        join((join([element("strong", word[0]), " ", term(inventory, "accounts", word)]) for word in audit.accounts),
             ", "), ".",
    )  # fmt: skip
    yield paragraph(join((badge(word) for word in audit.statuses if word != _NOT_APPLICABLE), " "))


def _matrix(audit: LiteratureAudit) -> str:
    """Return the marks, each linked to its evidence on the page of its method, and what the columns stand for."""
    keys = bullets((join([item.text, element("small", f" {item.priority}")]) for item in audit.items), "ol")
    heads = join(
        element("th", element("abbr", str(number), title=item.text), scope="col")
        for number, item in enumerate(audit.items, start=1)
    )
    body = "\n".join(_line(row, audit) for row in audit.rows)
    head = f'<thead><tr><th scope="col">Method</th>{heads}</tr></thead>'
    about = paragraph("Each mark leads to its evidence on the method's page. The columns:")
    return f'{about}\n\n{keys}\n\n<table class="cairn-matrix">\n{head}\n<tbody>\n{body}\n</tbody>\n</table>'


def _line(row: MatrixRow, audit: LiteratureAudit) -> str:
    kind = "" if row.type == "core" else element("small", f" {row.type}")
    name = element("th", link(row.name, f"../methods/{row.entry}.html"), kind, scope="row")
    cells = (_mark(mark, item.text) for mark, item in zip(row.marks, audit.items, strict=True))
    return f"<tr>{name}{join(cells)}</tr>"


def _mark(mark: LiteratureMark, item: str) -> Html:
    evidence = "; ".join(f"{words(one.account)}: {one.text}" for one in mark.evidence)
    letters = element("small", "".join(account[0] for account in mark.accounts))
    told = f"{item}: {words(mark.status)}. {evidence}"
    shown = element("a", sign(mark.status), letters, href=_evidence(mark), title=told)
    return element("td", shown, class_=f"cairn-{mark.status}")


def _evidence(mark: LiteratureMark) -> str:
    return f"../methods/{mark.entry}.html#{place_of(mark.item)}"


def _gaps(audit: LiteratureAudit) -> Iterator[str]:
    shown = [status for status in audit.statuses if status != _NOT_APPLICABLE]
    numbers = {item.key: number for number, item in enumerate(audit.items, start=1)}
    bars = [(f"{numbers[gap.item.key]}. {words(gap.item.key)}", gap.tally("core", "any").counts) for gap in audit.gaps]
    yield shares(
        bars,
        shown,
        f"Core methods ({audit.core}) by mark, any account, least reported first; numbered as the columns above",
    )
    yield paragraph(
        "Three standards of evidence: "
        + "; ".join(f"{words(name)}: {told}" for name, told in audit.standards.items())
        + ". What a paper shows by itself lies between the last two. Items that as many methods report share a rank."
    )
    scopes: tuple[tuple[Scope, str], ...] = (("core", "Core methods"), ("all", "All methods"))
    for scope, title in scopes:
        yield f"### {title}"
        head = ["Item", "Rank", "Priority", *(words(name).capitalize() for name in audit.standards)]
        yield table(head, [_gap(gap, scope, shown, audit) for gap in audit.gaps])
    yield from _readings(audit, shown)


def _readings(audit: LiteratureAudit, shown: Sequence[str]) -> Iterator[str]:
    """Yield, for each item that asks for one thing or another, its counts under each reading."""
    for item in dict.fromkeys(one.item for one in audit.reading_tallies):
        yield f"### {words(item).capitalize()}, each reading by itself"
        yield bullets(f"{words(reading)}: {told}" for reading, told in audit.readings.items())
        found = [one for one in audit.reading_tallies if one.item == item]
        rows = []
        for reading, scope in dict.fromkeys((one.reading, one.scope) for one in found):
            tallies = [one for one in found if (one.reading, one.scope) == (reading, scope)]
            rows.append((words(reading), f"{scope}, {tallies[0].methods}", *(_tally(one, shown) for one in tallies)))
        yield table(["Reading", "Methods", *(words(name).capitalize() for name in audit.standards)], rows)
        yield paragraph(READINGS_NOTE)


def _gap(gap: Gap, scope: Scope, shown: Sequence[str], audit: LiteratureAudit) -> tuple[Content, ...]:
    tallies = [_tally(gap.tally(scope, standard), shown) for standard in audit.standards]
    return (gap.item.text, str(gap.rank), gap.item.priority, *tallies)


def _tally(tally: Tally, shown: Sequence[str]) -> Html:
    counts = (element("span", f"{sign(status)} {tally.counts[status]}", title=words(status)) for status in shown)
    return element("span", join(counts, " "), class_="cairn-tally")


def _table_12(audit: LiteratureAudit, inventory: Inventory) -> Iterator[str]:
    found = Counter(cell.agreement for cell in audit.cells)
    told = ", ".join(f"{found[word]} {meaning}" for word, meaning in _AGREEMENTS.items() if found[word])
    yield paragraph(f"The survey marks {len(audit.cells)} cells of its checklist for some methods: {told}.")
    entries = list(dict.fromkeys(cell.mark.entry for cell in audit.cells))
    rows = []
    for row in dict.fromkeys(cell.row for cell in audit.cells):
        cells = {cell.mark.entry: cell for cell in audit.cells if cell.row == row}
        rows.append((row, *(_compared(cells[entry]) if entry in cells else None for entry in entries)))
    yield table(["Item in Table 12", *(entry_link(inventory, entry) for entry in entries)], rows)
    if audit.lost_rows:
        yield paragraph("Of these rows only the number of ✓ survived, not their columns:")
        yield bullets(_lost(one) for one in audit.lost_rows)


def _compared(cell: Cell) -> Html:
    ours = element("a", badge(cell.mark.status), href=_evidence(cell.mark))
    quiet = "cairn-quiet" if cell.agreement != "differs" else "cairn-on"
    agreement = element("span", cell.agreement, class_=quiet)
    return join([f"survey: {_SURVEY[cell.survey]}", join(["ours: ", ours]), agreement], "<br>")


def _lost(one: LostRow) -> str:
    ours = str(one.least) if one.least == one.most else f"{one.least} to {one.most}"
    told = "which agrees with some assignment" if one.possible else "so at least one mark contradicts it"
    return f"{one.row}: {one.ticks} ✓ in the survey; ours are {ours} by evidence, {told}."


def _coarse(one: CoarseComparison, audit: LiteratureAudit) -> Iterator[str]:
    text = next(item.text for item in audit.items if item.key == one.count.item)
    yield element("h3", text)
    yield paragraph(
        f"The survey ({one.count.where}): {one.count.reported} of {one.count.of}. In its words: “{one.count.words}”."
    )
    ours = ", ".join(f"{count} ({words(standard)})" for standard, count in one.reported.items())
    yield paragraph(
        f"Ours, of {one.methods} core methods: reported {ours}; {len(one.in_part)} in part; "
        f"{one.most - one.least} unknown."
    )
    yield bullets(
        join([f"{told}: ", _marks(marks)])
        for told, marks in (("reported", one.contradicting), ("in part", one.in_part))
        if marks
    )


def _marks(marks: Sequence[LiteratureMark]) -> Html:
    return join((link(mark.entry, _evidence(mark)) for mark in marks), ", ")


def _contradictions(audit: LiteratureAudit, inventory: Inventory) -> Iterator[str]:
    found = audit.contradictions
    degrees = Counter(one.statements[0].degree for one in found)
    told = ", ".join(f"{degrees[degree]} {meaning}" for degree, meaning in _DEGREES.items() if degrees[degree])
    paper = sum(one.mark.under("with_paper") == one.mark.status for one in found)
    yield paragraph(
        f"{len(found)} marks: {told}. The paper is among the accounts of {paper} of them; the others contradict the "
        "survey only if what a repository or a third party shows counts as reported. A mark of ours in part "
        "contradicts a “not reported” in part only."
    )
    columns = [Column("Method"), Column("Item"), Column("Our mark"), Column("Evidence"), Column("The survey", True)]
    yield live("contradictions", columns, (_contradiction(one, inventory) for one in found))


def _contradiction(one: Contradiction, inventory: Inventory) -> Row:
    mark = one.mark
    seen = [join([element("strong", words(shown.account)), f": {shown.text}"]) for shown in mark.evidence]
    says = [f"{said.where}: {said.says} ({_DEGREES[said.degree]})" for said in one.statements]
    strength = [*_DEGREES].index(one.statements[0].degree)
    ours = element("a", badge(mark.status), href=_evidence(mark))
    name = entry_link(inventory, mark.entry)
    return Row([name, words(mark.item), ours, join(seen, "<br>"), Ordered(join(says, "<br>"), strength)])
