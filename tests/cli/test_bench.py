"""`cairn bench`: both sides get the same credit, and what cannot be timed is named."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from tests.cli.conftest import Command

from cairn.lab.speed import Batch, Pair, Run, find_pairs, make_batch, measure

SMALL = ("--rows", "32", "--tokens", "12", "--pairs", "5")


def test_the_loop_of_the_paper_and_ours_give_the_same_credit(cairn: Command) -> None:
    outcome = cairn("bench", "credit", "gigpo", *SMALL, "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    (timing,) = found["timings"]
    assert timing["greatest_difference"] < 1e-5
    assert timing["ratio"] == pytest.approx(timing["theirs_s"] / timing["ours_s"])
    assert timing["least_ratio"] <= timing["greatest_ratio"]
    assert found["threads"] == 1
    assert found["versions"]["torch"] == torch.__version__


def test_the_table_names_versions_and_both_sides(cairn: Command) -> None:
    told = cairn("bench", "credit", "gigpo", *SMALL).out
    assert "GiGPO" in told
    assert f"torch {torch.__version__}" in told
    assert "medians of 5 runs" in told


def test_a_missing_package_is_named_with_its_repair(
    cairn: Command, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pair, "installed", property(lambda pair: pair.package is None))
    told = refused("bench", "credit", "grpo", *SMALL)
    assert "verl==" in told
    assert "nox -s bench-credit" in told
    partly = cairn("bench", "credit", "grpo", "gigpo", *SMALL)
    assert partly.code == 0
    assert "GRPO" not in partly.out
    assert "Left out, because not installed: verl==" in partly.err


@pytest.mark.parametrize(
    ("arguments", "told"), [(("nothing",), "nothing is timed for this id"), (("--rows", "24"), "not a multiple of 16")]
)
def test_bench_refuses(arguments: tuple[str, ...], told: str, refused: Callable[..., str]) -> None:
    assert told in refused("bench", "credit", *arguments)


def test_the_loop_cannot_be_timed_without_trl(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cairn.commands.bench._has_trl", lambda: False)
    assert "nox -s bench-loop" in refused("bench", "loop")


def test_a_slower_reference_has_a_ratio_above_one_and_a_wrong_one_shows() -> None:
    def prepare(batch: Batch) -> tuple[Run, Run]:
        def slow() -> torch.Tensor:
            for _ in range(200):
                result = batch.values + 1
            return result

        return lambda: batch.values, slow

    batch = make_batch(16, 64)
    threads = torch.get_num_threads()
    timing = measure(Pair("test", "itself", None, prepare), batch, 5)
    assert timing.ratio > 2
    assert len(timing.ratios) == 5
    assert timing.difference == pytest.approx(1.0)
    assert torch.get_num_threads() == threads


def test_the_batch_has_holes_unequal_lengths_and_a_reward_at_each_last_action_token() -> None:
    batch = make_batch(32, 50)
    counts, paid = batch.mask.sum(1), batch.rewards != 0
    assert counts.unique().numel() > 5
    assert (batch.mask[:, 1:] & ~batch.mask[:, :-1]).any(1).sum() > 20
    assert (paid.sum(1) == 1).all()
    assert not (paid & ~batch.mask).any()


def test_every_script_declares_its_pairs() -> None:
    pairs = [pair for all_ in find_pairs().values() for pair in all_]
    assert len({pair.name for pair in pairs}) == len(pairs)
