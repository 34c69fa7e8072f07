"""The rules of `chain`, retold here without its code: by hand, by enumeration, and from what rollouts say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from cairn.errors import UserError
from cairn.lab.episodes import Branch
from cairn.lab.exact import solve
from cairn.lab.history import HistoryForm, HistoryPlayer
from cairn.lab.model import LanguageModel, load, token_logprobs
from cairn.lab.optimal import solve_best
from cairn.lab.policy import PolicyReader
from cairn.lab.pretrain import embedded_model
from cairn.lab.tasks import chain
from cairn.lab.windowed import WindowedForm, WindowedPlayer
from cairn.lab.world import World, join
from cairn.ops.segments import by_delimiter, by_turn, resegment

WORDS = ("zero", "one", "two", "three", "four", "five", "six")
SMALL = chain.Knobs(horizon=4, decisive=0.5)  # two lines, a routine step between them, and the answer


@pytest.fixture(scope="module")
def solver() -> LanguageModel:
    """The embedded model of the task."""
    return load(embedded_model("chain"))


@pytest.fixture(scope="module")
def unsure(solver: LanguageModel) -> LanguageModel:
    """The same at a higher temperature, so that it makes every mistake, and says what is not understood."""
    hot = dataclasses.replace(solver, network=type(solver.network)(solver.network.config))
    hot.network.load_state_dict(solver.network.state_dict())
    hot.network.model.norm.weight.data *= 0.7  # scales the logits of the tied head
    hot.network.eval()
    return hot


def _history(model: LanguageModel, *worlds: World) -> HistoryPlayer:
    return HistoryForm(model.tokenizer, 2).player(model, worlds)


def _windowed(model: LanguageModel, *worlds: World) -> WindowedPlayer:
    return WindowedForm(model.tokenizer).player(model, worlds)


def test_an_instance_by_hand() -> None:
    """6 - 3 = 3, 3 x 3 = 2, 2 + 4 = 6, 6 + 4 = 3, 3 - 3 = 0, all modulo 7: the answer is zero."""
    world = chain.build(chain.Knobs(horizon=24, decisive=0.25), 0)
    assert world.header == (
        "modulo seven . start six . 78 bank pays three ; 79 field breeds three ; 80 press binds four ; "
        "81 ship loads four ; 82 market sells three . solve"
    )
    paid = [world.prompts[world.state_prompt[s]] for s in np.flatnonzero(world.payoffs)]
    assert paid == ["modulo seven . value zero . end . solve"]
    # The second line, where the true value is three: 3 x 3 = 2; too large by one, 3; the other deed gives 3 + 3 = 6.
    assert _offered(world, "value three . 79 field breeds three") == (
        "next field times three gives two ;",
        "next field times three gives three ;",
        "next field plus three gives six ;",
    )
    assert _offered(world, "value six . restate") == ("restate six ;",)
    assert _offered(world, "value six . tidy") == ("tidy up ;",)
    assert _offered(world, "value six . answer") == ("answer six ;",)
    assert [_due(world, step) for step in (0, 1, 2, 3, 4, 16, 17, 18, 19, 20)] == [
        "78 bank pays three", "restate", "tidy", "restate", "79 field breeds three", "82 market sells three", "restate",
        "tidy", "answer", "end",
    ]  # fmt: skip


def _offered(world: World, asked: str) -> tuple[str, ...]:
    return world.options[world.prompts.index(f"modulo seven . {asked} . solve")]


def _due(world: World, step: int) -> str:
    asked: str = world.prompts[world.state_prompt[7 * step]]
    return asked.split(" . ")[2]


def test_at_a_line_that_does_not_repair_no_second_mistake_leads_back() -> None:
    """The second line above leads to two. From five it leads to 5 x 3 = 1; a result too large by one would be two."""
    closed, open_ = (chain.build(chain.Knobs(horizon=24, decisive=0.25, repair=share), 0) for share in (0.0, 1.0))
    right, slip, other = (f"next field {said} ;" for said in (
        "times three gives one", "times three gives two", "plus three gives one"))  # fmt: skip
    assert _offered(closed, "value five . 79 field breeds three") == (right, other)
    assert _offered(open_, "value five . 79 field breeds three") == (right, slip, other)


@pytest.mark.parametrize("seed", range(4))
def test_a_chain_that_strayed_is_lost_unless_lines_repair(seed: int) -> None:
    """True values by the header's words and schoolbook arithmetic, not by the task's code."""
    closed, open_ = (chain.build(chain.Knobs(repair=share), seed) for share in (0.0, 1.0))
    script = _script(closed.header, 20, 4)
    on_track = np.arange(7) == np.array(_truth(closed.header, script))[:, None]  # (steps + 1, value)
    lost, mended = (solve_best(join([world])).values[0].reshape(on_track.shape) for world in (closed, open_))
    assert (lost == on_track).all()
    assert (mended[on_track] == 1).all()
    assert mended[~on_track].max() == 1
    last = max(k for k, due in enumerate(script) if len(due.split()) == 4)
    assert (mended[last + 1 :] == on_track[last + 1 :]).all(), "behind the last line nothing can be mended"


def _script(header: str, steps: int, period: int) -> list[str]:
    """What each step has to do: lines as the header tells them, and what comes between them."""
    lines = header.removesuffix(" . solve").split(" . ")[2].split(" ; ")
    between = ["restate", "tidy"] * period
    due = [part for line in lines for part in (line, *between[: period - 1])][: max(1, steps - 1)]
    return due + ["answer"] * (steps > 1)


def _truth(header: str, script: list[str]) -> list[int]:
    """The true value before each step, and at the end."""
    values = [WORDS.index(header.split(" . ")[1].removeprefix("start "))]
    signs = {"buys": 1, "climbs": 1, "gathers": 1, "loads": 1, "binds": 1, "sells": -1, "drops": -1, "pays": -1,
             "unloads": -1}  # fmt: skip
    for due in script:
        words = due.split()
        if len(words) == 4:
            operand = WORDS.index(words[3])
            values.append((values[-1] + signs[words[2]] * operand if words[2] in signs else values[-1] * operand) % 7)
        else:
            values.append(values[-1])
    return values


def _chance(model: LanguageModel, prompt: str, phrase: str) -> float:
    """Chance of the phrase, by scoring prompt and phrase as one row."""
    said = len(model.tokenizer(prompt)["input_ids"])
    row = model.tokenizer(f"{prompt} {phrase}")["input_ids"]
    with torch.no_grad():
        scored, _ = token_logprobs(model.network, torch.tensor([row]), torch.ones(1, len(row)).bool())
    return float(scored[0, said:].double().sum().exp())


def _play_out(model: LanguageModel, value: int, script: list[str], answer: int, turns: int) -> float:
    """Sum the chances of all right responses from a value with so many steps and turns left; nothing is shared."""
    if not turns:
        return 0.0
    due, *rest = script
    chances = {}
    for phrase in _understood(due, value):
        chances[phrase] = _chance(model, f"modulo seven . value {WORDS[value]} . {due} . solve", phrase)
    total = (1 - sum(chances.values())) * _play_out(model, value, script, answer, turns - 1)
    for phrase, stated in _understood(due, value).items():
        after = _play_out(model, stated, rest, answer, turns - 1) if rest else float(stated == answer)
        total += chances[phrase] * after
    return total


def _understood(due: str, value: int) -> dict[str, int]:
    """Phrases that are understood on the true path or where lines repair, and what they state."""
    words = due.split()
    if len(words) < 4:
        return {f"{due} {'up' if due == 'tidy' else WORDS[value]} ;": value}
    pairs = {"buys": "plus minus", "sells": "minus plus", "drops": "minus plus", "climbs": "plus minus",
             "breeds": "times plus", "gathers": "plus times", "pays": "minus times", "compounds": "times minus",
             "unloads": "minus plus", "loads": "plus minus", "copies": "times plus", "binds": "plus times"}  # fmt: skip
    right, wrong = pairs[words[2]].split()
    operand = WORDS.index(words[3])
    result = {"plus": (value + operand) % 7, "minus": (value - operand) % 7, "times": value * operand % 7}
    steps = [(right, result[right]), (right, (result[right] + 1) % 7), (wrong, result[wrong])]
    return {f"next {words[1]} {plan} {words[3]} gives {WORDS[stated]} ;": stated for plan, stated in steps}


@pytest.mark.parametrize("seed", [0, 3])
def test_success_is_the_sum_over_all_responses(unsure: LanguageModel, seed: int) -> None:
    """With slack for one step that is not understood, and with lines that repair, so that every phrase counts."""
    world = chain.build(chain.Knobs(horizon=5, decisive=0.5, repair=1.0), seed)
    script = _script(world.header, 4, 2)
    truth = _truth(world.header, script)
    assert [len(due.split()) for due in script] == [4, 1, 4, 1]
    told = _play_out(unsure, truth[0], script, truth[-1], 5)
    assert 0.01 < told < 0.99
    exact = solve(PolicyReader(unsure.tokenizer).read(unsure, join([world]))).success()[0]
    assert float(exact) == pytest.approx(told, abs=1e-6)


def test_simulation_agrees_with_the_exact_value(unsure: LanguageModel, rng: np.random.Generator) -> None:
    player = _windowed(unsure, chain.build(SMALL, 1), chain.build(SMALL, 2))
    count = 4000
    rewards = player.play(np.repeat([0, 1], count), rng).rewards.reshape(2, count)
    exact = player.exact().success()
    assert (np.abs(rewards.mean(1) - exact) < 3 * np.sqrt(exact * (1 - exact) / count)).all()


def test_the_response_stands_in_one_row_with_nothing_between_its_steps(
    unsure: LanguageModel, rng: np.random.Generator
) -> None:
    world = chain.build(chain.Knobs(horizon=12), 1)
    player = _history(unsure, world)
    batch = player.rollouts(player.play(np.zeros(6, dtype=np.int64), rng), 0)
    header = len(unsure.tokenizer(world.header)["input_ids"])
    for mask, attended in zip(batch.action_mask, batch.attention_mask, strict=True):
        assert mask.nonzero().flatten().tolist() == list(range(header, int(attended.sum())))


def test_steps_end_where_the_delimiter_stands(solver: LanguageModel, rng: np.random.Generator) -> None:
    """In both layouts, in each rollout in which everything was understood."""
    world = chain.build(chain.Knobs(), 1)
    semicolon = torch.tensor(solver.tokenizer.convert_tokens_to_ids([";"]))
    for player in (_history(solver, world), _windowed(solver, world)):
        episodes = player.play(np.zeros(16, dtype=np.int64), rng)
        batch = player.rollouts(episodes, 0)
        understood = torch.from_numpy((episodes.options < player.worlds.n_options).all(1))
        rows = understood[batch.row_rollout]
        assert rows.any()
        assert torch.equal(by_delimiter(batch, semicolon).ids[rows], by_turn(batch).ids[rows])
        again = resegment(batch, by_turn(batch))
        assert torch.equal(again.turn_mask.sum(1), batch.turn_mask.sum(1))
        kept, had = (one.require("state_handles")[one.turn_mask] for one in (again, batch))
        assert torch.equal(kept, had)


def test_monte_carlo_in_one_row_is_unbiased(solver: LanguageModel, rng: np.random.Generator) -> None:
    """Before and after the last line of a response, without slack: one right way to go on for each phrase, scored."""
    world = dataclasses.replace(chain.build(chain.Knobs(), 2), horizon=20)
    player = _history(solver, world)
    line, *after = _script(world.header, 20, 4)[16:]
    assert after == ["restate", "tidy", "answer"]
    episodes = player.play(np.zeros(128, dtype=np.int64), rng)
    rollout = int(np.flatnonzero((episodes.options[:, :16] == 0).all(1) & episodes.alive[:, 16])[0])
    batch = player.rollouts(episodes, 0)
    begin = int((batch.turn_ids[rollout] == 16).nonzero()[0])
    row = str(solver.tokenizer.decode(batch.token_ids[rollout, :begin].tolist()))
    truth = _truth(world.header, _script(world.header, 20, 4))
    value, taken = 0.0, 0.0
    for option, (phrase, stated) in enumerate(_understood(line, truth[16]).items()):
        rest = f"restate {WORDS[stated]} ; tidy up ; answer {WORDS[stated]} ;"
        q = _chance(solver, f"{row} {phrase}", rest) * (stated == truth[-1])
        value += _chance(solver, row, phrase) * q
        taken += q * (option == episodes.options[rollout, 16])
    count = 1500
    forks = np.full(count, rollout), np.full(count, 16)
    for branch, expected in ((Branch(*forks), value), (Branch(*forks, after=True), taken)):
        mean = player.fork(episodes, branch, rng).rewards.mean()
        assert abs(mean - expected) <= 3 * np.sqrt(expected * (1 - expected) / count)
    assert 0.05 < value < 0.95


def test_the_first_wrong_step_is_where_the_stated_value_leaves_the_truth(
    unsure: LanguageModel, rng: np.random.Generator
) -> None:
    """Without repairs. Beside it, a step is wrong where it is not understood and no slack is left."""
    knobs = chain.Knobs(horizon=10, decisive=0.5)
    world = chain.build(knobs, 5)
    player = _windowed(unsure, world)
    episodes = player.play(np.zeros(300, dtype=np.int64), rng)
    found = solve_best(player.worlds).first_wrong_turn(episodes)
    truth = _truth(world.header, _script(world.header, 8, 2))
    slack = 2
    kinds = set()
    for rollout, first in zip(range(300), found, strict=True):
        missed, expected = 0, -1
        for turn in np.flatnonzero(episodes.alive[rollout]):
            k, value = divmod(int(episodes.states[rollout, turn + 1]), 7)
            missed += episodes.states[rollout, turn + 1] == episodes.states[rollout, turn]
            if value != truth[k] or missed > slack:
                expected = int(turn)
                kinds.add("missed" if missed > slack else "strayed")
                break
        assert first == expected
        assert (first == -1) == (episodes.rewards[rollout] == 1)
    assert kinds == {"missed", "strayed"}


@pytest.mark.parametrize("horizon", [1, 2, 200])
@pytest.mark.parametrize("prompt", ["windowed", "history"])
def test_chains_of_one_step_and_of_two_hundred(
    solver: LanguageModel, rng: np.random.Generator, horizon: int, prompt: str
) -> None:
    world = chain.build(chain.Knobs(horizon=horizon), 0)
    steps = {1: 1, 2: 2, 200: 160}[horizon]
    assert world.n_states == 7 * (steps + 1)
    assert solve_best(join([world])).success() == pytest.approx([1.0])
    player = _windowed(solver, world) if prompt == "windowed" else _history(solver, world)
    episodes = player.play(np.zeros(2, dtype=np.int64), rng)
    assert episodes.alive.shape[1] <= horizon
    assert player.rollouts(episodes, 0).turn_mask.any(1).all()


def test_the_number_of_lines_is_the_share_asked_for() -> None:
    """Of 19 steps before the answer: each fourth, the first alone, each, each third, counted from the first."""
    for share, lines in ((0.25, 5), (0.0, 1), (1.0, 19), (0.3, 7)):
        header = chain.build(chain.Knobs(decisive=share), 7).header
        assert len(header.split(" . ")[2].split(" ; ")) == lines


@pytest.mark.parametrize(
    ("knob", "values"),
    [
        ("horizon", [0, 201, -1]),
        ("modulus", [2, 6, 12]),
        ("decisive", [-0.1, 1.1, float("nan")]),
        ("repair", [-0.1, 1.1, float("nan")]),
    ],
)
def test_knobs_out_of_range_are_refused(knob: str, values: list[float]) -> None:
    for value in values:
        with pytest.raises(UserError, match=knob) as caught:
            chain.TASK.make_knobs({knob: value})
        assert caught.value.repair
