"""Policies for `relay` in tables, and its rules told a second time, plainly, as an oracle.

From the laboratory the oracle takes only the drawn plan (posts, turns and codes) and the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cairn.lab.policy import PolicyTable
from cairn.lab.tasks import relay
from cairn.lab.tasks.relay import CODES, NEAR_VALUE, NUMBERS, Plan
from cairn.lab.world import FloatArray, World, join

LEVERS = ("pull near .", "pull far .")
Policy = Mapping[str, FloatArray]  # chances of a prompt's phrases and, last, of silence


def table(world: World, chances: FloatArray) -> PolicyTable:
    """A policy (S, C + 1) by its option probabilities alone: exact values rest on nothing else."""
    nothing = np.zeros((0, 0))
    return PolicyTable(join([world]), nothing, nothing.astype(int), nothing.astype(int), [], chances)


def taught(world: World, guide: relay.Guide) -> FloatArray:
    chances = np.zeros(world.successors.shape[:2])
    for state in np.flatnonzero(~world.terminal):
        prompt = int(world.state_prompt[state])
        chances[state, : len(world.options[prompt])] = guide.chances(world, prompt)
    return chances


def drawn(world: World, seed: int) -> tuple[FloatArray, Policy]:
    """A policy drawn at random for each prompt, as a table and by text."""
    chances = np.random.default_rng(seed).dirichlet(np.ones(world.successors.shape[1]), len(world.prompts))
    for prompt, options in enumerate(world.options):  # what a prompt does not offer is silence
        chances[prompt, -1] += chances[prompt, len(options) : -1].sum()
        chances[prompt, len(options) : -1] = 0
    by_text = {
        text: np.append(row[: len(options)], row[-1])
        for text, options, row in zip(world.prompts, world.options, chances, strict=True)
    }
    return chances[world.state_prompt], by_text


def role_of(plan: Plan, role: str) -> list[int]:
    return [agent for agent, post in enumerate(plan.posts) if post.role == role]


class Told:
    """The team's rules a second time, plainly: a sum over all that can be said and drawn. It shares the drawn plan."""

    def __init__(self, plan: Plan, policy: Policy, there: frozenset[int]) -> None:
        """Let the agents `there` play the policy."""
        self.plan, self.policy, self.there = plan, policy, there

    def success(self, at: int = 0, lost: bool = False, **memory: Any) -> float:
        """Return the chance to win from turn `at` on. memory: by name and agent, what somebody knows or has done."""
        if at == len(self.plan.turns):
            return float(not lost)
        turn = self.plan.turns[at]
        role = self.plan.posts[turn.agent].role
        mate, me = self.plan.posts[turn.agent].partner, turn.agent
        values = CODES[turn.kind]
        if turn.look:
            return sum(
                0.5
                * chance
                * self.success(at + 1, lost, **memory, **{f"truth{mate}": v, f"saw{me}": v if looks else None})
                for v in values
                for looks, chance in self.says(turn, role, "nothing", "ahead", ("look out .",))
            )
        if role == "scout":
            saw = memory.pop(f"saw{me}")
            total = 0.0
            for said, chance in self.says(turn, role, "nothing", saw or "hidden", tuple(f"tell {v} ." for v in values)):
                if said is None:
                    total += chance * self.success(at + 1, lost, **memory)
                    continue
                word = said.split()[1]
                other = values[1 - values.index(word)]
                for heard, luck in ((word, 1 - self.plan.noise), (other, self.plan.noise)):
                    total += chance * luck * self.success(at + 1, lost, **memory, **{f"told{mate}": heard})
            return total
        truth = memory.pop(f"truth{me}", None)
        heard = memory.pop(f"told{me}", None)
        shown = "hidden" if truth else values[turn.value]
        wanted = LEVERS[int((truth or values[turn.value]) != values[NEAR_VALUE[turn.kind]])]
        total = 0.0
        for said, chance in self.says(turn, role, f"{turn.kind} {heard}" if heard else "nothing", shown, LEVERS):
            right = said == wanted
            if role == "twin" and me < mate:
                total += chance * self.success(at + 1, lost, **memory, **{f"half{mate}": right})
                continue
            after = dict(memory)
            right = after.pop(f"half{me}", False) or right or role == "idler"
            alarm = self.plan.alarm if not right and not lost else 0.0
            total += chance * (1 - alarm) * self.success(at + 1, lost or not right, **after)
        return total

    def says(
        self, turn: relay.Turn, role: str, heard: str, sees: str, phrases: tuple[str, ...]
    ) -> list[tuple[str | None, float]]:
        if turn.agent not in self.there:
            return [(None, 1.0)]
        who = f"agent {NUMBERS[turn.agent]} {role} heard {heard} round {NUMBERS[turn.round]}"
        text = f"site {self.plan.site} . {who} sees {turn.kind} {sees} . act"
        return list(zip((*phrases, None), self.policy[text].tolist(), strict=True))
