"""Rules about needs: what an entry's labels imply is listed among what a harness must offer."""

from __future__ import annotations

from collections.abc import Iterator

from cairn.inventory.findings import Finding, Rule
from cairn.inventory.inspection import Around, Inspected
from cairn.inventory.models import NONE

CRITIC = Rule("CA160", "critic-without-need", "An auxiliary model `critic` is the need `learned_critic`.")
AGENTS = Rule("CA161", "agents-without-need", "Credit to single agents needs `agent_ids`.")
METHODOLOGY_NEED = Rule(
    "CA162", "methodology-need", "A methodology's own needs, as its word list states them, are needs of the entry."
)
NO_CREDIT = Rule("CA163", "no-credit", "Only a diagnostic assigns no credit: granularity or methodology `none`.")


def check(case: Inspected, around: Around) -> Iterator[Finding]:
    """Yield every breach of the rules of this module."""
    yield from implied(case, around)
    entry = case.entry
    if entry.kind != "diagnostic":
        for label, words in (("granularity", entry.labels.granularity), ("methodology", (entry.labels.methodology,))):
            if NONE in words:
                message = f"a {entry.kind} assigns credit to something"
                repair = "write what receives credit and how, or move the file to inventory/diagnostics"
                yield case.finding(NO_CREDIT, ("labels", label), NONE, message, repair)


def implied(case: Inspected, around: Around) -> Iterator[Finding]:
    """Yield needs that follow from the labels and are not listed."""
    labels = case.entry.labels
    if labels.aux_model == "critic":
        yield from _missing(case, CRITIC, "learned_critic", "aux_model", labels.aux_model)
    if "multi-agent" in labels.granularity:
        yield from _missing(case, AGENTS, "agent_ids", "granularity", "multi-agent")
    for need in around.needs_of(labels.methodology):
        yield from _missing(case, METHODOLOGY_NEED, need, "methodology", labels.methodology)


def _missing(case: Inspected, rule: Rule, need: str, label: str, word: str) -> Iterator[Finding]:
    if need not in case.entry.needs:
        message = f"{label} {word} cannot do without {need}, and interface.needs lacks it"
        yield case.finding(
            rule, ("labels", label), word, message, f"add {need} to interface.needs, or correct labels.{label}"
        )
