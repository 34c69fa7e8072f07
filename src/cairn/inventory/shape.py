"""From a document to a model: what pydantic refuses becomes numbered findings with a line and a repair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cairn.inventory.findings import Finding, Rule, near, shown, slug
from cairn.inventory.models import SOURCE_PATTERN, URL_PATTERN
from cairn.inventory.reader import Document, Location

MISSING = Rule("CA020", "missing-field", "Every block and field is there; `unknown` is a legal value, absence is not.")
UNKNOWN_FIELD = Rule("CA021", "unknown-field", "No field that the model does not know: it would be read by nobody.")
NOT_TEXT = Rule("CA022", "wrong-type", "A field has one type: here text, which is quoted where it looks like a number.")
NOT_A_NAME = Rule("CA023", "wrong-form", "A name by which others refer to it is of small letters, digits, hyphens.")
ARXIV_FORM = Rule("CA024", "arxiv-form", "An arXiv id reads YYMM.NNNNN (quoted, without version), or none.")
NO_SOURCE = Rule("CA025", "no-source", "Every block names at least one source under `from`.")
REPORTING_INCOMPLETE = Rule("CA026", "reporting-incomplete", "All 14 reporting items have a mark.")
REPEATED_ID = Rule("CA027", "repeated-id", "The file name is the id, the folder the kind; a second copy could differ.")
NOT_A_LIST = Rule("CA120", "not-a-list", "A list is written as a list, even with one element or none.")
NOT_A_BLOCK = Rule("CA121", "not-a-block", "A block has its fields below it, indented.")
NOT_A_NUMBER = Rule("CA122", "not-a-whole-number", "A whole number is written in digits, without quotes.")
NOT_TRUE_OR_FALSE = Rule("CA123", "not-true-or-false", "true or false, without quotes.")
EMPTY_TEXT = Rule("CA124", "empty-text", "A text says something; `unknown` and `none` are legal where they are true.")
NOT_AN_ADDRESS = Rule("CA125", "not-an-address", "An address starts with http:// or https://, or is none or unknown.")
NOT_A_DAY = Rule("CA126", "not-a-day", "A day that exists, written YYYY-MM-DD.")
NOT_A_SOURCE_KEY = Rule("CA127", "not-a-source-key", "Keys of sources are s1, s2, ...")
OUT_OF_RANGE = Rule("CA128", "out-of-range", "A number lies in the range of its field.")
EMPTY_LIST = Rule("CA129", "empty-list", "A list or block that needs an element has one.")

_ARXIV_REPAIR = 'write it in quotes and without version: "2505.10978", or none'
_LIST_FAULTS = ("tuple_type", "list_type")
_BLOCK_FAULTS = ("model_type", "mapping_type", "dict_type")

MOST_FAULTS = 1_000  # of one file; nobody reads more, and a hostile file can have hundreds of thousands
Explained = tuple[Rule, str, str]  # the rule, what is wrong, how to repair it
Model = TypeVar("Model", bound=BaseModel)


def shape(model: type[Model], document: Document, extra: Mapping[str, str]) -> tuple[Model | None, list[Finding]]:
    """Return `document` as `model` with the loader's `extra` fields, or None and the findings that explain why."""
    repeated = [_repeated(document, name, value) for name, value in extra.items() if name in document.value]
    content = {name: value for name, value in document.value.items() if name not in extra}
    try:
        return model.model_validate({**content, **extra}), repeated
    except ValidationError as error:
        return None, repeated + [_finding(model, document, problem) for problem in _first_causes(error)[:MOST_FAULTS]]


def _first_causes(error: ValidationError) -> list[Any]:
    """Return the problems, without lists that pydantic calls too short because it refused what they hold."""
    problems = error.errors(include_url=False)
    above = {problem["loc"][:length] for problem in problems for length in range(len(problem["loc"]))}
    return [problem for problem in problems if problem["type"] != "too_short" or problem["loc"] not in above]


