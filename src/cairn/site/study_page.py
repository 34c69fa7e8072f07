"""Studies: experiments of our own on the protocol or on several methods at once, a page each, and their list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from cairn.evidence.claims import SCALE
from cairn.evidence.labels import Label
from cairn.evidence.report import Report
from cairn.site import run_page, task_chart
from cairn.site.marks import badge
from cairn.site.part import Part, Whole
from cairn.site.subject import Study
from cairn.site.text import Content, bullets, join, link, notice, paragraph, table

FOLLOWING = (
    "Declared when a reproduction had been seen, before they were run, on seeds that it has not used. The verdict of "
    "the reproduction stays as it is."
)
_BARS = "by task and arm; bars: 95 % bootstrap over seeds"


def make(whole: Whole) -> Part:
    """Return the page of every study that was run, and the page that lists them."""
    pages = {f"studies/{study.id}.md": render(study) for study in whole.studies}
    return Part({"studies/index.md": index(whole.studies), **pages})


def index(studies: Sequence[Study]) -> str:
    """Return the page that lists the studies with the verdicts on what they asked."""
    if not studies:
        return "\n\n".join(["# Studies", paragraph("No study has been run yet.")]) + "\n"
    own = [study for study in studies if not _subjects(study.report)]
    following = [study for study in studies if _subjects(study.report)]
    about = paragraph(
        "A study asks a question of our own, of a task or of several rules at once, and is declared, run and judged "
        "like the reproduction of a paper. The calibration of a task asks whether it can judge credit at all."
    )
    blocks = ["# Studies", notice("note", "Scale", SCALE), about]
    blocks += [_listed(own)] if own else []
    blocks += ["## Open verdicts, looked into", paragraph(FOLLOWING), _listed(following)] if following else []
    return "\n\n".join(blocks) + "\n"


def _listed(studies: Sequence[Study]) -> str:
    rows: list[tuple[Content, ...]] = [
        (link(study.report.title, f"{study.id}.html"), _about(study.report), _outcome(study.report))
        for study in studies
    ]
    return table(["Study", "About", "Verdicts"], rows)


def _subjects(report: Report) -> list[str]:
    """Return the experiments whose open verdicts a study looks into, if that is all it asks."""
    if not all(test.claim.explains for test in report.claims):
        return []
    return list(dict.fromkeys(key.partition("#")[0] for test in report.claims for key in test.claim.explains))


def _about(report: Report) -> Content:
    methods = [link(one, f"../methods/{one}.html") for one in _subjects(report)]
    return join([join(methods, ", "), " on " if methods else "", ", ".join(report.tasks)])


def _outcome(report: Report) -> Content:
    """Return how often each verdict was given on the claims, or on the checks where there are no claims."""
    labels = [one.verdict.label for one in report.claims or report.checks]
    return join((join([badge(one), f" {labels.count(one)}"]) for one in get_args(Label) if one in labels), " ")


def render(study: Study) -> str:
    """Return the page of one study as Markdown."""
    report = study.report
    asked = ["## What was asked", run_page.glance(report, report.claims), run_page.tests(study, report.claims)]
    blocks = [
        f"# {report.title}",
        *run_page.warnings(report),
        *(asked if report.claims else []),
        run_page.checks(study, report),
        *_over_tasks(report),
        run_page.arms(study, report),
        "## Limits of this study\n\n" + bullets(report.deviations) if report.deviations else "",
        run_page.reproduce(study, report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _over_tasks(report: Report) -> list[str]:
    """Return the success of every arm from task to task, where a study has several."""
    figures = [
        task_chart.over_tasks(
            report.arms, report.tasks, f"auc_success_{axis}", f"Mean success over training at {at}, {_BARS}"
        )
        for axis, at in (("update", "equal updates"), ("flops", "equal metered compute"))
    ]
    drawn = "\n".join(filter(None, figures))
    return ["## From task to task", f'<div class="cairn-charts">\n{drawn}\n</div>'] if drawn else []
