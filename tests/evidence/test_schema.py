from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.evidence.samples import failed_record, sample_experiment, sample_record, sample_records

from cairn.errors import UserError
from cairn.evidence import checklist, schema
from cairn.evidence.base import pretty_json
from cairn.evidence.report import build_report
from cairn.paths import data_root


@pytest.mark.parametrize(("path", "text"), list(schema.render().items()))
def test_committed_files_have_not_drifted(path: str, text: str) -> None:
    committed = (data_root() / path).read_text(encoding="utf-8")
    assert committed == text, f"{path} is out of date; renew it with `nox -s schemas -- --write`"


def _schema(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((data_root() / "schemas" / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(content)
    return content


def test_files_as_written_satisfy_their_schema() -> None:
    record = jsonschema.Draft202012Validator(_schema("record.schema.json"))
    for one in (sample_record(), failed_record()):
        record.validate(json.loads(pretty_json(one)))
    report = jsonschema.Draft202012Validator(_schema("report.schema.json"))
    for records in (sample_records(), [], sample_records([1])):
        report.validate(json.loads(pretty_json(build_report(sample_experiment(), records, 0))))


@pytest.mark.parametrize(("key", "value"), [("status", "done"), ("seed", -1), ("note", 1), ("spec_hash", "abc")])
def test_the_schema_refuses_what_the_model_refuses(key: str, value: object) -> None:
    content = {**json.loads(pretty_json(sample_record())), key: value}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(_schema("record.schema.json")).validate(content)


def test_write_puts_every_file_in_place(tmp_path: Path) -> None:
    written = schema.write(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in written) == [
        "checklist/template.md",
        "checklist/template.tex",
        "checklist/template.yaml",
        "schemas/golden.schema.json",
        "schemas/literature-audit.schema.json",
        "schemas/record.schema.json",
        "schemas/report.schema.json",
        "schemas/rollouts.schema.json",
    ]
    assert all(path.is_file() for path in written)


@pytest.mark.parametrize("text", ["- key: [", "- key: a\n", "{}", "- 3\n", "!!python/object/apply:os.getcwd []\n"])
def test_a_broken_checklist_is_a_user_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "checklist").mkdir()
    (tmp_path / checklist.SOURCE).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"items\.yaml"):
        checklist.load_items(tmp_path)


def test_an_absent_checklist_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        checklist.load_items(tmp_path)
