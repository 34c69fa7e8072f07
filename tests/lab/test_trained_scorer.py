"""The verifier that is fitted here: that it learns, how well it says it did, and what it was billed for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cairn.errors import UserError
from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.scorers import Oracle, Scorer, Site, Trained
from cairn.lab.scorers.trained import _ends, _quality
from cairn.lab.services import Models, TabularServices

SMALL = Trained(rollouts_each=12, steps=60, tokens_in_step=4096)


def open_services(
    model: LanguageModel, panel: Panel, scorer: Scorer, prompt: str = "windowed"
) -> tuple[TabularServices, Ledger]:
    ledger = Ledger()
    form = prompt_form(prompt, model.tokenizer, 2)  # type: ignore[arg-type]
    live = scorer.open(Site(model, form, panel.train, 2))
    needs = frozenset({"prm", "reward_model", "judge"})
    services = TabularServices(
        Models(model, model, None, live), form, ledger, needs, instances=panel.train, group_size=4, seed=(2, 0)
    )
    return services, ledger


@pytest.mark.parametrize("prompt", ["windowed", "history"])
def test_it_learns_to_tell_wrong_turns_and_says_how_well(model: LanguageModel, panel: Panel, prompt: str) -> None:
    """Golden: the oracle without errors, on rollouts that it did not learn from."""
    settings = SMALL if prompt == "windowed" else Trained(rollouts_each=3, steps=3, tokens_in_step=1500)
    services, ledger = open_services(model, panel, settings, prompt)
    batch = services.rollouts()
    before = ledger.totals()
    scores = services.turn_scores(batch)
    assert ledger.environment_resets - before["environment_resets"] == 4 * settings.rollouts_each
    assert ledger.trained_tokens > 0
    assert ledger.scored_tokens > int(batch.attention_mask.sum())
    assert not scores[~batch.turn_mask].any()
    assert ((scores > 0) & (scores < 1))[batch.turn_mask].all()
    assert set(services.notes) == {"scorer_accuracy", "scorer_right_share", "scorer_auc"}
    if prompt == "windowed":
        true, _ = open_services(model, panel, Oracle())
        right = (true.turn_scores(true.rollouts()) > 0)[batch.turn_mask].numpy()
        assert _quality(scores[batch.turn_mask].numpy(), right)["scorer_auc"] > 0.8
        assert services.notes["scorer_auc"] > 0.6
    paid = ledger.totals()
    again = services.turn_scores(batch)
    assert torch.equal(again, scores), "fitted once"
    assert ledger.trained_tokens == paid["trained_tokens"]
    assert ledger.scored_tokens - paid["scored_tokens"] == int(batch.attention_mask.sum())
    lowest = torch.where(batch.turn_mask, scores, torch.ones(())).amin(1)
    assert torch.equal(services.rollout_scores(batch), lowest)
    marks = services.marks(batch, 400)
    torch.testing.assert_close(marks.mean(-1), scores, atol=4.5 * 0.5 / 20, rtol=0)
    none = batch.keep_rollouts(torch.zeros_like(batch.truncated))
    assert services.turn_scores(none).shape == (0, batch.turn_mask.shape[1])


def test_the_quality_is_that_of_a_hand_made_example() -> None:
    """Of four pairs of a right and a wrong turn, three and a half are in order (one is tied)."""
    scores = np.array([0.9, 0.4, 0.4, 0.1], dtype=np.float32)
    found = _quality(scores, np.array([True, True, False, False]))
    assert found == {"scorer_accuracy": 0.75, "scorer_right_share": 0.5, "scorer_auc": 3.5 / 4}
    assert "scorer_auc" not in _quality(scores, np.ones(4, dtype=bool))


def test_a_turn_ends_with_its_last_word(model: LanguageModel, panel: Panel) -> None:
    services, _ = open_services(model, panel, Oracle(), "history")
    batch = services.rollouts()
    ends = _ends(batch)
    assert int(ends.sum()) == int(batch.turn_mask.sum())
    assert bool((batch.turn_ids[ends] >= 0).all())


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"held_out": 1.0}, {"rollouts_each": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        Trained(**wrong)  # type: ignore[arg-type]


def test_one_instance_is_too_few(model: LanguageModel, panel: Panel) -> None:
    with pytest.raises(UserError, match="other instances"):
        open_services(model, Panel(panel.train[:1], panel.evaluation), SMALL)
