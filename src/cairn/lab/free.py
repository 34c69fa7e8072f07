"""Free text: an episode is one row, a question and a response that the network makes token by token.

    prompt (through the tokenizer's chat template where it has one), response, end token

A response without an end token within its limit is truncated, and not paid. Nothing about free text is exact: values,
advantages and success are Monte Carlo estimates with standard errors. A turn is a step inside the response, or all of
it. A fork goes on from what was said before the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from cairn.errors import UserError
from cairn.lab import montecarlo
from cairn.lab.collate import collate
from cairn.lab.episodes import Branch
from cairn.lab.instance import Spoken
from cairn.lab.model import LanguageModel
from cairn.lab.players import Success
from cairn.lab.policy import pad
from cairn.lab.question import Question
from cairn.lab.sampling import Sampled, sample
from cairn.lab.segmenting import WHOLE, segmenter
from cairn.rollouts import Rollouts

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ROWS_AT_ONCE = 256  # bounds the memory that keys and values take; results do not depend on it but for rounding


@dataclass(frozen=True)
class Responses(Spoken):
    """Responses, or what was added to a prefix of each. Nothing answers before the end: a response is one step."""

    @property
    def environment_steps(self) -> int:
        """See `Spoken.environment_steps`."""
        return self.rewards.size

    def said(self, rollout: int, turns: int) -> list[int]:
        """Return the tokens of the first turns of a rollout."""
        rows = zip(self.tokens[rollout, :turns], self.lengths[rollout, :turns], strict=True)
        return [int(token) for row, length in rows for token in row[:length]]


class FreePlayer:
    """See `cairn.lab.players.Player`."""

    def __init__(
        self,
        model: LanguageModel,
        questions: Sequence[Question],
        prompts: Sequence[list[int]],
        evaluation_episodes: int,
    ) -> None:
        """Ask a network. prompts: the questions in tokens. evaluation_episodes: for each question."""
        self.questions, self._prompts, self._model = questions, prompts, model
        self._ends, self._evaluation_episodes = end_tokens(model), evaluation_episodes
        self._limit = max(question.limit for question in questions)
        (steps,) = {question.steps for question in questions}
        self._segmenter = None if steps == WHOLE else segmenter(steps, model.tokenizer)
        self._situations: dict[tuple[int, bytes], int] = {}

    @property
    def n_instances(self) -> int:
        """See `Player.n_instances`."""
        return len(self.questions)

    def play(self, instance: IntArray, rng: np.random.Generator) -> Responses:
        """See `Player.play`."""
        whole = self._go_on(instance, [[] for _ in instance], rng)
        if self._segmenter is None or not instance.size:
            return whole
        ids = self._segmenter(self.rollouts(whole, draw_seed=0)).ids.numpy()
        lengths = np.stack([(ids == turn).sum(1) for turn in range(int(ids.max()) + 1)], axis=1)
        return _divide(whole, lengths)

    def fork(self, responses: Responses, branch: Branch, rng: np.random.Generator) -> Responses:
        """See `Player.fork`. What has ended, or has no room left, adds nothing."""
        points = zip(branch.rollout.tolist(), (branch.turn + branch.after).tolist(), strict=True)
        return self._go_on(responses.instance[branch.rollout], [responses.said(r, k) for r, k in points], rng)

    def situations(self, responses: Responses) -> IntArray:
        """See `Player.situations`: the question, and every token that was said."""
        numbers = np.full(responses.alive.shape, -1)
        for rollout, turn in zip(*np.nonzero(responses.alive), strict=True):
            said = np.array(responses.said(rollout, turn), dtype=np.int64).tobytes()
            situation = int(responses.instance[rollout]), said
            numbers[rollout, turn] = self._situations.setdefault(situation, len(self._situations))
        return numbers

    def bifurcations(self, responses: Responses) -> BoolArray:
        """See `Player.bifurcations`. None is known."""
        return np.zeros(responses.alive.shape, dtype=bool)

    def rollouts(self, responses: Responses, draw_seed: int) -> Rollouts:
        """See `Player.rollouts`: a row for each response."""
        turns = responses.alive.shape[1]
        rows = [self._prompts[i] + responses.said(r, turns) for r, i in enumerate(responses.instance)]
        rollout, turn = np.nonzero(responses.alive)
        place = rollout, (responses.prompt_tokens + responses.context_tokens)[rollout, turn]
        seen = self.situations(responses)
        return collate(responses, pad(rows), place, seen, seen, draw_seed)

    def exact(self) -> NoReturn:
        """See `Player.exact`. Always raises UserError."""
        raise UserError(
            "there is no exact credit of free text: its responses cannot be enumerated",
            value="prompt: free",
            repair="Use Monte Carlo advantages with their standard error, or a task that `cairn tasks` calls exact.",
        )

    def success(self, rng: np.random.Generator) -> Success:
        """See `Player.success`. Estimated."""
        return montecarlo.success(self, self._evaluation_episodes, rng)

    def _go_on(self, instance: IntArray, before: list[list[int]], rng: np.random.Generator) -> Responses:
        """Let each response go on behind what was said before, and have it verified."""
        room = np.array([self.questions[i].limit - len(b) for i, b in zip(instance, before, strict=True)])
        room *= ~np.array([bool(b) and b[-1] in self._ends for b in before], dtype=bool)
        said = self._sample(instance, before, room, rng.random((instance.size, self._limit)))
        whole = [b + t[:n].tolist() for b, t, n in zip(before, said.tokens, said.lengths, strict=True)]
        ended = np.array([bool(w) and w[-1] in self._ends for w in whole], dtype=bool)
        read = np.array([len(self._prompts[i]) + len(b) for i, b in zip(instance, before, strict=True)], dtype=np.int64)
        return Responses(
            instance,
            tokens=said.tokens[:, None],
            logprobs=said.logprobs[:, None],
            entropies=said.entropies[:, None],
            lengths=said.lengths[:, None],
            prompt_tokens=read[:, None],
            context_tokens=np.zeros_like(read)[:, None],
            rewards=self._verify(instance, whole, ended),
            truncated=~ended,
        )

    def _sample(
        self, instance: IntArray, before: list[list[int]], room: IntArray, luck: NDArray[np.float64]
    ) -> Sampled:
        """Sample, a bounded number of rows at once."""
        said = Sampled.blank(*luck.shape)
        open_ = np.flatnonzero(room > 0)
        for rows in np.split(open_, range(ROWS_AT_ONCE, open_.size, ROWS_AT_ONCE)):
            if rows.size:
                keys = [(int(instance[r]), tuple(before[r])) for r in rows]
                prefixes = {key: number for number, key in enumerate(dict.fromkeys(keys))}
                texts = [[*self._prompts[i], *tokens] for i, tokens in prefixes]
                copies = np.array([prefixes[key] for key in keys])
                part = sample(self._model, texts, copies, room[rows], self._ends, luck[rows])
                for name, values in vars(part).items():
                    getattr(said, name)[rows] = values
        return said

    def _verify(self, instance: IntArray, whole: list[list[int]], ended: BoolArray) -> NDArray[np.float64]:
        """(R,) what is paid."""
        texts = self._model.tokenizer.batch_decode([w[:-1] for w in whole], skip_special_tokens=True)
        paid = [self.questions[i].score(t) if e else 0.0 for i, t, e in zip(instance, texts, ended, strict=True)]
        return np.array(paid, dtype=np.float64)


def _divide(whole: Responses, lengths: IntArray) -> Responses:
    """Lay out responses of one turn as turns of `lengths` (R, K) tokens, which add up to all that was said."""
    rows, turns = lengths.shape
    width = whole.tokens.shape[2]
    stops = lengths.cumsum(1)
    starts = stops - lengths
    column = np.arange(width)
    source = np.minimum(starts[:, :, None] + column, width - 1)
    present = column < lengths[:, :, None]

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        spread = np.broadcast_to(values, (rows, turns, width))
        return np.where(present, np.take_along_axis(spread, source, axis=2), 0)

    first = starts == 0
    return replace(
        whole,
        tokens=turned(whole.tokens),
        logprobs=turned(whole.logprobs),
        entropies=turned(whole.entropies),
        lengths=lengths,
        prompt_tokens=np.where(first, whole.prompt_tokens, 0),
        context_tokens=np.where(first, 0, whole.prompt_tokens + starts),
    )


class FreeForm:
    """See `cairn.lab.players.PromptForm`."""

    has_exact_credit = False

    def __init__(self, tokenizer: PreTrainedTokenizerBase, evaluation_episodes: int) -> None:
        """Keep the tokens of questions that were seen. evaluation_episodes: see `FreePlayer`."""
        self._evaluation_episodes = evaluation_episodes
        self._tokens = lru_cache(maxsize=65536)(lambda prompt: prompt_tokens(prompt, tokenizer))

    @property
    def evaluation(self) -> str:
        """See `PromptForm`."""
        episodes = self._evaluation_episodes
        return f"estimated from {episodes} sampled responses to each question; every point states its standard error"

    def player(self, model: LanguageModel, instances: Sequence[Question]) -> FreePlayer:
        """Take the network as it is: it is asked while playing."""
        prompts = [self._tokens(question.prompt) for question in instances]
        return FreePlayer(model, instances, prompts, self._evaluation_episodes)


def prompt_tokens(prompt: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return what a policy reads before its response: the only message of a chat, where the tokenizer has a template.

    Otherwise the text itself, with what the tokenizer puts before texts, if anything.
    """
    if not getattr(tokenizer, "chat_template", None):
        return list(tokenizer(prompt)["input_ids"])
    chat = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def end_tokens(model: LanguageModel) -> IntArray:
    """Return the tokens with which a response ends: those that tokenizer and generation settings name.

    Raises UserError for a model that has none.
    """
    settings = model.network.generation_config
    named = [model.tokenizer.eos_token_id, getattr(settings, "eos_token_id", None)]
    found = {int(t) for one in named if one is not None for t in np.atleast_1d(one)}
    if not found:
        raise UserError(
            "the model has no token with which a response ends",
            value=model.source,
            repair="Set `eos_token` in its tokenizer_config.json, or choose a model that was trained with one.",
        )
    return np.array(sorted(found))
