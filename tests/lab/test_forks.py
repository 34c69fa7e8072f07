"""Rollouts that leave others: what they take over, what they play, and what that costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.services import Models, TabularServices
from cairn.lab.task import Prompt
from cairn.method import Services
from cairn.ops.batches import concatenate, own_actions, select
from cairn.rollouts import Rollouts, UndeclaredNeedError

FORMS: tuple[Prompt, ...] = ("windowed", "history")
Open = Callable[..., tuple[TabularServices, Ledger]]


@pytest.fixture
def open_services(model: LanguageModel, panel: Panel) -> Open:
    def opened(form: Prompt, each: int = 3, update: int = 0, needs: str = "env_fork") -> tuple[TabularServices, Ledger]:
        ledger = Ledger()
        services = TabularServices(
            Models(model, model, None), prompt_form(form, model.tokenizer, 2), ledger,
            frozenset({needs, "mc_continuations", "oracle"}),
            instances=panel.train[:2], group_size=each, seed=(5, update),
        )  # fmt: skip
        return services, ledger

    return opened


def said(rollouts: Rollouts, rollout: int, turn: int) -> list[tuple[int, float]]:
    """Tokens and log-probs of a turn."""
    here = (rollouts.row_rollout == rollout)[:, None] & (rollouts.turn_ids == turn)
    return list(zip(rollouts.token_ids[here].tolist(), rollouts.logprobs_behaviour[here].tolist(), strict=True))


def every_turn(rollouts: Rollouts) -> tuple[Tensor, Tensor]:
    rollout, turn = rollouts.turn_mask.nonzero(as_tuple=True)
    return rollout, turn


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_fork_takes_over_the_turns_before_it_and_nothing_else(open_services: Open, form: Prompt, after: bool) -> None:
    services, _ = open_services(form)
    batch = services.rollouts()
    rollout, turn = every_turn(batch)
    forks = services.fork(batch, rollout, turn, after=after)
    assert forks.require("parent_ids").tolist() == batch.require("rollout_ids")[rollout].tolist()
    assert forks.require("fork_turns").tolist() == (turn + after).tolist()
    assert forks.group_ids.tolist() == batch.group_ids[rollout].tolist()
    ids = torch.cat([batch.require("rollout_ids"), forks.require("rollout_ids")])
    assert ids.unique().numel() == ids.numel()
    differ = 0
    for f in range(len(rollout)):
        taken_over = int(turn[f]) + after
        for k in range(batch.turn_mask.shape[1]):
            theirs, ours = said(batch, int(rollout[f]), k), said(forks, f, k)
            if k < taken_over:
                assert ours == theirs
                assert bool(forks.turn_mask[f, k])
            differ += k >= taken_over and ours != theirs
    assert differ > 0
    own = own_actions(forks)
    kept = forks.require("fork_turns")[forks.row_rollout][:, None]
    assert torch.equal(own, forks.action_mask & (forks.turn_ids >= kept))
    assert own.any()
    assert (forks.action_mask & ~own).any()


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_with_its_forks_is_one_batch(open_services: Open, form: Prompt) -> None:
    services, _ = open_services(form, needs="tree_rollouts")
    batch = services.door.rollouts()
    forks = services.door.fork(batch, torch.tensor([0, 0, 4]), torch.tensor([1, 2, 0]))
    tree = concatenate([batch, forks])
    assert tree.needs == batch.needs, "the gate stays"
    opened = tree.replace(needs=None)
    assert opened.group_ids.tolist() == [*batch.group_ids.tolist(), *forks.group_ids.tolist()]
    inner = forks.replace(needs=None)
    for f in range(3):
        assert said(opened, 6 + f, 0) == said(inner, f, 0)
    parents = opened.parent_ids
    assert parents is not None
    assert parents.tolist() == [-1] * 6 + [0, 0, 4]
    again = services.door.fork(tree, torch.tensor([7]), torch.tensor([2])).replace(needs=None)
    assert again.parent_ids is not None
    assert again.parent_ids.tolist() == [7], "forks are forked like the others"
    assert [said(again, 0, k) for k in range(2)] == [said(opened, 7, k) for k in range(2)]


def test_chosen_rollouts_keep_their_rows_and_may_be_copied(open_services: Open) -> None:
    services, _ = open_services("windowed")
    batch = services.rollouts()
    chosen = select(batch, torch.tensor([4, 1, 1]))
    for place, source in enumerate((4, 1, 1)):
        assert [said(chosen, place, k) for k in range(3)] == [said(batch, source, k) for k in range(3)]
    assert chosen.terminal_rewards.tolist() == batch.terminal_rewards[[4, 1, 1]].tolist()


@pytest.mark.parametrize("after", [False, True])
def test_returns_of_forks_have_the_exact_value_as_their_mean(open_services: Open, after: bool) -> None:
    """Golden: the backward recursion over states and turns; V before a turn, V + A after its action."""
    services, _ = open_services("windowed")
    batch = services.rollouts()
    rollout, turn = every_turn(batch)
    count = 200
    forks = services.fork(batch, rollout.repeat_interleave(count), turn.repeat_interleave(count), after=after)
    mean = forks.returns.reshape(-1, count).mean(1).double().numpy()
    handles = batch.require("state_handles")[rollout, turn].numpy()
    turns, state = np.divmod(handles, services.exact().values.shape[1])
    exact = services.exact().values[turns, state]
    if after:
        exact = exact + services.exact_advantages(batch)[rollout, turn].numpy()
    error = np.sqrt(np.maximum(exact * (1 - exact), 1e-3) / count)
    assert (np.abs(mean - exact) / error).max() < 4.5
    assert exact.std() > 0.05


def test_exact_credit_is_that_of_the_rollouts_that_are_asked_about(open_services: Open) -> None:
    services, _ = open_services("windowed")
    batch = services.rollouts()
    before = services.exact_advantages(batch)
    forks = services.fork(batch, torch.tensor([0, 1]), torch.tensor([3, 3]))
    assert torch.equal(services.exact_advantages(batch), before)
    assert torch.equal(services.exact_advantages(forks)[:, :3], before[:2, :3])
    chosen = batch.keep_rollouts(torch.tensor([False, True, True, False, False, True]))
    assert torch.equal(services.exact_advantages(chosen), before[[1, 2, 5]])
    assert np.array_equal(services.bifurcations(forks)[:, :3], services.bifurcations(batch)[:2, :3])


@pytest.mark.parametrize("form", FORMS)
def test_only_what_is_played_anew_is_billed_and_the_prefix_is_called_reused(open_services: Open, form: Prompt) -> None:
    """By hand, from the rows: a history row is read or said once; the prefix ends with the word before the turn."""
    services, ledger = open_services(form)
    batch = services.rollouts()
    assert ledger.reused_tokens == 0
    before = Ledger(**ledger.totals())  # type: ignore[arg-type]  # whole numbers stay whole
    rollout, turn = every_turn(batch)
    forks = services.fork(batch, rollout, turn)
    played = own_actions(forks)
    assert ledger.generated_tokens - before.generated_tokens == int(played.sum())
    assert ledger.environment_resets - before.environment_resets == len(rollout)
    steps = forks.turn_mask.sum(1) - turn
    assert ledger.environment_steps - before.environment_steps == int(steps.sum())
    length = forks.attention_mask.sum(1)
    read = ledger.prompt_tokens - before.prompt_tokens + ledger.generated_tokens - before.generated_tokens
    if form == "windowed":
        assert ledger.reused_tokens == 0
        assert read == int(length[played.any(1)].sum())
        return
    assert read == int(length.sum())
    prefix = [
        int(((batch.turn_ids[r] == k - 1).nonzero().max() + 1).item()) if k else 0
        for r, k in zip(rollout.tolist(), turn.tolist(), strict=True)
    ]
    assert ledger.reused_tokens == sum(prefix)
    assert ledger.new_tokens == before.new_tokens + read - sum(prefix)
    assert "reused_tokens" not in ledger.totals()


@pytest.mark.parametrize("form", FORMS)
def test_the_end_of_a_rollout_can_be_left_only_after_its_action(open_services: Open, form: Prompt) -> None:
    services, ledger = open_services(form)
    batch = services.rollouts()
    last = batch.turn_mask.sum(1) - 1
    said_before = ledger.generated_tokens
    forks = services.fork(batch, torch.arange(6), last, after=True)
    kept = forks.turn_mask.sum(1) >= last + 1
    assert bool(kept.all())
    assert ledger.generated_tokens - said_before == int(own_actions(forks).sum())
    with pytest.raises(ValueError, match="did not take place"):
        services.fork(batch, torch.tensor([0]), last[:1] + 1)
    with pytest.raises(ValueError, match="did not take place"):
        services.fork(batch, torch.tensor([6]), torch.tensor([0]))


@pytest.mark.parametrize("form", FORMS)
def test_no_fork_and_no_turn_cost_nothing(open_services: Open, form: Prompt) -> None:
    services, ledger = open_services(form, each=1)
    batch = services.rollouts()
    before = ledger.totals()
    nothing = torch.zeros(0, dtype=torch.long)
    forks = services.fork(batch, nothing, nothing)
    assert forks.group_ids.numel() == forks.token_ids.shape[0] == 0
    assert concatenate([batch, forks]).group_ids.tolist() == batch.group_ids.tolist()
    assert services.fork(forks, nothing, nothing).group_ids.numel() == 0
    assert services.continuations(forks, 2).shape == (0, batch.turn_mask.shape[1], 2)
    assert ledger.totals() == before


def test_a_rollout_of_another_update_cannot_be_forked(open_services: Open) -> None:
    earlier, later = open_services("windowed")[0], open_services("windowed", update=1)[0]
    old = earlier.rollouts()
    later.rollouts()
    with pytest.raises(ValueError, match="not sampled in this update"):
        later.fork(old, torch.tensor([0]), torch.tensor([0]))
    earlier.rollouts()
    with pytest.raises(ValueError, match="not sampled in this update"):
        earlier.fork(later.rollouts(), torch.tensor([0]), torch.tensor([0]))


def test_forks_have_dice_of_their_own(open_services: Open) -> None:
    """A method that forks meets the same dice elsewhere as one that does not."""
    (plain, _), (forking, _) = (open_services("windowed") for _ in range(2))
    batch = forking.rollouts()
    assert torch.equal(plain.rollouts().token_ids, batch.token_ids)
    many = torch.zeros(8, dtype=torch.long)
    first, second = (forking.fork(batch, many, many) for _ in range(2))
    assert first.token_ids.shape != second.token_ids.shape or not torch.equal(first.token_ids, second.token_ids)
    assert torch.equal(plain.continuations(batch, 3), forking.continuations(batch, 3))


@pytest.mark.parametrize("need", ["env_fork", "tree_rollouts"])
def test_either_need_opens_the_service_and_the_fields(open_services: Open, need: str) -> None:
    services, ledger = open_services("windowed", needs=need)
    door: Services = services.door
    zero = torch.tensor([0])
    assert door.fork(door.rollouts(), zero, zero).parent_ids is not None
    closed, ledger = open_services("windowed", needs="entropy")
    batch, before = closed.door.rollouts(), ledger.totals()
    with pytest.raises(UndeclaredNeedError, match="`env_fork` or `tree_rollouts`"):
        closed.door.fork(batch, zero, zero)
    with pytest.raises(UndeclaredNeedError, match="fork_turns"):
        own_actions(batch)
    assert ledger.totals() == before
