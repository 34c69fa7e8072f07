"""Reading the protocol, and what task names mean under it."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cairn.errors import UserError
from cairn.lab.protocol import build_panel, read_protocol, task_knobs
from cairn.lab.tasks import find
from cairn.lab.tasks.quest import TASK, Knobs
from cairn.paths import data_root

SHIPPED = data_root() / "reproductions" / "protocol.yaml"


def _line(text: str, start: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), start=1) if line.startswith(start))


@pytest.fixture
def shipped() -> str:
    """The text of the shipped protocol."""
    return SHIPPED.read_text(encoding="utf-8")


FAULTS = {
    "unknown key": ("clip_norm: 1.0", "clip_norm: 1.0\nclip_nrm: 1.0", "clip_nrm", "clip_nrm"),
    "unknown key below": (
        "  clip_ratio: 0.2",
        "  clip_ration: 0.2\n  clip_ratio: 0.2",
        "loss.clip_ration",
        "  clip_ration",
    ),
    "wrong type": ("first_seed: 101", "first_seed: soon", "first_seed.*valid integer.*'soon'", "first_seed"),
    "wrong type below": ("updates: 80", "updates: many", "presets.cpu.updates.*'many'", "  cpu"),
    "out of range": ("clip_norm: 1.0", "clip_norm: 0", "clip_norm.*greater than 0", "clip_norm"),
    "not a number": ("clip_norm: 1.0", "clip_norm: .nan", "clip_norm", "clip_norm"),
    "repeated key": ("first_seed: 101", "first_seed: 101\nfirst_seed: 5", "already stands", "first_seed: 5"),
    "broken": ("loss:", "loss: [", "not YAML", None),
    "alias": ("loss:", "loss: &a\n  x: *a", "(?i)alias|anchor", None),
    "python object": ("loss:", "loss: !!python/object:os.system", "(?i)tag", "loss"),
    "control character": ("version", "\x00version", "not YAML", None),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_file_and_line(tmp_path: Path, shipped: str, name: str) -> None:
    old, new, message, start = FAULTS[name]
    assert old in shipped
    path = tmp_path / "protocol.yaml"
    path.write_text(shipped.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_protocol(path)
    assert caught.value.file == path
    assert caught.value.line is not None
    if start is not None:
        assert caught.value.line == _line(path.read_text(encoding="utf-8"), start)
    assert caught.value.repair


@pytest.mark.parametrize("content", [b"", b"- 1\n", b"\xff\xfe\x00", b"{}"])
def test_a_file_that_is_no_protocol_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_protocol(path)
    assert caught.value.file == path


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_protocol(tmp_path / "nowhere.yaml")


def test_a_missing_field_is_named(tmp_path: Path, shipped: str) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text(shipped.replace("clip_norm: 1.0", ""), encoding="utf-8")
    with pytest.raises(UserError, match="clip_norm: Field required"):
        read_protocol(path)


def _digest(tmp_path: Path, text: str, *families: str) -> str:
    path = tmp_path / "protocol.yaml"
    path.write_text(text, encoding="utf-8")
    return read_protocol(path).digest(families or ["quest"])


def test_the_digest_is_of_the_content(tmp_path: Path, shipped: str) -> None:
    now = _digest(tmp_path, shipped)
    assert _digest(tmp_path, shipped + "\n# a remark\n") == now
    for old, new in (
        ("clip_norm: 1.0", "clip_norm: 2.0"),
        ("    knobs: {} # the task's", "    knobs: {slip: 0.5} # the task's"),
        ("    prompt: windowed", "    presets: {cpu: {slip: 0.5}}\n    prompt: windowed"),
        ("knobs: {horizon: 60", "knobs: {horizon: 61"),
    ):
        assert old in shipped
        assert _digest(tmp_path, shipped.replace(old, new, 1)) != now, new


def test_what_is_said_of_one_task_leaves_the_digests_of_others_alone(tmp_path: Path, shipped: str) -> None:
    """So that a task can be added, or a section of its own changed, without making records on other tasks stale."""
    for section in ("", "  lake: {knobs: {size: 5}}\n", "  lake: {prompt: history, presets: {cpu: {size: 6}}}\n"):
        assert _digest(tmp_path, _with_section(shipped, section)) == _digest(tmp_path, shipped)
    digests = {_digest(tmp_path, _with_section(shipped, f"  lake: {{knobs: {{size: {n}}}}}\n"), "lake") for n in (5, 6)}
    assert len(digests) == 2
    both = [
        _digest(tmp_path, _with_section(shipped, ""), *families) for families in (("quest", "lake"), ("lake", "quest"))
    ]
    assert both[0] == both[1]
    assert both[0] not in digests


def _with_section(text: str, section: str) -> str:
    """Replace what the protocol says of `lake`."""
    lines = text.splitlines(keepends=True)
    begin = lines.index("tasks:\n") + 1
    end = lines.index("\n", begin)
    starts = [i for i in range(begin, end) if lines[i].startswith("  ") and lines[i][2] != " "] + [end]
    kept = [line for i, j in itertools.pairwise(starts) if not lines[i].startswith("  lake:") for line in lines[i:j]]
    return "".join([*lines[:begin], *kept, section, *lines[end:]])


def test_what_is_evaluated_is_never_trained_on() -> None:
    protocol = read_protocol()
    for name, task in protocol.tasks.items():
        if find(name).evaluate_on is not None:  # rows of another split
            continue
        train, evaluation = (set(range(i.first_seed, i.first_seed + i.count)) for i in (task.train, task.evaluation))
        assert not train & evaluation


def test_a_task_s_name_turns_knobs() -> None:
    protocol = read_protocol()
    assert task_knobs(protocol, "cpu", "quest") == Knobs()
    assert task_knobs(protocol, "cpu", "quest-revisit=0-slip=0.2") == Knobs(revisit=0.0, slip=0.2)
    smoke = task_knobs(protocol, "smoke", "quest-forks=2")
    assert (smoke.horizon, smoke.forks) == (protocol.presets["smoke"].knobs["horizon"], 2)


@pytest.mark.parametrize(
    "task", ["maze", "quest-", "quest-revisit", "quest-revisit=", "quest-colour=1", "quest-slip=much", ""]
)
def test_a_name_that_is_no_task_is_refused(task: str) -> None:
    protocol = read_protocol()
    with pytest.raises(UserError, match="Repair"):
        task_knobs(protocol, "cpu", task)


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown preset.*smoke, cpu"):
        read_protocol().preset("huge")


def test_whole_knobs_stay_whole() -> None:
    assert TASK.make_knobs({"horizon": "40", "slip": 1}) == Knobs(horizon=40, slip=1.0)


def test_a_panel_is_the_instances_that_its_seeds_name() -> None:
    panel = build_panel("quest", Knobs(), (1000, 3), (5, 2))
    assert [w.name for w in (*panel.train, *panel.evaluation)] == [f"quest-{s}" for s in (1000, 1001, 1002, 5, 6)]
