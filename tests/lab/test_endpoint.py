"""A judge behind HTTP, asked on a stub server in this process: answers, retries, what is billed and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch

from cairn.errors import UserError
from cairn.lab.cell import describe_object
from cairn.lab.forms import prompt_form
from cairn.lab.ledger import Ledger
from cairn.lab.loop import Panel
from cairn.lab.model import LanguageModel
from cairn.lab.scorers import Site
from cairn.lab.scorers.base import Exchange
from cairn.lab.scorers.endpoint import Endpoint, told
from cairn.lab.services import Models, TabularServices

pytest.importorskip("openai")
KEY = "a-key-that-must-stay-here"
Answer = tuple[int, Any]


class Stub(ThreadingHTTPServer):
    """Answers from a script; the last line of the script is repeated."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Answer] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have gone."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.keys.append(self.headers["Authorization"])
            script = self.server.script
            status, answer = script.pop(0) if len(script) > 1 else script[0]
        if answer is None:
            return  # hang up
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def says(content: object, read: int = 40, said: int = 5) -> Answer:
    message = {"role": "assistant", "content": content if isinstance(content, str) else json.dumps(content)}
    usage = {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return 200, {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = Stub()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


Judge = Callable[..., tuple[TabularServices, Ledger]]


@pytest.fixture
def judge(stub: Stub, model: LanguageModel, panel: Panel) -> Judge:
    def opened(**settings: Any) -> tuple[TabularServices, Ledger]:
        ledger, form = Ledger(), prompt_form("windowed", model.tokenizer, 2)
        endpoint = Endpoint(**{"model": "m", "base_url": stub.url, "retries": 2, "timeout_s": 5.0, **settings})
        live = endpoint.open(Site(model, form, panel.train, 0))
        services = TabularServices(
            Models(model, model, None, live), form, ledger, frozenset({"judge", "reward_model", "prm"}),
            instances=panel.train[:1], group_size=2, seed=(0, 0),
        )  # fmt: skip
        return services, ledger

    return opened


def test_marks_are_what_the_judge_says_of_the_turns_in_words(judge: Judge, stub: Stub, model: LanguageModel) -> None:
    stub.script = [says({"wrong": [2, 1]})]
    services, ledger = judge()
    batch = services.rollouts()
    said = ledger.generated_tokens
    marks = services.marks(batch, 3)
    assert marks.shape == (*batch.turn_mask.shape, 3)
    assert not marks[:, :2].any()
    assert bool((marks[:, 2:] == batch.turn_mask[:, 2:, None]).all())
    assert ledger.judge_calls == len(stub.asked) == 6
    assert ledger.scored_tokens == 6 * 40
    assert ledger.generated_tokens == said + 6 * 5
    text = stub.asked[0]["messages"][1]["content"]
    first = model.tokenizer.decode(batch.token_ids[0][batch.attention_mask[0] & ~batch.action_mask[0]])
    assert text.startswith(f"Turn 1. Saw: {first}\nTurn 1. Said: ")
    assert stub.keys == [f"Bearer {KEY}"] * 6


def test_rollouts_are_scored_and_the_flops_of_a_judge_of_known_size_are_billed(judge: Judge, stub: Stub) -> None:
    stub.script = [says({"score": 0.25}), says('```json\n{"score": 1}\n```')]
    services, ledger = judge(parallel=1, parameters=1000.0)
    batch = services.rollouts()
    before = ledger.flops
    assert services.rollout_scores(batch).tolist() == [0.25, 1.0]
    assert ledger.flops == before + 2 * 1000 * 2 * 45
    assert services.turn_scores(batch.keep_rollouts(torch.tensor([False, False]))).shape[0] == 0
    assert ledger.judge_calls == 2


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"error": {"message": "slow down"}}),
        (500, {"error": {"message": "down"}}),
        (200, None),
        says("certainly! all turns were good"),
        says({"wrong": [99]}),
        says({"wrong": [True]}),
        says({"wrong": "1"}),
        says([1]),
        says("x" * 70_000),
        (200, {"choices": []}),
    ],
    ids=["rate limit", "server", "hang up", "prose", "no such turn", "bool", "no list", "list", "long", "empty"],
)
def test_trouble_that_passes_is_lived_through_and_trouble_that_stays_is_said(
    judge: Judge, stub: Stub, trouble: Answer
) -> None:
    stub.script = [trouble, says({"wrong": []})]
    services, ledger = judge(parallel=1)
    batch = services.rollouts()
    assert bool((services.marks(batch, 1)[..., 0] == batch.turn_mask).all())
    assert len(stub.asked) == 3
    assert ledger.judge_calls in (2, 3)
    stub.script = [trouble]
    with pytest.raises(UserError, match="did not answer") as caught:
        services.marks(batch, 1)
    assert KEY not in str(caught.value)


def test_a_refused_key_is_not_repeated_anywhere(judge: Judge, stub: Stub) -> None:
    stub.script = [(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})]
    services, _ = judge(parallel=1)
    with pytest.raises(UserError, match="status 401") as caught:
        services.rollout_scores(services.rollouts())
    assert KEY not in str(caught.value)
    assert "OPENAI_API_KEY" in str(caught.value)
    assert len(stub.asked) == 2, "once for each rollout: a wrong key does not become right"


def test_a_slow_endpoint_is_given_up(judge: Judge, stub: Stub) -> None:
    services, _ = judge(parallel=1, retries=0, timeout_s=0.05)
    stub.script = [says({"score": 1})]
    batch = services.rollouts()
    stub.lock.acquire()
    try:
        with pytest.raises(UserError, match="Timeout"):
            services.rollout_scores(batch)
    finally:
        stub.lock.release()


def test_the_key_comes_from_the_environment_and_stays_out_of_the_record(
    stub: Stub, model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = Endpoint(model="m", base_url=stub.url)
    assert KEY not in json.dumps(describe_object(endpoint))
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UserError, match="not in the environment"):
        endpoint.open(Site(model, prompt_form("windowed", model.tokenizer, 2), (), 0))


@pytest.mark.parametrize("address", ["ftp://host/v1", "host", "http://me:secret@host/v1", "http://host/v1?key=secret"])
def test_addresses_without_a_host_or_with_a_secret_are_refused(address: str) -> None:
    with pytest.raises(UserError) as caught:
        Endpoint(model="m", base_url=address)
    assert "secret" not in str(caught.value).replace("holds a secret", "")


def test_what_the_judge_reads_is_the_rollout_turn_by_turn() -> None:
    turns = [Exchange("room", "go on ."), Exchange("fork", "")]
    assert told(turns) == "Turn 1. Saw: room\nTurn 1. Said: go on .\nTurn 2. Saw: fork\nTurn 2. Said: "
