"""Which methods to consider in a setting: ranked, each with its reasons, and how well that ranking does on papers.

The order is that of the weights in `inventory/decision-tree.yaml`, our reading of the survey. It says what was
published for such a setting, not what works best; the trials at the end of this module say how far it can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cairn.errors import UserError
from cairn.inventory.collection import Inventory
from cairn.inventory.decision import COMPUTE, FILE, Answers, DecisionTree, Preference, read_tree
from cairn.inventory.findings import near
from cairn.inventory.models import NONE, UNKNOWN, Entry
from cairn.paths import data_root

ANY = "any"
EVIDENCE_ORDER = ("strong", "limited", "analytical", UNKNOWN)


@dataclass(frozen=True)
class Case:
    """A setting in which a method is sought.

    answers: question to answer; what is left out is not known. compute: the dearest class of vocab/compute.yaml that
    can be had. aux: the auxiliary models that can be had, words of vocab/aux-model.yaml; None for any.
    """

    answers: Mapping[str, str]
    compute: str | None = None
    aux: frozenset[str] | None = None

    @property
    def path(self) -> Answers:
        """The answers that the branches of the tree are taken by."""
        return {**self.answers, COMPUTE: self.compute} if self.compute else self.answers


@dataclass(frozen=True)
class Reason:
    """One thing that speaks for an entry, with its weight and its place in the survey."""

    text: str
    where: str
    weight: int


@dataclass(frozen=True)
class Recommendation:
    """An entry, what speaks for it, and what is open: labels that are unknown could stand in the way."""

    entry: Entry
    reasons: tuple[Reason, ...]
    open_points: tuple[str, ...]

    @property
    def score(self) -> int:
        """The sum of the weights."""
        return sum(reason.weight for reason in self.reasons)


@dataclass(frozen=True)
class Answer:
    """What the tree says to a case: the scenario, the ranked entries, and how many methods the case rules out."""

    scenario: str
    ranked: tuple[Recommendation, ...]
    ruled_out: Mapping[str, int] = field(default_factory=dict)


def load_tree(inventory: Inventory, root: Path | None = None) -> DecisionTree:
    """Return the decision tree below `root`, checked against the entries. Raises UserError for its first fault."""
    root = data_root() if root is None else root
    tree, findings = read_tree(root, inventory.vocabularies, inventory.ids)
    for finding in findings:
        raise finding.as_error(root)
    if tree is None:
        raise UserError("there is no decision tree here", file=root / FILE, repair="restore the file")
    return tree


def make_case(
    inventory: Inventory,
    tree: DecisionTree,
    answers: Mapping[str, str | int | None],
    compute: str | None = None,
    aux: Sequence[str] = (),
) -> Case:
    """Return a case from words and numbers. Raises UserError for a word that is no answer; None is left out."""
    found: dict[str, str] = {}
    for name, given in answers.items():
        if given is None:
            continue
        question = tree.questions[name]
        answer = question.answer_for(given) if isinstance(given, int) else given
        _require(answer, [*question.answers], f"no answer to: {question.ask}")
        found[name] = answer
    if compute is not None:
        _require(compute, inventory.vocabulary("compute").words, "not a class of compute")
    for word in aux:
        _require(word, [*inventory.vocabulary("aux-model").words, ANY], "not an auxiliary model")
    return Case(found, compute, None if not aux or ANY in aux else frozenset(aux))


def _require(word: str, known: Sequence[str] | Mapping[str, object], message: str) -> None:
    if word not in known:
        raise UserError(message, value=word, repair=near(word, known))


def recommend(inventory: Inventory, tree: DecisionTree, case: Case, *, named: bool = True) -> Answer:
    """Rank the standing methods that the case allows.

    Equal scores are ordered by the strength of the paper's evidence, then by cost, then by id. named: whether being
    named in the survey's Table 8 for this scenario counts.
    """
    scenario = tree.leaf(case.path)
    ruled_out: dict[str, int] = {}
    kept: list[Recommendation] = []
    for entry in inventory:
        if entry.kind != "method" or entry.moved_to != NONE or entry.withdrawn != NONE:
            continue
        obstacle = next(_obstacles(tree, case, entry, inventory), None)
        if obstacle is not None:
            ruled_out[obstacle] = ruled_out.get(obstacle, 0) + 1
            continue
        reasons = tuple(_reasons(tree, scenario, case, entry, inventory, named=named))
        kept.append(Recommendation(entry, reasons, tuple(_open_points(case, entry))))
    costs = [*inventory.vocabulary("compute").words]
    kept.sort(key=lambda one: (-one.score, EVIDENCE_ORDER.index(one.entry.labels.evidence),
                               costs.index(one.entry.labels.compute), one.entry.id))  # fmt: skip
    return Answer(scenario, tuple(kept), ruled_out)


def words_of(entry: Entry, criterion: str, inventory: Inventory) -> tuple[str, ...]:
    """Return the words of an entry under a criterion of CRITERION_LISTS."""
    if criterion == "family":
        methodology = inventory.vocabulary("methodology").words.get(entry.labels.methodology)
        return (methodology.family,) if methodology else ()
    value = getattr(entry.labels, criterion)
    return value if isinstance(value, tuple) else (value,)


def _obstacles(tree: DecisionTree, case: Case, entry: Entry, inventory: Inventory) -> Iterator[str]:
    setting = case.answers.get("setting")
    if setting is not None and setting not in entry.labels.setting:
        yield "published for another setting"
    if case.aux is not None and entry.labels.aux_model not in (*case.aux, NONE, UNKNOWN):
        yield "needs an auxiliary model that is not to be had"
    costs = [word for word in inventory.vocabulary("compute").words if word != UNKNOWN]
    dear = case.compute in costs and entry.labels.compute in costs
    if dear and costs.index(entry.labels.compute) > costs.index(str(case.compute)):
        yield "costs more than there is"
    for barrier in tree.barriers:
        hit = set(barrier.needs) & set(entry.needs) or entry.labels.methodology in barrier.methodology
        if hit and _holds(barrier.when, case):
            yield barrier.because


def _holds(when: Answers, case: Case) -> bool:
    return all(case.path.get(question) == answer for question, answer in when.items())


def _reasons(
    tree: DecisionTree, scenario: str, case: Case, entry: Entry, inventory: Inventory, *, named: bool
) -> Iterator[Reason]:
    leaf = tree.scenarios[scenario]
    if named and entry.id in leaf.candidates:
        yield Reason(f"the survey names it for: {leaf.survey_row}", "Table 8", tree.named_weight)
    for preference in (*leaf.prefers, *tree.general):
        if _holds(preference.when, case) and _meets(preference, entry, inventory):
            yield Reason(preference.because, preference.where, preference.weight)


def _meets(preference: Preference, entry: Entry, inventory: Inventory) -> bool:
    return bool(set(words_of(entry, preference.criterion, inventory)) & set(preference.words))


def _open_points(case: Case, entry: Entry) -> Iterator[str]:
    if case.aux is not None and entry.labels.aux_model == UNKNOWN:
        yield "whether it needs an auxiliary model is not established"
    if case.compute is not None and entry.labels.compute == UNKNOWN:
        yield "what it costs is not established"
    if entry.confidence == "low":
        yield "little more than an abstract was read"


@dataclass(frozen=True)
class Trial:
    """One method and the place the ranking gives it in a case; `place` counts from 1, None when it is ruled out."""

    id: str
    case: Case
    scenario: str
    place: int | None
    allowed: int

    def hit(self, top: int) -> bool:
        """Say whether the method stands among the first `top`."""
        return self.place is not None and self.place <= top

    def chance(self, top: int) -> float:
        """Return the probability of a hit had the allowed methods been ordered at random."""
        return min(1.0, top / self.allowed) if self.place is not None else 0.0


def retrospective(inventory: Inventory, tree: DecisionTree) -> tuple[Trial, ...]:
    """Return the survey's own pairs. Finding them shows only that the tree agrees with what it was made from."""
    return tuple(_trial(inventory, tree, pair.id, _pair_case(pair.answers), named=True) for pair in tree.retrospective)


