"""The fidelity tables in the repository: today's code plays the same panels and gives the credit that is drawn."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import pytest
import torch

from cairn.evidence.fidelity import FidelityTable, fidelity_root, read_tables
from cairn.lab.credit_panel import CreditPanel, make_panel
from cairn.lab.fidelity_table import Gauge, baseline, describe_rule, rules
from cairn.lab.model import quiet
from cairn.lab.plan import preset_model
from cairn.lab.protocol import family_of, read_protocol
from cairn.lab.xray import describe_panel, provenance_of

TABLES = read_tables(fidelity_root())
MOST_MOVED = 0.1  # root mean squares: on another machine, rounding may let a single continuation end differently


@pytest.fixture(scope="module", autouse=True)
def _one_quiet_thread() -> None:
    torch.set_num_threads(1)
    quiet()


@lru_cache(maxsize=1)
def panel_of(task: str) -> CreditPanel:
    protocol, preset = read_protocol(), TABLES[task].panel.preset
    return make_panel(protocol, preset, task, preset_model(protocol, preset, family_of(task)))


def gauge_of(table: FidelityTable) -> Gauge:
    panel = panel_of(table.panel.task)
    return Gauge(panel, provenance_of(read_protocol(), panel), table.panel.draws)


@pytest.mark.parametrize("task", TABLES)
def test_the_panel_is_the_one_that_is_played_today(task: str) -> None:
    table = TABLES[task]
    now = describe_panel(panel_of(task), baseline(), table.panel.draws)
    repair = f"the panel has moved: run cairn fidelity --task {task} --out reproductions/fidelity"
    assert now.model_copy(update={"xray": table.panel.xray}) == table.panel, repair
    assert [(turn.sees, turn.said, turn.fork) for turn in now.xray.turns] == [
        (turn.sees, turn.said, turn.fork) for turn in table.panel.xray.turns
    ]
    for turn, kept in zip(now.xray.turns, table.panel.xray.turns, strict=True):
        assert turn.exact == pytest.approx(kept.exact, abs=1e-6)


@pytest.mark.parametrize("task", TABLES)
def test_rows_belong_to_their_panel_to_todays_rules_and_to_a_clean_commit(task: str) -> None:
    table = TABLES[task]
    known = rules(panel_of(task))
    for row in table.rows:
        assert not table.stale(row), row.rule
        assert row.spec == json.loads(json.dumps(describe_rule(known[row.rule]))), row.rule  # as a file holds it
        assert row.provenance.dirty is False, row.rule


@pytest.mark.parametrize("task", TABLES)
def test_rules_give_the_credit_that_is_drawn(task: str) -> None:
    """Rules that learn are left out: their models would have to be fitted first."""
    table, compared = TABLES[task], 0
    gauge, known = gauge_of(table), rules(panel_of(task))
    for row in table.rows:
        if row.reason is None and not known[row.rule].learns:
            credit, _ = gauge.xray(known[row.rule], table.panel.xray.trajectory)
            moved = np.abs(np.array(credit) - np.array(row.xray)).mean()
            assert moved <= MOST_MOVED * row.unit, f"{row.rule}: run cairn fidelity --task {task} again"
            compared += 1
    assert compared
