"""`quest` and its policy told a second time, plainly, as an oracle: dicts, strings and one forward pass for each text.

From the laboratory it takes only the drawn plan (rooms and forks) and the words for signs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import torch

from cairn.lab.model import LanguageModel
from cairn.lab.tasks.quest import SIGNS, Plan

SPECIAL = {"plan": "make plan .", "tool": "use key .", "format": "sign log .", "passage": "go on ."}


class Where(NamedTuple):
    """Where a walk stands; it begins in the first room with an empty memory."""

    room: int = 0
    alley: bool = False
    memory: tuple[int, ...] = ()
    wing: str = "none"
    omen: str | None = None
    doomed: bool = False


def over(plan: Plan, at: Where) -> bool:
    return bool(at.room == len(plan.rooms))


def phrases(plan: Plan, at: Where) -> list[str]:
    """Return what the room understands."""
    if over(plan, at):
        return []
    room = plan.rooms[at.room]
    if at.alley:
        return ["go on ."]
    if room.role == "fork":
        return ["go left .", "go right ."]
    if room.role == "note":
        return ["go on ."] if room.fork in at.memory else ["read note .", "go on ."]
    return [SPECIAL[room.role]]


def prompt(plan: Plan, at: Where) -> str:
    """Return the windowed prompt."""
    notes = [_said(plan, number) for number in at.memory]
    return f"goal {plan.goal} . memory {' '.join(notes) or 'empty'} . {_sight(plan, at)} . act"


def _said(plan: Plan, number: int) -> str:
    fork = plan.forks[number]
    return f"{fork.kind} {SIGNS[fork.kind][fork.value]}"


def _sight(plan: Plan, at: Where) -> str:
    if over(plan, at):
        return f"room {plan.goal}"
    room = plan.rooms[at.room]
    words = ["room", "alley" if at.alley else room.name, "wing", at.wing]
    words += ["omen", at.omen] if at.omen else []
    if at.alley:
        return " ".join([*words, "passage"])
    if room.role == "fork":
        fork = plan.forks[room.fork]
        return " ".join(
            [*words, "fork", fork.kind, "sign", "hidden" if fork.fogged else _said(plan, room.fork).split()[1]]
        )
    if room.role == "note":
        return " ".join([*words, "note", _said(plan, room.fork) if room.fork in at.memory else "unread"])
    return " ".join([*words, room.role])


def after(plan: Plan, at: Where, phrase: str | None) -> Where:
    """Carry out a phrase; None is one that the room does not understand."""
    if phrase is None:
        return at
    room = plan.rooms[at.room]
    if at.alley:
        return at._replace(alley=False)
    if phrase == "read note .":
        return at._replace(memory=(*at.memory, room.fork))
    if room.role != "fork":
        return at._replace(room=at.room + 1)
    fork, exit_ = plan.forks[room.fork], phrase.split()[1]
    right = exit_ == ("left", "right")[fork.right_exit]
    seen = at._replace(wing=exit_, omen=None if fork.veiled else ("good" if right else "bad"))
    if not right and fork.loop:
        return seen._replace(alley=True)
    kept = tuple(number for number in at.memory if number != room.fork)
    return seen._replace(room=at.room + 1, memory=kept, doomed=at.doomed or not right)


class Narrator:
    """Asks the model for the chance of each phrase, one text at a time, without prefix trees, padding or batches."""

    def __init__(self, model: LanguageModel) -> None:
        """Keep what was asked before."""
        self._model, self._known = model, dict[tuple[str, str], float]()

    def chance(self, text: str, phrase: str) -> float:
        """Return the probability that the model says the phrase after the text."""
        if (text, phrase) not in self._known:
            self._known[text, phrase] = self._ask(text, phrase)
        return self._known[text, phrase]

    @torch.no_grad()
    def _ask(self, text: str, phrase: str) -> float:
        before, said = (self._model.tokenizer(t, add_special_tokens=False)["input_ids"] for t in (text, phrase))
        logits = self._model.network(input_ids=torch.tensor([before + said])).logits[0].double()
        result = 1.0
        for place, token in enumerate(said, start=len(before)):
            result *= float(torch.softmax(logits[place - 1], 0)[token])
        return result

    def choices(self, plan: Plan, at: Where) -> dict[str | None, float]:
        """Return the policy in this place: each phrase, and None for everything else."""
        text = prompt(plan, at)
        said: dict[str | None, float] = {phrase: self.chance(text, phrase) for phrase in phrases(plan, at)}
        return {**said, None: 1 - sum(said.values())}


def outcomes(plan: Plan, at: Where, phrase: str | None, slip: float) -> Iterator[tuple[float, Where]]:
    """What may follow a choice: it is carried out, or with chance `slip` a uniformly drawn one instead."""
    yield 1 - slip, after(plan, at, phrase)
    drawn = [*phrases(plan, at), None]
    for other in drawn:
        yield slip / len(drawn), after(plan, at, other)


def enumerate_success(plan: Plan, narrator: Narrator, at: Where, turns: int, slip: float) -> float:
    """Sum the chances of all successful walks, each followed to its end; no value is ever shared or looked up."""
    if over(plan, at):
        return float(not at.doomed)
    if turns == 0:
        return 0.0
    steps: dict[Where, float] = defaultdict(float)
    for phrase, chance in narrator.choices(plan, at).items():
        for share, follower in outcomes(plan, at, phrase, slip):
            steps[follower] += chance * share
    return sum(p * enumerate_success(plan, narrator, follower, turns - 1, slip) for follower, p in steps.items() if p)


def enumerate_value_of(plan: Plan, narrator: Narrator, at: Where, phrase: str | None, turns: int, slip: float) -> float:
    """Return the success probability after a choice with `turns` turns left before it."""
    return sum(
        chance * enumerate_success(plan, narrator, follower, turns - 1, slip)
        for chance, follower in outcomes(plan, at, phrase, slip)
        if chance
    )
