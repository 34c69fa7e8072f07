"""The inventory that ships: valid, agreeing with its schema, and with the survey's tables as transcribed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from cairn.inventory import Inventory, check, load
from cairn.inventory.models import EntryFile, Reporting, vocabularies_named
from cairn.inventory.reader import read
from cairn.inventory.schema import render, write
from cairn.paths import data_root

ROOT = data_root()
FILES = sorted((ROOT / "inventory").glob("[mb]*/*.yaml"))
LISTS = sorted((ROOT / "inventory" / "vocab").glob("*.yaml"))


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    return load()


def test_the_inventory_has_no_finding_not_even_a_warning() -> None:
    assert [str(finding) for finding in check()] == []


def test_the_schemas_are_those_of_the_models() -> None:
    for name, text in render().items():
        assert (ROOT / "schemas" / name).read_text(encoding="utf-8") == text, "run python -m cairn.inventory.schema"
        Draft202012Validator.check_schema(json.loads(text))


def test_write_writes_what_render_returns(tree: Path) -> None:
    (tree / "schemas").mkdir()
    assert {path.name: path.read_text(encoding="utf-8") for path in write(tree)} == render(tree)


def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_entry_validates_against_the_committed_schema(path: Path) -> None:
    content = read(path, path.name).value
    assert [error.message for error in _validator("entry.schema.json").iter_errors(content)] == []


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_each_word_list_validates_against_the_committed_schema(path: Path) -> None:
    content = read(path, path.name).value
    assert [error.message for error in _validator("vocabulary.schema.json").iter_errors(content)] == []


def test_the_schema_refuses_a_word_outside_its_list() -> None:
    content = json.loads(json.dumps(read(FILES[0], "x").value))
    content["interface"]["hooks"] = ["aux_fit"]
    assert [list(error.path) for error in _validator("entry.schema.json").iter_errors(content)] == [
        ["interface", "hooks", 0]
    ]


def test_every_list_is_used_and_every_family_defined(inventory: Inventory) -> None:
    used = vocabularies_named(EntryFile) | {"methodology-family"}
    assert set(inventory.vocabularies) == used
    families = {word.family for word in inventory.vocabulary("methodology").words.values()}
    assert families <= set(inventory.vocabulary("methodology-family").words)


def test_the_stages_are_those_of_the_design(inventory: Inventory) -> None:
    assert list(inventory.vocabulary("hooks").words) == ["collect", "filter", "reward", "credit", "loss", "fit"]


# Rows of the survey's Tables 9 and 10, read off by hand: type, setting, granularity, methodology, baseline family,
# evidence, auxiliary model, compute, benchmarks.
SURVEY = {
    "vineppo": "core reasoning token MC ppo strong none high GSM8K,MATH",
    "gigpo": "core agentic step MC_(group) grpo strong none low ALFWorld,WebShop",
    "carl": "core agentic step Entropy-based grpo strong none low HotpotQA,2WikiMQA",
    "hcapo": "core agentic turn Hindsight grpo strong llm medium Agentic_tasks",
    "grpo": "background reasoning episode Group_baseline none strong unknown unknown Math,code",
}


@pytest.mark.parametrize("entry_id", SURVEY)
def test_survey_labels_are_the_tables(entry_id: str, inventory: Inventory) -> None:
    labels = inventory[entry_id].survey
    assert labels is not None
    row = [labels.type, *labels.setting, *labels.granularity, labels.methodology, labels.baseline_family,
           labels.evidence, labels.aux_model, labels.compute, ",".join(labels.benchmarks)]  # fmt: skip
    assert " ".join(cell.replace(" ", "_") for cell in row) == SURVEY[entry_id]


def test_claims_have_the_names_that_experiments_use(inventory: Inventory) -> None:
    assert "90.8+-1.3 against 77.6+-5.2" in inventory["gigpo"].claim("gigpo#alfworld-over-grpo").numbers
    assert inventory["vineppo"].claim("math-small").numbers.endswith("PPO 18.1, VinePPO 23.0")


def test_a_need_parts_the_agentic_methods_by_turn(inventory: Inventory) -> None:
    # By their sheets: A3 forks the environment, ArCHer and AgentPRM train a critic, GiGPO and HCAPO do neither.
    agentic = inventory.filter(setting="agentic", granularity="turn")
    for need, among, out in (("learned_critic", {"gigpo", "hcapo"}, {"archer", "agentprm"}),
                             ("state_keys", {"hcapo", "archer"}, {"gigpo"})):  # fmt: skip
        kept = set(agentic.filter(without_need=need).ids)
        assert among <= kept
        assert not out & kept
        assert out <= set(agentic.ids)


def test_the_reporting_items_are_those_of_the_checklist() -> None:
    items = yaml.safe_load((ROOT / "checklist" / "items.yaml").read_text(encoding="utf-8"))
    assert [item["key"] for item in items] == list(Reporting.model_fields)
