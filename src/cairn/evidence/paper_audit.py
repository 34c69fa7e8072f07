"""An author's filled checklist, read as data: every fault with its line, or the answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cairn.evidence.checklist import Item
from cairn.evidence.checklist_forms import Answer, PaperChecklist
from cairn.inventory.findings import Finding, Rule, near, shown
from cairn.inventory.reader import Document, Location, ReadError, read

STATUSES = ("yes", "partial", "no")
NOT_A_FORM = Rule("CP001", "not-a-form", "The file has `paper` and `items`, as in checklist/template.yaml.")
NO_PAPER = Rule("CP002", "no-paper", "`paper` names the paper.")
MISSING_ITEM = Rule("CP003", "missing-item", "Every item of the checklist has an answer; no is one.")
UNKNOWN_ITEM = Rule("CP004", "unknown-item", "No item that the checklist does not have.")
WRONG_STATUS = Rule("CP005", "wrong-status", "A status is yes, partial or no.")
NO_PLACE = Rule("CP006", "no-place", "`where` says where it is reported, or for no, why it is not.")


def read_paper(path: Path, items: Sequence[Item]) -> tuple[PaperChecklist | None, tuple[Finding, ...]]:
    """Return the answers in a file, or None and what is wrong with it."""
    try:
        document = read(path, path.name)
    except ReadError as fault:
        return None, (fault.finding(path.name),)
    faults = tuple(sorted(_faults(document, items), key=lambda finding: finding.line))
    return (None, faults) if faults else (_filled(document), ())


def _filled(document: Document) -> PaperChecklist:
    return PaperChecklist.model_validate(document.value)


def _faults(document: Document, items: Sequence[Item]) -> Iterator[Finding]:
    answers = document.value.get("items")
    extra = set(document.value) - {"paper", "items"}
    if not isinstance(answers, dict) or extra:
        repair = "start from checklist/template.yaml"
        yield _fault(NOT_A_FORM, document, (next(iter(sorted(extra)), "items"),), "this is not a filled form", repair)
        return
    paper = document.value.get("paper")
    if not isinstance(paper, str) or not paper.strip():
        yield _fault(NO_PAPER, document, ("paper",), "the paper is not named", 'write paper: "Title"')
    known = [item.key for item in items]
    for key in known:
        if key not in answers:
            repair = f'add {key}: {{status: "no", where: "..."}}'
            yield _fault(MISSING_ITEM, document, ("items",), f"an item has no answer: {key}", repair)
    for key, answer in answers.items():
        if key not in known:
            yield _fault(UNKNOWN_ITEM, document, ("items", key), "the checklist has no such item", near(key, known))
        else:
            yield from _answer_faults(document, ("items", key), answer)


def _answer_faults(document: Document, place: Location, answer: object) -> Iterator[Finding]:
    if not isinstance(answer, dict) or set(answer) != set(Answer.model_fields):
        repair = 'write {status: "yes", where: "Table 2"}'
        yield _fault(NOT_A_FORM, document, place, "an answer is a status and a place", repair)
        return
    if answer["status"] not in STATUSES:
        message = f"not a status: {shown(answer['status'])}"
        yield _fault(WRONG_STATUS, document, (*place, "status"), message, 'write "yes", partial or "no"')
    if not isinstance(answer["where"], str) or not answer["where"].strip():
        repair = "name the section, table or sentence; for no, say why"
        yield _fault(NO_PLACE, document, (*place, "where"), "the place is missing", repair)


def _fault(rule: Rule, document: Document, place: Location, message: str, repair: str) -> Finding:
    return Finding(rule, document.file, document.line(place), "", message, repair)
