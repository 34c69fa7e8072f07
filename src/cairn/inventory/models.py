"""The shape of one entry: what a paper says about how it assigns credit, each block with its sources.

`unknown` is a legal value, absence is not; a field has one type. Words from a closed list are plain text here and name
their list, because the lists (with a definition for each word) are data: `inventory/vocab/`. The same models generate
`schemas/entry.schema.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

UNKNOWN = "unknown"
NONE = "none"
SLUG_PATTERN = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
SOURCE_PATTERN = r"^s[1-9][0-9]{0,2}$"
URL_PATTERN = r"^(none|unknown|https?://[^\s<>\"]+)$"
ARXIV_PATTERN = r"^(none|[0-9]{4}\.[0-9]{4,5}|[a-z]+(-[a-z]+)?(\.[A-Z]{2})?/[0-9]{7})$"


def _iso_date(value: object) -> object:
    """Refuse what pydantic would otherwise read as seconds since 1970."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        return value
    raise ValueError("a date is written YYYY-MM-DD")


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Slug = Annotated[str, StringConstraints(pattern=SLUG_PATTERN)]
SlugOrNone = Slug  # the word `none` has the form of a slug; the lint knows it
ArxivId = Annotated[str, StringConstraints(pattern=ARXIV_PATTERN)]
SourceKey = Annotated[str, StringConstraints(pattern=SOURCE_PATTERN)]
Url = Annotated[str, StringConstraints(pattern=URL_PATTERN)]
Year = Annotated[int, Field(strict=True, ge=1950, le=2200)]
Day = Annotated[date, BeforeValidator(_iso_date)]


def _word(vocabulary: str, description: str, **more: Any) -> Any:
    """Return a field whose value, or each of whose values, is a word of the named list."""
    return Field(description=description, json_schema_extra={"vocabulary": vocabulary}, **more)


class Block(BaseModel):
    """Frozen data that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Sourced(Block):
    """A block that names the sources it rests on."""

    from_: tuple[SourceKey, ...] = Field(alias="from", min_length=1, description="keys into `sources`")


class Source(Block):
    """Where facts come from."""

    kind: str = _word("source-kinds", "what sort of source this is")
    ref: Text = Field(description="owner/name:path for a repository, an address or a section otherwise")
    seen: Text = Field(description="what was read there")
    date: Text = Field(default=UNKNOWN, description="day it was read, YYYY-MM-DD, or unknown")


class Bibliography(Sourced):
    """The paper and its code."""

    name: Text = Field(description="short name of the method, as its authors write it")
    title: Text
    authors: tuple[Text, ...] = Field(min_length=1, description="each as 'Family, Given'")
    authors_complete: bool = Field(strict=True, description="false when the list stops before the last author")
    arxiv: ArxivId = Field(description="arXiv id without version, in quotes, or none: the key against duplicates")
    url: Url = Field(description="where the paper is read")
    venue: Text = Field(description="where it was published; none for a preprint, unknown when not established")
    year: Year = Field(description="year of the venue, else of the first version")
    code_url: Url = Field(description="the authors' code, or none when there is none to be found")
    code_license: Text


class SurveyLabels(Sourced):
    """The survey's labels, transcribed and frozen: `methodology` and `benchmarks` are in its own words."""

    type: str = _word("type", "core method, enabler or background")
    setting: tuple[str, ...] = _word("setting", "where the method is meant to work", min_length=1)
    granularity: tuple[str, ...] = _word("granularity", "the unit that receives credit", min_length=1)
    methodology: Text = Field(description="the survey's own free label")
    baseline_family: str = _word("baseline-family", "the algorithm it starts from")
    evidence: str = _word("evidence", "how strong the survey finds the evidence")
    aux_model: str = _word("aux-model", "the model needed beside the policy")
    compute: str = _word("compute", "cost beyond plain policy-gradient training")
    benchmarks: tuple[Text, ...] = Field(min_length=1, description="the survey's own words")


