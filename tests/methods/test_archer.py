"""ArCHer: what its heads learn, which of them counts, what is trained, and what its critic is fitted on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cairn.interchange import Layout, Playback, RolloutRow, to_rollouts
from cairn.method import ActionValues
from cairn.methods.archer import ArCHer, temporal_targets, utterance_advantages
from cairn.ops.returns import returns_to_go
from cairn.rollouts import Rollouts
from cairn.testing import sample_rollouts

LAYOUTS: tuple[Layout, ...] = ("turn", "episode")


def test_the_lower_head_counts_for_actions_and_for_states() -> None:
    values = ActionValues(torch.tensor([[[3.0, 2.0], [1.0, 5.0]]]), torch.tensor([[[0.5, 4.0], [2.0, 1.5]]]))
    assert utterance_advantages(values).tolist() == [[1.5, -0.5]]  # 2 - 0.5;  1 - 1.5


def test_what_the_heads_learn_by_hand() -> None:
    """Three turns, of which the second is silent: the state after the first is that before the third."""
    spoken = torch.tensor([[True, False, True]])
    lagging = ActionValues(torch.tensor([[[1.0, 2], [9, 9], [3, 4]]]), torch.tensor([[[5.0, 6], [9, 9], [7, 8]]]))
    found = temporal_targets(torch.tensor([[0.25, 0.0, 1.0]]), spoken, lagging, 0.5)
    # 0.25 + 0.5 * 7 and 0.25 + 0.5 * 8;  the last turn is followed by nothing
    assert found.actions.tolist() == [[[3.75, 4.25], [0, 0], [1, 1]]]
    assert found.states.tolist() == [[[1, 2], [0, 0], [3, 4]]]


def test_one_rollout_gets_what_the_released_code_gives_it() -> None:
    """From YifeiZhou02/ArCHer at 7c771a7, archer/algorithms/archer/trainer.py, run with these numbers in float64.

    `critic_loss` gave 0.946925 and `actor_loss` 0.15, for utterances of log-probs -1, -2.5 and -0.5.
    """
    now = _values([[0.3, 0.1], [0.7, 0.9], [0.2, 0.6]], [[0.4, 0.2], [0.5, 0.8], [0.3, 0.1]])
    lagging = _values([[0.6, 0.5], [0.1, 0.4], [0.8, 0.9]], [[0.2, 0.3], [0.9, 0.7], [0.5, 0.4]])
    rewards, spoken = torch.tensor([[0.0, 0.25, 1.0]], dtype=torch.float64), torch.ones(1, 3, dtype=torch.bool)
    targets = temporal_targets(rewards, spoken, lagging, 0.95)
    errors = ((one - other).square().mean((0, 1)).sum() for one, other in zip(now, targets, strict=True))
    assert float(sum(errors)) == pytest.approx(0.946925, abs=1e-12)
    turns = [{"tokens": ["t"], "logprobs": [p]} for p in (-1, -2.5, -0.5)]
    rollouts = to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 0, "turns": turns})])
    method, scored = ArCHer(warm_up=0), rollouts.replace(turn_scores=utterance_advantages(now))
    loss = method.loss(rollouts.logprobs_behaviour, scored, method.credit(scored))
    assert float(loss) == pytest.approx(0.15, abs=1e-12)


def _values(actions: list[list[float]], states: list[list[float]]) -> ActionValues:
    return ActionValues(*(torch.tensor([each], dtype=torch.float64) for each in (actions, states)))


@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_values_that_are_the_return_to_go_stay_what_they_are(gamma: float) -> None:
    """Where every turn is followed by one course of things, the return-to-go solves the equations of the targets."""
    rows = [row.model_copy(update={"turns": tuple(t for t in row.turns if t.tokens)}) for row in sample_rollouts()]
    rollouts = to_rollouts(rows)
    returns = returns_to_go(rollouts.turn_rewards, rollouts.terminal_rewards, rollouts.turn_mask, gamma)
    both = returns[..., None].expand(*returns.shape, 2)
    rewards = rollouts.sum_over_turns(rollouts.token_rewards())
    found = temporal_targets(rewards, rollouts.turn_mask, ActionValues(both, both), gamma)
    torch.testing.assert_close(found.actions, both, atol=1e-12, rtol=0)
    assert utterance_advantages(found).abs().max() < 1e-12


def _two_turns(layout: Layout = "turn") -> Rollouts:
    turns = [{"tokens": ["t"] * n, "logprobs": [-1] * n, "values": v} for n, v in ((3, [0.5, 9, 2.5]), (1, [1.0]))]
    return to_rollouts([RolloutRow.model_validate({"group": "g", "reward": 0, "turns": turns})], layout)


def _collected(method: ArCHer, rollouts: Rollouts) -> Rollouts:
    return method.collect(Playback(rollouts, method.needs)).declare(method.needs)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_loss_is_the_policy_gradient_of_utterances(layout: Layout) -> None:
    """Advantages 2.5 - 0.5 = 2 and 0: each token of the first turn is moved by 2, shared by two turns; no ratio."""
    method = ArCHer(warm_up=0, kl_coefficient=9.0)
    rollouts = _collected(method, _two_turns(layout))
    logprobs = (rollouts.logprobs_behaviour * 3).requires_grad_()
    loss = method.loss(logprobs, rollouts, method.credit(rollouts))
    assert loss.item() == pytest.approx(2 * 9 / 2)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    assert gradient[rollouts.action_mask].tolist() == [-1, -1, -1, 0]


def test_the_policy_waits_for_the_critic() -> None:
    method = ArCHer(warm_up=3)
    rollouts = _collected(method, _two_turns())
    trained = []
    for _ in range(5):
        trained.append(bool(method.credit(rollouts).trained(rollouts.action_mask).any()))
        rollouts = rollouts.replace(memory=method.remember(rollouts))
    assert trained == [False, False, False, True, True]


class _Recorder(Playback):
    """Notes what the critic is fitted on. What is stored earned 10 more; the lagging twin says double."""

    def __init__(self, rollouts: Rollouts, needs: frozenset[str]) -> None:
        super().__init__(rollouts, needs)
        self.steps: list[tuple[list[bool], list[bool], float]] = []
        self.last: ActionValues | None = None

    def replay(self, count: int) -> tuple[Rollouts, ...]:
        return tuple(one.replace(terminal_rewards=one.terminal_rewards + 10) for one in super().replay(count))

    def action_values(self, rollouts: Rollouts, *, lagging: bool = False) -> ActionValues:
        said = super().action_values(rollouts)
        return ActionValues(2 * said.actions, 2 * said.states) if lagging else said

    def fit_action_values(
        self, rollouts: Rollouts, targets: ActionValues, teaches_states: Tensor, follow: float
    ) -> float:
        self.steps.append((teaches_states.tolist(), (rollouts.terminal_rewards > 5).tolist(), follow))
        self.last = targets
        return super().fit_action_values(rollouts, targets, teaches_states, follow)


def _fitted(method: ArCHer, rollouts: Rollouts) -> _Recorder:
    services = _Recorder(rollouts, method.needs)
    method.fit(_collected(method, rollouts), services)
    return services


@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_of_what_the_critic_learns_from_is_stored_and_teaches_actions_alone(layout: Layout) -> None:
    rollouts = to_rollouts(sample_rollouts(), layout)
    services = _fitted(ArCHer(critic_steps=7, critic_rollouts=6, follow=0.3), rollouts)
    assert len(services.steps) == 7
    for fresh, stored, follow in services.steps:
        assert sorted(fresh) == [False] * 3 + [True] * 3
        assert stored == [not one for one in fresh]
        assert follow == 0.3
    again = _fitted(ArCHer(critic_steps=7, critic_rollouts=6, follow=0.3), rollouts)
    assert again.steps == services.steps


def test_without_storage_the_critic_learns_from_the_newest_batch() -> None:
    services = _fitted(ArCHer(critic_steps=3, critic_rollouts=6, stored_updates=0), to_rollouts(sample_rollouts()))
    assert [step[:2] for step in services.steps] == [([True] * 6, [False] * 6)] * 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_critic_is_taught_by_the_lagging_values_of_the_next_state(layout: Layout) -> None:
    services = _fitted(ArCHer(critic_steps=1, critic_rollouts=1, stored_updates=0, gamma=0.5), _two_turns(layout))
    assert services.last is not None
    assert services.last.actions.tolist() == [[[1, 1], [0, 0]]]  # 0.5 * 2 * 1;  the return, 0
    assert services.last.states.tolist() == [[[5, 5], [2, 2]]]
