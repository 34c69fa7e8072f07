"""What a change does, told from two trees that differ in ways written down here; folders and revisions alike."""

from __future__ import annotations

import shutil
import subprocess
from datetime import date
from pathlib import Path

import pytest

from cairn.errors import UserError
from cairn.inventory import read_all
from cairn.inventory.difference import Change, Count, Difference, compare
from cairn.inventory.reader import MAX_BYTES
from cairn.inventory.revision import tree as tree_of

TODAY = date(2026, 2, 1)
ALPHA = "inventory/methods/alpha.yaml"
BASE = "inventory/background/base.yaml"


@pytest.fixture
def head(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the sample tree, to be changed."""
    root = tmp_path_factory.mktemp("head")
    shutil.copytree(tree / "inventory", root / "inventory")
    return root


def _edit(root: Path, file: str, old: str, new: str) -> None:
    path = root / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def _compare(base: Path, head: Path) -> Difference:
    return compare(read_all(base, TODAY), read_all(head, TODAY))


def test_nothing_changes_nothing(tree: Path, head: Path) -> None:
    found = _compare(tree, head)
    assert found == Difference(added=(), vanished=(), changed=(), word_lists=(), counts=(), new_findings=(),
                               gone_findings=())  # fmt: skip
    assert found.acceptable


def test_a_label_a_mark_and_a_text_are_told_apart(tree: Path, head: Path) -> None:
    _edit(head, ALPHA, "  compute: high\n  benchmarks: [gsm8k, math]", "  compute: low\n  benchmarks: [gsm8k, math]")
    _edit(head, ALPHA, "    granularity: The code cuts at steps.", "    granularity: So.\n    compute: It is cheap.")
    _edit(head, ALPHA, "gpu_hours: {status: unknown", 'gpu_hours: {status: "yes"')
    _edit(head, ALPHA, "  formula: A = R", "  formula: A = 2 R")
    (changed,) = _compare(tree, head).changed
    assert changed.id == "alpha"
    assert changed.counted == (
        Change(field="labels.compute", before="high", after="low"),
        Change(field="reporting.gpu_hours", before="unknown", after="yes"),
    )
    assert changed.other_blocks == ("rule",)


def test_a_new_entry_moves_the_counts(tree: Path, head: Path) -> None:
    _edit(head, ALPHA, '"2002.00002"', '"2002.00009"')
    _edit(head, ALPHA, "abs/2002.00002", "abs/2002.00009")
    shutil.copy(head / ALPHA, head / "inventory/methods/gamma.yaml")
    _edit(head, "inventory/methods/gamma.yaml", '"2002.00009"', '"2002.00010"')
    _edit(head, "inventory/methods/gamma.yaml", "abs/2002.00009", "abs/2002.00010")
    found = _compare(tree, head)
    assert found.added == ("gamma",)
    assert found.counts[0] == Count(name="entries", before=2, after=3)
    assert Count(name="granularity step", before=1, after=2) in found.counts
    assert found.acceptable


def test_an_id_that_vanishes_is_not_acceptable_but_one_that_moves_is(tree: Path, head: Path) -> None:
    (head / ALPHA).rename(head / "inventory/methods/better.yaml")
    found = _compare(tree, head)
    assert (found.added, found.vanished, found.acceptable) == (("better",), ("alpha",), False)
    shutil.copy(tree / ALPHA, head / ALPHA)
    _edit(head, ALPHA, "confidence:", "moved_to: better\nconfidence:")
    _edit(head, "inventory/methods/better.yaml", '"2002.00002"', '"2002.00003"')
    _edit(head, "inventory/methods/better.yaml", "abs/2002.00002", "abs/2002.00003")
    found = _compare(tree, head)
    assert (found.vanished, found.acceptable) == ((), True)


def test_a_fault_that_comes_in_is_named_and_an_old_one_is_not(tree: Path, head: Path) -> None:
    for root in (tree, head):
        _edit(root, BASE, "evidence: unknown", "evidence: unknwon")
    _edit(head, BASE, "bibliography:", "# a line more\nbibliography:")
    assert _compare(tree, head).new_findings == ()
    _edit(head, ALPHA, "hooks: [collect, credit]", "hooks: [collect, credits]")
    (finding,) = _compare(tree, head).new_findings
    assert (finding["rule"], finding["file"], finding["value"]) == ("CA030", ALPHA, "credits")
    assert not _compare(tree, head).acceptable


def test_an_entry_that_cannot_be_read_any_more_has_not_vanished(tree: Path, head: Path) -> None:
    (head / ALPHA).write_text("a: [", encoding="utf-8")
    found = _compare(tree, head)
    assert found.vanished == ()
    assert [one["rule"] for one in found.new_findings if one["file"] == ALPHA] == ["CA004"]


@pytest.fixture
def repository(tree: Path) -> Path:
    """Return a git repository whose only commit holds the sample tree."""
    _git(tree, "init", "--quiet", "--initial-branch", "main")
    return _commit(tree)


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(("git", "-C", str(folder), *identity, *arguments), check=True, capture_output=True)


def _commit(root: Path) -> Path:
    _git(root, "add", "--all", "--force")
    _git(root, "commit", "--quiet", "--message", "x")
    return root


def test_a_revision_is_read_as_the_folder_is(repository: Path) -> None:
    with tree_of("HEAD", repository) as root:
        assert read_all(root, TODAY) == read_all(repository, TODAY)
    with tree_of(str(repository), repository) as root:
        assert root == repository


def test_attributes_of_a_strangers_tree_hide_nothing(repository: Path) -> None:
    (repository / ".gitattributes").write_text("inventory/methods/* export-ignore\n")
    _commit(repository)
    with tree_of("HEAD", repository) as root:
        assert (root / ALPHA).read_bytes() == (repository / ALPHA).read_bytes()


def test_a_link_and_a_huge_file_of_a_revision_are_findings(repository: Path) -> None:
    (repository / "inventory/methods/link.yaml").symlink_to("/etc/hostname")
    (repository / "inventory/methods/huge.yaml").write_bytes(b"a" * (MAX_BYTES + 1))
    _commit(repository)
    with tree_of("HEAD", repository) as root:
        found = {(one.rule.code, one.file) for one in read_all(root, TODAY).errors}
    assert found == {("CA001", "inventory/methods/link.yaml"), ("CA002", "inventory/methods/huge.yaml")}


@pytest.mark.parametrize("place", ["no-such-branch", "--help", "HEAD:inventory", ""])
def test_what_is_neither_folder_nor_revision_is_refused(place: str, repository: Path) -> None:
    with pytest.raises(UserError, match="neither a folder"), tree_of(place, repository):
        pass


def test_a_revision_without_an_inventory_is_refused(repository: Path) -> None:
    _git(repository, "rm", "-r", "--quiet", "inventory")
    _git(repository, "commit", "--quiet", "--message", "x")
    with pytest.raises(UserError, match="no inventory"), tree_of("HEAD", repository):
        pass
