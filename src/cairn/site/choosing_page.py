"""Choosing a method: the tree as nested questions, each scenario with its ranking, and how far that can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cairn.inventory import Inventory
from cairn.inventory.decision import COMPUTE, Answers, Barrier, DecisionTree, Node, Preference, Scenario
from cairn.inventory.recommend import (
    Answer,
    Case,
    Recommendation,
    Trial,
    hit_rate,
    newer,
    recommend,
    retrospective,
)  # fmt: skip
from cairn.site.part import VERSION, DataFile, Part, Whole, as_json
from cairn.site.terms import entry_link, entry_links, list_of, term, terms
from cairn.site.text import (
    Content,
    Html,
    bullets,
    definitions,
    details,
    element,
    join,
    link,
    notice,
    paragraph,
    table,
    words,
)  # fmt: skip

TOPS = (3, 5, 10)
_SHOWN = TOPS[1]
_DATA = f"{VERSION}/choosing.json"


def make(whole: Whole) -> Part:
    """Return the page on choosing."""
    inventory, tree = whole.inventory, whole.tree
    answers = {name: recommend(inventory, tree, case) for name, case in _cases(tree).items()}
    trials = {named: newer(inventory, tree, named=named) for named in (True, False)}
    pairs = retrospective(inventory, tree)
    page = [
        "# Choosing a method",
        notice("warning", "Our reading", tree.about),
        paragraph(
            "The same from the shell, with your own answers, budget and models: ",
            element("code", "cairn recommend"), ". All numbers of this page: ",
            link("choosing.json", f"../data/{_DATA}"), ".",
        ),
        "## The questions",
        _branches(tree.root, tree),
        "## What the questions mean",
        _questions(tree),
        "## Scenarios",
        *(block for name, one in tree.scenarios.items() for block in _scenario(name, one, tree, answers, inventory)),
        "## Whatever the scenario",
        _general(tree, inventory),
        "## How far to trust it",
        *_trust(pairs, trials, inventory),
    ]  # fmt: skip
    data = DataFile(_DATA, "Choosing", "tree, ranking of each scenario, trials with hit rates",
                    as_json(_plain(tree, answers, pairs, trials)))  # fmt: skip
    return Part({"inventory/choosing.md": "\n\n".join(page) + "\n"}, (data,))


def _cases(tree: DecisionTree) -> dict[str, Case]:
    """Return for each scenario the answers on the first way that leads to it, and nothing else answered."""
    found: dict[str, Case] = {}
    for answers, scenario in _ways(tree.root, {}):
        rest = {question: answer for question, answer in answers.items() if question != COMPUTE}
        found.setdefault(scenario, Case(rest, answers.get(COMPUTE)))
    return {name: found[name] for name in tree.scenarios if name in found}


def _ways(node: Node, answers: Answers) -> Iterator[tuple[Answers, str]]:
    if node.scenario:
        yield answers, node.scenario
    for answer, following in node.answers.items():
        yield from _ways(following, {**answers, node.ask: answer})
    if node.otherwise is not None:
        yield from _ways(node.otherwise, answers)


def _branches(node: Node, tree: DecisionTree) -> str:
    """Return a node as nested lists."""
    if node.scenario:
        return link(join(["→ ", tree.scenarios[node.scenario].title]), f"#scenario-{node.scenario}")
    below = [(answer, following) for answer, following in node.answers.items()]
    items = [_branch(words(answer), following, tree) for answer, following in below]
    if node.otherwise is not None:
        items.append(_branch("otherwise, or not known", node.otherwise, tree))
    listed = "".join(f"<li>{item}</li>" for item in items)
    return f'<div class="cairn-tree">{_asked(node.ask, tree)}<ul>{listed}</ul></div>'


def _branch(answer: str, following: Node, tree: DecisionTree) -> str:
    return f"{element('strong', answer)} {_branches(following, tree)}"


def _asked(question: str, tree: DecisionTree) -> Html:
    if question not in tree.questions:
        return element("a", "Which class of compute can be had?", href=f"vocabulary.html#{COMPUTE}")
    return element("a", tree.questions[question].ask, href=f"#question-{question}")


def _questions(tree: DecisionTree) -> str:
    rows = [
        (
            element("span", one.ask, id=f"question-{name}"),
            join(
                (join([element("strong", words(answer)), ": ", told]) for answer, told in one.answers.items()), "<br>"
            ),
        )
        for name, one in tree.questions.items()
    ]
    return table(["Question", "Answers"], rows)


def _scenario(
    name: str, one: Scenario, tree: DecisionTree, answers: dict[str, Answer], inventory: Inventory
) -> Iterator[str]:
    yield element("h3", one.title, id=f"scenario-{name}")
    yield definitions(
        [
            ("The survey's row", f"{one.survey_row} (Table 8)"),
            ("Named there", entry_links(inventory, one.candidates)),
            ("What we prefer", join((_preferred(wish, inventory) for wish in one.prefers), "<br>")),
        ]
    )
    if name in answers:
        yield _ranking(_cases(tree)[name], answers[name], inventory)


def _preferred(wish: Preference, inventory: Inventory) -> Html:
    when = f" (when {_told(wish.when)})" if wish.when else ""
    found = terms(inventory, list_of(wish.criterion), wish.words)
    return join([f"+{wish.weight} ", found, f": {wish.because}{when} ", element("small", f"[{wish.where}]")])


def _told(answers: Answers) -> str:
    return "; ".join(f"{words(question)}: {words(answer)}" for question, answer in answers.items())


def _ranking(case: Case, answer: Answer, inventory: Inventory) -> str:
    out = "; ".join(f"{count} {reason}" for reason, count in answer.ruled_out.items()) or "none"
    known = _told(case.path) or "nothing"
    about = paragraph(
        f"The first {min(_SHOWN, len(answer.ranked))} of the {len(answer.ranked)} methods that are allowed when "
        f"only this is known: {known}. Ruled out: {out}. Equal scores stand in the order of the paper's evidence, then "
        "of cost."
    )
    rows = [_ranked(place, one, inventory) for place, one in enumerate(answer.ranked[:_SHOWN], start=1)]
    head = ["Method", "Score", "Why", "It would need", "Evidence"]
    return f"{about}\n\n{table(head, rows)}"


def _ranked(place: int, one: Recommendation, inventory: Inventory) -> tuple[Content, ...]:
    entry = one.entry
    why = [f"+{reason.weight} {reason.text} [{reason.where}]" for reason in one.reasons] or ["nothing in particular"]
    why += [f"open: {point}" for point in one.open_points]
    needed = join([terms(inventory, "needs", entry.needs) or "plain rollouts",
                   join(["compute: ", term(inventory, "compute", entry.labels.compute)])], "<br>")  # fmt: skip
    return (
        join([f"{place}. ", entry_link(inventory, entry.id)]),
        str(one.score),
        join(why, "<br>"),
        needed,
        _evidence(one, inventory),
    )


def _evidence(one: Recommendation, inventory: Inventory) -> Html:
    ours = ", ".join(words(label) for label in inventory.words_of(one.entry, "verdict")) or "not run here"
    paper = join(["paper: ", term(inventory, "evidence", one.entry.labels.evidence)])
    return join([paper, f"ours: {ours}"], "<br>")


def _general(tree: DecisionTree, inventory: Inventory) -> str:
    wishes = [_preferred(wish, inventory) for wish in tree.general]
    ruled = [
        join([f"When {_told(one.when)}, what rests on ", _missing(one, inventory), f" is left out: {one.because}."])
        for one in tree.barriers
    ]
    return bullets([*wishes, *ruled])


def _missing(one: Barrier, inventory: Inventory) -> Html:
    found = (terms(inventory, "needs", one.needs), terms(inventory, "methodology", one.methodology))
    return join(filter(None, found), ", ")


def _trust(pairs: Sequence[Trial], trials: dict[bool, tuple[Trial, ...]], inventory: Inventory) -> Iterator[str]:
    yield "### The survey's own pairs"
    found = sum(trial.hit(TOPS[0]) for trial in pairs)
    yield paragraph(
        f"The survey traces {len(pairs)} tasks to a method through its tree. Ours puts {found} of these methods among "
        f"the first {TOPS[0]}. That shows only that it agrees with what it was made from."
    )
    yield _trial_table(pairs, inventory)
    yield "### Methods that the survey does not have"
    yield paragraph(
        "The stronger test: each newer method, in the scenario of its own paper, read by rule from its labels and "
        "benchmarks. Does the ranking find it? Beside each rate stands what a random order of the allowed methods "
        "would give."
    )
    yield table(["Ranking", *(f"Among the first {top}" for top in TOPS), "Methods"],
                [_rates(named, found) for named, found in trials.items()])  # fmt: skip
    yield paragraph(element("strong", in_words(trials)))
    yield details("Each of these methods", _trial_table(trials[True], inventory))


def _rates(named: bool, trials: Sequence[Trial]) -> tuple[Content, ...]:
    rates = [hit_rate(trials, top) for top in TOPS]
    shown = [f"{hit:.0%} (random order: {chance:.0%})" for hit, chance in rates]
    return ("with the survey's names" if named else "without them", *shown, str(len(trials)))


def in_words(trials: dict[bool, tuple[Trial, ...]]) -> str:
    """Say in words whether the ranking finds newer methods more often than chance does."""
    rates = [hit_rate(found, top) for found in trials.values() for top in TOPS]
    better = sum(hit > chance for hit, chance in rates)
    if better == 0:
        return (
            "By this test the ranking is not better than a random order of the methods that it allows: it says what "
            "the survey names and prefers, and does not foresee what is published next."
        )
    if better == len(rates):
        return "By this test the ranking finds newer methods more often than a random order does."
    return f"By this test the ranking beats a random order in {better} of these {len(rates)} comparisons only."


def _trial_table(trials: Sequence[Trial], inventory: Inventory) -> str:
    rows = [
        (
            entry_link(inventory, trial.id),
            _told(trial.case.path) or None,
            link(words(trial.scenario), f"#scenario-{trial.scenario}"),
            "ruled out" if trial.place is None else f"{trial.place} of {trial.allowed}",
        )
        for trial in trials
    ]
    return table(["Method", "What is known", "Scenario", "Place"], rows)


def _plain(
    tree: DecisionTree, answers: dict[str, Answer], pairs: Sequence[Trial], trials: dict[bool, tuple[Trial, ...]]
) -> dict[str, object]:
    cases = _cases(tree)
    named = {"with_the_surveys_names": trials[True], "without_them": trials[False]}
    return {
        "tree": tree.model_dump(mode="json"),
        "rankings": {
            name: {"known": dict(cases[name].path), "allowed": len(one.ranked), "ruled_out": dict(one.ruled_out),
                   "ranked": [{"id": found.entry.id, "score": found.score} for found in one.ranked]}
            for name, one in answers.items()
        },
        "retrospective": [_trial(one) for one in pairs],
        "newer": {name: [_trial(one) for one in found] for name, found in named.items()},
        "hit_rate": {name: {f"first_{top}": dict(zip(("hit", "random_order"), hit_rate(found, top), strict=True))
                            for top in TOPS} for name, found in named.items()},
    }  # fmt: skip


def _trial(one: Trial) -> dict[str, object]:
    return {"id": one.id, "known": dict(one.case.path), "scenario": one.scenario, "place": one.place,
            "allowed": one.allowed}  # fmt: skip
