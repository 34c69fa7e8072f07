"""What a change of the inventory does: entries that come, go and change, labels, counts, and findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from cairn.inventory.findings import Finding
from cairn.inventory.lint import Reading
from cairn.inventory.models import NONE, Entry


class Plain(BaseModel):
    """Frozen data for printing and for JSON."""

    model_config = ConfigDict(frozen=True)


class Change(Plain):
    """One field: its place with dots, and its value before and after (null where it is absent)."""

    field: str
    before: Any = None
    after: Any = None


class Changed(Plain):
    """One entry: what a reader filters by (labels, needs, hooks, marks, standing), and which other blocks differ."""

    id: str
    counted: tuple[Change, ...]
    other_blocks: tuple[str, ...]


class Count(Plain):
    """One number that the site or the command line shows, before and after."""

    name: str
    before: int
    after: int


class Difference(Plain):
    """The consequence of a change. `vanished` ids are an error: an id is moved or withdrawn, never deleted."""

    added: tuple[str, ...]
    vanished: tuple[str, ...]
    changed: tuple[Changed, ...]
    word_lists: tuple[str, ...]
    counts: tuple[Count, ...]
    new_findings: tuple[dict[str, str | int], ...]
    gone_findings: tuple[dict[str, str | int], ...]

    @property
    def acceptable(self) -> bool:
        """Say whether no id vanishes and no error comes in."""
        return not self.vanished and all(one["severity"] != "error" for one in self.new_findings)


def compare(base: Reading, head: Reading) -> Difference:
    """Return what happens when `head` takes the place of `base`. Entries that cannot be read count as findings only."""
    before, after = _by_id(base), _by_id(head)
    unreadable = {finding.file for finding in head.errors}
    gone = [one for one in before if one not in after and before[one].file not in unreadable]
    words = {name for name in {*base.vocabularies, *head.vocabularies}
             if base.vocabularies.get(name) != head.vocabularies.get(name)}  # fmt: skip
    return Difference(
        added=tuple(one for one in after if one not in before),
        vanished=tuple(gone),
        changed=tuple(
            _changed(before[one], after[one]) for one in after if one in before and _differs(before, after, one)
        ),
        word_lists=tuple(sorted(words)),
        counts=tuple(_counts(base.entries, head.entries)),
        new_findings=_without(head.findings, base.findings),
        gone_findings=_without(base.findings, head.findings),
    )


def _by_id(reading: Reading) -> dict[str, Entry]:
    return {entry.id: entry for entry in reading.entries}


def _differs(before: Mapping[str, Entry], after: Mapping[str, Entry], entry_id: str) -> bool:
    return before[entry_id] != after[entry_id]


def _without(findings: Sequence[Finding], others: Sequence[Finding]) -> tuple[dict[str, str | int], ...]:
    """Return the findings that `others` does not have; the line does not count, for other lines may have moved it."""
    known = Counter(_key(finding) for finding in others)
    found = []
    for finding in findings:
        if known[_key(finding)] > 0:
            known[_key(finding)] -= 1
        else:
            found.append(finding.to_dict())
    return tuple(found)


def _key(finding: Finding) -> tuple[str, str, str, str]:
    return finding.rule.code, finding.file, finding.value, finding.message


def _changed(before: Entry, after: Entry) -> Changed:
    old, new = _counted(before), _counted(after)
    fields = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    counted = tuple(Change(field=name, before=old.get(name), after=new.get(name)) for name in fields)
    blocks = tuple(name for name in before.to_dict() if before.to_dict()[name] != after.to_dict()[name])
    return Changed(id=before.id, counted=counted, other_blocks=tuple(_rest(blocks, fields)))


def _rest(blocks: Sequence[str], fields: Sequence[str]) -> Iterator[str]:
    heads = {name.split(".")[0] for name in fields}
    return (block for block in blocks if block not in heads)


def _counted(entry: Entry) -> dict[str, Any]:
    """Return the fields that lists, grids and counts are made of, by place."""
    labels = entry.labels.model_dump(mode="json", exclude={"why", "from_"})
    found: dict[str, Any] = {f"labels.{name}": value for name, value in labels.items()}
    found |= {"interface.needs": [*entry.needs], "interface.hooks": [*entry.hooks],
              "properties.invariants": [*entry.properties.invariants]}  # fmt: skip
    found |= {f"reporting.{item}": mark.status for item, mark in entry.reporting.marks()}
    found |= {"kind": entry.kind, "confidence": entry.confidence, "moved_to": entry.moved_to}
    return found | {"withdrawn": entry.withdrawn, "bibliography.arxiv": entry.bibliography.arxiv}


def _counts(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[Count]:
    """Yield the counts that change, all entries first."""
    old, new = Counter(_shown_counts(before)), Counter(_shown_counts(after))
    for name in {**old, **new}:
        if old[name] != new[name]:
            yield Count(name=name, before=old[name], after=new[name])


def _shown_counts(entries: Sequence[Entry]) -> Iterator[str]:
    for entry in entries:
        yield "entries"
        yield f"kind {entry.kind}"
        if entry.survey is not None:
            yield f"surveyed, type {entry.survey.type}"
        labels = entry.labels
        yield from (f"setting {word}" for word in labels.setting)
        yield from (f"granularity {word}" for word in labels.granularity)
        yield f"methodology {labels.methodology}"
        if entry.moved_to != NONE:
            yield "moved"
        if entry.withdrawn != NONE:
            yield "withdrawn"
