"""Marginal credit: who gets nothing, what the two readings of absence see, and what is left without it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from tests.lab.team import role_of
from torch import Tensor

from cairn.interchange import Layout, RolloutRow, to_rollouts
from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.model import LanguageModel, load
from cairn.lab.pretrain import embedded_model
from cairn.lab.services import Models, TabularServices
from cairn.lab.tasks import relay
from cairn.methods.grpo import GRPO
from cairn.methods.sharp import SHARP, owners_of, planner_credit
from cairn.rollouts import Rollouts

KNOBS = relay.Knobs(rounds=1)
SEED = 3


@pytest.fixture(scope="module")
def crew() -> LanguageModel:
    return load(embedded_model("relay"))


def _collected(crew: LanguageModel, method: SHARP, rollouts: int) -> tuple[Rollouts, Tensor, Ledger]:
    """Return a batch of one mission, each agent's marginal credit in it (R, A), and the bill."""
    ledger = Ledger()
    services = TabularServices(
        Models(crew, crew, None), prompt_form("windowed", crew.tokenizer, 4), ledger, method.needs,
        instances=[relay.build(KNOBS, SEED)], group_size=rollouts, seed=(5, 0),
    )  # fmt: skip
    batch = method.collect(services.door).replace(needs=None)
    owners = owners_of(batch)
    scores = batch.require("turn_scores")
    marginals = (owners * scores[..., None]).sum(1) / owners.sum(1)
    assert torch.equal(scores, (owners * marginals[:, None]).sum(-1)), "the turns of an agent differ in its credit"
    return batch, marginals, ledger


def _agents(role: str) -> list[int]:
    return role_of(relay.draw_plan(KNOBS, np.random.default_rng(SEED)), role)


@pytest.mark.parametrize("absence", ["speak_anew", "words_removed"])
def test_a_free_rider_gets_nothing_and_a_pivotal_agent_the_whole(
    crew: LanguageModel, absence: Literal["speak_anew", "words_removed"]
) -> None:
    batch, marginals, _ = _collected(crew, SHARP(absence=absence), 60)
    assert batch.returns.any()
    assert not marginals[:, _agents("idler")].any()
    for guard in _agents("guard"):
        assert torch.equal(marginals[:, guard], batch.returns)


def test_a_message_is_worth_something_only_if_its_receiver_speaks_anew(crew: LanguageModel) -> None:
    (scout,) = _agents("scout")
    _, anew, spoken = _collected(crew, SHARP(), 60)
    _, removed, unspoken = _collected(crew, SHARP(absence="words_removed"), 60)
    assert anew[:, scout].any()
    assert not removed[:, scout].any()
    assert spoken.generated_tokens > 4 * unspoken.generated_tokens
    assert torch.equal(anew[:, _agents("guard")[0]], removed[:, _agents("guard")[0]])


def test_shares_over_all_coalitions_sum_to_the_return_and_those_of_the_largest_do_not(crew: LanguageModel) -> None:
    batch, shares, _ = _collected(crew, SHARP(coalitions="all"), 20)
    torch.testing.assert_close(shares.sum(1), batch.returns, atol=1e-6, rtol=0)
    assert not shares[:, _agents("idler")].any()
    won = batch.returns > 0
    assert shares[won][:, _agents("twin")].sum() > 0
    _, marginals, _ = _collected(crew, SHARP(), 20)
    assert not torch.allclose(marginals.sum(1), batch.returns, atol=0.1)


@pytest.mark.parametrize("layout", ["turn", "episode"])
def test_without_its_marginal_part_it_is_grpo_where_all_agents_act(layout: Layout) -> None:
    acting = [["a", "b", "a"], ["b", "a"], ["a", "b", "b", "b"], ["b", "a"], ["a", "b"]]
    rows = [
        {"group": "xxxyy"[i], "reward": i % 3 / 2, "turns": [{"agent": agent, "tokens": ["t"]} for agent in agents]}
        for i, agents in enumerate(acting)
    ]
    rollouts = to_rollouts([RolloutRow.model_validate(row) for row in rows], layout)
    shape = rollouts.turn_rewards.shape
    rollouts = rollouts.replace(turn_scores=torch.linspace(-1, 1, shape.numel()).reshape(shape))
    plain = GRPO().credit(rollouts).advantages
    limit = SHARP(shared_weight=1.0, marginal_weight=0.0).credit(rollouts).advantages
    torch.testing.assert_close(limit, plain, atol=1e-12, rtol=0)
    assert not torch.allclose(SHARP().credit(rollouts).advantages, plain, atol=0.1)


def test_a_planner_has_the_mean_of_what_is_positive_among_its_workers() -> None:
    marginals = torch.tensor([[9.0, 1.0, -1.0, 0.5], [9.0, -1.0, 0.0, -0.5]])
    # (1 + 0 + 0.5) / 3 * 2 = 1;  0
    assert planner_credit(marginals, planner=0, scale=2.0).tolist() == [[1.0, 1.0, -1.0, 0.5], [0.0, -1.0, 0.0, -0.5]]
    assert planner_credit(marginals[:, :1], planner=0, scale=2.0).tolist() == [[0.0], [0.0]]
