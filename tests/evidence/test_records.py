from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.evidence.samples import failed_record, sample_host, sample_record, sample_records

from cairn.errors import UserError
from cairn.evidence import records
from cairn.evidence.records import CurvePoint, Record, read_records, spec_hash, stable_bytes, write_record


def test_spec_hash_is_the_sha256_of_sorted_compact_utf8_json() -> None:
    # Golden from coreutils: printf '%s' '{"a":1,"b":[1.5,"é"],"c":null}' | sha256sum
    golden = "3d5c89c6993d3d150c377b8f3a936d409ec996ef126c8adca83435646c88983f"
    assert spec_hash({"c": None, "b": (1.5, "é"), "a": 1}) == golden


def test_a_record_comes_back_equal(tmp_path: Path) -> None:
    written = sorted((*sample_records([0, 12], ["paper"]), failed_record(seed=3)), key=lambda one: str(one.seed))
    for record in written:
        write_record(tmp_path / "results", record)
    assert read_records(tmp_path / "results") == written
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == [
        "toy--paper--s0.json",
        "toy--paper--s12.json",
        "toy--paper--s3.json",
    ]


def test_an_absent_folder_holds_no_records(tmp_path: Path) -> None:
    assert read_records(tmp_path / "nothing") == []


def test_only_host_and_seconds_are_volatile() -> None:
    record = sample_record()
    elsewhere = record.model_copy(
        update={
            "host": sample_host().model_copy(update={"hostname": "other", "seconds": 1e4, "device": "GPU"}),
            "ledger": record.ledger.model_copy(update={"seconds": 99.0}),
        }
    )
    assert stable_bytes(elsewhere) == stable_bytes(record)
    left_out = set(record.model_dump()) - set(json.loads(stable_bytes(record)))
    assert left_out == {"host"}
    assert set(record.ledger.model_dump()) - set(json.loads(stable_bytes(record))["ledger"]) == {"seconds"}


@pytest.mark.parametrize(
    "change",
    [{"metrics": {"kl_final": 0.05}}, {"seed": 1}, {"fidelity": {}}, {"status": "skipped", "reason": "no GPU"}],
)
def test_every_other_change_shows(change: dict[str, Any]) -> None:
    assert stable_bytes(sample_record(**change)) != stable_bytes(sample_record())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"metrics": {"loss": float("nan")}}, "finite"),
        ({"spec": {"rate": float("inf")}}, "JSON compliant"),
        ({"spec": {"rate": {1, 2}}}, "plain JSON"),
        ({"spec": {"rate": 2}}, "not the hash of spec"),
        ({"status": "failed"}, "needs a reason"),
        ({"arm": "a--b"}, "match pattern"),
        ({"arm": "../up"}, "match pattern"),
        ({"task": "A"}, "match pattern"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"note": "x"}, "not permitted"),
    ],
)
def test_an_incoherent_record_is_refused(change: dict[str, Any], complaint: str) -> None:
    content = sample_record().model_dump()
    with pytest.raises(ValidationError, match=complaint):
        Record(**{**content, **change})


@pytest.mark.parametrize(
    "steps",
    [[(1, 0.0)], [(0, 5.0)], [(0, 0.0), (0, 1.0)], [(0, 0.0), (2, 2.0), (1, 3.0)], [(0, 0.0), (1, 2.0), (2, 1.0)]],
)
def test_a_curve_starts_at_zero_and_goes_on(steps: list[tuple[int, float]]) -> None:
    curve = [
        CurvePoint(update=update, flops=flops, generated_tokens=0, environment_steps=0, success=0.5)
        for update, flops in steps
    ]
    with pytest.raises(ValidationError, match="a curve"):
        sample_record(curve=curve)


def _written(folder: Path) -> Path:
    return write_record(folder, sample_record())


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: content.update(extra=1), "extra: Extra inputs"),
        (lambda content: content.update(seed="0"), "seed: Input should be a valid integer"),
        (lambda content: content.pop("host"), "host: Field required"),
        (lambda content: content["spec"].update(updates=21), "not the hash of spec"),
        (lambda content: content["metrics"].update(kl=float("nan")), "NaN is not a JSON number"),
        (lambda content: content["metrics"].update(kl=float("-inf")), "-Infinity is not a JSON number"),
        (lambda content: content.update(schema_version=2), "schema_version"),
        (lambda content: content.update(arm="other"), "another cell"),
    ],
)
def test_a_tampered_file_is_named_with_a_repair(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], complaint: str
) -> None:
    path = _written(tmp_path)
    _edit(path, change)
    with pytest.raises(UserError, match=complaint) as caught:
        read_records(tmp_path)
    assert caught.value.file == path
    assert caught.value.repair


def test_a_torn_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = _written(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:7]) + '  "fl', encoding="utf-8")
    with pytest.raises(UserError, match="not valid JSON") as caught:
        read_records(tmp_path)
    assert (caught.value.file, caught.value.line) == (path, 8)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"seed": 1, "seed": 2}', b"[" * 100_000])
def test_other_bytes_are_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "toy--paper--s0.json").write_bytes(content)
    with pytest.raises(UserError, match=r"toy--paper--s0\.json"):
        read_records(tmp_path)


def test_a_foreign_file_or_folder_is_refused(tmp_path: Path) -> None:
    _written(tmp_path)
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(UserError, match="not a record"):
        read_records(tmp_path)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "sub.json").mkdir()
    with pytest.raises(UserError, match="not a record"):
        read_records(tmp_path)


def test_records_of_two_methods_do_not_share_a_folder(tmp_path: Path) -> None:
    _written(tmp_path)
    write_record(tmp_path, sample_record(seed=1, method="another"))
    with pytest.raises(UserError, match="several methods"):
        read_records(tmp_path)


def test_the_temporary_file_of_a_killed_run_is_passed_over(tmp_path: Path) -> None:
    _written(tmp_path)
    (tmp_path / ".toy--paper--s1.json.abc.tmp").write_text("{", encoding="utf-8")
    assert [record.seed for record in read_records(tmp_path)] == [0]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_failed_write_keeps_the_old_record_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException, expected: type[BaseException]
) -> None:
    path = _written(tmp_path)
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise fault

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(expected):
        write_record(tmp_path, sample_record(metrics={"kl_final": 1.0}))
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write") as caught:
        write_record(tmp_path / "file" / "results", sample_record())
    assert caught.value.repair


def test_records_are_immutable_and_detached_from_their_spec() -> None:
    spec = {"layers": (1, 2)}
    record = sample_record(spec=spec, spec_hash=spec_hash(spec))
    assert record.spec == {"layers": [1, 2]}
    with pytest.raises(ValidationError, match="frozen"):
        record.seed = 3


def test_record_hash_ignores_the_clock() -> None:
    one: Record = sample_record()
    other = one.model_copy(update={"host": one.host.model_copy(update={"seconds": 1.0})})
    assert records.record_hash(one) == records.record_hash(other)
