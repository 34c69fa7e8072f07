"""What `cairn bench continuations` counts."""

from __future__ import annotations

import json

import pytest
import torch
from tests.cli.conftest import call

from cairn.lab.speed_continuations import computed_places, count

BAR = 1.3  # computed places for each token that is new


def test_every_place_of_every_pass_counts_and_only_inside_the_block() -> None:
    network = torch.nn.Module()
    network.forward = lambda input_ids: input_ids
    network(input_ids=torch.zeros(2, 3))
    with computed_places(network) as passes:
        network(input_ids=torch.zeros(2, 3))
        network(input_ids=torch.zeros(4, 5))
    network(input_ids=torch.zeros(2, 3))
    assert passes == [6, 20]


def test_history_continuations_compute_little_more_than_what_is_new() -> None:
    found = count("quest", "history", 4, instances=1, group_size=4, seed=0)
    assert found.new < found.billed / 2  # prefixes are billed, and not new
    assert found.ratio <= BAR
    single = count("quest", "history", 1, instances=1, group_size=4, seed=0)
    assert 3.5 * single.new < found.new < 4.5 * single.new
    assert found.computed < 4 * single.computed  # a prefix is read once, however many go on from it


def test_windowed_continuations_are_sampled_from_the_table_of_the_batch() -> None:
    found = count("quest", "windowed", 2, instances=2, group_size=2, seed=0)
    assert found.computed == 0
    assert found.batch > 0
    assert found.new == found.billed


def test_the_command_prints_the_worst_of_its_batches() -> None:
    outcome = call("bench", "continuations", "2", "--instances", "1", "--group", "2", "--seeds", "2", "--json")
    assert outcome.code == 0
    counts = json.loads(outcome.out)["counts"]
    assert [one["prompt"] for one in counts] == ["windowed", "history"]
    for one in counts:
        assert one["ratio"] == pytest.approx(one["computed"] / one["new"])
        assert one["least_ratio"] <= one["ratio"]
