"""Two ranks under torchrun find the group statistics and the credit that one process finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.distributed.ranks import answers, part_of
from torch import Tensor

from cairn.interchange import to_rollouts
from cairn.rollouts import Rollouts
from cairn.testing.samples import sample_rollouts

RANKS = 2


def _parts(batch: Rollouts) -> dict[str, list[Tensor]]:
    """Return, for each case, the rollouts of each rank."""
    everyone = torch.arange(len(batch.group_ids))
    first = batch.group_ids == batch.group_ids[0]
    return {
        "groups-torn-apart": [everyone[0::2], everyone[1::2]],
        "uneven": [everyone[:2], everyone[2:]],
        "whole-groups": [everyone[first], everyone[~first]],
        "empty-rank": [everyone, everyone[:0]],
        "empty-first-rank": [everyone[:0], everyone],
    }


@pytest.fixture(scope="module")
def batch() -> Rollouts:
    """Logged rollouts, with what a `collect` stage may have found out about turns and tokens."""
    logged = to_rollouts(sample_rollouts())
    rng = torch.Generator().manual_seed(0)
    turns, tokens = (torch.rand(s, generator=rng).double() for s in (logged.turn_mask.shape, logged.token_ids.shape))
    imitated = torch.rand(len(logged.group_ids), generator=rng) < 0.5
    return logged.replace(turn_scores=turns, token_scores=tokens * logged.action_mask, imitated=imitated)


@pytest.fixture(scope="module")
def results(batch: Rollouts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what the ranks have answered."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save((batch, _parts(batch)), folder / "cases.pt")
    script = Path(__file__).with_name("ranks.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS)]
    roots = os.pathsep.join([str(script.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [*torchrun, str(script), str(folder / "cases.pt"), str(folder)],
        env={**os.environ, "PYTHONPATH": roots, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("case", ["groups-torn-apart", "uneven", "whole-groups", "empty-rank", "empty-first-rank"])
def test_two_ranks_find_what_one_process_finds(case: str, batch: Rollouts, results: Path) -> None:
    members = _parts(batch)[case]
    alone = answers(batch)
    for rank, index in enumerate(members):
        found = torch.load(results / f"{case}-{rank}.pt")
        assert set(found) == set(alone)
        part, rows = part_of(batch, index), (batch.row_rollout[None, :] == index[:, None]).nonzero()[:, 1]
        for name, wanted in alone.items():
            if name == "drawn":  # one draw for all ranks, in the order of the ranks
                continue
            mine = wanted[index] if wanted.ndim == 1 else wanted[rows][:, : part.token_ids.shape[1]]
            torch.testing.assert_close(found[name], mine, msg=name)


def test_what_is_drawn_is_drawn_once_for_all_ranks(batch: Rollouts, results: Path) -> None:
    whole = answers(batch)["drawn"]
    first, second = (torch.load(results / f"empty-{place}.pt")["drawn"] for place in ("rank-0", "first-rank-1"))
    torch.testing.assert_close(first, whole)
    torch.testing.assert_close(second, whole)


def test_ranks_that_collected_different_fields_are_told(results: Path) -> None:
    told = [(results / f"refused-{rank}").read_text() for rank in range(RANKS)]
    assert all("different fields" in one for one in told)
    assert ["entropies" in one for one in told] == [True, False]


def test_without_ranks_it_is_the_rule_itself(batch: Rollouts) -> None:
    assert not torch.distributed.is_initialized()
    assert answers(batch)["grpo"].shape == batch.token_ids.shape
