"""`cairn recommend`: which published methods to consider in a setting, why, and on what evidence."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.padding import Padding
from rich.prompt import Prompt
from rich.text import Text

from cairn.commands.terminal import AsJson, add, heading, messages, output, print_json, printable, table, words
from cairn.errors import UserError
from cairn.evidence.status import standing
from cairn.inventory import Entry, Inventory, load
from cairn.inventory.decision import DecisionTree
from cairn.inventory.recommend import (
    ANY,
    Answer,
    Case,
    Recommendation,
    Trial,
    hit_rate,
    load_tree,
    make_case,
    newer,
    recommend,
    retrospective,
)

Answered = TypeVar("Answered", str, int)
TOPS = (3, 5, 10)
NO_RUN = "not run here"

Setting = Annotated[str | None, typer.Option(metavar="WORD", help="reasoning, agentic or multi-agent.")]
Turns = Annotated[int | None, typer.Option(min=1, metavar="N", help="Turns in an episode.")]
ResponseTokens = Annotated[int | None, typer.Option(min=1, metavar="N", help="Tokens in a response.")]
Verifiable = Annotated[
    bool | None, typer.Option("--verifiable/--not-verifiable", help="Can intermediate states be checked?")
]
Forkable = Annotated[bool | None, typer.Option("--forkable/--not-forkable", help="Can the environment be saved?")]
Aux = Annotated[
    list[str] | None,
    typer.Option(metavar="WORD", help="An auxiliary model that can be had (repeat), or none, or any."),
]
Compute = Annotated[str | None, typer.Option(metavar="WORD", help="The dearest class that can be had.")]
Top = Annotated[int, typer.Option(min=1, metavar="N", help="How many entries to show.")]
Evaluate = Annotated[bool, typer.Option("--evaluate", help="Show how the ranking does on papers, and nothing else.")]


def recommend_methods(  # noqa: PLR0913, PLR0917 (typer reads the options from the signature)
    setting: Setting = None,
    turns: Turns = None,
    response_tokens: ResponseTokens = None,
    verifiable: Verifiable = None,
    forkable: Forkable = None,
    aux: Aux = None,
    compute: Compute = None,
    top: Top = 5,
    evaluate: Evaluate = False,
    as_json: AsJson = False,
) -> None:
    """Rank the methods that suit a setting: the reason for each, what it would need, how strong the evidence is.

    Without --setting, in a terminal, it asks. The order is our reading of the survey's advice, not a measurement.
    """
    inventory = load()
    tree = load_tree(inventory)
    if evaluate:
        _show_trials(inventory, tree, as_json=as_json)
        return
    answers: dict[str, str | int | None] = {
        "setting": setting, "turns": turns, "response": response_tokens,
        "verifiable": _word(verifiable), "forkable": _word(forkable),
    }  # fmt: skip
    case = _ask(inventory, tree) if setting is None else make_case(inventory, tree, answers, compute, aux or ())
    answer = recommend(inventory, tree, case)
    if as_json:
        print_json(_as_data(tree, case, answer, top))
    else:
        _print(output(), tree, answer, top)


def _word(given: bool | None) -> str | None:
    return None if given is None else "yes" if given else "no"


def _ask(inventory: Inventory, tree: DecisionTree) -> Case:
    """Ask each question that bears on the setting; an empty answer leaves it open."""
    if not sys.stdin.isatty():
        raise UserError("there is nobody to ask", repair="give --setting and what else is known; see --help")
    answers: dict[str, str | int | None] = {}
    for name, question in tree.questions.items():
        if answers.get("setting") == "reasoning" and name in ("turns", "forkable"):
            continue
        if question.unit:
            answers[name] = _checked(f"{question.ask} A number, or nothing", _number)
        else:
            known = [*question.answers]
            answers[name] = _checked(f"{question.ask} {'/'.join(known)}, or nothing", _one_of(known))
    costs = [*inventory.vocabulary("compute").words]
    compute = _checked("The dearest class of compute? low/medium/high, or nothing", _one_of(costs))
    models = [*inventory.vocabulary("aux-model").words, ANY]
    aux = _checked(f"Which auxiliary model? {'/'.join(models)}, or nothing for any", _one_of(models))
    return make_case(inventory, tree, answers, compute, [aux] if aux else ())


def _checked(question: str, read: Callable[[str], Answered]) -> Answered | None:
    """Ask until the answer can be read; nothing is None."""
    while True:
        given = Prompt.ask(question, console=messages(), default="", show_default=False).strip()
        if not given:
            return None
        try:
            return read(given)
        except ValueError as error:
            messages().print(str(error))


def _number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError("Please give a whole number above 0.")
    return int(text)


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"Please give one of: {', '.join(known)}.")
        return text

    return read


def evidence_for(entry: Entry) -> str:
    """Return how strong the evidence is: the paper's own by our label, and our verdicts, counted."""
    counted = ", ".join(f"{count} {label.replace('_', ' ')}" for label, count in _ours(entry).items())
    return f"paper: {entry.labels.evidence}; ours: {counted or NO_RUN}"


def _ours(entry: Entry) -> dict[str, int]:
    """Return how many of our tests of the entry's claims came out in each way."""
    return dict(Counter(standing(entry.id).verdicts))


