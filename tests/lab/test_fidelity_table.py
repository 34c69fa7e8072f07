"""Rules on one panel: what is fixed, what is drawn anew, and figures that are known beforehand."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from tests.lab.conftest import NOTED
from tests.lab_history.tiny import EMBEDDED_MODEL, tiny_world
from torch import Tensor

from cairn.evidence.records import Provenance
from cairn.lab.controls import NullControl
from cairn.lab.credit_panel import CreditPanel, play_panel
from cairn.lab.episodes import Episodes
from cairn.lab.fidelity import Rule
from cairn.lab.fidelity_table import ANCHORS, Gauge, RandomCredit, Unscaled, baseline, rules
from cairn.lab.loop import Panel, TrainSettings
from cairn.lab.protocol import build_panel
from cairn.lab.xray import describe_panel, describe_xray
from cairn.method import Method, Services
from cairn.methods import implemented_ids
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE
from cairn.methods.vineppo import VinePPO
from cairn.rollouts import Credit, Rollouts

NOWHERE = Provenance(protocol_version="1", protocol_hash="0" * 64, python="3")
SETTINGS = TrainSettings(
    updates=1, tasks_per_update=1, group_size=2, learning_rate=1e-3, clip_norm=1.0, evaluate_every=1,
    critic_learning_rate=1e-3,
)  # fmt: skip
TINY = Panel((tiny_world(),), (tiny_world(), tiny_world(0.2), tiny_world(0.4)))


def _panel(instances: Panel = TINY, seed: int = 0, **changes: object) -> CreditPanel:
    settings = dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]
    return play_panel(("quest", "smoke"), EMBEDDED_MODEL, instances, settings, seed)


@pytest.fixture(scope="module")
def panel() -> CreditPanel:
    return _panel()


@pytest.fixture(scope="module")
def quest_gauge() -> Gauge:
    return Gauge(_panel(build_panel("quest", NOTED, (1000, 4), (0, 4)), group_size=4), NOWHERE)


def test_exact_credit_has_no_error(quest_gauge: Gauge) -> None:
    row = quest_gauge.measure("exact", ANCHORS["exact"])
    assert row.figures["rank_correlation"] == pytest.approx(1, abs=1e-3)  # float32 breaks ties among equal advantages
    assert row.figures["sign_accuracy"] == 1
    assert row.figures["batch_cosine"] == pytest.approx(1)
    assert row.figures["squared_bias"] == pytest.approx(0, abs=1e-6)
    assert row.figures["variance"] == pytest.approx(0, abs=1e-9)
    assert (row.figures["return_cosine"] or 0) > 0.3
    assert row.kind == "anchor"
    assert len(row.xray) == len(describe_xray(quest_gauge.panel, quest_gauge.panel.most_telling()).turns)


def test_random_credit_knows_nothing(quest_gauge: Gauge) -> None:
    figures = quest_gauge.measure("random", ANCHORS["random"]).figures
    turns = quest_gauge.panel.exact().forks.size
    assert abs(figures["rank_correlation"] or 0) < 3 / np.sqrt(turns)
    assert abs((figures["sign_accuracy"] or 0) - 0.5) < 0.15
    assert (figures["noise_share"] or 0) > 0.8
    assert abs(figures["return_cosine"] or 0) < 0.5


def test_exact_credit_is_conserved_where_nothing_is_left_to_dice() -> None:
    sure = _panel(Panel((tiny_world(),), (tiny_world(), tiny_world())), group_size=8)
    assert Gauge(sure, NOWHERE).measure("exact", ANCHORS["exact"]).figures["conservation_residual"] == pytest.approx(
        0, abs=1e-9
    )
    assert (Gauge(sure, NOWHERE).measure("random", ANCHORS["random"]).figures["conservation_residual"] or 0) > 0.5


def test_a_group_comparison_of_two_by_enumeration(panel: CreditPanel) -> None:
    """Golden: with one companion that succeeds with chance p, the credit R - mean is (R - R')/2.

    Its mean is (R - p) / 2 and its variance p (1 - p) / 4; p by backward recursion. From these follow the expected
    figures by their definitions.
    """
    gauge = Gauge(panel, NOWHERE, draws=60)
    heard = gauge._hear(Rule(GRPO(scale_by_std=False)), lambda: None)
    turn_rollout = np.nonzero(panel.spoken.alive)[0]
    chance = panel.player.exact().success()[turn_rollout // panel.rounds]
    mean, variance = (panel.spoken.rewards[turn_rollout] - chance) / 2, chance * (1 - chance) / 4
    error = np.sqrt(variance / gauge.draws)
    assert np.all(np.abs(heard.credits.mean(0) - mean) < 4 * error)
    exact = panel.exact().advantages
    figures, _ = gauge._figures(heard)
    signal, agreement = np.square(mean).mean(), max((mean * exact).mean(), 0)
    expected_bias = 1 - agreement**2 / (signal * np.square(exact).mean())
    assert figures["squared_bias"] == pytest.approx(expected_bias, abs=0.08)
    assert figures["noise_share"] == pytest.approx(variance.mean() / (signal + variance.mean()), abs=0.08)


def test_more_continuations_leave_less_variance(panel: CreditPanel) -> None:
    few, many = (
        Gauge(panel, NOWHERE, draws=12).measure("rule", Rule(VinePPO(continuations=count, whiten=False)))
        for count in (1, 64)
    )
    assert (many.figures["variance"] or 0) < 0.1 * (few.figures["variance"] or 0)
    assert (many.figures["rank_correlation"] or 0) > (few.figures["rank_correlation"] or 0)
    assert many.cost is not None
    assert few.cost is not None
    assert many.cost.tokens_ratio > few.cost.tokens_ratio > 1


def test_the_panel_stands_in_its_places_and_its_companions_are_drawn_anew(panel: CreditPanel) -> None:
    gauge = Gauge(panel, NOWHERE)
    batches = [gauge._ask(Rule(rule), draw, 1).sampled for rule in (GRPO(), VinePPO()) for draw in (0, 1)]
    members = panel.members(1)
    for batch in batches:
        assert batch.terminal_rewards[:: panel.rounds].tolist() == panel.spoken.rewards[members].tolist()
        said = [batch.token_ids[batch.row_rollout == place][batch.action_mask[batch.row_rollout == place]]
                for place in range(0, len(batch.group_ids), panel.rounds)]  # fmt: skip
        for tokens, member in zip(said, members, strict=True):
            alive = panel.spoken.alive[member]
            kept = [panel.spoken.tokens[member, k, : panel.spoken.lengths[member, k]] for k in np.flatnonzero(alive)]
            assert tokens.tolist() == np.concatenate(kept).tolist()
    assert torch.equal(batches[0].token_ids, batches[2].token_ids), "all rules meet the same dice"
    assert not torch.equal(batches[0].token_ids, batches[1].token_ids)


def test_a_rule_that_learns_is_fitted_anew_for_each_draw(panel: CreditPanel) -> None:
    heard = Gauge(panel, NOWHERE)._hear(Rule(PPOGAE(whiten=False)), lambda: None)
    assert (heard.credits[0] != heard.credits[1]).any()
    assert np.unique(heard.credits[0]).size > 3
    plain = Gauge(panel, NOWHERE).measure("plain", Rule(Method()))
    own = Gauge(panel, NOWHERE).measure("own", Rule(PPOGAE()))
    assert plain.cost is not None
    assert own.cost is not None
    assert plain.cost.flops_ratio == 1
    assert own.cost.flops_ratio > 1.4, "scoring and fitting of the critic are part of the update"


@dataclass(frozen=True)
class _Beheaded(Method):
    """Hands on all but the first rollout."""

    def collect(self, services: Services) -> Rollouts:
        rollouts = services.rollouts()
        return rollouts.keep_rollouts(torch.arange(len(rollouts.group_ids)) > 0)


@dataclass(frozen=True)
class _Teamed(Method):
    """Asks who acted, on a task where nobody has a number."""

    needs: ClassVar[frozenset[str]] = frozenset({"agent_ids"})

    def credit(self, rollouts: Rollouts) -> Credit:
        return Credit(rollouts.require("agent_ids").float())


@dataclass(frozen=True)
class _Choosy(Method):
    """Keeps nothing but successes, and drops the last turn from the loss."""

    needs: ClassVar[frozenset[str]] = frozenset({"turn_boundaries"})

    def filter(self, rollouts: Rollouts) -> Tensor:
        return rollouts.terminal_rewards > 0

    def credit(self, rollouts: Rollouts) -> Credit:
        given = rollouts.spread_turns(torch.ones(rollouts.turn_mask.shape))
        return Credit(given, rollouts.action_mask & (rollouts.turn_ids == 0))


def test_a_rule_whose_batch_cannot_be_followed_is_named(panel: CreditPanel) -> None:
    row = Gauge(panel, NOWHERE).measure("beheaded", Rule(_Beheaded()))
    assert row.figures == {}
    assert "rearranges" in (row.reason or "")


def test_a_rule_that_needs_what_the_task_has_not_is_named(panel: CreditPanel) -> None:
    row = Gauge(panel, NOWHERE).measure("teamed", Rule(_Teamed()))
    assert row.figures == {}
    assert row.reason == "the batch has no `agent_ids`"


def test_what_does_not_reach_the_loss_has_no_credit() -> None:
    panel = _panel(group_size=12)
    heard = Gauge(panel, NOWHERE)._hear(Rule(_Choosy()), lambda: None)
    rollout, turn = np.nonzero(panel.spoken.alive)
    expected = (panel.spoken.rewards[rollout] > 0) & (turn == 0)
    assert 0 < expected.sum() < len(rollout)
    np.testing.assert_array_equal(heard.credits, np.stack([expected, expected]))


def test_every_implemented_method_is_measured(panel: CreditPanel) -> None:
    assert [*rules(panel)] == [*implemented_ids(), *ANCHORS]
    assert baseline() in implemented_ids()


def test_measuring_repeats_itself(panel: CreditPanel) -> None:
    assert _panel().hash == panel.hash
    assert _panel(seed=1).hash != panel.hash
    first, second = (Gauge(_panel(), NOWHERE).measure("random", ANCHORS["random"]) for _ in range(2))
    assert first == second


def test_without_exact_credit_the_reference_is_an_estimate() -> None:
    panel = _panel(prompt="history", evaluation_episodes=2)
    assert not panel.is_exact
    assert [*rules(panel)] == [*implemented_ids(), "random"]
    facts = describe_panel(panel, baseline(), 2)
    assert facts.reference == "monte_carlo"
    assert 0 < (facts.reliability or 0) < 1
    assert all((turn.error or 0) >= 0 for turn in facts.xray.turns)
    row = Gauge(panel, NOWHERE).measure("plain", Rule(Method()))
    assert row.figures["rank_correlation"] is not None
    assert (row.figures["batch_cosine"], row.figures["return_cosine"]) == (None, None)


def test_the_trajectory_drawn_holds_a_gain_and_a_loss(panel: CreditPanel) -> None:
    gains, losses = panel.advantages.max(1), -panel.advantages.min(1)
    chosen = panel.most_telling()
    assert min(gains[chosen], losses[chosen]) == max(np.minimum(gains, losses))
    drawn, spoken = describe_xray(panel, chosen), panel.spoken
    assert isinstance(spoken, Episodes)
    assert [turn.exact for turn in drawn.turns] == panel.advantages[chosen][panel.spoken.alive[chosen]].tolist()
    for place, turn in enumerate(drawn.turns):
        world = panel.instances.evaluation[chosen // panel.rounds]
        state = int(spoken.states[chosen, place]) % world.n_states
        assert turn.sees == world.prompts[world.state_prompt[state]]
        option = int(spoken.options[chosen, place])
        assert option == len(world.options[0]) or turn.said == world.options[0][option]
        assert turn.fork == world.bifurcations[state]


def test_the_x_ray_of_one_trajectory_is_that_of_the_table(quest_gauge: Gauge) -> None:
    rule, chosen = ANCHORS["random"], quest_gauge.panel.most_telling()
    credit, unit = quest_gauge.xray(rule, chosen)
    assert credit == list(quest_gauge.measure("random", rule).xray)
    assert unit == pytest.approx(1, abs=0.5)


def test_anchors_leave_the_direction_of_exact_credit_alone() -> None:
    assert Unscaled().needs == ANCHORS["exact"].method.needs
    assert isinstance(ANCHORS["random"].null, RandomCredit)
    assert isinstance(ANCHORS["exact"].null, NullControl)
