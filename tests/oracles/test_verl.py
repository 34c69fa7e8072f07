"""Group comparisons, GAE, REINFORCE++ and clipped losses beside verl's own functions: `nox -s oracle-verl`.

Numbers are float64 on both sides. Where the two are meant to differ, the difference is asserted, too; the table in
docs/semantics.md shows it.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.oracles.batches import LONE_GROUP, SEEDS, assert_near, library, packed, random_batch
from tests.oracles.semantics import block_on_page, render
from torch import Tensor

from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.reinforce import REINFORCE_PLUS_PLUS, REINFORCE_PLUS_PLUS_BASELINE, RLOO, Reinforce
from cairn.ops.groups import leave_one_out
from cairn.ops.losses import log_ratios, masked_mean, mean_over_units, surrogate, through_tokens, unit_log_ratios
from cairn.ops.returns import discounted_suffix_sum, kl_penalised_rewards
from cairn.ops.whiten import whiten
from cairn.rollouts import Rollouts

verl: Any = library("verl.trainer.ppo.core_algos")
EXACT = 1e-9


def _estimate(name: str, rollouts: Rollouts, **arguments: Any) -> Tensor:
    """Return verl's advantages (B, T), in the layout and types that its trainer gives them."""
    estimator = verl.get_adv_estimator_fn(name)
    advantages, _ = estimator(
        token_level_rewards=arguments.pop("rewards", rollouts.token_rewards()),
        response_mask=rollouts.action_mask.double(),
        **arguments,
    )
    return torch.as_tensor(advantages)


def _prompts(rollouts: Rollouts) -> NDArray[np.object_]:
    return np.array([f"prompt {group}" for group in rollouts.group_ids.tolist()], dtype=object)


def _compared(rollouts: Rollouts) -> Tensor:
    return rollouts.group_ids != LONE_GROUP


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("name", ["grpo", "grpo_vectorized"])
@pytest.mark.parametrize("seed", SEEDS)
def test_grpo(seed: int, name: str, scale: bool) -> None:
    rollouts = random_batch(seed)
    theirs = _estimate(name, rollouts, index=_prompts(rollouts), norm_adv_by_std_in_grpo=scale)
    ours = GRPO(scale_by_std=scale).credit(rollouts).advantages
    rows = _compared(rollouts)
    # All-equal rewards agree up to rounding, of which the vectorised form has some in float32, over 1e-6.
    limit = EXACT if name == "grpo" else 0.02 if scale else 1e-5
    assert_near(ours[rows], theirs[rows], limit)
    alone = rollouts.action_mask[~rows] * rollouts.returns[~rows, None]
    assert not ours[~rows].any()
    assert_near(theirs[~rows], alone, 1e-5)


@pytest.mark.parametrize("name", ["rloo", "rloo_vectorized"])
@pytest.mark.parametrize("seed", SEEDS)
def test_leave_one_out(seed: int, name: str) -> None:
    rollouts = random_batch(seed)
    theirs = _estimate(name, rollouts, index=_prompts(rollouts))
    ours = rollouts.spread_rollouts(leave_one_out(rollouts.returns, rollouts.group_ids))
    rows = _compared(rollouts) if name == "rloo" else slice(None)  # the vectorised form gives a group of one 0, too
    assert_near(ours[rows], theirs[rows], EXACT)


@pytest.mark.parametrize(("gamma", "lambda_"), [(1.0, 1.0), (1.0, 0.95), (0.9, 0.5), (0.99, 0.0)])
@pytest.mark.parametrize("seed", SEEDS)
def test_gae(seed: int, gamma: float, lambda_: float) -> None:
    rollouts = random_batch(seed)
    theirs = _estimate("gae", rollouts, values=rollouts.require("values"), gamma=gamma, lam=lambda_)
    ours = PPOGAE(gamma=gamma, lambda_=lambda_).credit(rollouts).advantages
    assert_near(ours, theirs * rollouts.action_mask, EXACT)
    assert theirs[~rollouts.action_mask].any()  # verl leaves what it carries on the other tokens


