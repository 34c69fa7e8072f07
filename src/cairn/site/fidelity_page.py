"""How close each rule's credit comes to exact credit: a page for each task, made from what `cairn fidelity` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from cairn.evidence.base import pretty_json
from cairn.evidence.claims import SCALE
from cairn.evidence.fidelity import FIGURES, FidelityRow, FidelityTable
from cairn.site import frontier, xray
from cairn.site.part import VERSION, DataFile, Part, Whole, as_csv
from cairn.site.tables import Column, Ordered, Row, live
from cairn.site.text import Content, Html, bullets, element, join, link, notice, number, paragraph, table

_MEANINGS = "../fidelity.html"


def make(whole: Whole) -> Part:
    """Return the page of each task that was measured, and their list."""
    implemented = [subject.id for subject in whole.subjects if subject.module is not None]
    pages = {f"fidelity/{task}.md": render(found, whole.names, implemented) for task, found in whole.fidelity.items()}
    data = tuple(file for found in whole.fidelity.values() for file in _files(found))
    return Part({"fidelity/index.md": index(whole.fidelity), **pages}, data)


def index(tables: Mapping[str, FidelityTable]) -> str:
    """Return the page that lists the tasks."""
    about = paragraph(
        "The credit that each rule gives, compared with the exact credit under the same fixed policy, on trajectories "
        "that stay the same for all rules. ",
        link("What each figure means, with its formula", _MEANINGS),
        ".",
    )
    rows = [
        (
            link(task, f"{task}.html"),
            number(found.panel.trajectories),
            number(found.panel.turns),
            str(sum(row.kind == "method" for row in found.rows)),
            {"exact": "exact", "monte_carlo": "estimated"}[found.panel.reference],
        )
        for task, found in tables.items()
    ]
    head = ["Task", "Trajectories", "Turns", "Methods", "Credit compared with"]
    listed = table(head, rows) if rows else paragraph("Nothing has been measured yet.")
    return "\n\n".join(["# Fidelity", notice("note", "Scale", SCALE), about, listed]) + "\n"


def render(found: FidelityTable, names: Mapping[str, str], implemented: Sequence[str] = ()) -> str:
    """Return the page of one task as Markdown. names: how methods are called, by id; implemented: ids of methods."""
    panel = found.panel
    command = f"cairn fidelity --task {panel.task} --preset {panel.preset} --out reproductions/fidelity"
    parts = [
        "---\nhide: [toc]\n---",
        f"# Fidelity on the task {panel.task}",
        notice("note", "Scale", SCALE),
        *_about(found),
        "## Every rule",
        live("fidelity", _columns(found, names), (_row(found, row, names) for row in found.rows)),
        _key(found),
        *_missing(found, names, implemented),
        "## Fidelity against cost",
        _frontier(found),
        "## X-ray",
        paragraph(
            "One trajectory of the panel, chosen by a rule and not by hand: the one that holds both a large gain and a "
            "large loss, with the greatest min(largest advantage, − smallest advantage). A rule that gives the whole "
            "trajectory one credit must be wrong on one of the two."
        ),
        xray.draw(found, names),
        "## Make it again",
        paragraph(element("code", command)),
        paragraph("For programs: ", join((link(name, f"../data/{path}") for name, path in _paths(found)), ", "), "."),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _about(found: FidelityTable) -> list[str]:
    panel = found.panel
    sizes = (
        f"{panel.trajectories} trajectories of {panel.instances} instances, {panel.turns:,} turns, {panel.fork_turns} "
        f"of them at forks; mean return {panel.mean_return:.3f}. The policy is the initial model, "
        f"{panel.model_parameters:,} weights. Each trajectory is judged {panel.draws} times, each time in a group of "
        f"{panel.group_size} with otherwise new rollouts."
    )
    hashes = f"Panel {panel.hash[:12]}, model {panel.model_hash[:12]}, seed {panel.seed}, preset {panel.preset}."
    parts = [paragraph(sizes), paragraph(hashes, class_="cairn-quiet")]
    if panel.reference == "monte_carlo":
        reliable = "" if panel.reliability is None else f" Its reliability is {panel.reliability:.2f}."
        told = (
            f"There is no exact credit here. The reference is estimated from {panel.continuations} continuations "
            f"before and after each turn.{reliable} Correlations with it are attenuated by about the root of that."
        )
        parts.append(notice("warning", "Estimated reference", told))
    return parts


def _columns(found: FidelityTable, names: Mapping[str, str]) -> list[Column]:
    base = names.get(found.panel.baseline, found.panel.baseline)
    costs = (f"FLOPs, times {base}", f"Generated tokens, times {base}")
    return [Column("Rule"), *(Column(one, numeric=True) for one in (*(f.name for f in FIGURES.values()), *costs))]


def _row(found: FidelityTable, row: FidelityRow, names: Mapping[str, str]) -> Row:
    cost = [None, None] if row.cost is None else [row.cost.flops_ratio, row.cost.tokens_ratio]
    costs = [None if value is None else Ordered(f"{value:.2f}", f"{value:.6g}") for value in cost]
    return Row([_rule(found, row, names), *(_figure(row, name) for name in FIGURES), *costs])


def _rule(found: FidelityTable, row: FidelityRow, names: Mapping[str, str]) -> Html:
    stale = element("small", " stale", class_="cairn-quiet") if found.stale(row) else None
    if row.kind == "anchor":
        return join([element("em", row.rule.replace("-", " ")), *filter(None, [stale])])
    return join([link(names.get(row.rule, row.rule), f"../methods/{row.rule}.html"), *filter(None, [stale])])


def _figure(row: FidelityRow, name: str) -> Content | Ordered:
    value, error = row.figures.get(name), row.errors.get(name)
    if value is None:
        return None
    shown = f"{value:z.2f}".replace("-", "−") + ("" if error is None else f" ± {error:.2f}")
    return Ordered(Html(shown.replace(" ", "\u00a0")), f"{value:.6g}")


def _key(found: FidelityTable) -> str:
    blind = f"{found.panel.fork_turns / found.panel.turns:.3f}"
    return paragraph(
        "± is one standard error: over instances (jackknife), for the cosines over batches. In italics: rules that no "
        f"paper proposes, between which all others lie. A blind detector of forks would have {blind}. ",
        link("What each figure means", _MEANINGS),
        ".",
    )


def _missing(found: FidelityTable, names: Mapping[str, str], implemented: Sequence[str]) -> list[str]:
    measured = {row.rule for row in found.rows}
    reasons = {one: "nobody has run it yet" for one in implemented if one not in measured}
    reasons |= {row.rule: row.reason for row in found.rows if row.reason is not None}
    items = [f"{names.get(rule, rule)}: {reason}" for rule, reason in reasons.items()]
    return [paragraph("Not measured:"), bullets(items)] if items else []


def _frontier(found: FidelityTable) -> str:
    dots = [
        frontier.Dot(
            row.rule,  # as commands call it: shorter than most names
            row.cost.flops_ratio,
            value,
            row.errors.get("rank_correlation"),
            f"../methods/{row.rule}.html",
        )
        for row in found.rows
        if row.kind == "method" and row.cost and (value := row.figures.get("rank_correlation")) is not None
    ]
    label = (
        "Rank correlation with exact credit against the FLOPs of one update; bars are one standard error. The line "
        "joins the methods that no other beats at equal or lower cost."
    )
    return frontier.draw(dots, label)


def _paths(found: FidelityTable) -> Sequence[tuple[str, str]]:
    task = found.panel.task
    return [(f"{task}.{kind}", f"{VERSION}/fidelity/{task}.{kind}") for kind in ("json", "csv")]


def _files(found: FidelityTable) -> Iterable[DataFile]:
    (_, whole), (_, flat) = _paths(found)
    about = f"Fidelity on {found.panel.task}"
    yield DataFile(whole, about, "panel, figures with errors, cost and x-ray of each rule", pretty_json(found))
    yield DataFile(flat, f"{about}, flat", "one figure of one rule a row", as_csv(_flat(found)))


def _flat(found: FidelityTable) -> Iterable[Sequence[object]]:
    yield ["rule", "kind", "figure", "value", "standard_error"]
    for row in found.rows:
        yield from ([row.rule, row.kind, name, value, row.errors.get(name)] for name, value in row.figures.items())
        if row.cost is not None:
            yield from ([row.rule, row.kind, name, value, None] for name, value in row.cost.model_dump().items())
