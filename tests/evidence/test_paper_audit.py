"""An author's checklist: the blank leads through by its messages, and a filled one is scored and set as written."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import Command, call

from cairn.evidence.checklist import load_items
from cairn.evidence.checklist_forms import Score, latex, markdown, scores
from cairn.evidence.paper_audit import read_paper
from cairn.paths import data_root

ITEMS = load_items()
KEYS = [item["key"] for item in yaml.safe_load((data_root() / "checklist/items.yaml").read_text(encoding="utf-8"))]
NASTY = r"50 % of A_1 & B {x} \\ $ ~ ^ # <b> | `c` *d*"


def _content() -> dict[str, object]:
    """Return a filled form: gpu_hours no, variance partial, the rest yes."""
    status = dict.fromkeys(KEYS, "yes") | {"gpu_hours": "no", "variance": "partial"}
    return {"paper": "A paper", "items": {key: {"status": status[key], "where": NASTY} for key in KEYS}}


@pytest.fixture
def form(tmp_path: Path) -> Callable[[Callable[[dict[str, object]], object]], Path]:
    """Write a filled form after a change to it."""

    def write(change: Callable[[dict[str, object]], object]) -> Path:
        content = _content()
        change(content)
        path = tmp_path / "form.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    return write


Form = Callable[[Callable[[dict[str, object]], object]], Path]


def _nothing(_: dict[str, object]) -> None:
    """Change nothing."""


def test_a_filled_form_is_scored(form: Form) -> None:
    filled, faults = read_paper(form(_nothing), ITEMS)
    assert faults == ()
    assert filled is not None
    # 10 required items of which gpu_hours is no; 4 recommended of which variance is partial.
    assert scores(filled, ITEMS) == (
        Score(priority="required", items=10, yes=9, partial=0, no=1),
        Score(priority="recommended", items=4, yes=3, partial=1, no=0),
    )


def test_the_blank_itself_is_led_through_line_by_line(tmp_path: Path) -> None:
    path = shutil.copy(data_root() / "checklist/template.yaml", tmp_path / "mine.yaml")
    filled, faults = read_paper(Path(path), ITEMS)
    assert filled is None
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    blanks = [number for number, line in enumerate(lines, start=1) if '""' in line]
    assert {fault.line for fault in faults} == set(blanks)
    assert {fault.rule.code for fault in faults} == {"CP002", "CP005", "CP006"}


def _drop(content: dict[str, object]) -> None:
    _items(content).pop("variance")


def _rename(content: dict[str, object]) -> None:
    _items(content)["varianse"] = {"status": "no", "where": "x"}


def _wrong(content: dict[str, object]) -> None:
    _items(content)["variance"] = {"status": "maybe", "where": "x"}


def _placeless(content: dict[str, object]) -> None:
    _items(content)["variance"] = {"status": "yes", "where": " "}


def _bare(content: dict[str, object]) -> None:
    _items(content)["variance"] = "yes"


def _foreign(content: dict[str, object]) -> None:
    content["authors"] = "x"


def _items(content: dict[str, object]) -> dict[str, object]:
    items = content["items"]
    assert isinstance(items, dict)
    return items


@pytest.mark.parametrize(
    ("change", "code", "part"),
    [
        (_drop, "CP003", "variance"),
        (_rename, "CP004", "did you mean variance"),
        (_wrong, "CP005", "maybe"),
        (_placeless, "CP006", "name the section"),
        (_bare, "CP001", "status"),
        (_foreign, "CP001", "template.yaml"),
        (lambda content: content.update(paper=""), "CP002", "paper:"),
        (lambda content: content.update(items=[]), "CP001", "template.yaml"),
    ],
)
def test_each_fault_has_its_rule_and_repair(
    change: Callable[[dict[str, object]], object], code: str, part: str, form: Form
) -> None:
    filled, faults = read_paper(form(change), ITEMS)
    assert filled is None
    assert [fault.rule.code for fault in faults] == [code]
    assert part in str(faults[0])


def test_what_is_no_yaml_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "form.yaml"
    path.write_text("paper: !!python/name:os.system x\n")
    assert [fault.rule.code for fault in read_paper(path, ITEMS)[1]] == ["CA007"]
    assert [fault.rule.code for fault in read_paper(tmp_path / "none.yaml", ITEMS)[1]] == ["CA001"]


def test_markdown_keeps_an_authors_markup_as_text(form: Form) -> None:
    filled, _ = read_paper(form(_nothing), ITEMS)
    rows = [line for line in markdown(ITEMS, filled).split("\n") if line.startswith("| Model")]
    assert r"&lt;b> \| \`c\` \*d\*" in rows[0]
    assert rows[0].replace(r"\|", "").count("|") == 6


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex here")
@pytest.mark.parametrize("is_filled", [False, True])
def test_latex_compiles(is_filled: bool, form: Form, tmp_path: Path) -> None:
    filled = read_paper(form(_nothing), ITEMS)[0] if is_filled else None
    head = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,tabularx}\begin{document}"
    (tmp_path / "a.tex").write_text(head + "\n" + latex(ITEMS, filled) + "\n\\end{document}\n", encoding="utf-8")
    command = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull \\hbox" not in done.stdout  # the long answers of this test fill more than a page


def test_the_command_checks_scores_and_renders(form: Form, tmp_path: Path) -> None:
    cairn: Command = call
    path = form(_nothing)
    shown = cairn("audit", "paper", path)
    assert (shown.code, shown.err) == (0, "")
    assert "9 of 10 required items reported, 0 in part, 1 not." in shown.out
    assert json.loads(cairn("audit", "paper", path, "--format", "json").out)["scores"][0]["yes"] == 9
    out = tmp_path / "appendix.tex"
    assert cairn("audit", "paper", path, "--format", "latex", "--out", out).code == 0
    assert out.read_text(encoding="utf-8").startswith("% Reporting checklist")
    broken = cairn("audit", "paper", form(_wrong))
    assert broken.code == 2
    assert "CP005" in broken.out
    assert cairn("audit", "paper", path, "--out", tmp_path / "x.txt").code == 2
