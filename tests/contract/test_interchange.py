"""Logged rollouts: what is read, what is refused and how, and how the two layouts line up."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from cairn.errors import UserError
from cairn.evidence import rollout_format
from cairn.evidence.golden import read_golden
from cairn.interchange import Playback, RolloutRow, read_rollouts, to_rollouts, turn_credit
from cairn.method import Method
from cairn.methods import find, implemented_ids
from cairn.paths import data_root
from cairn.rollouts import Credit, Rollouts

GOOD: dict[str, Any] = {
    "group": "a",
    "reward": 1,
    "turns": [{"observation": "hall", "tokens": ["go", "left"]}, {"observation": "door", "tokens": []}],
}


def _file(folder: Path, *lines: object) -> Path:
    path = folder / "rollouts.jsonl"
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines) + "\n", encoding="utf-8")
    return path


def _turn(**fields: object) -> dict[str, Any]:
    return {**GOOD, "turns": [{"tokens": ["go", "left"], **fields}]}


def test_a_good_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    first, second = read_rollouts(_file(tmp_path, GOOD, "", {**GOOD, "truncated": True, "reward": -0.5}))
    assert (first.group, first.reward, first.truncated) == ("a", 1.0, False)
    assert [turn.tokens for turn in first.turns] == [("go", "left"), ()]
    assert (second.reward, second.truncated, second.turns[0].reward) == (-0.5, True, 0.0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "dictionary"),
        ('{"group": "a", "group": "b"}', "twice"),
        ("[" * 100_000, "not JSON"),
        (json.dumps({**GOOD, "reward": math.nan}), "NaN"),
        (json.dumps({**GOOD, "reward": math.inf}), "Infinity"),
        (json.dumps({**GOOD, "reward": -math.inf}), "-Infinity"),
        (json.dumps(GOOD).replace('"reward": 1', '"reward": 1e999'), "finite"),
        (json.dumps(GOOD).replace('"reward": 1', '"reward": ' + "9" * 5000), "not JSON"),
        ({**GOOD, "reward": "1"}, "reward"),
        ({**GOOD, "reward": True}, "reward"),
        ({**GOOD, "reward": None}, "reward"),
        ({**GOOD, "truncated": 1}, "truncated"),
        ({**GOOD, "group": 3}, "group"),
        ({**GOOD, "turns": []}, "turns"),
        ({**GOOD, "note": "hello"}, "note"),
        ({"group": "a", "turns": GOOD["turns"]}, "reward: Field required"),
        (_turn(tokens="go"), "turns.0.tokens"),
        (_turn(tokens=[1]), "turns.0.tokens.0"),
        (_turn(logprobs=[-1.0]), "`logprobs` has 1 numbers for 2 tokens"),
        (_turn(values=[0.5] * 3), "`values` has 3 numbers for 2 tokens"),
        (_turn(entropies=[]), "`entropies` has 0 numbers for 2 tokens"),
        (_turn(reference_logprobs=[-1.0, None]), "reference_logprobs.1"),
        (_turn(reward=[1]), "turns.0.reward"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(tmp_path: Path, bad: object, words: str) -> None:
    path = _file(tmp_path, GOOD, bad)
    with pytest.raises(UserError) as caught:
        read_rollouts(path)
    error = caught.value
    assert (error.file, error.line) == (path, 2)
    assert words in error.message
    assert error.repair
    assert "\n" not in str(error)


def test_the_value_of_a_wrong_field_is_shown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"got 'high'"):
        read_rollouts(_file(tmp_path, {**GOOD, "reward": "high"}))


def test_a_field_given_in_some_turns_only_is_refused_where_it_is_absent(tmp_path: Path) -> None:
    mixed = {**GOOD, "turns": [{"tokens": ["go"], "observation": "hall", "value": 0.5}, *GOOD["turns"]]}
    path = _file(tmp_path, {**GOOD, "turns": [{"tokens": [], "observation": "x", "value": 0}]}, mixed)
    with pytest.raises(UserError, match=r"turns\.1: `value` is absent") as caught:
        read_rollouts(path)
    assert caught.value.line == 2


def test_numbers_for_tokens_may_be_absent_where_there_is_no_token(tmp_path: Path) -> None:
    turns = [{"tokens": ["go"], "values": [0.5]}, {"tokens": []}]
    (row,) = read_rollouts(_file(tmp_path, {**GOOD, "turns": turns}))
    assert to_rollouts([row]).values is not None


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_file_without_rollouts_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match="holds no rollout"):
        read_rollouts(path)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"group": "caf\xe9"}\n')
    with pytest.raises(UserError, match="not UTF-8") as caught:
        read_rollouts(path)
    assert caught.value.line == 2


def test_a_file_above_the_stated_size_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_format, "MAX_BYTES", 10)
    with pytest.raises(UserError, match="larger than 10 bytes"):
        read_rollouts(_file(tmp_path, GOOD))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a regular file"):
        read_rollouts(tmp_path)
    with pytest.raises(UserError, match="cannot read"):
        read_rollouts(tmp_path / "absent.jsonl")


def test_a_line_separator_inside_a_text_does_not_part_lines(tmp_path: Path) -> None:
    row = {**GOOD, "turns": [{"tokens": ["a\u2028b"]}]}
    path = tmp_path / "rollouts.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    assert read_rollouts(path)[0].turns[0].tokens == ("a\u2028b",)


def test_the_schema_and_the_model_agree() -> None:
    schema = json.loads((data_root() / "schemas" / "rollouts.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(GOOD)
    for bad in ({**GOOD, "reward": "1"}, {**GOOD, "turns": []}, {**GOOD, "note": 1}, _turn(tokens=[1])):
        assert not validator.is_valid(bad)


def _rows(*rows: dict[str, Any]) -> list[RolloutRow]:
    return [RolloutRow.model_validate(row) for row in rows]


def test_a_row_a_turn_has_the_stated_tensors() -> None:
    batch = to_rollouts(_rows(GOOD, {**GOOD, "group": "b", "turns": GOOD["turns"][:1]}))
    assert batch.token_ids.tolist() == [[0, 1, 2], [3, 0, 0], [0, 1, 2]]
    assert batch.attention_mask.tolist() == [[True] * 3, [True, False, False], [True] * 3]
    assert batch.action_mask.tolist() == [[False, True, True], [False] * 3, [False, True, True]]
    assert batch.turn_ids.tolist() == [[-1, 0, 0], [-1, -1, -1], [-1, 0, 0]]
    assert batch.row_rollout.tolist() == [0, 0, 1]
    assert batch.group_ids.tolist() == [0, 1]
    assert batch.turn_mask.tolist() == [[True, True], [True, False]]
    assert batch.observation_keys is not None
    assert batch.observation_keys.tolist() == [[0, 1], [0, -1]]
    assert batch.logprobs_behaviour[0].isnan().tolist() == [False, True, True]
    assert (batch.values, batch.turn_values, batch.entropies, batch.logprobs_reference) == (None,) * 4


def test_a_row_an_episode_has_the_stated_tensors() -> None:
    turns = [{"tokens": ["a"], "values": [1.0], "observation": "x"}, {"tokens": ["b", "c"], "values": [2.0, 3.0],
             "observation": "x"}]  # fmt: skip
    batch = to_rollouts(_rows({**GOOD, "turns": turns}), "episode")
    assert batch.token_ids.tolist() == [[0, 1, 0, 2, 3]]
    assert batch.turn_ids.tolist() == [[-1, 0, -1, 1, 1]]
    assert batch.values is not None
    assert batch.values.tolist() == [[0.0, 1.0, 0.0, 2.0, 3.0]]
    assert batch.values.dtype == torch.float64


@pytest.mark.parametrize(
    ("need", "field"), [("state_keys", "observation"), ("mc_continuations", "value"), ("learned_critic", "values")]
)
def test_a_field_that_the_rule_needs_and_the_file_lacks_is_named(need: str, field: str) -> None:
    rows = _rows({"group": "a", "reward": 1, "turns": [{"tokens": ["go"]}]})
    needing = [find(name) for name in implemented_ids() if need in find(name).needs]
    told = []
    for method in needing:  # one that lacks something else, too, may name that first
        with pytest.raises(UserError, match="and no turn gives it") as caught:
            turn_credit(method(), rows, file="log.jsonl")
        assert caught.value.file == "log.jsonl"
        told.append(str(caught.value))
    assert any(f"needs `{field}`" in one for one in told)


class ReadsLogprobs(Method):
    """A rule whose credit is the behaviour log-probability."""

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(rollouts.logprobs_behaviour)


def test_a_rule_that_reads_absent_logprobs_gives_no_number() -> None:
    rows = _rows({"group": "a", "reward": 1, "turns": [{"tokens": ["go"]}]})
    with pytest.raises(UserError, match="not finite"):
        turn_credit(ReadsLogprobs(), rows)
    given = _rows({"group": "a", "reward": 1, "turns": [{"tokens": ["go", "on"], "logprobs": [-1, -3]}]})
    assert turn_credit(ReadsLogprobs(), given) == [[-2.0]]


def test_credit_that_overflows_is_refused() -> None:
    rows = _rows(*({"group": "a", "reward": r, "turns": [{"tokens": ["go"]}]} for r in (1e308, 9e307)))
    with pytest.raises(UserError, match="not finite"):
        turn_credit(Method(), rows)


def test_rows_built_in_a_program_must_be_of_one_kind_too() -> None:
    turns = [{"tokens": ["go"], "value": 0.5}, {"tokens": ["go"]}]
    with pytest.raises(UserError, match="only some turns give `value`"):
        to_rollouts(_rows({"group": "a", "reward": 1, "turns": turns}))


def test_turns_without_tokens_get_none() -> None:
    assert turn_credit(Method(scale_by_std=False), _rows(GOOD, {**GOOD, "reward": 0})) == [[0.5, None], [-0.5, None]]


def test_playback_answers_from_the_log() -> None:
    rows = _rows({"group": "a", "reward": 1, "turns": [{"tokens": ["go"], "value": 0.25, "values": [0.5]}]})
    batch = to_rollouts(rows)
    services = Playback(batch, frozenset({"mc_continuations", "learned_critic", "oracle"}))
    assert services.rollouts() is batch
    assert services.continuations(batch, 3).tolist() == [[[0.25] * 3]]
    assert services.fit_critic(batch, torch.full_like(batch.logprobs_behaviour, 2.0)) == 1.5**2
    assert services.exact_advantages(batch).tolist() == [[0.0]]
    assert services.used == {"mc_continuations", "learned_critic", "oracle"}


GOLDEN = """origin: by hand
tolerance: 0.1
batch:
  - {group: a, reward: 1, turns: [{tokens: [go]}, {tokens: []}]}
