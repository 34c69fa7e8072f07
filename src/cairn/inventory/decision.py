"""The decision tree of `inventory/decision-tree.yaml` as data: questions, branches, scenarios, preferences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import Field, StrictInt

from cairn.inventory.findings import Finding, Rule, first_errors, near, shown
from cairn.inventory.models import Block, Slug, Text
from cairn.inventory.reader import Document, Location, ReadError, read
from cairn.inventory.shape import shape
from cairn.inventory.text_rules import check_text
from cairn.inventory.tree_rules import IDS
from cairn.inventory.vocabulary import Vocabularies

FILE = "inventory/decision-tree.yaml"
UNKNOWN_PART = Rule(
    "CA110", "decision-word", "The decision tree names questions, answers, words and entries that exist."
)
NO_OTHERWISE = Rule(
    "CA111", "no-otherwise", "Every question of the decision tree has `otherwise`, for who does not answer it."
)
UNREACHED = Rule("CA112", "unreached-scenario", "A branch of the decision tree leads to every scenario.")

# criterion of a preference -> the word list that its words come from
CRITERION_LISTS: Mapping[str, str] = {
    "methodology": "methodology",
    "family": "methodology-family",
    "granularity": "granularity",
    "aux_model": "aux-model",
    "compute": "compute",
}
COMPUTE = "compute"
Answers = Mapping[str, str]


class Question(Block):
    """One question, its answers with their meaning, and for a number the largest value of each answer but the last."""

    ask: Text
    answers: Mapping[str, Text] = Field(min_length=2)
    unit: str = Field(default="", description="what a number counts; empty when the answer is a word")
    up_to: Mapping[str, StrictInt] = Field(default={}, description="answer to the largest number that it holds")

    def answer_for(self, number: int) -> str:
        """Return the answer that holds `number`; answers stand in increasing order and the last has no bound."""
        for answer in self.answers:
            if answer not in self.up_to or number <= self.up_to[answer]:
                return answer
        return [*self.answers][-1]


class Node(Block):
    """A branch (`ask`, `answers`, `otherwise`) or a leaf (`scenario`)."""

    ask: str = ""
    answers: Mapping[str, Node] = Field(default={})
    otherwise: Node | None = None
    scenario: str = ""


class Preference(Block):
    """What speaks for an entry: one of `words` under a criterion adds `weight`; `when` limits it to some answers."""

    criterion: str
    words: tuple[str, ...] = Field(min_length=1)
    weight: int = Field(strict=True, ge=1, le=3)
    because: Text
    where: Text = Field(description="table or section of the survey")
    when: Answers = Field(default={})


class Scenario(Block):
    """A leaf: the row of the survey's Table 8 that it stands for, the entries named there, and our preferences."""

    title: Text
    survey_row: Text
    candidates: tuple[Slug, ...]
    prefers: tuple[Preference, ...]


class Barrier(Block):
    """What cannot be had under the answers in `when`."""

    when: Answers
    needs: tuple[str, ...] = ()
    methodology: tuple[str, ...] = ()
    because: Text


class Pair(Block):
    """A task and the method that the survey says its tree leads to."""

    id: Slug
    task: Text
    answers: Answers


class DecisionTree(Block):
    """The whole file."""

    title: Text
    about: Text
    questions: Mapping[str, Question]
    root: Node
    named_weight: int = Field(strict=True, ge=0, description="weight of being named by the survey for the scenario")
    scenarios: Mapping[str, Scenario]
    general: tuple[Preference, ...]
    barriers: tuple[Barrier, ...]
    benchmarks: Mapping[str, Answers]
    retrospective: tuple[Pair, ...]

    def leaf(self, answers: Answers) -> str:
        """Return the name of the scenario that the answers lead to; what is not answered takes `otherwise`."""
        node = self.root
        while not node.scenario:
            following = node.answers.get(answers.get(node.ask, ""), node.otherwise)
            if following is None:
                raise ValueError(f"the tree ends at {node.ask!r} without a scenario")  # the lint refuses such a tree
            node = following
        return node.scenario


def read_tree(
    root: Path, vocabularies: Vocabularies, ids: Sequence[str]
) -> tuple[DecisionTree | None, tuple[Finding, ...]]:
    """Return the tree and what is wrong with it; None and no finding when the file is not there."""
    path = root / FILE
    if not path.exists():
        return None, ()
    try:
        document = read(path, FILE)
    except ReadError as fault:
        return None, (fault.finding(FILE),)
    tree, findings = shape(DecisionTree, document, {})
    text = check_text(document)
    if tree is None:
        return None, (*text, *findings)
    return tree, (*text, *findings, *first_errors(check_tree(tree, document, vocabularies, ids)))


