"""Free text: sampling, truncation, steps inside a response, continuations and their bill, against hand counts."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from cairn.errors import UserError
from cairn.lab import montecarlo
from cairn.lab.controls import NullControl
from cairn.lab.demonstrations import build_character_tokenizer
from cairn.lab.episodes import Branch
from cairn.lab.experiment import load_reproduction
from cairn.lab.forms import prompt_form
from cairn.lab.free import FreeForm, FreePlayer, prompt_tokens
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel, Trainer, TrainSettings
from cairn.lab.model import LanguageModel, token_logprobs
from cairn.lab.pretrain import build_network
from cairn.lab.question import Question, find_verifier
from cairn.lab.sampling import draw
from cairn.lab.segmenting import line_ends
from cairn.lab.services import Models, TabularServices
from cairn.lab.task import Recipe
from cairn.methods.grpo import GRPO
from cairn.methods.vineppo import VinePPO

SAME = "cairn.lab.question:same_text"
PAD, UNKNOWN, END, ONE, ZERO = range(5)


def question(prompt: str = "1?", answer: str = "1", limit: int = 3, steps: str = "whole") -> Question:
    return Question("test", prompt, answer, SAME, answer, limit, steps)


def language_model(network: Any, letters: Sequence[str]) -> LanguageModel:
    return LanguageModel(network.eval(), build_character_tokenizer(letters), "here", "none")


@pytest.fixture(scope="module")
def uniform() -> LanguageModel:
    """Says <pad>, <unk>, <end>, 1 and 0 with a chance of one in five each, whatever came before."""
    network = build_network(Recipe(width=8, layers=1, heads=2, inner=8, max_positions=64), 5)
    network.model.embed_tokens.weight.data.zero_()
    return language_model(network, "10")


@pytest.fixture(scope="module", params=["llama", "qwen-sdpa", "qwen-eager"])
def strange(request: pytest.FixtureRequest) -> LanguageModel:
    """Random weights, far from uniform."""
    letters = "0123456789 +=?\n"
    torch.manual_seed(3)
    if request.param == "llama":
        llama = build_network(Recipe(width=16, layers=2, inner=32, max_positions=128), 18)
        llama.model.embed_tokens.weight.data *= 15
        return language_model(llama, letters)
    config = Qwen2Config(
        vocab_size=18, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    config._attn_implementation = request.param.partition("-")[2]
    network = Qwen2ForCausalLM(config)
    network.lm_head.weight.data *= 10
    return language_model(network, letters)


def player_of(model: LanguageModel, *questions: Question) -> FreePlayer:
    return FreeForm(model.tokenizer, 4).player(model, questions)


SUMS = [question("1 + 2 =", "3", limit=9), question("10 + 20 = ?", "30", limit=5)]


@pytest.mark.parametrize("steps", ["whole", "tokens2", "lines", "doubt0.5"])
def test_log_probs_are_those_of_the_collated_rows(strange: LanguageModel, steps: str) -> None:
    player = player_of(strange, *(dataclasses.replace(one, steps=steps) for one in SUMS))
    responses = player.play(np.repeat([0, 1], 12), np.random.default_rng(0))
    rollouts = player.rollouts(responses, draw_seed=0)
    with torch.no_grad():
        scored, entropies = token_logprobs(strange.network, rollouts.token_ids, rollouts.attention_mask)
    assert torch.allclose(scored * rollouts.action_mask, rollouts.logprobs_behaviour, atol=1e-5)
    assert rollouts.entropies is not None
    before = torch.nn.functional.pad(entropies[:, 1:], (1, 0))  # of the distribution that a token was drawn from
    assert torch.allclose(before * rollouts.action_mask, rollouts.entropies, atol=1e-5)
    assert rollouts.action_mask.sum(1).tolist() == responses.lengths.sum(1).tolist()
    assert len(set(responses.lengths.sum(1).tolist())) > 1
    assert (responses.alive.shape[1] > 1) == (steps != "whole")


def test_a_response_depends_neither_on_its_neighbours_nor_on_the_batch(
    strange: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = player_of(strange, *SUMS)
    together = player.play(np.array([0, 1, 0, 1, 0]), np.random.default_rng(1))
    monkeypatch.setattr("cairn.lab.free.ROWS_AT_ONCE", 2)
    apart = player.play(np.array([0, 1, 0, 1, 0]), np.random.default_rng(1))
    assert together.tokens.tolist() == apart.tokens.tolist()
    assert together.logprobs == pytest.approx(apart.logprobs, abs=1e-5)


def test_truncated_and_empty_responses_are_defined(uniform: LanguageModel) -> None:
    player = player_of(uniform, question(answer="", limit=2))
    responses = player.play(np.zeros(300, dtype=np.int64), np.random.default_rng(2))
    first, second = responses.tokens[:, 0, 0], responses.tokens[:, 0, 1]
    empty = first == END
    assert empty.any()
    assert (responses.lengths[empty, 0] == 1).all()
    # An empty response is complete, and here the right one; so is one of padding alone, which no text shows.
    silent = empty | (np.isin(first, [PAD, UNKNOWN]) & (second == END))
    assert responses.rewards.tolist() == silent.astype(float).tolist()
    # Without an end within the limit nothing is paid, whatever was said.
    assert responses.truncated.tolist() == (~empty & (second != END)).tolist()
    rollouts = player.rollouts(responses, draw_seed=0)
    assert rollouts.truncated.tolist() == responses.truncated.tolist()
    assert rollouts.terminal_rewards[rollouts.truncated].sum() == 0


def test_success_is_the_chance_worked_out_by_hand(uniform: LanguageModel) -> None:
    # Text "1" and an end within 3 tokens: [1 end] has 1/25; [1 x end] and [x 1 end], x one of two silent tokens, 4/125.
    player = FreeForm(uniform.tokenizer, 4000).player(uniform, [question()])
    success = player.success(np.random.default_rng(0))
    assert success.standard_error == pytest.approx((0.072 * 0.928 / 4000) ** 0.5, rel=0.1)
    assert success.mean == pytest.approx(0.072, abs=4 * 0.0041)


def test_continuations_are_worth_what_is_worked_out_by_hand(uniform: LanguageModel) -> None:
    player = player_of(uniform, question(steps="tokens1"))
    responses = player.play(np.zeros(200, dtype=np.int64), np.random.default_rng(3))
    rows = {token: int(np.flatnonzero(responses.tokens[:, 0, 0] == token)[0]) for token in (PAD, ONE, ZERO)}
    # After "1": an end 1/5, or a silent token and an end 2/25. After silence: "1" and an end 1/25. After "0": nothing.
    for token, value in ((PAD, 0.04), (ONE, 0.28), (ZERO, 0.0)):
        branch = Branch(np.full(3000, rows[token]), np.ones(3000, dtype=np.int64))
        again = player.fork(responses, branch, np.random.default_rng(4))
        assert again.rewards.mean() == pytest.approx(value, abs=4 * (value * (1 - value) / 3000) ** 0.5)
        assert again.lengths.max() == 2, "the room that was left"
    picked = np.array([rows[ONE]])
    taken = dataclasses.replace(responses, **{name: values[picked] for name, values in vars(responses).items()})
    estimate = montecarlo.advantages(player, taken, 3000, np.random.default_rng(5))
    assert estimate.value[0, 0] == pytest.approx(0.28 - 0.072, abs=4 * estimate.standard_error[0, 0])


def test_what_has_ended_goes_on_with_nothing(uniform: LanguageModel) -> None:
    player = player_of(uniform, question(steps="tokens1"))
    responses = player.play(np.zeros(60, dtype=np.int64), np.random.default_rng(6))
    last = responses.alive.sum(1) - 1
    again = player.fork(responses, Branch(np.arange(60), last, after=True), np.random.default_rng(7))
    assert again.lengths.sum() == 0
    assert again.rewards.tolist() == responses.rewards.tolist()
    assert again.truncated.tolist() == responses.truncated.tolist()


def services_of(model: LanguageModel, ledger: Ledger, *questions: Question, group_size: int = 4) -> TabularServices:
    form = prompt_form("free", model.tokenizer, 2)
    needs = VinePPO.needs | {"oracle"}
    return TabularServices(
        Models(model, model, None), form, ledger, needs, instances=questions, group_size=group_size, seed=(0, 0)
    )


def test_the_bill_is_as_counted_by_hand_and_steps_cost_nothing(uniform: LanguageModel) -> None:
    bills = []
    for steps in ("whole", "tokens1"):
        ledger = Ledger()
        rollouts = services_of(uniform, ledger, question("11?", steps=steps)).rollouts()
        spoken = rollouts.action_mask.sum(1)
        # Three tokens are read at once, which attend to 3 each; of n that are said, n - 1 are read: 4, 5, ...
        assert (ledger.prompt_tokens, ledger.generated_tokens) == (12, int(spoken.sum()))
        assert (ledger.environment_steps, ledger.environment_resets) == (4, 4)
        attended = 9 + torch.tensor([sum(range(4, 3 + int(n))) for n in spoken])
        expected = uniform.cost.forward_flops(3 + spoken - 1, attended)
        assert ledger.flops == pytest.approx(expected)
        bills.append(ledger.totals())
    assert bills[0] == bills[1]


def test_continuations_read_their_prefix_anew_and_are_billed(uniform: LanguageModel) -> None:
    ledger = Ledger()
    services = services_of(uniform, ledger, question(steps="tokens1"), group_size=1)
    rollouts = services.rollouts()
    before = ledger.totals()
    turns = int(rollouts.turn_mask.sum())
    returns = services.continuations(rollouts, 5)
    assert returns.shape == (1, turns, 5)
    # The prompt of two tokens, and before turn k the k tokens that were said.
    assert ledger.prompt_tokens - before["prompt_tokens"] == 5 * sum(2 + k for k in range(turns))
    assert ledger.environment_resets - before["environment_resets"] == 5 * turns
    assert ledger.generated_tokens > before["generated_tokens"]


def test_nothing_is_exact(uniform: LanguageModel) -> None:
    services = services_of(uniform, Ledger(), question())
    with pytest.raises(UserError, match="no exact credit of free text") as caught:
        services.exact_advantages(services.rollouts())
    assert caught.value.repair
    value, error = services.monte_carlo_advantages(2)
    assert value.shape == error.shape == (4, 1)


def test_an_experiment_without_exact_credit_keeps_the_other_arms_and_their_claims() -> None:
    whole = load_reproduction("vineppo").on("gym")
    left = whole.without("oracle")
    gone = {arm.name for arm in whole.arms} - {arm.name for arm in left.arms}
    assert gone == {arm.name for arm in whole.arms if "oracle" in arm.method.needs} != set()
    assert len(left.claims) == len(whole.claims)  # none of them is about exact credit
    assert whole.checks
    assert left.checks == ()


@pytest.mark.parametrize("method", [GRPO(), VinePPO(continuations=2)])
def test_the_loop_trains_on_questions(uniform: LanguageModel, method: GRPO) -> None:
    settings = TrainSettings(
        updates=2, tasks_per_update=2, group_size=4, learning_rate=1e-3, clip_norm=1.0, evaluate_every=1,
        critic_learning_rate=1e-3, prompt="free", evaluation_episodes=4,
    )  # fmt: skip
    asked = tuple(question(f"{digit}?", steps="tokens1") for digit in "10")
    trainer = Trainer(uniform, method, NullControl(), Panel(asked, asked), settings, seed=1)
    points = list(trainer)
    assert [point.update for point in points] == [0, 1, 2]
    assert all("success_standard_error" in point.extra for point in points)
    assert trainer.ledger.trained_tokens > 0


def test_a_chat_template_is_used_where_there_is_one(uniform: LanguageModel) -> None:
    tokenizer = build_character_tokenizer("10?<>")
    assert tokenizer.decode(prompt_tokens("1?", tokenizer)) == "1?"
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}0{% endif %}"
    )
    assert tokenizer.decode(prompt_tokens("1?", tokenizer)) == "<1?>0"
    assert uniform.tokenizer.chat_template is None


def test_a_model_without_an_end_is_refused(uniform: LanguageModel) -> None:
    tokenizer = build_character_tokenizer("10")
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no token with which a response ends"):
        player_of(dataclasses.replace(uniform, tokenizer=tokenizer), question())


@pytest.mark.parametrize(
    "steps", ["", "words", "tokens", "tokens0", "tokensx", "doubt0", "doubt1.5", "lines2", "tokens2 "]
)
def test_words_for_steps_that_mean_nothing_are_refused(steps: str) -> None:
    with pytest.raises(UserError, match="`steps`"):
        question(steps=steps)


def test_lines_end_behind_line_breaks() -> None:
    tokenizer = build_character_tokenizer("1\n0")
    assert line_ends(tokenizer).tolist() == tokenizer("\n")["input_ids"]


def test_wrong_questions_and_verifiers_are_refused() -> None:
    for wrong in ({"prompt": " "}, {"limit": 0}):
        with pytest.raises(UserError):
            question(**wrong)
    with pytest.raises(ValueError, match="not a function of this package"):
        find_verifier("os:system")


def test_in_bfloat16_a_response_s_log_probs_are_still_those_of_its_row(strange: LanguageModel) -> None:
    """To what the type can hold: about 3 digits of each logit."""
    half = dataclasses.replace(strange, network=copy.deepcopy(strange.network).bfloat16())
    player = player_of(half, *SUMS)
    rollouts = player.rollouts(player.play(np.repeat([0, 1], 8), np.random.default_rng(0)), draw_seed=0)
    with torch.no_grad():
        scored, _ = token_logprobs(half.network, rollouts.token_ids, rollouts.attention_mask)
    assert scored.dtype == torch.float32
    assert torch.allclose(scored * rollouts.action_mask, rollouts.logprobs_behaviour, atol=0.3)


def test_a_token_is_drawn_where_the_dice_fall() -> None:
    # Chances 1/4, 0, 3/4: below 1/4 the first token; from there on the third, never the one that cannot be said.
    logits = torch.tensor([[0.25, 0.0, 0.75]]).log().expand(4, 3)
    token, logprob, entropy = draw(logits, np.array([0.0, 0.2, 0.25, 0.99]))
    assert token.tolist() == [0, 0, 2, 2]
    assert np.exp(logprob) == pytest.approx([0.25, 0.25, 0.75, 0.75])
    assert entropy == pytest.approx([0.562335] * 4, abs=1e-6)  # -(1/4 ln 1/4 + 3/4 ln 3/4)
    impossible = draw(torch.tensor([[-torch.inf, 0.0]]), np.array([0.0]))
    assert [float(one[0]) for one in impossible] == [1.0, 0.0, 0.0]