cases:
  - name: one
    method: {}
    expected: [[0, null]]
"""


def test_a_golden_example_is_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.yaml"
    path.write_text(GOLDEN)
    assert read_golden(path).cases[0].expected == ((0.0, None),)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("tolerance: 0.1", "tolerance: 0", 2, "tolerance"),
        ("[[0, null]]", "[[0]]", 1, "one: one number for each turn"),
        ("[[0, null]]", "[[0, 0]]", 1, "one: null belongs to the turns without tokens"),
        ("[[0, null]]", "[[zero, null]]", 8, "expected"),
        ("reward: 1", "reward: high", 4, "batch.0.reward"),
        ("method: {}", "method: {w: {x: 1}}", 7, "cases.0.method.w"),
        ("origin: by hand", "origin: &a by hand", 1, "anchor"),
        ("origin: by hand", "", 1, "origin: Field required"),
        ("cases:", "cases:\n  - {name: one, method: {}, expected: [[0, null]]}", 1, "same name"),
    ],
)
def test_a_bad_golden_example_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    path = tmp_path / "golden.yaml"
    path.write_text(GOLDEN.replace(old, new))
    with pytest.raises(UserError) as caught:
        read_golden(path)
    assert words in str(caught.value)
    assert (caught.value.file, caught.value.line) == (path, line)
