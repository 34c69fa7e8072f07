"""One broken sample for each numbered rule: exactly that rule, at the right file and line, with a repair."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cairn.inventory import RULES, Finding
from cairn.inventory.reader import MAX_BYTES

ALPHA = "inventory/methods/alpha.yaml"
BASE = "inventory/background/base.yaml"
HOOKS = "inventory/vocab/hooks.yaml"
TREE = "inventory/decision-tree.yaml"
Check = Callable[[], list[Finding]]


@dataclass(frozen=True)
class Edit:
    """In `file`, `old` becomes `new`; rule `code` must be broken on the line that then holds `marker`."""

    code: str
    name: str
    old: str
    new: str
    marker: str
    value: str
    file: str = ALPHA

    def apply(self, root: Path) -> None:
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        assert text.count(self.old) >= 1, self.old
        path.write_text(text.replace(self.old, self.new, 1), encoding="utf-8")

    def line(self, root: Path) -> int:
        lines = (root / self.file).read_text(encoding="utf-8").split("\n")
        return next(number for number, line in enumerate(lines, start=1) if self.marker in line)


DEEP = "  note: " + "[" * 30 + "]" * 30
WIDE = "  procedure: [" + "a, " * 60_000 + "a]"

NOT_HERE = "gpu_hours: {status: not-applicable"
INTERFACE = "interface:\n  needs: [mc_continuations, segmenting]\n  hooks: [collect, credit]\n  from: [s1]"

EDITS = (
    Edit("CA004", "broken-bracket", "needs: [mc_continuations, segmenting]", "needs: [mc_continuations", "hooks", ""),
    Edit("CA004", "two-documents", "confidence: high", "---\nconfidence: high", "---", "---"),
    Edit("CA004", "control-character", "one step", "one \x07step", "one \x07step", ""),
    Edit("CA005", "duplicate-block", "relations:", "claims: []\nrelations:", "claims: []", "claims"),
    Edit("CA005", "duplicate-field", "  formula: A", "  credited: twice\n  formula: A", "twice", "credited"),
    Edit("CA006", "alias-bomb", "  formula: A = R", "  formula: &a [&b [*a, *a], *b]", "formula", "&a"),
    Edit("CA006", "alias", "  credited: The episode.", "  credited: *x", "*x", "*x"),
    Edit("CA007", "python-tag", "  formula: A = R", "  formula: !!python/name:os.system x", "os.system", ""),
    Edit("CA007", "own-tag", "  formula: A = R", "  formula: !now A = R", "!now", "!now"),
    Edit("CA008", "merge-key", "  formula: A = R", "  <<: {}\n  formula: A = R", "<<", "<<"),
    Edit("CA009", "too-deep", "  note: nothing to add", DEEP, "[[[", "level 25"),
    Edit("CA009", "too-wide", "  procedure: [Copy R to every token.]", WIDE, "a, a, ", "50000 values"),
    Edit("CA010", "list-as-key", "relations:", "[a, b]: c\nrelations:", "[a, b]", ""),
    Edit("CA010", "control-character-in-key", "relations:", '"a\\x1f": c\nrelations:', "x1f", "a�"),
    Edit("CA010", "long-key", "relations:", "a" * 100 + ": c\nrelations:", "aaaa", ""),
    Edit("CA020", "missing-field", "  loss: plain\n", "", "rule:", ""),
    Edit("CA020", "missing-claim-field", "    numbers: 2 against 1\n", "", "key: first", ""),
    Edit("CA020", "missing-block", "survey_discrepancy: null\n", "", "# yaml", ""),
    Edit("CA021", "unknown-field", "  formula: A", "  normalization: x\n  formula: A", "normalization", "x"),
    Edit("CA022", "number-for-text", "  name: Alpha", "  name: 7", "name: 7", "7"),
    Edit("CA022", "text-for-list", "  hooks: [collect, credit]", "  hooks: credit", "hooks: credit", "credit"),
    Edit("CA022", "text-for-block", INTERFACE, "interface: x", "interface: x", "x"),
    Edit("CA022", "text-for-year", "  year: 2021", '  year: "2021"', "2021", "2021"),
    Edit("CA023", "empty-text", "  formula: A = R", '  formula: ""', "formula", ""),
    Edit("CA023", "claim-key", "key: first", "key: First Claim", "First Claim", "First Claim"),
    Edit("CA023", "date-as-number", "checked: 2026-01-02", "checked: 20260102", "20260102", "20260102"),
    Edit("CA023", "no-such-day", "checked: 2026-01-02", "checked: 2026-02-30", "2026-02-30", "2026-02-30"),
    Edit(
        "CA023",
        "url",
        "url: https://arxiv",
        "url: javascript-arxiv",
        "javascript-",
        "javascript-arxiv.org/abs/2002.00002",
    ),
    Edit("CA024", "arxiv-version", '"2002.00002"', '"2002.00002v3"', "00002v3", "2002.00002v3"),
    Edit("CA024", "arxiv-unquoted", 'arxiv: "2002.00002"', "arxiv: 2002.00002", "arxiv:", "2002.00002"),
    Edit(
        "CA025", "no-source", "    where: Table 1\n    from: [s1]", "    where: Table 1\n    from: []", "from: []", "[]"
    ),
    Edit("CA026", "thirteen-items", "  variance: {status", "  #", "reporting:", ""),
    Edit("CA026", "bare-mark", "  ca_overhead: {status: unknown, ", "  ca_overhead: {", "ca_overhead", ""),
    Edit("CA027", "id-inside", "bibliography:", "id: beta\nbibliography:", "id: beta", "beta"),
    Edit("CA030", "label", "  granularity: [step]", "  granularity: [steps]", "[steps]", "steps"),
    Edit("CA030", "need", "segmenting]", "segment]", "segment]", "segment"),
    Edit("CA030", "hook", "[collect, credit]", "[collect, aux_fit]", "aux_fit", "aux_fit"),
    Edit("CA030", "mark", "gpu_hours: {status: unknown", "gpu_hours: {status: maybe", "maybe", "maybe"),
    Edit("CA031", "word-twice", "[collect, credit]", "[collect, collect]", "collect, collect", "collect"),
    Edit("CA032", "core-in-background", "type: background", "type: core # here", "# here", "core", BASE),
    Edit("CA033", "not-for-a-method", "gpu_hours: {status: unknown", NOT_HERE, "not-app", "not-applicable"),
    Edit("CA050", "undefined-source", "from: [s2]", "from: [s2, s7]", "s7", "s7"),
    Edit("CA051", "unused-source", "confidence:", "  s3: {kind: docs, ref: r, seen: s}\nconfidence:", "s3:", "s3"),
    Edit(
        "CA060", "why-missing", "    granularity: The code cuts at steps.", "    {}", "granularity: [step]", "('step',)"
    ),
    Edit("CA060", "methodology-why", "methodology: MC", "methodology: Magic", "mc-cont", "mc-continuations"),
    Edit("CA061", "idle-reason", "  why:", "  why:\n    compute: It is so.", "It is so.", "compute"),
    Edit("CA061", "unknown-is-no-difference", "  why:", "  why:\n    aux_model: Why not.", "Why not.", "aux_model"),
    Edit("CA061", "no-such-label", "  why:", "  why:\n    colour: Red.", "Red.", "colour"),
    Edit("CA070", "nameless", '    arxiv: "1901.00009"\n', "", "kind: also_defined_in", ""),
    Edit(
        "CA070",
        "named-twice",
        "    id: base\n    from",
        "    id: base\n    name: Base\n    from",
        "- kind: b",
        "id, name",
    ),
    Edit("CA071", "relation", "kind: baseline\n    id: base", "kind: baseline\n    id: bass", "bass", "bass"),
    Edit("CA071", "limit", "- id: base", "- id: nowhere", "nowhere", "nowhere"),
    Edit(
        "CA071", "relation-to-itself", "kind: baseline\n    id: base", "kind: baseline\n    id: alpha", "alpha", "alpha"
    ),
    Edit("CA072", "known-by-arxiv", "1901.00009", "2001.00001", "2001.00001", "2001.00001"),
    Edit("CA073", "moved-to-nothing", "confidence:", "moved_to: gamma\nconfidence:", "gamma", "gamma"),
    Edit("CA073", "moved-to-itself", "confidence:", "moved_to: alpha\nconfidence:", "moved_to", "alpha"),
    Edit("CA080", "future", "checked: 2026-01-02", "checked: 2026-02-02", "2026-02-02", "2026-02-02"),
    Edit("CA090", "todo", "  loss: plain", "  loss: TODO", "TODO", "loss: TODO"),
    Edit("CA090", "todo-in-comment", "  loss: plain", "  loss: plain # TODO", "TODO", "loss: plain # TODO"),
    Edit("CA091", "script", "  loss: plain", "  loss: a <script>x</script>", "<script", "'<script'"),
    Edit("CA091", "escaped-script", "  loss: plain", '  loss: "\\x3cscript>"', "x3c", "'<script'"),
    Edit("CA091", "handler", "  loss: plain", "  loss: '<b onclick=\"x\">'", "onclick", "'onclick=\"'"),
    Edit("CA092", "bidi", "  loss: plain", "  loss: a\u202eb", "\u202e", "'\\u202e'"),
    Edit("CA100", "claim-key-twice", "key: second", "key: first # again", "# again", "first"),
    Edit("CA110", "no-such-candidate", "candidates: [alpha]", "candidates: [alpah]", "alpah", "alpah", TREE),
    Edit("CA110", "no-such-scenario", "low: {scenario: cheap}", "low: {scenario: cheep}", "cheep", "cheep", TREE),
    Edit("CA110", "no-such-question", "ask: compute", "ask: memory", "memory", "memory", TREE),
    Edit("CA110", "no-such-answer", "when: {turns: many}", "when: {turns: mony}", "mony", "mony", TREE),
    Edit("CA110", "no-such-word", "words: [step]", "words: [stap]", "stap", "stap", TREE),
    Edit("CA110", "no-such-need", "needs: [mc_continuations]", "needs: [forks]", "[forks]", "forks", TREE),
    Edit("CA110", "no-such-benchmark", "gsm8k: {", "gsm9k: {", "gsm9k", "gsm9k", TREE),
    Edit("CA101", "no-editor-line", "# yaml-language-server: $schema", "# nothing: $schema", "# nothing", ""),
)


@dataclass(frozen=True)
class Action:
    """`apply` breaks the tree; rule `code` must then be broken in `file` at `line`."""

    code: str
    name: str
    apply: Callable[[Path], object]
    file: str = ALPHA
    line: int = 1


def _write(file: str, content: bytes) -> Callable[[Path], object]:
    return lambda root: (root / file).write_bytes(content)


def _link_out(root: Path) -> None:
    (root / "secret.yaml").write_text("a: b\n")
    (root / "inventory/methods/linked.yaml").symlink_to(root / "secret.yaml")


def _huge(root: Path) -> None:
    os.truncate(root / ALPHA, 100 * MAX_BYTES)  # sparse: the size is there, the disk is not used


def _rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda root: (root / old).rename(root / new)


ACTIONS = (
    Action("CA001", "link-out-of-the-tree", _link_out, "inventory/methods/linked.yaml"),
    Action("CA001", "fifo", lambda root: os.mkfifo(root / "inventory/methods/a.yaml"), "inventory/methods/a.yaml"),
    Action("CA002", "100-mb", _huge),
    Action("CA003", "latin-1", _write(ALPHA, b"a: b\nname: caf\xe9\n"), ALPHA, 2),
    Action("CA003", "utf-16", _write(ALPHA, "a: b\n".encode("utf-16"))),
    Action("CA010", "empty", _write(ALPHA, b"")),
    Action("CA010", "list", _write(ALPHA, b"- a\n- b\n")),
    Action("CA040", "capitals", _rename(ALPHA, "inventory/methods/Alpha_2.yaml"), "inventory/methods/Alpha_2.yaml"),
    Action("CA041", "yml", _rename(ALPHA, "inventory/methods/alpha.yml"), "inventory/methods/alpha.yml"),
    Action("CA041", "sub-folder", lambda root: (root / "inventory/methods/x.yaml").mkdir(), "inventory/methods/x.yaml"),
    Action("CA042", "two-folders", lambda root: _second_base(root, "inventory/methods/base.yaml"), BASE),
    Action("CA043", "same-arxiv", lambda root: _second_base(root, "inventory/methods/gamma.yaml"), BASE, 7),
    Action("CA044", "no-methods", lambda root: shutil.rmtree(root / "inventory/methods"), "inventory/methods"),
    Action("CA045", "no-list", lambda root: (root / HOOKS).unlink(), HOOKS),
    Action("CA020", "bare-word", _write(HOOKS, b"title: Hooks\nabout: x\nwords:\n  credit: {}\n"), HOOKS, 4),
)  # fmt: skip


def _second_base(root: Path, file: str) -> None:
    """Copy base.yaml to `file`."""
    shutil.copy(root / BASE, root / file)


def _title(case: Edit | Action) -> str:
    return f"{case.code}-{case.name}"


def test_the_unbroken_samples_have_no_finding(findings: Check) -> None:
    assert findings() == []


@pytest.mark.parametrize("edit", EDITS, ids=_title)
def test_an_edit_breaks_exactly_its_rule(edit: Edit, tree: Path, findings: Check) -> None:
    edit.apply(tree)
    found = findings()
    assert _codes(found) == {edit.code}, [str(finding) for finding in found]
    first = found[0]
    assert (first.file, first.line) == (edit.file, edit.line(tree))
    assert not edit.value or first.value == edit.value
    assert first.message
    assert first.repair


@pytest.mark.parametrize("action", ACTIONS, ids=_title)
def test_an_action_breaks_its_rule(action: Action, tree: Path, findings: Check) -> None:
    action.apply(tree)
    found = [finding for finding in findings() if finding.rule.code == action.code]
    assert (found[0].file, found[0].line) == (action.file, action.line)
    assert found[0].repair


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
    assert len(set(codes)) == len(codes)
    assert {case.code for case in (*EDITS, *ACTIONS)} == set(codes)
    assert all(rule.help.endswith(".") or rule.help.endswith("?") for rule in RULES)


@pytest.mark.parametrize(
    ("edit_name", "offer"),
    [("label", "did you mean step"), ("need", "did you mean segmenting"), ("unknown-field", "normalisation"),
     ("relation", "did you mean base"), ("undefined-source", "s1"), ("hook", "fit")],
)  # fmt: skip
def test_a_near_match_is_offered(edit_name: str, offer: str, tree: Path, findings: Check) -> None:
    next(edit for edit in EDITS if edit.name == edit_name).apply(tree)
    assert offer in findings()[0].repair


def test_a_billion_laughs_file_is_refused_at_its_first_anchor(tree: Path, findings: Check) -> None:
    levels = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (tree / ALPHA).write_text("\n".join(levels))
    found = [finding for finding in findings() if finding.file == ALPHA]
    assert [(finding.rule.code, finding.line) for finding in found] == [("CA006", 1)]


def _codes(found: list[Finding]) -> set[str]:
    return {finding.rule.code for finding in found}