def check_tree(
    tree: DecisionTree, document: Document, vocabularies: Vocabularies, ids: Sequence[str]
) -> Iterator[Finding]:
    """Yield every place of the tree that cannot be left or reached, and every name that leads nowhere."""
    yield from _ends(tree, document)
    if not {*CRITERION_LISTS.values(), "needs", "benchmarks"} <= set(vocabularies):
        return  # a list that cannot be read is a finding of its own
    for location, word, known in _names(tree, vocabularies, ids):
        if word not in known:
            repair = near(word, known, IDS if known is ids else "")
            yield Finding(UNKNOWN_PART, FILE, document.line(location), shown(word), "no such name here", repair)


def _ends(tree: DecisionTree, document: Document) -> Iterator[Finding]:
    reached: set[str] = set()
    for place, node in _nodes(tree.root, ("root",)):
        reached.add(node.scenario)
        if node.ask and not node.scenario and node.otherwise is None:
            line, message = document.line((*place, "ask")), "what is not answered leads nowhere from here"
            yield Finding(NO_OTHERWISE, FILE, line, shown(node.ask), message, "add `otherwise: {scenario: ...}`")
    for name in tree.scenarios:
        if name not in reached:
            line, repair = document.line(("scenarios", name)), "let a branch lead to it, or remove it"
            yield Finding(UNREACHED, FILE, line, shown(name), "no branch leads to this scenario", repair)


def _nodes(node: Node, place: Location) -> Iterator[tuple[Location, Node]]:
    """Yield every node of the tree with its place."""
    yield place, node
    for answer, following in node.answers.items():
        yield from _nodes(following, (*place, "answers", answer))
    if node.otherwise is not None:
        yield from _nodes(node.otherwise, (*place, "otherwise"))


def _names(
    tree: DecisionTree, vocabularies: Vocabularies, ids: Sequence[str]
) -> Iterator[tuple[Location, str, Sequence[str]]]:
    """Yield (location, name, the names that there are) for every reference of the tree."""
    compute = [*vocabularies[COMPUTE].words]
    answers_of = {name: [*question.answers] for name, question in tree.questions.items()} | {COMPUTE: compute}
    yield from _branches(tree.root, ("root",), answers_of, [*tree.scenarios])
    for name, scenario in tree.scenarios.items():
        place: Location = ("scenarios", name)
        for index, candidate in enumerate(scenario.candidates):
            yield (*place, "candidates", index), candidate, ids
        for index, preference in enumerate(scenario.prefers):
            yield from _preference(preference, (*place, "prefers", index), answers_of, vocabularies)
    for index, preference in enumerate(tree.general):
        yield from _preference(preference, ("general", index), answers_of, vocabularies)
    yield from _rest(tree, answers_of, vocabularies, ids)


def _branches(
    node: Node, place: Location, answers_of: Mapping[str, list[str]], scenarios: Sequence[str]
) -> Iterator[tuple[Location, str, Sequence[str]]]:
    if not node.ask or node.scenario:
        yield (*place, "scenario"), node.scenario, scenarios
        return
    yield (*place, "ask"), node.ask, [*answers_of]
    for answer, following in node.answers.items():
        yield (*place, "answers", answer), answer, answers_of.get(node.ask, [])
        yield from _branches(following, (*place, "answers", answer), answers_of, scenarios)
    if node.otherwise is not None:
        yield from _branches(node.otherwise, (*place, "otherwise"), answers_of, scenarios)


def _preference(
    preference: Preference, place: Location, answers_of: Mapping[str, list[str]], vocabularies: Vocabularies
) -> Iterator[tuple[Location, str, Sequence[str]]]:
    yield (*place, "criterion"), preference.criterion, [*CRITERION_LISTS]
    yield from _answers(preference.when, (*place, "when"), answers_of)
    known = _words(vocabularies, CRITERION_LISTS.get(preference.criterion, ""))
    for word in preference.words:
        yield (*place, "words"), word, known


def _answers(
    answers: Answers, place: Location, answers_of: Mapping[str, list[str]]
) -> Iterator[tuple[Location, str, Sequence[str]]]:
    for question, answer in answers.items():
        yield (*place, question), question, [*answers_of]
        yield (*place, question), answer, answers_of.get(question, [answer])


def _words(vocabularies: Vocabularies, name: str) -> Sequence[str]:
    return [*vocabularies[name].words] if name in vocabularies else []


def _rest(
    tree: DecisionTree, answers_of: Mapping[str, list[str]], vocabularies: Vocabularies, ids: Sequence[str]
) -> Iterator[tuple[Location, str, Sequence[str]]]:
    for index, barrier in enumerate(tree.barriers):
        place: Location = ("barriers", index)
        yield from _answers(barrier.when, (*place, "when"), answers_of)
        for name, words in (("needs", barrier.needs), ("methodology", barrier.methodology)):
            for word in words:
                yield (*place, name), word, _words(vocabularies, name)
    for benchmark, answers in tree.benchmarks.items():
        yield ("benchmarks", benchmark), benchmark, _words(vocabularies, "benchmarks")
        yield from _answers(answers, ("benchmarks", benchmark), answers_of)
    for index, pair in enumerate(tree.retrospective):
        yield ("retrospective", index, "id"), pair.id, ids
        yield from _answers(pair.answers, ("retrospective", index, "answers"), answers_of)