class Labels(Sourced):
    """Our labels. Where one differs from the survey's, `why` has the reason under the name of the field."""

    type: str = _word("type", "core method, enabler or background")
    setting: tuple[str, ...] = _word("setting", "where the paper uses the method", min_length=1)
    granularity: tuple[str, ...] = _word("granularity", "the unit that receives its own credit", min_length=1)
    methodology: str = _word("methodology", "how the credit is computed")
    baseline_family: str = _word("baseline-family", "the algorithm it starts from")
    evidence: str = _word("evidence", "how strong the paper's own evidence is")
    aux_model: str = _word("aux-model", "the model needed beside the policy")
    compute: str = _word("compute", "cost beyond plain policy-gradient training")
    benchmarks: tuple[str, ...] = _word("benchmarks", "where the paper tests it", min_length=1)
    why: Mapping[str, Text] = Field(description="label name to the reason why ours differs; empty when none does")


class Hyperparameter(Sourced):
    """One setting: its value in the paper and in the released code, `unknown` where not seen."""

    name: Text
    meaning: Text
    paper: Text
    released: Text


class Variant(Sourced):
    """A form of the rule that differs from the one described."""

    name: Slug
    account: str = _word("accounts", "who describes or ships this form")
    text: Text


class CreditRule(Sourced):
    """What the method does, in our words."""

    credited: Text = Field(description="what receives credit, and against what it is measured")
    formula: Text = Field(description="plain text or LaTeX; every symbol explained")
    procedure: tuple[Text, ...] = Field(min_length=1, description="the steps in order")
    normalisation: Text = Field(description="whitening, statistics and their group, what a group of one gets")
    loss: Text = Field(description="how the credit enters the loss, and where KL stands")
    hyperparameters: tuple[Hyperparameter, ...]
    variants: tuple[Variant, ...]


class Interface(Sourced):
    """What a harness must offer, and the stages that the method changes from plain group-relative training."""

    needs: tuple[str, ...] = _word("needs", "data and services beyond rewards and log-probabilities")
    hooks: tuple[str, ...] = _word("hooks", "stages of the training loop that the method overrides")
    note: str = Field(default="", description="where the words above need a remark")


class Limit(Block):
    """A setting in which the rule becomes another entry's rule."""

    id: Slug
    when: Text


class Properties(Sourced):
    """Invariants that can be tested, and limits."""

    invariants: tuple[str, ...] = _word("properties", "what holds for every batch")
    reduces_to: tuple[Limit, ...]
    note: Text = Field(description="under which conditions, and what does not hold")


class Claim(Sourced):
    """One headline claim of the paper. Its full name is `<id>#<key>`."""

    key: Slug
    text: Text = Field(description="the claim in our words")
    numbers: Text
    benchmark: Text
    base_model: Text
    where: Text = Field(description="table, figure or section")


class Evidence(Sourced):
    """One observation behind a mark."""

    account: str = _word("accounts", "whether the paper, a repository or a third party shows it")
    text: Text


class Mark(Block):
    """One item of the reporting checklist. An `unknown` mark says where we looked."""

    status: str = _word("marks", "whether the item is reported")
    readings: tuple[str, ...] = _word(
        "readings", "of an item that asks for one thing or another: which the evidence shows", default=()
    )
    evidence: tuple[Evidence, ...] = Field(min_length=1)


class Reporting(Block):
    """The survey's 14 reporting items (its appendix C), in its order."""

    base_model: Mark
    training_data: Mark
    credit_granularity: Mark
    methodology_family: Mark
    episode_level_baseline: Mark
    compute_controlled_baseline: Mark
    ca_ablation: Mark
    benchmarks_and_splits: Mark
    metric_definition: Mark
    variance: Mark
    gpu_hours: Mark
    ca_overhead: Mark
    avg_trajectory_length: Mark
    trajectory_length_distribution: Mark

    def marks(self) -> Iterator[tuple[str, Mark]]:
        """Yield the items in the survey's order."""
        for item in type(self).model_fields:
            yield item, getattr(self, item)