def _pair_case(answers: Answers) -> Case:
    return Case({name: word for name, word in answers.items() if name != COMPUTE}, answers.get(COMPUTE))


def newer(inventory: Inventory, tree: DecisionTree, *, named: bool) -> tuple[Trial, ...]:
    """Return the methods that the survey does not have, each in the scenario of its own paper.

    That scenario is read by rule: its setting, its cost and its auxiliary model from our labels (the first where there
    are several settings), the rest from its benchmarks. named: whether the methods that the survey names keep their
    advantage over these, which it cannot name.
    """
    entries = [entry for entry in inventory.methods if entry.survey is None and entry.withdrawn == NONE]
    return tuple(_trial(inventory, tree, entry.id, own_case(tree, entry), named=named)
                 for entry in entries if entry.labels.setting[0] in tree.questions["setting"].answers)  # fmt: skip


def own_case(tree: DecisionTree, entry: Entry) -> Case:
    """Return the case of the entry's own paper."""
    answers = {"setting": entry.labels.setting[0]}
    for question in tree.questions:
        given = {tree.benchmarks[name][question] for name in entry.labels.benchmarks
                 if question in tree.benchmarks.get(name, {})}  # fmt: skip
        if question not in answers and len(given) == 1:
            answers[question] = given.pop()
    compute = None if entry.labels.compute == UNKNOWN else entry.labels.compute
    aux = None if entry.labels.aux_model == UNKNOWN else frozenset({entry.labels.aux_model})
    return Case(answers, compute, aux)


def _trial(inventory: Inventory, tree: DecisionTree, entry_id: str, case: Case, *, named: bool) -> Trial:
    answer = recommend(inventory, tree, case, named=named)
    ids = [one.entry.id for one in answer.ranked]
    place = ids.index(entry_id) + 1 if entry_id in ids else None
    return Trial(entry_id, case, answer.scenario, place, len(ids))


def hit_rate(trials: Sequence[Trial], top: int) -> tuple[float, float]:
    """Return the share of trials that hit among the first `top`, and the share that a random order would."""
    if not trials:
        return 0.0, 0.0
    hits = sum(trial.hit(top) for trial in trials)
    return hits / len(trials), sum(trial.chance(top) for trial in trials) / len(trials)
