"""From a document to a model: what pydantic refuses becomes numbered findings with a line and a repair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from cairn.inventory.findings import Finding, Rule, near, shown
from cairn.inventory.models import SLUG_PATTERN, SOURCE_PATTERN, URL_PATTERN
from cairn.inventory.reader import Document, Location

MISSING = Rule("CA020", "missing-field", "Every block and field is there; `unknown` is a legal value, absence is not.")
UNKNOWN_FIELD = Rule("CA021", "unknown-field", "No field that the model does not know: it would be read by nobody.")
WRONG_TYPE = Rule("CA022", "wrong-type", "A field has one type: text, list, mapping, whole number or true/false.")
WRONG_FORM = Rule("CA023", "wrong-form", "Text has the form its field asks for: not empty, a slug, an address, a day.")
ARXIV_FORM = Rule("CA024", "arxiv-form", "An arXiv id reads YYMM.NNNNN (quoted, without version), or none.")
NO_SOURCE = Rule("CA025", "no-source", "Every block names at least one source under `from`.")
REPORTING_INCOMPLETE = Rule("CA026", "reporting-incomplete", "All 14 reporting items have a mark.")
REPEATED_ID = Rule("CA027", "repeated-id", "The file name is the id, the folder the kind; a second copy could differ.")

_FORM_ERRORS = {"string_pattern_mismatch", "string_too_short", "too_short", "value_error", "greater_than_equal",
                "less_than_equal", "date_from_datetime_parsing", "date_parsing"}  # fmt: skip
_TYPE_NAMES = {
    "string_type": "text; put it in quotes",
    "int_type": "a whole number without quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list: [a, b]",
}

_FORM_WORDS = {"string_too_short": "something, or unknown where it is not known"}
_FORMS = {
    SLUG_PATTERN: "small letters and digits, joined by single hyphens",
    URL_PATTERN: "an address that starts with https://, or none, or unknown",
    SOURCE_PATTERN: "keys s1, s2, ...",
}

Model = TypeVar("Model", bound=BaseModel)


def shape(model: type[Model], document: Document, extra: Mapping[str, str]) -> tuple[Model | None, list[Finding]]:
    """Return `document` as `model` with the loader's `extra` fields, or None and the findings that explain why."""
    repeated = [_repeated(document, name, value) for name, value in extra.items() if name in document.value]
    content = {name: value for name, value in document.value.items() if name not in extra}
    try:
        return model.model_validate({**content, **extra}), repeated
    except ValidationError as error:
        return None, repeated + [_finding(model, document, problem) for problem in error.errors(include_url=False)]


def _repeated(document: Document, name: str, value: str) -> Finding:
    given = document.value[name]
    differs = "" if given == value else f" and differs from {value!r}, which the file's place says"
    message = f"`{name}` is repeated inside the file{differs}"
    repair = f"remove this line; the file's name and folder say that `{name}` is {value}"
    return Finding(REPEATED_ID, document.file, document.line((name,)), shown(given), message, repair)


def _finding(model: type[BaseModel], document: Document, problem: Any) -> Finding:
    kind: str = problem["type"]
    location: Location = tuple(part for part in problem["loc"] if part != "[key]")
    name = ".".join(str(part) for part in location)
    given = "" if kind == "missing" else shown(problem["input"])
    rule, message, repair = _explain(model, kind, location, problem)
    return Finding(rule, document.file, document.line(location), given, f"{message}: {name}", repair)


def _explain(model: type[BaseModel], kind: str, location: Location, problem: Any) -> tuple[Rule, str, str]:
    last = str(location[-1]) if location else ""
    if kind == "missing":
        return _missing(location, last)
    if kind == "extra_forbidden":
        return UNKNOWN_FIELD, "no such field here", near(last, _fields_at(model, location[:-1]))
    if last == "arxiv" and kind in _FORM_ERRORS | {"string_type"}:
        return ARXIV_FORM, "this is not an arXiv id", 'write it in quotes and without version: "2505.10978", or none'
    if last == "from" and kind in {"too_short", "tuple_type"}:
        return NO_SOURCE, "this block names no source", "write `from: [s1]` with keys of `sources`"
    if kind not in _FORM_ERRORS:
        return WRONG_TYPE, f"wrong type ({problem['msg']})", f"write {_TYPE_NAMES.get(kind, 'a mapping')}"
    return WRONG_FORM, "wrong form", f"write {_form(kind, problem.get('ctx', {}))}"


def _missing(location: Location, last: str) -> tuple[Rule, str, str]:
    if location[0] == "reporting" and len(location) > 1:
        return REPORTING_INCOMPLETE, "a reporting item is incomplete", f"add `{last}:`; `unknown` is a legal status"
    return MISSING, "a required field is missing", f"add `{last}:`; write unknown where it is not known"


def _form(kind: str, context: Mapping[str, Any]) -> str:
    """Return in words what pydantic asks of a value."""
    if kind == "string_pattern_mismatch":
        return _FORMS.get(context["pattern"], f"text of the form {context['pattern']}")
    if kind in {"greater_than_equal", "less_than_equal"}:
        return f"a number {'from' if 'ge' in context else 'up to'} {context.get('ge', context.get('le'))}"
    return "at least one" if kind == "too_short" else _FORM_WORDS.get(kind, "a day that exists, as YYYY-MM-DD")


def _fields_at(model: type[BaseModel], location: Location) -> set[str]:
    """Return the fields that the model allows at `location`; those of the whole model when it cannot be followed."""
    current: type[BaseModel] = model
    for part in location:
        info = next((i for n, i in current.model_fields.items() if (i.alias or n) == part), None)
        inner = next(_models_in(info.annotation), None) if info is not None else None
        current = inner or current
    return {info.alias or name for name, info in current.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
