"""Turn-PPO: what it becomes, and what length does not change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cairn.evidence.rollout_format import TOKEN_FIELDS
from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.turn_ppo import TurnPPO
from cairn.ops.returns import returns_to_go
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LISTS = ("tokens", *TOKEN_FIELDS)
LAYOUTS: tuple[Layout, ...] = ("turn", "episode")
# kl_coefficient 0: what is compared are ratios.
PAPER = TurnPPO(kl_coefficient=0.0)


def _one_token_turns() -> list[RolloutRow]:
    """The sample batch with every turn cut to its first token, and turns without one left out."""
    rows = []
    for row in sample_rollouts():
        spoken = [turn for turn in row.turns if turn.tokens]
        turns = tuple(turn.model_copy(update={name: getattr(turn, name)[:1] for name in LISTS}) for turn in spoken)
        rows.append(row.model_copy(update={"turns": turns}))
    return rows


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_turns_of_one_token_it_is_ppo_with_gae(layout: Layout, whiten: bool) -> None:
    rollouts = to_rollouts(_one_token_turns(), layout)
    ours = TurnPPO(gamma=0.9, lambda_=0.7, whiten=whiten)
    theirs = PPOGAE(gamma=0.9, lambda_=0.7, whiten=whiten)
    credit = ours.credit(rollouts)
    torch.testing.assert_close(credit.advantages, theirs.credit(rollouts).advantages, atol=1e-12, rtol=0)
    logprobs = rollouts.logprobs_behaviour * 0.9
    torch.testing.assert_close(ours.loss(logprobs, rollouts, credit), theirs.loss(logprobs, rollouts, credit))


def test_with_lambda_one_it_is_the_return_to_go_less_the_value() -> None:
    spoken = [row.model_copy(update={"turns": tuple(t for t in row.turns if t.tokens)}) for row in sample_rollouts()]
    rollouts = to_rollouts(spoken)
    returns = returns_to_go(rollouts.turn_rewards, rollouts.terminal_rewards, rollouts.turn_mask, 0.9)
    wanted = returns - rollouts.first_of_turns(rollouts.require("values"))
    got = TurnPPO(gamma=0.9, lambda_=1.0, whiten=False).credit(rollouts).advantages
    torch.testing.assert_close(got, rollouts.spread_turns(wanted), atol=1e-12, rtol=0)


def _long_first_turn(tokens: int) -> Rollouts:
    """Two turns, of which the first is so long; V is 0.5 before each turn, and 9 inside."""
    first = {"tokens": ["t"] * tokens, "values": [0.5] + [9.0] * (tokens - 1)}
    turns = [first, {"tokens": ["t"], "values": [0.5]}]
    return to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 1, "turns": turns})])


def test_the_length_of_a_turn_changes_nothing_where_it_decays_the_credit_of_tokens() -> None:
    turn, token = TurnPPO(gamma=1.0, whiten=False), PPOGAE(lambda_=0.9, whiten=False)
    short, long = _long_first_turn(1), _long_first_turn(21)
    assert float(turn.credit(short).advantages[0, 1]) == pytest.approx(0.45)  # 0.9 * 0.5
    assert float(turn.credit(long).advantages[0, 1]) == pytest.approx(0.45)
    flat = long.replace(values=torch.full_like(long.require("values"), 0.5))
    assert float(token.credit(short).advantages[0, 1]) == pytest.approx(0.45)
    assert float(token.credit(flat).advantages[0, 1]) == pytest.approx(0.9**21 * 0.5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("ratio", "value"), [("product", 4.0), ("geometric_mean", 2.0)])
def test_the_ratio_is_that_of_the_turn(layout: Layout, ratio: str, value: float) -> None:
    """Both tokens twice as likely as when sampled, advantage -1: nothing is clipped, the turn counts once."""
    turn = {"tokens": ["a", "b"], "logprobs": [-1, -2], "reference_logprobs": [-1, -2], "values": [1, 9]}
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 0, "turns": [turn]})], layout)
    method = TurnPPO(ratio="product" if ratio == "product" else "geometric_mean", whiten=False, kl_coefficient=0.0)
    logprobs = (rollouts.logprobs_behaviour + math.log(2) * rollouts.action_mask).requires_grad_()
    loss = method.loss(logprobs, rollouts, method.credit(rollouts))
    assert loss.item() == pytest.approx(value)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    share = 1.0 if ratio == "product" else 0.5
    assert gradient[rollouts.action_mask].tolist() == pytest.approx([value * share] * 2)


def test_a_ratio_outside_the_clip_stops_the_whole_turn() -> None:
    """Token ratios 1.15 each are inside 0.2 and their product 1.3225 is not: PPO by token goes on, this stops."""
    turn = {"tokens": ["a", "b"], "logprobs": [-1, -2], "values": [0, 0]}
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 1, "turns": [turn]})])
    logprobs = (rollouts.logprobs_behaviour + math.log(1.15) * rollouts.action_mask).requires_grad_()
    for method, moved in ((PAPER, False), (TurnPPO(ratio="geometric_mean", kl_coefficient=0.0), True)):
        credit = type(method)(whiten=False).credit(rollouts)
        (gradient,) = torch.autograd.grad(method.loss(logprobs, rollouts, credit), logprobs)
        assert bool(gradient.any()) is moved


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_turn_counts_once_in_the_loss_whatever_its_length(layout: Layout) -> None:
    """Advantages -2 (three tokens) and 0 (one token), ratio 1: the mean over turns is 1, over tokens 1.5."""
    turns = [{"tokens": ["t"] * n, "logprobs": [-1] * n, "values": [v] + [9] * (n - 1)} for n, v in ((3, 2), (1, 0))]
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 0, "turns": turns})], layout)
    method = TurnPPO(gamma=0.0, whiten=False, kl_coefficient=0.0)
    loss = method.loss(rollouts.logprobs_behaviour, rollouts, method.credit(rollouts))
    assert loss.item() == pytest.approx(1.0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_critic_is_fitted_to_the_lambda_return_before_each_turn_alone(layout: Layout) -> None:
    class Recorder(Playback):
        def fit_critic(self, rollouts: Rollouts, targets: Tensor) -> float:
            self.seen = targets[rollouts.action_mask].tolist()
            return super().fit_critic(rollouts, targets)

    turns = [{"tokens": ["a", "b"], "values": [0.5, 9.0], "reward": 2}, {"tokens": ["c"], "values": [0.25]}]
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 1, "turns": turns})], layout)
    services = Recorder(rollouts, TurnPPO.needs)
    TurnPPO(gamma=0.5, lambda_=0.5).fit(rollouts, services)
    # 1;  2 + 0.5 * (0.5 * 0.25 + 0.5 * 1)
    assert services.seen == pytest.approx([2.3125, 1.0])
