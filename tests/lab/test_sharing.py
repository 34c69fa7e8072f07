"""Cells of one process: what they do alike is done once, and each finds what it would find by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cairn.evidence.records import Record, stable_bytes
from cairn.lab import cell as cells
from cairn.lab.cell import attempt, specify
from cairn.lab.controls import ShuffledCredit
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.fidelity import CreditSource
from cairn.lab.keeping import Kept
from cairn.lab.loop import Trainer
from cairn.lab.plan import Plan, in_common
from cairn.lab.protocol import Protocol, read_protocol
from cairn.lab.scorers import Trained
from cairn.method import Method
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.pure import PURE
from cairn.methods.spa_rl import SPARL
from cairn.methods.turn_ppo import TurnPPO

PLAIN = Arm("grpo", "control", "The control.", GRPO())
EQUAL = Arm("equal", "control", "The control, with a budget.", GRPO(), spends_like="paper")
CRITIC = Arm("paper", "method", "It fits a critic.", PPOGAE())
SHUFFLED = Arm("shuffled", "null", "Its credit, misplaced.", PPOGAE(), null=ShuffledCredit())
UPDATES = 4


@pytest.fixture
def protocol() -> Protocol:
    """The protocol with a preset of a second a cell, whose curve has points at 2 and 4 updates."""
    changes = {
        "updates": UPDATES, "evaluate_every": 2, "knobs": {"horizon": 8, "forks": 1, "fog": 0.0},
        "fidelity_rollouts": 2,
    }  # fmt: skip
    preset = read_protocol().preset("smoke").model_copy(update=changes)
    return read_protocol().model_copy(update={"presets": {"tiny": preset}})


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Begin with nothing kept, and count updates of trainers and rules that are prepared for their fidelity."""
    counts = {"updates": 0, "prepared": 0}
    step, prepare = Trainer.step, CreditSource.prepare

    def counting_step(self: Trainer, update: int) -> dict[str, float]:
        counts["updates"] += 1
        return step(self, update)

    def counting_prepare(*args: Any) -> None:
        counts["prepared"] += 1
        prepare(*args)

    _forget(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", counting_step)
        patch.setattr(CreditSource, "prepare", counting_prepare)
        yield counts


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_TRAINERS", Kept())
    monkeypatch.setattr(cells, "_JUDGED", Kept())


def _run(protocol: Protocol, arm: Arm, budget: float | None = None, seed: int = 101, task: str = "quest") -> Record:
    reproduction = Reproduction("toy", "A toy", (task,), (arm,), ())
    plan = Plan(reproduction, protocol, "tiny", (seed,), "cpu", Path("nowhere"), resume=False, workers=1)
    *_, record = attempt(specify(plan.setup(task), arm, task, seed, budget))
    assert isinstance(record, Record)
    assert record.status == "ok", record.reason
    return record


def test_an_arm_of_a_larger_budget_goes_on_where_the_last_one_ended(
    protocol: Protocol, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _run(protocol, PLAIN)
    budget = 2.4 * plain.ledger.flops
    together = _run(protocol, EQUAL, budget)
    shared = counted["updates"]
    _forget(monkeypatch)
    alone = _run(protocol, EQUAL, budget)
    assert shared == counted["updates"] - shared, "the first arm's updates are not made again"
    assert stable_bytes(together) == stable_bytes(alone)
    assert together.curve[: len(plain.curve)] == plain.curve
    assert together.ledger.seconds >= plain.ledger.seconds - plain.host.seconds + together.host.seconds
    assert together.ledger.seconds > together.host.seconds, "what was spared counts as its own"
    assert alone.ledger.seconds == alone.host.seconds


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_budget_that_is_spent_already_begins_anew(
    protocol: Protocol, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = share * _run(protocol, PLAIN).ledger.flops
    together = _run(protocol, EQUAL, budget)
    _forget(monkeypatch)
    assert stable_bytes(together) == stable_bytes(_run(protocol, EQUAL, budget))
    assert together.curve[-2].flops < budget <= together.curve[-1].flops


def test_a_point_at_the_end_of_a_budget_is_none_of_a_larger_one(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first budget ends after three updates, between two points of the curve."""
    plain = _run(protocol, PLAIN)
    odd = _run(protocol, EQUAL, 0.7 * plain.ledger.flops)
    assert [point.update for point in odd.curve] == [0, 2, 3]
    together = _run(protocol, EQUAL, 1.2 * plain.ledger.flops)
    assert 3 not in [point.update for point in together.curve]
    _forget(monkeypatch)
    assert stable_bytes(together) == stable_bytes(_run(protocol, EQUAL, 1.2 * plain.ledger.flops))


@pytest.mark.parametrize(
    "change", [{"learning_rate_factor": 2.0}, {"null": ShuffledCredit()}, {"method": GRPO(scale_by_std=False)}]
)
def test_an_arm_that_differs_in_more_than_its_budget_begins_anew(
    protocol: Protocol, change: dict[str, object], counted: dict[str, int]
) -> None:
    _run(protocol, PLAIN)
    _run(protocol, dataclasses.replace(PLAIN, name="other", **change))  # type: ignore[arg-type]
    assert counted["updates"] == 2 * UPDATES
    _run(protocol, PLAIN, seed=102)
    assert counted["updates"] == 3 * UPDATES


@pytest.mark.parametrize("method", [PPOGAE(), TurnPPO(), SPARL()])
def test_a_control_of_the_same_rule_does_not_fit_it_again(
    protocol: Protocol, method: Method, counted: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    critic, shuffled = (dataclasses.replace(arm, method=method) for arm in (CRITIC, SHUFFLED))
    first = _run(protocol, critic)
    together = _run(protocol, shuffled)
    assert counted["prepared"] == 1
    _forget(monkeypatch)
    assert stable_bytes(together) == stable_bytes(_run(protocol, shuffled))
    assert together.fidelity != first.fidelity, "the control does what it does all the same"
    assert together.ledger.seconds > together.host.seconds
    again = _run(protocol, critic)
    assert stable_bytes(again) == stable_bytes(first), "nor does it matter who comes first"


@pytest.mark.parametrize("seed", [101, 102])
def test_another_rule_or_seed_is_fitted_anew(protocol: Protocol, seed: int, counted: dict[str, int]) -> None:
    _run(protocol, CRITIC)
    _run(protocol, dataclasses.replace(SHUFFLED, method=PPOGAE(lambda_=0.5 if seed == 101 else 0.95)), seed=seed)
    assert counted["prepared"] == 2


def test_what_a_scorer_learns_is_billed_to_each_cell(protocol: Protocol, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = Trained(rollouts_each=2, steps=2, tokens_in_step=512)
    arm = Arm("paper", "method", "It pays for a verifier.", PURE(), scorer=scorer)
    shuffled = dataclasses.replace(arm, name="shuffled", role="null", null=ShuffledCredit())
    first, together = (_run(protocol, one, task="chain") for one in (arm, shuffled))
    _forget(monkeypatch)
    assert stable_bytes(together) == stable_bytes(_run(protocol, shuffled, task="chain"))
    assert together.fidelity["flops"] == first.fidelity["flops"]


def test_a_thing_is_kept_for_one_taker_under_its_own_key() -> None:
    kept: Kept[str] = Kept()
    assert kept.take("one") is None
    kept.put("one", "first", 1.5)
    assert kept.take("other") is None
    assert kept.take("one") == ("first", 1.5)
    assert kept.take("one") is None
    kept.put("one", "first", 1.5)
    kept.put("two", "second", 0.5)
    assert kept.take("one") is None
    assert kept.take("two") == ("second", 0.5)


def test_slots_have_the_more_in_common_the_more_of_their_work_is_the_same() -> None:
    here = CRITIC, "quest", 101
    assert in_common(here, None) == 0
    assert in_common(here, (CRITIC, "quest", 102)) == 0
    assert in_common(here, (CRITIC, "lake", 101)) == 0
    assert 0 < in_common(here, (PLAIN, "quest", 101)) < in_common(here, (SHUFFLED, "quest", 101))
