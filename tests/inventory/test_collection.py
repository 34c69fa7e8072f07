"""Loading, asking and citing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from cairn.errors import UserError
from cairn.inventory import Inventory, bibtex, load


def test_load_gives_entries_by_id_and_kind(tree: Path) -> None:
    inventory = load(tree)
    assert inventory.ids == ("alpha", "base")
    assert [entry.id for entry in inventory.methods] == ["alpha"]
    assert [entry.id for entry in inventory.background] == ["base"]
    assert "alpha" in inventory
    assert "beta" not in inventory
    assert inventory["alpha"].claim("alpha#second").where == "Table 2"
    assert inventory["alpha"].file == "inventory/methods/alpha.yaml"


def test_an_unknown_id_is_answered_with_near_matches(tree: Path) -> None:
    with pytest.raises(UserError, match="did you mean alpha") as caught:
        load(tree)["alfa"]
    assert caught.value.value == "alfa"


def test_an_unknown_claim_is_a_key_error(tree: Path) -> None:
    with pytest.raises(KeyError, match="alpha#third"):
        load(tree)["alpha"].claim("third")


def test_load_raises_the_first_error_with_file_line_and_repair(tree: Path) -> None:
    path = tree / "inventory/methods/alpha.yaml"
    path.write_text(path.read_text().replace("granularity: [step]", "granularity: [steps]"))
    with pytest.raises(UserError) as caught:
        load(tree)
    assert caught.value.file == path
    assert caught.value.line is not None
    assert path.read_text().split("\n")[caught.value.line - 1].strip() == "granularity: [steps]"
    assert caught.value.repair == "did you mean step or sub-step?"


def test_warnings_do_not_stop_load(tree: Path) -> None:
    path = tree / "inventory/methods/alpha.yaml"
    path.write_text(path.read_text().split("\n", 1)[1])
    assert len(load(tree)) == 2


def test_entries_and_blocks_are_frozen(tree: Path) -> None:
    entry = load(tree)["alpha"]
    with pytest.raises(ValidationError):
        entry.confidence = "low"
    with pytest.raises(ValidationError):
        entry.rule.formula = "x"


@pytest.mark.parametrize(
    ("criteria", "ids"),
    [
        ({}, ("alpha", "base")),
        ({"setting": "reasoning"}, ("alpha", "base")),
        ({"granularity": "step"}, ("alpha",)),
        ({"without_granularity": "step"}, ("base",)),
        ({"need": "mc_continuations", "hook": "collect"}, ("alpha",)),
        ({"without_need": "learned_critic"}, ("alpha", "base")),
        ({"kind": "background"}, ("base",)),
        ({"benchmark": "gsm8k", "type": "core"}, ("alpha",)),
        ({"setting": "agentic"}, ()),
        ({"invariant": "telescopes"}, ("alpha",)),
    ],
)
def test_filters_compose(criteria: dict[str, str], ids: tuple[str, ...], tree: Path) -> None:
    kept = load(tree).filter(**criteria)
    assert isinstance(kept, Inventory)
    assert kept.ids == ids


@pytest.mark.parametrize(
    ("criteria", "offer"),
    [
        ({"granularity": "steps"}, "did you mean step"),
        ({"granularty": "step"}, "did you mean granularity"),
        ({"without_need": "learned_critics"}, "did you mean learned_critic"),
        ({"kind": "methods"}, "did you mean method"),
    ],
)
def test_a_wrong_criterion_or_word_is_answered_with_near_matches(
    criteria: dict[str, str], offer: str, tree: Path
) -> None:
    with pytest.raises(UserError, match=offer):
        load(tree).filter(**criteria)


def test_vocabulary_by_name(tree: Path) -> None:
    inventory = load(tree)
    assert "trajectory" in inventory.vocabulary("granularity").words["episode"].definition
    with pytest.raises(UserError, match="did you mean hooks"):
        inventory.vocabulary("hook")


def test_to_dict_uses_the_names_of_the_files(tree: Path) -> None:
    plain = load(tree)["alpha"].to_dict()
    assert plain["id"] == "alpha"
    assert plain["rule"]["from"] == ["s1"]
    assert plain["checked"] == "2026-01-02"


def test_bibtex_by_hand(tree: Path) -> None:
    entry = load(tree)["alpha"]
    paper = entry.bibliography.model_copy(
        update={"title": "50% of {A_B}", "authors": ("Doe, Jo", "Roe, Al"), "authors_complete": False}
    )
    assert bibtex(entry.model_copy(update={"bibliography": paper})) == (
        "@misc{alpha,\n"
        "  title = {{50\\% of \\{A\\_B\\}}},\n"
        "  author = {Doe, Jo and Roe, Al and others},\n"
        "  year = {2021},\n"
        "  eprint = {2002.00002},\n"
        "  archiveprefix = {arXiv},\n"
        "  url = {https://arxiv.org/abs/2002.00002}\n"
        "}\n"
    )


def test_a_missing_root_is_an_error_with_a_repair(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"CA04[45]"):
        load(tmp_path / "nowhere")


def test_loading_needs_no_torch_and_little_time() -> None:
    code = (
        "import sys; from cairn.inventory import load; load();"
        "heavy = {'torch', 'transformers', 'scipy', 'numpy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