def _repeated(document: Document, name: str, value: str) -> Finding:
    given = document.value[name]
    differs = "" if given == value else f" and differs from {value!r}, which the file's place says"
    message = f"`{name}` is repeated inside the file{differs}"
    repair = f"remove this line; the file's name and folder say that `{name}` is {value}"
    return Finding(REPEATED_ID, document.file, document.line((name,)), shown(given), message, repair)


@dataclass(frozen=True)
class _Problem:
    """One fault as pydantic found it: its kind, its place in the file, and what was given there."""

    model: type[BaseModel]
    kind: str
    location: Location
    given: object
    context: Mapping[str, Any]
    said: str

    @property
    def last(self) -> str:
        return str(self.location[-1]) if self.location else ""


def _finding(model: type[BaseModel], document: Document, found: Any) -> Finding:
    location: Location = tuple(part for part in found["loc"] if part != "[key]")
    problem = _Problem(model, found["type"], location, found["input"], found.get("ctx", {}), found["msg"])
    rule, message, repair = _explain(problem)
    name = shown(".".join(str(part) for part in location))
    value = "" if problem.kind == "missing" or problem.given is None else shown(problem.given)
    return Finding(rule, document.file, document.line(location), value, f"{message}: {name}", repair)


def _explain(problem: _Problem) -> Explained:
    if problem.kind in {"missing", "extra_forbidden"}:
        return _BY_KIND[problem.kind](problem)
    if problem.last == "arxiv":
        return ARXIV_FORM, "this is not an arXiv id", _ARXIV_REPAIR
    if problem.last == "from" and problem.kind in {"too_short", *_LIST_FAULTS}:
        return NO_SOURCE, "this block names no source", "write `from: [s1]` with keys of `sources`"
    return _BY_KIND.get(problem.kind, _other)(problem)


def _other(problem: _Problem) -> Explained:
    return NOT_TEXT, f"wrong type ({shown(problem.said)})", "see what other entries have here"


def _always(rule: Rule, message: str, repair: str) -> Callable[[_Problem], Explained]:
    return lambda _: (rule, message, repair)


def _unknown_field(problem: _Problem) -> Explained:
    """Offer the field that was meant."""
    fields = near(problem.last, _fields_at(problem.model, problem.location[:-1]))
    return UNKNOWN_FIELD, "no such field here", f"{fields}{'' if fields.endswith('?') else ';'} else remove this line"


def _not_text(problem: _Problem) -> Explained:
    given = problem.given
    if given is None:
        return _nothing(problem)
    if isinstance(given, (list, dict)):
        return NOT_TEXT, "text is needed here", "write one text; in quotes where it has brackets, braces or a colon"
    plain = str(given).lower() if isinstance(given, bool) else given
    return NOT_TEXT, "text is needed here", f'put it in quotes: "{plain}"'


def _form(problem: _Problem) -> Explained:
    pattern = problem.context["pattern"]
    if pattern == URL_PATTERN:
        repair = "write one that starts with https://, without spaces, or none, or unknown"
        return NOT_AN_ADDRESS, "this is not an address", repair
    if pattern == SOURCE_PATTERN:
        return NOT_A_SOURCE_KEY, "this cannot be the key of a source", "write s1, s2, ... in `sources` and `from`"
    repair = f"write small letters and digits, joined by hyphens, such as {slug(str(problem.given))}"
    return NOT_A_NAME, "this cannot be a name", repair


def _range(problem: _Problem) -> Explained:
    bound = problem.context
    words = f"from {bound['ge']} on" if "ge" in bound else f"up to {bound['le']}"
    return OUT_OF_RANGE, "this number is out of range", f"write a number {words}"


def _not_a_list(problem: _Problem) -> Explained:
    given = problem.given
    repair = "write it in brackets: [a, b]" if given is not None else "write [] where there is none, else [a, b]"
    if isinstance(given, str):
        repair = f"write it in brackets: [{shown(given, 40)}]"
    return NOT_A_LIST, "a list is needed here", repair


def _not_a_block(problem: _Problem) -> Explained:
    return NOT_A_BLOCK, "a block of fields is needed here", _as_block(problem.model, problem.location)


