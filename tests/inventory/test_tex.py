"""Any text as LaTeX: what comes back from a reader that is not ours, and what TeX accepts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pybtex.database
import pytest
from pylatexenc.latex2text import LatexNodes2Text

from cairn.inventory import bibtex, load
from cairn.inventory.tex import escape

SPECIAL = r"50% of A&B_C #1 $x {y} ~z ^w \v <u> |t|"
LETTERS = "Kocsis Szepesvári Müller Łukasz Ñandú Čapek Nguyễn Đỗ Ångström τ-bench λ×Δ ≤ ∞ →"
ODD = "quoted “text” – ‘so’… 中 🙂 ﬁ \u202e"


def test_special_characters_by_hand() -> None:
    assert escape(r"a_b & 5% #1 ~ ^ \ $") == (
        r"a\_b \& 5\% \#1 \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )
    assert escape("é ễ τ Λ ≥ 中") == r"é \~{\^{e}} \ensuremath{\tau} \ensuremath{\Lambda} \ensuremath{\geq} [U+4E2D]"
    assert escape("e\u0301") == "é"
    assert escape("a\x00b\nc") == "a b c"


@pytest.mark.parametrize("text", [SPECIAL, LETTERS])
def test_a_reader_gets_the_text_back(text: str) -> None:
    assert LatexNodes2Text(strict_latex_spaces=True).latex_to_text(escape(text)).replace("ˆ", "^") == text


def test_names_are_divided_as_they_are() -> None:
    entry = load()["gigpo"]
    authors = ("Szepesvári, Csaba", "Simon and Garfunkel", "Qwen Team", "O'Brien, Jo {x", "Nguyễn, Đỗ")
    update = {"title": "} unbalanced { \\", "authors": authors, "url": "https://example.org/a{b}_%20"}
    odd = entry.model_copy(update={"bibliography": entry.bibliography.model_copy(update=update)})
    database = pybtex.database.parse_string(bibtex(odd), "bibtex")
    persons = database.entries["gigpo"].persons["author"]
    assert len(persons) == len(authors)
    assert [person.last_names for person in persons[:3]] == [["Szepesvári"], ["{Simon and Garfunkel}"], ["{Qwen Team}"]]


def test_braces_do_not_break_the_next_record() -> None:
    inventory = load()
    first, second = inventory.entries[:2]
    update = {"title": "} unbalanced { \\", "venue": "%{ @misc{x,"}
    odd = first.model_copy(update={"bibliography": first.bibliography.model_copy(update=update)})
    database = pybtex.database.parse_string(bibtex(odd) + bibtex(second), "bibtex")
    assert list(database.entries) == [first.id, second.id]


def test_tex_sets_every_character(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    every = "".join(chr(code) for code in range(0x20, 0x180) if chr(code).isprintable())
    body = "\n\n".join(escape(text) for text in (SPECIAL, LETTERS, ODD, every, "".join(map(chr, range(0x370, 0x400)))))
    document = "\\documentclass{article}\\usepackage[T1]{fontenc}\\begin{document}\n" + body + "\n\\end{document}\n"
    (tmp_path / "paper.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")
    assert done.returncode == 0, done.stdout[-1500:]