def _as_data(tree: DecisionTree, case: Case, answer: Answer, top: int) -> dict[str, Any]:
    leaf = tree.scenarios[answer.scenario]
    return {
        "case": _case_data(case),
        "scenario": {"name": answer.scenario, "title": leaf.title, "survey_row": leaf.survey_row},
        "allowed": len(answer.ranked),
        "ruled_out": dict(answer.ruled_out),
        "ranked": [_entry_data(one) for one in answer.ranked[:top]],
    }


def _case_data(case: Case) -> dict[str, Any]:
    aux = None if case.aux is None else sorted(case.aux)
    return {"answers": dict(case.answers), "compute": case.compute, "aux": aux}


def _entry_data(one: Recommendation) -> dict[str, Any]:
    entry = one.entry
    return {
        "id": entry.id,
        "name": entry.bibliography.name,
        "score": one.score,
        "reasons": [{"text": why.text, "where": why.where, "weight": why.weight} for why in one.reasons],
        "needs": list(entry.needs),
        "aux_model": entry.labels.aux_model,
        "compute": entry.labels.compute,
        "evidence": {"paper": entry.labels.evidence, "ours": _ours(entry)},
        "open": list(one.open_points),
    }


def _print(console: Console, tree: DecisionTree, answer: Answer, top: int) -> None:
    leaf = tree.scenarios[answer.scenario]
    heading(console, leaf.title)
    console.print(f"The survey's row: {leaf.survey_row}. Train plain group-relative baselines beside any of these.")
    if not answer.ranked:
        console.print("No method of the inventory is allowed.")
    for place, one in enumerate(answer.ranked[:top], start=1):
        heading(console, f"{place}. {one.entry.bibliography.name} ({one.entry.id}), score {one.score}")
        for line in _lines(one):
            console.print(Padding(Text(printable(line)), (0, 0, 0, 3), expand=False))
    out = "; ".join(f"{count} {reason}" for reason, count in answer.ruled_out.items())
    console.print(f"\n{len(answer.ranked)} methods allowed. Ruled out: {out or 'none'}.")
    console.print(" ".join(tree.about.split()))


def _lines(one: Recommendation) -> Iterator[str]:
    """Yield what is printed below an entry's name."""
    for why in one.reasons:
        yield f"+{why.weight} {why.text} ({why.where})"
    if not one.reasons:
        yield "nothing in the tree speaks for it"
    yield f"needs: {_needs(one.entry)}"
    yield f"evidence: {evidence_for(one.entry)}"
    yield from (f"open: {point}" for point in one.open_points)


def _needs(entry: Entry) -> str:
    return f"{words(entry.needs)}; model: {entry.labels.aux_model}; compute: {entry.labels.compute}"


def _show_trials(inventory: Inventory, tree: DecisionTree, *, as_json: bool) -> None:
    """Show the survey's own pairs, and the newer methods with and without the survey's names."""
    pairs = retrospective(inventory, tree)
    fresh = {"with the survey's names": newer(inventory, tree, named=True),
             "without them": newer(inventory, tree, named=False)}  # fmt: skip
    if as_json:
        print_json({"retrospective": [_trial_data(one) for one in pairs],
                    "newer": {name: [_trial_data(one) for one in trials] for name, trials in fresh.items()},
                    "hit_rate": {name: _rates(trials) for name, trials in fresh.items()}})  # fmt: skip
        return
    console = output()
    heading(console, "The survey's own pairs (they test agreement with the survey, not the advice)")
    console.print(_trial_table(pairs))
    heading(console, "Methods that the survey does not have, each in the scenario of its own paper")
    console.print(_trial_table(fresh["with the survey's names"]))
    for name, trials in fresh.items():
        rates = "; ".join(f"first {top}: {hit:.0%} (a random order: {chance:.0%})"
                          for top, (hit, chance) in _both(trials))  # fmt: skip
        console.print(f"Hit rate {name}, {len(trials)} methods: {rates}.")
    console.print(_judgement(fresh.values()))


def _judgement(fresh: Iterable[Sequence[Trial]]) -> str:
    """Say in words whether the ranking beats a random order anywhere."""
    better = [hit > chance for trials in fresh for _, (hit, chance) in _both(trials)]
    if all(better):
        return "The ranking finds the newer methods more often than a random order does."
    where = "nowhere" if not any(better) else "only in part"
    return (
        f"The ranking beats a random order {where}: what the survey advises did not foretell what newer papers did in "
        "their settings. Take it as an index of what was published for a setting, not as advice on what will work."
    )


def _both(trials: Sequence[Trial]) -> list[tuple[int, tuple[float, float]]]:
    return [(top, hit_rate(trials, top)) for top in TOPS]


def _rates(trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
    return {f"first_{top}": {"hit": hit, "random_order": chance} for top, (hit, chance) in _both(trials)}


def _trial_data(trial: Trial) -> dict[str, Any]:
    return {"id": trial.id, "scenario": trial.scenario, "case": _case_data(trial.case), "place": trial.place,
            "allowed": trial.allowed}  # fmt: skip


def _trial_table(trials: Sequence[Trial]) -> Any:
    rows = table("id", "answers", "scenario", "place", "of", right=["place", "of"], whole=["id", "scenario"])
    for trial in trials:
        answers = [f"{name} {word}" for name, word in trial.case.path.items()]
        add(rows, trial.id, words(answers), trial.scenario, None if trial.place is None else str(trial.place),
            str(trial.allowed))  # fmt: skip
    return rows
