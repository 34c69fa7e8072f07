"""A language model behind an endpoint that speaks the chat-completions protocol: it marks turns and scores rollouts.

Everything that comes back is data: it is parsed as JSON, and nothing else in it counts. The key is read from the
environment when a run starts and goes nowhere but to the endpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

import torch
from torch import Tensor

from cairn.errors import UserError
from cairn.lab.bills import Bills
from cairn.lab.scorers.base import Exchange, LiveScorer, Scorer, Site, Transcript, on_turns

if TYPE_CHECKING:
    import openai

T = TypeVar("T")
LONGEST_ANSWER = 65_536  # characters; what is longer is not read
TURNS_QUESTION = (
    "You judge the work of an agent, turn by turn. A turn is wrong if it makes it harder to reach the goal. "
    'Answer with one JSON object and nothing else: {"wrong": [numbers of the wrong turns]}.'
)
ROLLOUT_QUESTION = (
    "You judge the work of an agent as a whole. "
    'Answer with one JSON object and nothing else: {"score": a number from 0, failed, to 1, solved}.'
)


class MalformedAnswerError(ValueError):
    """The endpoint answered something that is not what was asked for."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a question came to, and what it took, failed attempts included."""

    value: T
    calls: int
    read_tokens: int
    said_tokens: int


@dataclass(frozen=True)
class Endpoint(Scorer):
    """A judge that is asked over HTTP, through the package `openai` (extra `judge`).

    model, base_url: who is asked, and where. key_variable: the environment variable that holds the key. retries: for
    each question, after a timeout, a refused connection, a rate limit, an error of the server or a malformed answer;
    waits grow from one to the next. parallel: questions at a time. parameters: number of weights, so that its FLOPs
    can be billed (2 a weight and token); at 0 they are not, and a comparison at equal compute leaves the judge out.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    key_variable: str = "OPENAI_API_KEY"
    temperature: float = 1.0
    timeout_s: float = 60.0
    retries: int = 4
    parallel: int = 8
    max_answer_tokens: int = 1024
    parameters: float = 0.0
    turns_question: str = TURNS_QUESTION
    rollout_question: str = ROLLOUT_QUESTION

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError("not the address of an endpoint", value=self.base_url, repair="Give http(s)://host/v1.")
        if parts.username or parts.password or parts.query:
            repair = f"Leave it out; put the key into the environment variable {self.key_variable}."
            raise UserError("the address of an endpoint holds a secret", repair=repair)

    def open(self, site: Site) -> LiveScorer:  # noqa: ARG002 - it brings its own model
        """See `Scorer.open`. Raises UserError where the package or the key is missing."""
        if find_spec("openai") is None:
            repair = "Run: pip install 'cairn-credit[judge]'."
            raise UserError("a package that this scorer needs is missing", value="openai", repair=repair)
        key = os.environ.get(self.key_variable)
        if not key:
            repair = f"Set {self.key_variable}; any text will do for a server that asks for none."
            raise UserError("the endpoint's key is not in the environment", value=self.key_variable, repair=repair)
        return LiveEndpoint(self, key)


class LiveEndpoint:
    """See `cairn.lab.scorers.base.LiveScorer`."""

    def __init__(self, settings: Endpoint, key: str) -> None:
        """Open a client."""
        import openai

        self.notes: dict[str, float] = {}
        self._settings = settings
        self._client = openai.OpenAI(
            api_key=key, base_url=settings.base_url, timeout=settings.timeout_s, max_retries=settings.retries
        )

    def turns(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.turns`: one opinion."""
        return self.marks(transcript, 1, bills)[..., 0]

    def rollouts(self, transcript: Transcript, bills: Bills) -> Tensor:
        """See `LiveScorer.rollouts`."""
        question = self._settings.rollout_question
        asked = [(question, told(turns), _read_score) for turns in transcript.exchanges]
        return torch.tensor(self._ask_all(asked, bills), dtype=torch.float32)

    def marks(self, transcript: Transcript, votes: int, bills: Bills) -> Tensor:
        """See `LiveScorer.marks`: one question for each rollout and vote."""
        question = self._settings.turns_question
        asked = [
            (question, told(turns), _reader_of_marks(len(turns)))
            for turns in transcript.exchanges
            for _ in range(votes)
        ]
        answers = self._ask_all(asked, bills)
        count = len(transcript.exchanges)
        by_turn = [
            [answers[r * votes + vote][k] for vote in range(votes)]
            for r in range(count)
            for k in range(len(transcript.exchanges[r]))
        ]
        return on_turns(torch.tensor(by_turn).reshape(len(by_turn), votes), transcript.rollouts)

    def _ask_all(self, asked: Sequence[tuple[str, str, Callable[[Any], T]]], bills: Bills) -> list[T]:
        with ThreadPoolExecutor(self._settings.parallel) as pool:
            answers = list(pool.map(self._ask, *zip(*asked, strict=True))) if asked else []
        for answer in answers:  # here, not where they were asked: the ledger is no place for threads
            bills.judged(answer.calls, answer.read_tokens, answer.said_tokens, self._settings.parameters)
        return [answer.value for answer in answers]

    def _ask(self, question: str, text: str, read: Callable[[Any], T]) -> Answer[T]:
        """Ask until the answer is of the kind that was asked for. Raises UserError when it never is."""
        read_tokens = said_tokens = 0
        for call in range(1, self._settings.retries + 2):
            try:
                completion = self._call(question, text)
                read_tokens += _stated(completion, "prompt_tokens")
                said_tokens += _stated(completion, "completion_tokens")
                return Answer(read(_json_of(completion)), call, read_tokens, said_tokens)
            except MalformedAnswerError as error:
                fault = error
        raise UserError(
            f"the judge did not answer as it was asked: {fault}",
            value=self._settings.model,
            repair="Ask a model that can answer in JSON, or word the question otherwise.",
        )

    def _call(self, question: str, text: str) -> Any:
        """Ask once, through the client, which waits and tries again where that helps.

        Raises UserError when the endpoint stays out of reach.
        """
        import openai

        settings = self._settings
        try:
            return self._client.chat.completions.create(
                model=settings.model,
                messages=[{"role": "system", "content": question}, {"role": "user", "content": text}],
                temperature=settings.temperature,
                max_tokens=settings.max_answer_tokens,
            )
        except openai.OpenAIError as error:
            raise self._out_of_reach(error) from None
        except ValueError as error:  # a body that is no JSON at all
            raise MalformedAnswerError("the body is not JSON") from error

    def _out_of_reach(self, error: openai.OpenAIError) -> UserError:
        """Say what went wrong without repeating what the endpoint wrote, which may hold part of the key."""
        status = getattr(error, "status_code", None)
        what = f"status {status}" if status else type(error).__name__
        hints = {
            401: f"Check the key in {self._settings.key_variable}.",
            404: "Check base_url and model.",
            429: "Wait, or ask fewer questions at a time (`parallel`).",
        }
        return UserError(
            f"the endpoint did not answer: {what}",
            value=self._settings.base_url,
            repair=hints.get(status or 0, "See that it is up, or give it more time (`timeout_s`, `retries`)."),
        )