def _as_block(model: type[BaseModel], location: Location) -> str:
    info = _field(model, location)
    # What has no field of its own is one element of a list or mapping of blocks.
    if info is None or _only_model(info) is not None:
        return f"write its fields below it, each indented: {', '.join(_fields_at(model, location))}"
    return "write a line `key: value` for each below it, indented, or {} where there is none"


def _missing(problem: _Problem) -> Explained:
    location, last = problem.location, problem.last
    if location[0] == "reporting" and len(location) == 2:
        blank = "{status: unknown, evidence: [{account: paper, text: where we looked, from: [s1]}]}"
        return REPORTING_INCOMPLETE, "a reporting item is missing", f"add `{last}: {blank}`"
    if location[0] == "reporting" and len(location) > 1:
        return REPORTING_INCOMPLETE, "a reporting item is incomplete", f"add `{last}:`; `unknown` is a legal status"
    return MISSING, "a required field is missing", f"add {_blank(last, _field(problem.model, location))}"


def _blank(name: str, info: FieldInfo | None) -> str:
    """Return how a field that is missing may be written."""
    if name == "from":
        return "`from: [s1]`, with the keys of the `sources` that this block rests on"
    if info is not None and (inner := _only_model(info)) is not None:
        fields = f"`{name}:` with its fields below it: {', '.join(_names(inner))}"
        return fields + (f", or `{name}: null`" if type(None) in get_args(info.annotation) else "")
    if info is not None and info.annotation is bool:
        return f"`{name}: true` or `{name}: false`"
    sort = get_origin(info.annotation) if info is not None else None
    lists: dict[object, str] = {
        tuple: f"`{name}: []`, or what belongs in this list",
        Mapping: f"`{name}: {{}}`, or its lines below it",
    }
    return lists.get(sort, f"`{name}:`; write unknown where it is not known")


def _field(model: type[BaseModel], location: Location) -> FieldInfo | None:
    """Return the field at `location`, or None where a list or a mapping has no named fields."""
    holder = _model_at(model, location[:-1])
    found = (info for name, info in holder.model_fields.items() if location and (info.alias or name) == location[-1])
    return next(found, None)


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    """Return the fields that the model allows at `location`; those of the whole model when it cannot be followed."""
    return _names(_model_at(model, location))


def _names(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _model_at(model: type[BaseModel], location: Location) -> type[BaseModel]:
    current: type[BaseModel] = model
    for part in location:
        info = next((i for n, i in current.model_fields.items() if (i.alias or n) == part), None)
        inner = next(_models_in(info.annotation), None) if info is not None else None
        current = inner or current
    return current


def _only_model(info: FieldInfo) -> type[BaseModel] | None:
    """Return the model that a field holds itself, or None for a list or a mapping of models."""
    if get_origin(info.annotation) in (tuple, Mapping):
        return None
    return next(_models_in(info.annotation), None)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


_nothing = _always(EMPTY_TEXT, "nothing is written here", "write it, or unknown where it is not known")
_BY_KIND: Mapping[str, Callable[[_Problem], Explained]] = {
    "missing": _missing,
    "extra_forbidden": _unknown_field,
    "string_type": _not_text,
    "string_too_short": _nothing,
    "string_pattern_mismatch": _form,
    "int_type": _always(NOT_A_NUMBER, "a whole number is needed here", "write digits without quotes, such as 2025"),
    "bool_type": _always(NOT_TRUE_OR_FALSE, "true or false is needed here", "write true or false, without quotes"),
    "value_error": _always(NOT_A_DAY, "this is not a day", "write it as YYYY-MM-DD, such as 2026-01-31"),
    "date_from_datetime_parsing": _always(NOT_A_DAY, "there is no such day", "write a day that exists, as YYYY-MM-DD"),
    "greater_than_equal": _range,
    "less_than_equal": _range,
    "too_short": _always(EMPTY_LIST, "at least one is needed here", "write at least one"),
    **dict.fromkeys(_LIST_FAULTS, _not_a_list),
    **dict.fromkeys(_BLOCK_FAULTS, _not_a_block),
}
