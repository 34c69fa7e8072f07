"""Properties of the loader: whatever the bytes are, a clear finding or acceptance (see `target`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.inventory.corpus import ALPHA
from tests.inventory.fuzz.mutations import change
from tests.inventory.fuzz.target import FILES, LIST, TREE, Target, make, pack, regressions, seeds, unpack

from cairn.paths import data_root

FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
REAL = sorted((data_root() / "inventory").glob("[mbd]*/*.yaml"))
NUMBERS = st.lists(st.integers(0, 100_000), min_size=4, max_size=4)
INDENTS = st.sampled_from(["", "  ", "    ", "      ", "\t"])
KEYS = st.sampled_from(
    ["bibliography", "name", "arxiv", "year", "authors", "from", "survey", "labels", "why", "rule", "interface",
     "needs", "claims", "key", "reporting", "variance", "status", "evidence", "relations", "id", "kind", "sources",
     "s1", "checked", "confidence", "words", "root", "ask", "otherwise", "scenario", "<<",
     "? a", "'a b'", "[a]", ""])  # fmt: skip
VALUES = st.sampled_from(
    ["none", "unknown", "yes", "7", "2.5", "null", "~", "[]", "[s1]", "[a, b]", "{}", "{a: b}", "{a: [b, {c: d}]}",
     "'x'", '"\\n"', '"\\ud800"', "|", ">-", "&a", "*a", "!t x", "TODO", "a: b", "# c", "'", "[", "}", "\u2028", "\x07"]
) | st.text(max_size=6)  # fmt: skip
LINES = st.one_of(
    st.builds("{}{}: {}".format, INDENTS, KEYS, VALUES),
    st.builds("{}- {}".format, INDENTS, VALUES),
    st.builds("{}- {}: {}".format, INDENTS, KEYS, VALUES),
    st.builds("{}{}".format, INDENTS, VALUES),
    st.sampled_from(["---", "...", "%YAML 1.2", "# comment", ""]),
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    return make(tmp_path_factory.mktemp("tree"))


def test_the_tree_that_is_fuzzed_has_no_finding(target: Target) -> None:
    for file in FILES:
        assert target.execute(file, (target.root / file).read_bytes()) == []


@FUZZ
@given(content=st.binary(max_size=400), file=st.sampled_from(FILES))
def test_any_bytes(content: bytes, file: str, target: Target) -> None:
    target.execute(file, content)


@FUZZ
@given(lines=st.lists(LINES, max_size=25), file=st.sampled_from(FILES))
def test_any_text_by_the_grammar_of_yaml(lines: list[str], file: str, target: Target) -> None:
    target.execute(file, "\n".join(lines).encode("utf-8", "surrogatepass"))


@settings(FUZZ, max_examples=400)
@given(path=st.sampled_from(REAL), changes=st.lists(NUMBERS, min_size=1, max_size=5))
def test_any_change_of_a_real_entry(path: Path, changes: list[list[int]], target: Target) -> None:
    content = path.read_bytes()
    for numbers in changes:
        content = change(content, numbers)
    target.execute(ALPHA, content)


@FUZZ
@given(file=st.sampled_from([LIST, TREE]), changes=st.lists(NUMBERS, min_size=1, max_size=5))
def test_any_change_of_a_word_list_or_the_decision_tree(file: str, changes: list[list[int]], target: Target) -> None:
    content = (target.root / file).read_bytes()
    for numbers in changes:
        content = change(content, numbers)
    target.execute(file, content)


@pytest.mark.parametrize("path", regressions(), ids=lambda path: path.name)
def test_what_once_broke_the_loader_does_so_no_more(path: Path, target: Target) -> None:
    target.execute(*unpack(path.read_bytes()))


def test_each_seed_is_unpacked_as_the_file_it_stands_for(tmp_path: Path) -> None:
    files = [unpack(seed)[0] for seed in seeds(tmp_path)]
    assert {file: files.count(file) > 1 for file in FILES} == dict.fromkeys(FILES, True)


def test_an_input_is_unpacked_as_it_was_packed() -> None:
    assert [unpack(pack(file, b"a: b")) for file in FILES] == [(file, b"a: b") for file in FILES]
    assert unpack(b"") == (ALPHA, b"")