def told(turns: Sequence[Exchange]) -> str:
    """Write a rollout down for a reader: numbered turns, what was seen and what was said."""
    return "\n".join(f"Turn {k}. Saw: {turn.seen}\nTurn {k}. Said: {turn.said}" for k, turn in enumerate(turns, 1))


def _json_of(answer: Any) -> Any:
    try:
        content = answer.choices[0].message.content
    except (AttributeError, IndexError, TypeError) as error:
        raise MalformedAnswerError("there is no message in it") from error
    if not isinstance(content, str) or len(content) > LONGEST_ANSWER:
        raise MalformedAnswerError("there is no text in it, or far too much")
    try:
        return json.loads(content.strip().removeprefix("```json").removesuffix("```"))
    except (ValueError, RecursionError) as error:
        raise MalformedAnswerError("it is not JSON") from error


def _reader_of_marks(turns: int) -> Callable[[Any], list[float]]:
    def read(content: Any) -> list[float]:
        wrong = content.get("wrong") if isinstance(content, dict) else None
        if not isinstance(wrong, list):
            raise MalformedAnswerError("it has no list `wrong`")
        if not all(isinstance(k, int) and not isinstance(k, bool) and 1 <= k <= turns for k in wrong):
            raise MalformedAnswerError(f"`wrong` names something that is no turn from 1 to {turns}")
        return [0.0 if k in wrong else 1.0 for k in range(1, turns + 1)]

    return read


def _read_score(content: Any) -> float:
    score = content.get("score") if isinstance(content, dict) else None
    if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        raise MalformedAnswerError("it has no `score` from 0 to 1")
    return float(score)


def _stated(completion: Any, count: str) -> int:
    """Return a number of tokens that the endpoint states; 0 where it states none."""
    number = getattr(getattr(completion, "usage", None), count, None)
    return number if isinstance(number, int) and number >= 0 else 0
