"""The interchange format of rollouts: JSON Lines, one rollout a line, for logs of any trainer and for golden examples.

A rollout is what happened in one episode: the group it is compared in, its turns in order, and the rewards. Fields that
only some rules need are optional, but a file gives such a field in every turn where it applies, or in none.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from pydantic import Field, StrictBool, StrictFloat, StrictStr, ValidationError, model_validator

from cairn.errors import UserError
from cairn.evidence.base import Evidence, load_json

MAX_BYTES = 64 * 1024 * 1024
TOKEN_FIELDS = ("logprobs", "reference_logprobs", "entropies", "values")
TURN_FIELDS = ("observation", "value", "agent")
REPAIR = "see schemas/rollouts.schema.json for the fields of a line"


class TurnRow(Evidence):
    """One turn: what was seen, what was said, what it earned. A list of numbers has one number for each token."""

    observation: StrictStr | None = Field(
        default=None, description="raw observation before any prompt is built; equal texts mean the same state key"
    )
    tokens: tuple[StrictStr, ...] = Field(description="tokens that the policy chose in this turn; may be empty")
    reward: StrictFloat = Field(default=0.0, description="paid after this turn, without the terminal reward")
    logprobs: tuple[StrictFloat, ...] | None = Field(
        default=None, description="of each token under the policy that sampled it, nats"
    )
    reference_logprobs: tuple[StrictFloat, ...] | None = Field(
        default=None, description="of each token under the frozen reference policy, nats"
    )
    entropies: tuple[StrictFloat, ...] | None = Field(
        default=None, description="of the policy's distribution at each token, nats"
    )
    values: tuple[StrictFloat, ...] | None = Field(
        default=None, description="a critic's value of the state before each token"
    )
    value: StrictFloat | None = Field(default=None, description="Monte Carlo value of the state before the turn")
    agent: StrictStr | None = Field(default=None, description="who acted in this turn")

    @model_validator(mode="after")
    def _aligned(self) -> TurnRow:
        for name in TOKEN_FIELDS:
            numbers = getattr(self, name)
            if numbers is not None and len(numbers) != len(self.tokens):
                raise ValueError(f"`{name}` has {len(numbers)} numbers for {len(self.tokens)} tokens")
        return self

    def gives(self, name: str) -> bool | None:
        """Say whether the turn gives the field `name`; None where that says nothing: no token to give a number for."""
        if name in TOKEN_FIELDS and not self.tokens:
            return None
        return getattr(self, name) is not None


class RolloutRow(Evidence):
    """One rollout, as it stands on one line of the file."""

    group: StrictStr = Field(description="rollouts of the same task share this name and are compared with each other")
    reward: StrictFloat = Field(description="terminal reward, paid after the last turn; turn rewards are not in it")
    truncated: StrictBool = Field(default=False, description="cut off by a limit instead of ended by the task")
    turns: tuple[TurnRow, ...] = Field(min_length=1, description="in the order in which they happened")

    def given(self, name: str) -> set[bool]:
        """Return what the turns say of the field `name`: {True}, {False}, both when mixed, or nothing."""
        return {said for turn in self.turns if (said := turn.gives(name)) is not None}


def read_rollouts(path: Path | str) -> list[RolloutRow]:
    """Read a file of rollouts; blank lines are passed over.

    Raises UserError with file, line, value and repair when the file is missing, empty, not UTF-8 or larger than
    `MAX_BYTES`, when a line is not one JSON object of this format (NaN and infinity are not JSON numbers), and when an
    optional field is given in some turns only.
    """
    path = Path(path)
    rows = {n: _row(path, n, line) for n, line in enumerate(_text(path).split("\n"), start=1) if line.strip()}
    if not rows:
        raise UserError("the file holds no rollout", file=path, repair=f"write one rollout a line; {REPAIR}")
    for name in (*TOKEN_FIELDS, *TURN_FIELDS):
        _refuse_mixed(path, name, rows)
    return list(rows.values())


def _text(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UserError("not a regular file", file=path, repair="name a file of rollouts, one a line")
        if status.st_size > MAX_BYTES:
            message = f"the file is larger than {MAX_BYTES} bytes"
            raise UserError(message, file=path, value=status.st_size, repair="split it; groups must stay whole")
        content = path.read_bytes()
    except OSError as error:
        message = f"cannot read: {error.strerror or error}"
        raise UserError(message, file=path, repair="name a file that exists and that you may read") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        bad = content[error.start : error.start + 4]
        raise UserError("not UTF-8 text", file=path, line=line, value=bad, repair="save it as UTF-8") from error


def _row(path: Path, line: int, text: str) -> RolloutRow:
    try:
        content = load_json(text)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at column {error.colno}"
        raise UserError(message, file=path, line=line, value=text.strip(), repair=REPAIR) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"not JSON: {error}", file=path, line=line, value=text.strip(), repair=REPAIR) from error
    try:
        return RolloutRow.model_validate(content)
    except ValidationError as error:
        message, value = first_fault(error)
        raise UserError(message, file=path, line=line, value=value, repair=REPAIR) from error


def first_fault(error: ValidationError) -> tuple[str, Any]:
    """Return pydantic's first fault as `place: what`, and the value it was found in (None where a field is missing)."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in fault["loc"]) or "rollout"
    absent = fault["type"] == "missing" or isinstance(fault["input"], dict)
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}", None if absent else fault["input"]


def _refuse_mixed(path: Path, name: str, rows: dict[int, RolloutRow]) -> None:
    """A field given in some turns only would have to be guessed in the others."""
    said = set[bool]().union(*(row.given(name) for row in rows.values()))
    if len(said) < 2:
        return
    line, turn = next(
        (line, k) for line, row in rows.items() for k, turn in enumerate(row.turns) if turn.gives(name) is False
    )
    message = f"turns.{turn}: `{name}` is absent, and other turns of the file give it"
    raise UserError(message, file=path, line=line, repair=f"give `{name}` in every turn, or in none")
