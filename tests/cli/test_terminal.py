"""How commands speak."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from tests.cli.conftest import Command
from tests.evidence.samples import sample_claim, sample_experiment, sample_records

from cairn.cli import app, run_script
from cairn.commands.numbers import amount, duration, interval
from cairn.commands.report_tables import print_report, print_reports
from cairn.commands.terminal import add, output, print_error, printable, table
from cairn.commands.watching import LiveWatcher
from cairn.errors import UserError
from cairn.evidence.explanations import attempts
from cairn.evidence.records import read_records
from cairn.evidence.report import build_report, read_report
from cairn.evidence.summary import Estimate

COMMANDS = ["list", "show", "cite", "export", "validate", "new", "diff", "recommend", "power", "run", "report", "audit",
            "difficulty", "fidelity", "xray", "tasks", "credit", "bench", "site", "model"]  # fmt: skip


def test_every_command_is_there_and_has_help(cairn: Command) -> None:
    overview = cairn("--help").out
    for name in COMMANDS:
        assert f" {name} " in overview
        helped = cairn(name, "--help")
        assert helped.code == 0
        assert "Usage" in helped.out
    assert len(app.registered_commands) + len(app.registered_groups) == len(COMMANDS)


@pytest.mark.parametrize(
    "name",
    [
        "list",
        "show",
        "validate",
        "power",
        "run",
        "report",
        "audit run",
        "audit literature",
        "tasks",
        "credit",
        "difficulty",
        "fidelity",
        "xray",
    ],
)
def test_what_a_program_would_read_has_json(name: str, cairn: Command) -> None:
    assert "--json" in cairn(*name.split(), "--help").out


def test_an_error_is_printed_once_and_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(UserError("[bold]a\x1b[31m[/bold]", file="f.yaml", line=3, repair="mend it"))
    assert capsys.readouterr().err == "Error: f.yaml:3: [bold]a\ufffd[31m[/bold]. Repair: mend it\n"


def test_text_of_strangers_is_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    rows = table("name [red]")
    add(rows, "[bold]x[/bold] :smile: \x1b]0;title\x07")
    output().print(rows)
    printed = capsys.readouterr().out
    assert "name [red]" in printed
    assert "[bold]x[/bold] :smile: " in printed
    assert "\x1b" not in printed


def test_printable_keeps_lines_and_letters() -> None:
    assert printable("a\tβ\n\x00\u202e") == "a\tβ\n\ufffd\ufffd"


def test_numbers() -> None:
    full = Estimate(estimate=0.7123, low=0.65, high=0.77, n=5)
    assert interval(full) == "0.712 [0.650, 0.770]"
    assert interval(full, signed=True, mark="*", gap="\n") == "+0.712*\n[+0.650, +0.770]"
    assert interval(Estimate(estimate=0.5, low=None, high=None, n=1)) == "0.500"
    assert interval(None) == "–"
    assert [amount(one) for one in (9.6, 9999, 12_345, 2.5e9)] == ["10", "9,999", "12.3 k", "2.5 G"]
    assert [duration(one) for one in (4.21, 42.4, 200)] == ["4.2 s", "42 s", "0:03:20"]


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal_and_lose_nothing(finished: Path, width: int) -> None:
    report = read_report(finished / "report.json")
    stream = io.StringIO()
    console = Console(file=stream, width=width, markup=False, highlight=False)
    print_report(console, report)
    print_reports(console, [report, report])
    text = stream.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    joined = re.sub(r"\s", "", text)
    for found in (*report.claims, *report.checks):
        assert re.sub(r"\s", "", found.claim.text) in joined
    for arm in report.arms:
        first = arm.arm.split("-")[0]
        assert re.search(rf"^{first}", text, flags=re.MULTILINE), arm.arm
        final = arm.success["final_success"].iqm
        assert f"{final.estimate:.3f}" in text
        assert f"[{final.low:.3f}, {final.high:.3f}]" in text
    assert "do not reproduce the paper's benchmark numbers" in " ".join(text.split())


def test_a_finding_stands_once_behind_the_open_verdicts_that_it_looks_into() -> None:
    claims = tuple(sample_claim(name, arm="baseline", control="paper") for name in ("denied", "refused", "puzzling"))
    report = build_report(sample_experiment(claims=claims), sample_records(), 1)
    looking = sample_claim("wider", explains=(f"{report.id}#denied", f"{report.id}#refused"))
    study = build_report(sample_experiment(claims=(looking,)), sample_records(), 1)
    stream = io.StringIO()
    print_report(Console(file=stream, width=200), report, attempts([study]))
    text = " ".join(stream.getvalue().split())
    assert text.count(f"{study.id}#wider") == 1
    assert f"denied, refused: {looking.text} supported, +" in text
    assert "puzzling: nothing yet" in text


def test_the_live_display_shows_running_cells_and_drops_finished_ones(finished: Path) -> None:
    record = read_records(finished / "results")[0]
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with LiveWatcher(console, updates=4) as watching:
        watching.planned(22, 3)
        watching.advanced(record.task, record.arm, record.seed, 2, 0.25)
        shown = _drawn(watching)
        assert "3 of 22" in shown
        assert f"{record.task} {record.arm} s{record.seed}" in shown
        assert "update 2, success 0.250" in shown
        watching.done(record)
        watching.done(record.model_copy(update={"status": "failed", "reason": "out of [memory]", "seed": 7}))
        assert "5 of 22" in _drawn(watching)
        assert record.arm not in _drawn(watching)
    assert "out of [memory]" in console.file.getvalue()  # type: ignore[attr-defined]


def _drawn(watching: LiveWatcher) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(watching._live.renderable)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_a_script_refuses_as_the_command_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from cairn.lab.experiment import load_reproduction

    monkeypatch.setattr("sys.argv", ["reproduce.py", "--preset", "smok", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        run_script(load_reproduction("gigpo"))
    assert end.value.code == 2
    assert "unknown preset" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
