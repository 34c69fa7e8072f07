"""The checklist as a form: blank for an author to fill in, or filled in for the appendix of a paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from cairn.evidence.base import Evidence
from cairn.evidence.checklist import Item, load_items
from cairn.inventory.tex import escape

Status = Literal["yes", "partial", "no"]
_RAGGED = ">{\\raggedright\\arraybackslash}X"
TITLE = "Reporting checklist for credit assignment"


class Answer(Evidence):
    """What a paper reports about one item. where: the section, table or sentence that shows it; for no, the reason."""

    status: Status
    where: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class PaperChecklist(Evidence):
    """A filled form: the paper, and an answer for each item by its key."""

    paper: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    items: Annotated[Mapping[str, Answer], Field(min_length=1)]


class Score(Evidence):
    """How many items of one priority have each status."""

    priority: str
    items: int
    yes: int
    partial: int
    no: int


def scores(filled: PaperChecklist, items: Sequence[Item]) -> tuple[Score, ...]:
    """Return one score for the required and one for the recommended items; partial counts as neither yes nor no."""
    found = []
    for priority in dict.fromkeys(item.priority for item in items):
        status = [filled.items[item.key].status for item in items if item.priority == priority]
        found.append(Score(priority=priority, items=len(status), yes=status.count("yes"),
                           partial=status.count("partial"), no=status.count("no")))  # fmt: skip
    return tuple(found)


def describe(score: Score) -> str:
    """Return a score as a sentence."""
    return f"{score.yes} of {score.items} {score.priority} items reported, {score.partial} in part, {score.no} not."


def render() -> dict[str, str]:
    """Return the blank forms by path below the data root."""
    items = load_items()
    return {
        "checklist/template.md": markdown(items),
        "checklist/template.yaml": _yaml(items),
        "checklist/template.tex": latex(items),
    }


def markdown(items: Sequence[Item], filled: PaperChecklist | None = None) -> str:
    """Return the form as Markdown; blank unless it is filled in."""
    lines = [f"# {TITLE}", ""]
    if filled is not None:
        lines += [_cell(filled.paper), "", *(describe(score) for score in scores(filled, items)), ""]
    lines += ["| Category | Priority | Item | Reported | Where |", "|---|---|---|---|---|"]
    for item in items:
        status, where = _answer(item, filled)
        lines.append(f"| {item.category} | {item.priority} | {item.text} | {status} | {_cell(where)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return an author's text for a cell of a table, nothing in it read as markup."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{one}" if one in "\\|`*_[]#" else one for one in " ".join(safe.split()))


def _answer(item: Item, filled: PaperChecklist | None) -> tuple[str, str]:
    if filled is None:
        return "", ""
    answer = filled.items[item.key]
    return answer.status, answer.where


def latex(items: Sequence[Item], filled: PaperChecklist | None = None) -> str:
    """Return the form as a LaTeX fragment for an appendix; it needs the packages booktabs and tabularx."""
    head = [
        f"% {TITLE}. Put this into an appendix; it needs \\usepackage{{booktabs,tabularx}}.",
        "{\\small\\setlength{\\tabcolsep}{4pt}\\renewcommand{\\arraystretch}{1.15}%",
        f"\\noindent\\begin{{tabularx}}{{\\linewidth}}{{@{{}}{_RAGGED}ll{_RAGGED}@{{}}}}",
        "\\toprule",
        "Item & Priority & Reported & Where \\\\",
    ]
    foot = ["\\bottomrule", "\\end{tabularx}}"]
    if filled is not None:
        foot += ["", "\\smallskip\\noindent " + " ".join(describe(score) for score in scores(filled, items))]
    return "\n".join([*head, *_latex_rows(items, filled), *foot]) + "\n"


def _latex_rows(items: Sequence[Item], filled: PaperChecklist | None) -> Iterator[str]:
    for category, group in groupby(items, key=lambda item: item.category):
        yield "\\midrule"
        yield f"\\multicolumn{{4}}{{@{{}}l}}{{\\emph{{{escape(category)}}}}} \\\\"
        for item in group:
            status, where = _answer(item, filled)
            yield f"{escape(item.text)} & {item.priority} & {status} & {escape(where)} \\\\"


def _yaml(items: Sequence[Item]) -> str:
    head = [
        f"# {TITLE}. Fill it in, then: cairn audit paper FILE",
        '# status: "yes", partial or "no". where: the section, table or sentence that shows it; for "no", the reason.',
        'paper: ""',
        "items:",
    ]
    rows = [f'  # {item.text} ({item.priority})\n  {item.key}: {{status: "", where: ""}}' for item in items]
    return "\n".join([*head, *rows]) + "\n"
