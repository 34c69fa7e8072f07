from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch.utils.hooks import RemovableHandle
from transformers import Qwen2Config, Qwen2ForCausalLM

from cairn.lab import history
from cairn.lab.episodes import Branch, Episodes, Tape
from cairn.lab.history import HistoryForm, HistoryPlayer, tell
from cairn.lab.instance import concatenate
from cairn.lab.model import LanguageModel, token_logprobs
from cairn.lab.pretrain import School, walk
from cairn.lab.task import Recipe
from cairn.lab.tasks import quest
from cairn.lab.world import WorldBatch, join

TOLERANCE = 1e-4  # nats


def player_of(model: LanguageModel, worlds: WorldBatch) -> HistoryPlayer:
    return HistoryForm(model.tokenizer, 2).player(model, worlds.worlds)


def stranger(model: LanguageModel, attention: str) -> LanguageModel:
    """Another architecture with random weights, which says all sorts of words that no world understands."""
    torch.manual_seed(5)
    config = Qwen2Config(
        vocab_size=len(model.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    config._attn_implementation = attention
    network = Qwen2ForCausalLM(config).eval()
    assert network.config._attn_implementation == attention
    network.lm_head.weight.data *= 30  # far from uniform, so that a wrong context shows
    return dataclasses.replace(model, network=network)


@pytest.mark.parametrize("kind", ["embedded", "sdpa", "eager"])
def test_sampling_records_the_log_probs_of_the_collated_rows(
    model: LanguageModel, short_worlds: WorldBatch, kind: str
) -> None:
    policy = model if kind == "embedded" else stranger(model, kind)
    player = player_of(policy, short_worlds)
    episodes = player.play(np.repeat(np.arange(4), 8), np.random.default_rng(0))
    rollouts = player.rollouts(episodes, draw_seed=0)
    with torch.no_grad():
        scored, entropies = token_logprobs(policy.network, rollouts.token_ids, rollouts.attention_mask)
    assert rollouts.token_ids.shape[0] == 32
    assert torch.allclose(scored * rollouts.action_mask, rollouts.logprobs_behaviour, atol=TOLERANCE)
    assert rollouts.entropies is not None
    # The entropy that belongs to a token is that of the distribution that it was drawn from.
    before = torch.nn.functional.pad(entropies[:, 1:], (1, 0))
    assert torch.allclose(before * rollouts.action_mask, rollouts.entropies, atol=TOLERANCE)


@pytest.mark.parametrize("after", [False, True])
def test_a_fork_goes_on_with_the_history_that_stood_there(
    model: LanguageModel, short_worlds: WorldBatch, after: bool
) -> None:
    player = player_of(model, short_worlds)
    episodes = player.play(np.array([0, 1, 2, 3]), np.random.default_rng(1))
    rollout, turn = np.nonzero(episodes.alive)
    forks = player.fork(episodes, Branch(rollout, turn, after), np.random.default_rng(2))
    told = tell(player._script, episodes)
    cut = told.end if after else told.begin
    compared = 0
    for i, (r, k) in enumerate(zip(rollout, turn, strict=True)):
        row, spoken = list(told.rows[r][: cut[r, k]]), []
        for step in np.flatnonzero(forks.alive[i]):
            row += player._script.scenes[short_worlds.observation[forks.states[i, step]]]
            length = forks.lengths[i, step]
            spoken += [(len(row) + n, forks.logprobs[i, step, n]) for n in range(length)]
            row += forks.tokens[i, step, :length].tolist()
        with torch.no_grad():
            scored, _ = token_logprobs(model.network, torch.tensor([row]), torch.ones(1, len(row), dtype=torch.bool))
        assert np.allclose([scored[0, column] for column, _ in spoken], [p for _, p in spoken], atol=TOLERANCE)
        compared += len(spoken)
    assert compared > 400
    if not after:
        assert (forks.states[:, 0] == episodes.states[rollout, turn]).all()


def test_a_row_reads_like_the_lessons_that_the_embedded_model_was_taught(model: LanguageModel) -> None:
    world = quest.build(quest.Knobs(slip=0.0), seed=3)
    teacher = quest.TASK.clean  # nothing is left to chance
    walked = list(walk(teacher, world, np.random.default_rng(0)))
    lesson = School(Recipe(), [world], teacher, model.tokenizer)._history(world)  # type: ignore[arg-type]
    phrases = [
        model.tokenizer(world.options[world.state_prompt[state]][option])["input_ids"] for state, option in walked
    ]
    tape = Tape.blank(1, len(walked), 3, np.array([world.start]))
    for k, ((state, option), phrase) in enumerate(zip(walked, phrases, strict=True)):
        tape.states[0, k], tape.options[0, k], tape.lengths[0, k] = state, option, len(phrase)
        tape.tokens[0, k, : len(phrase)] = phrase
    episodes = Episodes(instance=np.array([0]), rewards=np.ones(1), truncated=np.zeros(1, dtype=bool), **vars(tape))
    assert tell(player_of(model, join([world]))._script, episodes).rows == [lesson.tokens]


def test_only_turns_with_the_same_history_are_the_same_situation(
    model: LanguageModel, short_worlds: WorldBatch
) -> None:
    player = player_of(model, short_worlds)
    episodes = player.play(np.repeat([0, 1], 16), np.random.default_rng(3))
    told, numbers = tell(player._script, episodes), player.situations(episodes)
    seen: dict[int, tuple[int, list[int]]] = {}
    for r, k in zip(*np.nonzero(episodes.alive), strict=True):
        situation = int(episodes.states[r, k]), told.rows[r][: told.begin[r, k]]
        assert seen.setdefault(int(numbers[r, k]), situation) == situation
    assert len(seen) < episodes.alive.sum()
    assert len({(state, tuple(row)) for state, row in seen.values()}) == len(seen)
    assert (player.situations(episodes) == numbers).all()


def counted(model: LanguageModel, into: list[tuple[int, int]]) -> RemovableHandle:
    """Note rows and tokens of every pass."""

    def note(_: object, __: object, given: dict[str, torch.Tensor]) -> None:
        into.append((given["input_ids"].shape[0], given["input_ids"].numel()))

    return model.network.register_forward_pre_hook(note, with_kwargs=True)


def test_rollouts_share_a_row_until_their_histories_part(model: LanguageModel, short_worlds: WorldBatch) -> None:
    player, passes = player_of(model, short_worlds), list[tuple[int, int]]()
    with counted(model, passes):
        episodes = player.play(np.repeat(np.arange(4), 16), np.random.default_rng(4))
    told = tell(player._script, episodes)
    for turn, (rows, _) in enumerate(passes[1:]):  # the first pass reads the headers
        at = np.flatnonzero(episodes.alive[:, turn])
        heard = [tuple(told.rows[r][: told.spoken[r, turn]]) for r in at]
        states = episodes.states[at, turn].tolist()
        # Rows part where states look alike and still allow different phrases.
        assert len(set(heard)) <= rows <= len(set(zip(states, heard, strict=True)))
    assert passes[1][0] == 4
    assert passes[-1][0] > 4


def test_forks_read_each_episode_once_whatever_their_number(model: LanguageModel, short_worlds: WorldBatch) -> None:
    player = player_of(model, short_worlds)
    episodes = player.play(np.arange(4), np.random.default_rng(5))
    rollout, turn = np.nonzero(episodes.alive)
    longest = max(int(told) for told in tell(player._script, episodes).begin.max(1))
    for count in (1, 3):
        passes: list[tuple[int, int]] = []
        with counted(model, passes):
            branch = Branch(np.repeat(rollout, count), np.repeat(turn, count))
            player.fork(episodes, branch, np.random.default_rng(6))
        assert passes[0] == (4, 4 * longest)
        assert max(tokens / rows for rows, tokens in passes[1:]) < 20  # a turn, not a history


def test_blocks_of_texts_and_rollouts_change_nothing_but_the_dice(
    model: LanguageModel, short_worlds: WorldBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROWS_AT_ONCE", 3)
    player = player_of(model, short_worlds)
    episodes = player.play(np.repeat(np.arange(4), 2), np.random.default_rng(7))
    assert (episodes.instance == np.repeat(np.arange(4), 2)).all()
    rollout, turn = np.nonzero(episodes.alive)
    forks = player.fork(episodes, Branch(rollout, turn), np.random.default_rng(8))
    assert (forks.instance == episodes.instance[rollout]).all()
    assert (forks.states[:, 0] == episodes.states[rollout, turn]).all()
    told = tell(player._script, episodes)
    assert (forks.context_tokens[:, 0] == 0).all()
    scenes = np.array([len(s) for s in player._script.scenes])[short_worlds.observation[forks.states[:, 0]]]
    assert (forks.prompt_tokens[:, 0] == told.begin[rollout, turn] + scenes).all()


def test_a_situation_keeps_its_number_in_every_batch_of_the_player(
    model: LanguageModel, short_worlds: WorldBatch
) -> None:
    player = player_of(model, short_worlds)
    parts = [player.play(np.repeat(np.arange(4), 4), np.random.default_rng(seed)) for seed in (9, 10)]
    apart = [player.situations(part) for part in parts]
    turns = max(one.shape[1] for one in apart)
    wide = [np.pad(one, ((0, 0), (0, turns - one.shape[1])), constant_values=-1) for one in apart]
    assert (player.situations(concatenate(parts)) == np.concatenate(wide)).all()
    first, second = (set(one[one >= 0].tolist()) for one in apart)
    assert len(first & second) >= 4
