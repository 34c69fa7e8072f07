"""What a task can say of an instance to a model that is to judge in hindsight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hints:
    """Texts in the words of the task's model; None where the task has none. They change nothing in how it is played.

    success, failure: that it was solved, or not. hint: what helps to solve it, or its solution. answer: the gold one.
    """

    success: str | None = None
    failure: str | None = None
    hint: str | None = None
    answer: str | None = None
