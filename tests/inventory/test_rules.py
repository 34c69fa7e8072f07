"""Broken samples for each numbered rule: exactly that rule, at the right file and line, with a repair, exit code 2."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.inventory.corpus import ALPHA, Sample, samples

import cairn.inventory
from cairn.cli import main
from cairn.inventory import ERROR, RULES, Finding, Rule
from cairn.inventory.findings import MOST_ERRORS_A_FILE, MOST_WORDS_PRINTED, near
from cairn.inventory.reader import MAX_BYTES
from cairn.inventory.text_rules import LONGEST_TEXT_CHARACTERS

BASE = "inventory/background/base.yaml"
HOOKS = "inventory/vocab/hooks.yaml"
LOWEST_NUMBER_OF_RULES = 60
Check = Callable[[], list[Finding]]
SAMPLES = samples()


@dataclass(frozen=True)
class Action:
    """`apply` breaks the tree in a way that no change of text does; `rule` is then broken in `file` at `line`."""

    rule: str
    name: str
    apply: Callable[[Path], object]
    repair: str
    file: str = ALPHA
    line: int = 1


def _write(file: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / file).write_bytes(content)


def _replace(old: str, new: str) -> Callable[[Path], object]:
    return Sample("", "", ((old, new),), "", "").apply


def _link_out(root: Path) -> None:
    (root / "secret.yaml").write_text("a: b\n")
    (root / "inventory/methods/linked.yaml").symlink_to(root / "secret.yaml")


def _huge(root: Path) -> None:
    os.truncate(root / ALPHA, 100 * MAX_BYTES)  # sparse: the size is there, the disk is not used


def _rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda root: (root / old).rename(root / new)


def _second_base(root: Path, file: str) -> None:
    """Copy base.yaml to `file`."""
    shutil.copy(root / BASE, root / file)


LONG = "  loss: " + "a" * (LONGEST_TEXT_CHARACTERS + 1)
DEEP = "  note: " + "[" * 30 + "]" * 30
WIDE = "  procedure: [" + "a, " * 60_000 + "a]"
ACTIONS = (
    Action("CA001", "link-out-of-the-tree", _link_out, "a plain file", "inventory/methods/linked.yaml"),
    Action("CA001", "fifo", lambda root: os.mkfifo(root / "inventory/methods/a.yaml"), "a plain file",
           "inventory/methods/a.yaml"),
    Action("CA002", "100-mb", _huge, "facts only"),
    Action("CA003", "latin-1", _write(ALPHA, b"a: b\nname: caf\xe9\n"), "as UTF-8", ALPHA, 2),
    Action("CA003", "utf-16", _write(ALPHA, "a: b\n".encode("utf-16")), "as UTF-8"),
    Action("CA009", "too-deep", _replace("  note: nothing to add", DEEP), "flatten", ALPHA, 56),
    Action("CA009", "too-wide", _replace("  procedure: [Copy R to every token.]", WIDE), "shorten", ALPHA, 41),
    Action("CA010", "empty", _write(ALPHA, b""), "start from another entry"),
    Action("CA010", "list", _write(ALPHA, b"- a\n- b\n"), "start from another entry"),
    Action("CA020", "bare-word", _write(HOOKS, b"title: Hooks\nabout: x\nwords:\n  credit: {}\n"), "`definition:`",
           HOOKS, 4),
    Action("CA040", "capitals", _rename(ALPHA, "inventory/methods/Alpha_2.yaml"), "alpha-2.yaml",
           "inventory/methods/Alpha_2.yaml"),
    Action("CA041", "yml", _rename(ALPHA, "inventory/methods/alpha.yml"), "name it <id>.yaml",
           "inventory/methods/alpha.yml"),
    Action("CA041", "sub-folder", lambda root: (root / "inventory/methods/x.yaml").mkdir(), "move it away",
           "inventory/methods/x.yaml"),
    Action("CA042", "two-folders", lambda root: _second_base(root, "inventory/methods/base.yaml"), "keep one", BASE),
    Action("CA043", "same-arxiv", lambda root: _second_base(root, "inventory/methods/gamma.yaml"), "of kind alias",
           BASE, 7),
    Action("CA044", "no-methods", lambda root: shutil.rmtree(root / "inventory/methods"), "a folder with inventory/",
           "inventory/methods"),
    Action("CA045", "no-list", lambda root: (root / HOOKS).unlink(), "restore it", HOOKS),
    Action("CA170", "long-text", _replace("  loss: plain", LONG), "in your own words", ALPHA, 43),
)  # fmt: skip


CASES: list[Sample | Action] = [*SAMPLES, *ACTIONS]


def _title(case: Sample | Action) -> str:
    return f"{case.rule}-{case.name}"


def _severity(code: str) -> str:
    return next(rule.severity for rule in RULES if rule.code == code)


def test_the_unbroken_samples_have_no_finding(findings: Check) -> None:
    assert findings() == []


@pytest.mark.parametrize("sample", SAMPLES, ids=_title)
def test_a_sample_breaks_exactly_its_rule(sample: Sample, tree: Path, findings: Check) -> None:
    sample.apply(tree)
    found = findings()
    assert {finding.rule.code for finding in found} == {sample.rule}, [str(finding) for finding in found]
    first = found[0]
    assert (first.file, first.line) == (sample.file, sample.line(tree))
    assert first.value == sample.got
    assert first.message
    assert sample.repair in first.repair


@pytest.mark.parametrize("action", ACTIONS, ids=_title)
def test_an_action_breaks_its_rule(action: Action, tree: Path, findings: Check) -> None:
    action.apply(tree)
    found = [finding for finding in findings() if finding.rule.code == action.rule]
    assert (found[0].file, found[0].line) == (action.file, action.line)
    assert action.repair in found[0].repair


@pytest.mark.parametrize("case", CASES, ids=_title)
def test_the_command_says_it_in_one_line_and_exits_with_2(
    case: Sample | Action, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.apply(tree)
    code: object = 0
    try:
        main(["validate", str(tree)])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    *lines, last = printed.out.splitlines()
    assert (code or 0, printed.err) == (2 if _severity(case.rule) == ERROR else 0, "")
    assert last.endswith("warnings.")
    assert all(line.startswith(("error: inventory/", "warning: inventory/")) for line in lines)
    assert [line for line in lines if f": {case.rule} " in line and ". Repair: " in line]
    assert printed.out.replace("\n", "").isprintable()


def test_both_files_with_one_arxiv_id_are_named_to_each_other(tree: Path, findings: Check) -> None:
    _second_base(tree, "inventory/background/gamma.yaml")
    found = findings()
    assert [(finding.rule.code, finding.file) for finding in found] == [
        ("CA043", BASE),
        ("CA043", "inventory/background/gamma.yaml"),
    ]
    assert "gamma.yaml" in found[0].message
    assert "base.yaml" in found[1].message


def test_every_rule_has_a_failing_sample_and_its_own_number() -> None:
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes) == len({rule.name for rule in RULES})
    assert {case.rule for case in CASES} == set(codes)
    assert len(codes) >= LOWEST_NUMBER_OF_RULES
    assert all(rule.help.endswith((".", "?")) for rule in RULES)


def test_no_module_with_rules_is_left_out() -> None:
    names = [name for _, name, _ in pkgutil.iter_modules(cairn.inventory.__path__, "cairn.inventory.")]
    held = [value for name in names for value in vars(importlib.import_module(name)).values()]
    assert {rule.code for rule in held if isinstance(rule, Rule)} == {rule.code for rule in RULES}


def test_where_many_words_are_known_the_repair_says_how_many_and_where(tree: Path, findings: Check) -> None:
    few = [f"word-{number}" for number in range(MOST_WORDS_PRINTED)]
    assert near("zzz", few).count("word-") == MOST_WORDS_PRINTED
    assert (
        near("zzz", [*few, "one-more"], "words of its file")
        == f"use one of the {MOST_WORDS_PRINTED + 1} words of its file"
    )
    assert near("word-77", [*few, "one-more"]).startswith("did you mean word-7")
    _replace("benchmarks: [gsm8k, math]", "benchmarks: [zzzzzz]")(tree)
    (found,) = [finding for finding in findings() if finding.file == ALPHA]
    assert found.repair.endswith(" words of inventory/vocab/benchmarks.yaml")


def test_a_mark_that_is_left_is_not_also_called_an_unknown_word(tree: Path, findings: Check) -> None:
    _replace("granularity: [step]", "granularity: [TODO]")(tree)
    assert {finding.rule.code for finding in findings()} == {"CA090"}


def test_a_billion_laughs_file_is_refused_at_its_first_anchor(tree: Path, findings: Check) -> None:
    levels = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tree / ALPHA).write_text("\n".join(levels))
    found = [finding for finding in findings() if finding.file == ALPHA]
    assert [(finding.rule.code, finding.line) for finding in found] == [("CA006", 1)]


def test_of_a_file_with_very_many_errors_the_first_are_told_and_the_rest_is_said_to_be_left_out(
    tree: Path, findings: Check
) -> None:
    many = ", ".join(f"need_{number}" for number in range(MOST_ERRORS_A_FILE + 1))
    _replace("needs: [mc_continuations, segmenting]", f"needs: [{many}]")(tree)
    found = findings()
    assert len(found) == MOST_ERRORS_A_FILE
    assert [finding for finding in found if "left out" in finding.message] == [found[-1]]