class Relation(Sourced):
    """How the entry stands to another: by `id` when it is an entry here, else by `arxiv`, else by `name`."""

    kind: str = _word("relations", "what the other is to this entry")
    id: SlugOrNone = NONE
    arxiv: ArxivId = NONE
    name: Text = NONE
    note: str = ""


class Discrepancy(Sourced):
    """Where the survey's account and the method's own account part."""

    text: Text


class EntryFile(Block):
    """One file of `inventory/`. The file name is the id, the folder is the kind; neither is repeated inside."""

    bibliography: Bibliography
    survey: SurveyLabels | None = Field(description="null when the survey does not label it")
    labels: Labels
    rule: CreditRule
    interface: Interface
    properties: Properties
    claims: tuple[Claim, ...]
    reporting: Reporting
    relations: tuple[Relation, ...]
    survey_discrepancy: Discrepancy | None = Field(description="null when nothing was found to differ")
    sources: Mapping[SourceKey, Source] = Field(min_length=1)
    confidence: str = _word("confidence", "how well the rule is known")
    checked: Day = Field(description="day on which the entry was last compared with its sources")
    moved_to: SlugOrNone = Field(default=NONE, description="the id that took its place; ids are never deleted")
    withdrawn: Text = Field(default=NONE, description="why the entry no longer counts")


class Entry(EntryFile):
    """One entry of the inventory: the file's content with its id, kind and place."""

    id: Slug
    kind: Text
    file: Text

    @property
    def needs(self) -> tuple[str, ...]:
        """What the harness must offer, as `Method.needs` names it."""
        return self.interface.needs

    @property
    def hooks(self) -> tuple[str, ...]:
        """Stages that the method overrides."""
        return self.interface.hooks

    def claim(self, key: str) -> Claim:
        """Return the claim named `key`, or `<id>#key`. Raises KeyError when there is none."""
        short = key.removeprefix(f"{self.id}#")
        for claim in self.claims:
            if claim.key == short:
                return claim
        raise KeyError(f"{self.id}#{short}")

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as plain data in the field names of the files (`from`, not `from_`)."""
        return self.model_dump(mode="json", by_alias=True)


def vocabulary_of(field_extra: object) -> str:
    """Return the list that a field's words come from, or an empty text. Takes `FieldInfo.json_schema_extra`."""
    return str(field_extra.get("vocabulary", "")) if isinstance(field_extra, dict) else ""


def walk(block: BaseModel, location: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    """Yield (location, vocabulary or "", value) for every field below `block`, in the file's field names."""
    for name, key, vocabulary, holds_blocks in _plan(type(block)):
        place = (*location, key)
        value = getattr(block, name)
        yield place, vocabulary, value
        if holds_blocks:
            yield from _walk_inside(value, place)


@cache
def _plan(model: type[BaseModel]) -> tuple[tuple[str, str, str, bool], ...]:
    """Return (attribute, field name, vocabulary, whether blocks may lie below) for each field of a model."""
    return tuple(
        (name, info.alias or name, vocabulary_of(info.json_schema_extra), any(_models(info.annotation, set())))
        for name, info in model.model_fields.items()
    )


def _walk_inside(value: object, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    if isinstance(value, BaseModel):
        yield from walk(value, place)
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _walk_inside(item, (*place, index))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk_inside(item, (*place, key))


def vocabularies_named(model: type[BaseModel]) -> set[str]:
    """Return the names of all word lists that `model` and the models inside it refer to."""
    fields = [info for inner in _models(model, set()) for info in inner.model_fields.values()]
    return {name for info in fields if (name := vocabulary_of(info.json_schema_extra))}


def _models(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
        seen.add(annotation)
        yield annotation
        for info in annotation.model_fields.values():
            yield from _models(info.annotation, seen)
    for argument in get_args(annotation):
        yield from _models(argument, seen)
