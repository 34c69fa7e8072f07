"""Any text as LaTeX that pdfLaTeX, XeLaTeX and LuaLaTeX all set: for BibTeX records and for tables.

Latin letters with accents stay as they are, since LaTeX reads UTF-8; what pdfLaTeX has no glyph for becomes a command.
"""

from __future__ import annotations

import unicodedata

_SPECIAL = {character: "\\" + character for character in "&%$#_"} | {
    # No bare brace, even escaped: BibTeX counts braces without regard to backslashes.
    "{": r"\ensuremath{\lbrace}",
    "}": r"\ensuremath{\rbrace}",
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\ensuremath{|}",
    '"': r"\textquotedbl{}",
}
_TYPOGRAPHIC = {"–": "--", "—": "---", "‐": "-", "‑": "-", "…": r"\ldots{}", "\N{NO-BREAK SPACE}": "~",
                "‘": "`", "’": "'", "“": "``", "”": "''", "°": r"\textdegree{}", "€": r"\texteuro{}"}  # fmt: skip
_MATHEMATICAL = {"−": "-", "×": r"\times", "·": r"\cdot", "±": r"\pm", "≤": r"\leq", "≥": r"\geq", "≠": r"\neq",
                 "≈": r"\approx", "∞": r"\infty", "→": r"\rightarrow", "←": r"\leftarrow", "↔": r"\leftrightarrow",
                 "∈": r"\in", "∑": r"\sum", "∏": r"\prod", "√": r"\surd", "∂": r"\partial", "∇": r"\nabla",
                 "∆": r"\Delta", "∼": r"\sim", "∝": r"\propto", "⋆": r"\star", "†": r"\dagger", "‡": r"\ddagger",
                 "²": "^{2}", "³": "^{3}", "¹": "^{1}", "½": r"\frac{1}{2}", "¬": r"\neg"}  # fmt: skip
_GREEK_CAPITALS = frozenset(
    ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
)
_GREEK_SMALL = frozenset(
    ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
     "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega")
)  # fmt: skip
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
            "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c",
            "\u0331": "b"}  # fmt: skip
_LAST_OF_LATIN_EXTENDED_A = "\u017f"
_NOT_SET_UP = frozenset("ĦħĸĿŀŉŦŧſ")  # characters up to there that LaTeX refuses in the encoding T1


def escape(text: str) -> str:
    """Return text as LaTeX. A character that LaTeX has no common command for is named by its code, as [U+4E2D]."""
    return "".join(_SPECIAL.get(one) or _beyond_ascii(one) for one in unicodedata.normalize("NFC", text))


def _beyond_ascii(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    if character in _TYPOGRAPHIC:
        return _TYPOGRAPHIC[character]
    if character in _MATHEMATICAL:
        return rf"\ensuremath{{{_MATHEMATICAL[character]}}}"
    if character <= _LAST_OF_LATIN_EXTENDED_A and character.isprintable() and character not in _NOT_SET_UP:
        return character
    return _greek(character) or _accented(character) or f"[U+{ord(character):04X}]"


def _greek(character: str) -> str:
    name = unicodedata.name(character, "").replace("LAMDA", "LAMBDA")
    for prefix, known, form in (
        ("GREEK SMALL LETTER ", _GREEK_SMALL, str.lower),
        ("GREEK CAPITAL LETTER ", _GREEK_CAPITALS, str.capitalize),
    ):
        word = form(name.removeprefix(prefix))
        if name.startswith(prefix) and word in known:
            return rf"\ensuremath{{\{word}}}"
    return ""


def _accented(character: str) -> str:
    """Return a Latin letter with its accents as commands, the innermost first; nothing for any other character."""
    parts = unicodedata.normalize("NFD", character)
    letter, marks = parts[0], parts[1:]
    if not marks or not letter.isascii() or not all(mark in _ACCENTS for mark in marks):
        return ""
    for mark in marks:
        letter = rf"\{_ACCENTS[mark]}{{{letter}}}"
    return letter