@pytest.mark.parametrize("gamma", [1.0, 0.9])
@pytest.mark.parametrize("coefficient", [0.0, 0.1])
@pytest.mark.parametrize("seed", SEEDS)
def test_whitened_returns_with_kl_in_the_reward(seed: int, coefficient: float, gamma: float) -> None:
    rollouts = random_batch(seed)
    behaviour, reference = rollouts.logprobs_behaviour, rollouts.require("logprobs_reference")
    scores, mask = rollouts.token_rewards(), rollouts.action_mask
    penalised = scores - coefficient * verl.kl_penalty(behaviour, reference, "kl") * mask
    config = SimpleNamespace(gamma=gamma)
    theirs = _estimate("reinforce_plus_plus", rollouts, rewards=penalised, config=config)
    packing, _, _ = packed(rollouts)
    rewards = kl_penalised_rewards(scores, behaviour, reference, mask, coefficient)
    ours = whiten(packing.unpack(discounted_suffix_sum(packing.pack(rewards), gamma)), mask)
    assert_near(ours, theirs, EXACT)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("rloo", RLOO),
        ("reinforce_plus_plus", REINFORCE_PLUS_PLUS),
        ("reinforce_plus_plus_baseline", REINFORCE_PLUS_PLUS_BASELINE),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_each_configuration_of_returns_less_a_baseline(seed: int, name: str, method: Reinforce) -> None:
    # A group of one keeps its raw score in verl, which would move the mean of the whole batch: it is left out.
    whole = random_batch(seed)
    rollouts = whole.keep_rollouts(_compared(whole))
    beta = method.kl_coefficient if method.kl_place == "reward" else 0.0
    ratios = verl.kl_penalty(rollouts.logprobs_behaviour, rollouts.require("logprobs_reference"), "kl")
    arguments: dict[str, Any] = {"rewards": rollouts.token_rewards() - beta * ratios * rollouts.action_mask}
    arguments |= {"config": SimpleNamespace(gamma=method.gamma), "index": _prompts(rollouts)}
    ours = method.credit(method.reward(rollouts)).advantages
    assert_near(ours, _estimate(name, rollouts, **arguments), EXACT)


def test_the_page_shows_what_verl_gives_today() -> None:
    assert block_on_page("verl") == render("verl")


def _policies(seed: int, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    """Log-probs of a policy some way from the one that sampled, and advantages, both (B, T)."""
    rng = torch.Generator().manual_seed(seed)
    away, credit = (torch.randn(rollouts.token_ids.shape, generator=rng, dtype=torch.float64) for _ in range(2))
    return (rollouts.logprobs_behaviour + 0.3 * away).requires_grad_(), credit


# verl adds 1e-8 to the number of tokens of a response before it divides by it.
BY_RESPONSE = 5e-8


def _actor(low: float, high: float) -> Any:
    config: Any = library("verl.workers.config")
    arguments = {"clip_ratio": 0.2, "clip_ratio_low": low, "clip_ratio_high": high, "clip_ratio_c": 1.2}
    return config.ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **arguments)


def _assert_same_loss(ours: Tensor, theirs: Tensor, logprobs: Tensor, limit: float) -> None:
    assert_near(ours, theirs, limit)
    gradients = [torch.autograd.grad(loss, logprobs, retain_graph=True)[0] for loss in (ours, theirs)]
    assert_near(gradients[0], gradients[1], limit)
    assert gradients[0].any()


@pytest.mark.parametrize("mean", ["token-mean", "seq-mean-token-mean"])
@pytest.mark.parametrize("seed", SEEDS)
def test_asymmetric_and_dual_clip(seed: int, mean: str) -> None:
    rollouts = random_batch(seed)
    logprobs, advantages = _policies(seed, rollouts)
    behaviour, mask = rollouts.logprobs_behaviour, rollouts.action_mask
    arguments = (behaviour, logprobs, advantages, mask.double())
    theirs, _ = verl.compute_policy_loss_vanilla(*arguments, loss_agg_mode=mean, config=_actor(0.1, 0.28))
    per_token = surrogate(log_ratios(logprobs, behaviour).exp(), advantages, 0.1, 0.28, dual=1.2)
    if mean == "token-mean":
        _assert_same_loss(masked_mean(per_token, mask), theirs, logprobs, EXACT)
    else:
        ours = mean_over_units(per_token, mask, rollouts.units("rollout"))
        _assert_same_loss(ours, theirs, logprobs, BY_RESPONSE)


@pytest.mark.parametrize("seed", SEEDS)
def test_ratios_of_whole_responses(seed: int) -> None:
    rollouts = random_batch(seed)
    logprobs, advantages = _policies(seed, rollouts)
    behaviour, mask, units = rollouts.logprobs_behaviour, rollouts.action_mask, rollouts.units("rollout")
    arguments = (behaviour, logprobs, advantages, mask.double())
    theirs, _ = verl.compute_policy_loss_gspo(*arguments, loss_agg_mode="seq-mean-token-mean", config=_actor(0.05, 0.1))
    ratio = through_tokens(unit_log_ratios(logprobs, behaviour, mask, units, "mean"), logprobs).exp()
    ours = mean_over_units(surrogate(ratio, advantages, 0.05, 0.1), mask, units)
    _assert_same_loss(ours, theirs, logprobs, BY_RESPONSE)
