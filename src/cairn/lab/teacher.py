"""A teacher for `quest`: knows the rules, and errs at stated rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cairn.lab.tasks import quest
from cairn.lab.tasks.world import World


@dataclass(frozen=True)
class Teacher:
    """skills: chance of the right exit for each kind of `quest.KINDS`, where the sign is known. reading: of a note."""

    skills: tuple[float, ...]
    reading: float

    def chances(self, prompt: str, options: tuple[str, ...]) -> list[float]:
        """Return how often the teacher says each of the (one or two) phrases."""
        if len(options) == 1:
            return [1.0]
        if options[0] == quest.READ:
            return [self.reading, 1 - self.reading]
        words = prompt.split()
        kind = words[words.index("fork") + 1]
        value = known_value(words, kind)
        if value is None:
            return [0.5, 0.5]
        right = self.skills[quest.KINDS.index(kind)]
        left = right if quest.LEFT_VALUE[kind] == quest.SIGNS[kind].index(value) else 1 - right
        return [left, 1 - left]

    def walk(self, world: World, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        """Play one episode; yield (state, option) for each turn."""
        state = world.start
        for _ in range(world.horizon):
            if world.terminal[state]:
                return
            prompt = world.state_prompt[state]
            options = world.options[prompt]
            option = int(rng.choice(len(options), p=self.chances(world.prompts[prompt], options)))
            yield state, option
            chances = world.probabilities[state, option]
            state = int(rng.choice(world.successors[state, option], p=chances))


def known_value(words: list[str], kind: str) -> str | None:
    """Return the value of a fork's sign if the prompt shows it or remembers it."""
    sign = words[words.index("sign") + 1]
    if sign in quest.SIGNS[kind]:
        return sign
    memory = words[words.index("memory") : words.index("room")]
    return memory[memory.index(kind) + 1] if kind in memory else None
