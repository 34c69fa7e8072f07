"""How the cost of a batch grows with its tokens: credit of every method, and what the loop does for each token.

Rows keep their length and turns theirs; more tokens are more rows. Where seconds = c * tokens ** e, e is the slope of
log seconds on log tokens, and 1 where cost is linear. Small batches cost more for each token, because every call has a
price of its own: so that e below 1 is no contradiction, and e well above 1 is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from cairn.lab.model import LanguageModel, load, quiet, token_logprobs
from cairn.lab.pretrain import embedded_model
from cairn.lab.speed import keep_memory, one_thread, settle_memory
from cairn.lab.tasks import find as find_task
from cairn.lab.windowed import WindowedForm
from cairn.method import Method
from cairn.methods import find, implemented_ids
from cairn.rollouts import Rollouts

ROW_TOKENS = 1000
TURN_TOKENS = 20
TURNS = ROW_TOKENS // TURN_TOKENS  # a row is an episode
ACTION_TOKENS = 5  # the first of each turn
GROUP = 8
OBSERVATIONS = 50
AGENTS = 4
NETWORK_ROW_TOKENS = 64
NETWORK_TOKENS = 300_000  # above this, one pass keeps more for its backward pass than small machines have
FIRST_SEED, INSTANCES = 1000, 4
RUNS = (5, 3)  # of the smaller batches, and of those from `LARGE_TOKENS` on
LARGE_TOKENS = 1_000_000
Work = Callable[[], object]


@dataclass(frozen=True)
class Part:
    """Something whose cost is asked for.

    prepare: makes the work on a batch of about so many tokens, and says how many they are. most_tokens: None for all.
    """

    name: str
    prepare: Callable[[int], tuple[Work, int]]
    most_tokens: int | None = None


@dataclass(frozen=True)
class Growth:
    """Least processor seconds of the runs, for batches of `tokens`."""

    name: str
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Return the slope of log seconds on log tokens over all sizes."""
        return slope(self.tokens, self.seconds)

    @property
    def last_exponent(self) -> float:
        """Return the same over the two largest sizes, where the price of a call no longer counts."""
        return slope(self.tokens[-2:], self.seconds[-2:])

    @property
    def ns_per_token(self) -> tuple[float, ...]:
        """Return nanoseconds for each token."""
        return tuple(1e9 * s / n for n, s in zip(self.tokens, self.seconds, strict=True))


def slope(tokens: Sequence[int], seconds: Sequence[float]) -> float:
    """Return the slope of log seconds on log tokens by least squares. Raises ValueError for fewer than two sizes."""
    if len(tokens) < 2:
        raise ValueError("a slope takes two sizes")
    return float(np.polyfit(np.log(tokens), np.log(seconds), 1)[0])


def grow(part: Part, sizes: Sequence[int], runs: tuple[int, int] = RUNS) -> Growth:
    """Time a part at each size that it allows, on one thread."""
    settle_memory()
    found = []
    with one_thread():
        for size in sizes:
            if part.most_tokens is None or size <= part.most_tokens:
                work, tokens = part.prepare(size)
                work()
                found.append((tokens, min(_seconds(work) for _ in range(runs[size >= LARGE_TOKENS]))))
    return Growth(part.name, tuple(tokens for tokens, _ in found), tuple(seconds for _, seconds in found))


def measure(task: str, sizes: Sequence[int], advance: Callable[[], None]) -> list[tuple[Growth, Growth | None]]:
    """Time all parts, first as a process is, and then once more with all memory kept, where the C library can do that.

    advance: called after each. The memory is kept from then on until the process ends.
    """
    found = list(parts(task))
    times: list[Growth] = []
    for kept in (False, True):
        if kept and not keep_memory():
            return [(plain, None) for plain in times]
        for part in found:
            times.append(grow(part, sizes))
            advance()
    return list(zip(times[: len(found)], times[len(found) :], strict=True))


def parts(task: str) -> Iterator[Part]:
    """Yield all parts. Raises UserError for a task without an embedded model."""
    quiet()
    model = load(embedded_model(task))
    for name in implemented_ids():
        yield Part(f"credit of {name}", partial(credit_work, find(name)()))
    yield Part("loss and its gradient", loss_work)
    yield Part("sampling from the table", partial(play_work, task, model, collated=False))
    yield Part("collating rows of turns", partial(play_work, task, model, collated=True))
    yield Part("network, forward and backward", partial(network_work, model), NETWORK_TOKENS)


def credit_work(method: Method, tokens: int) -> tuple[Work, int]:
    """Give a batch its credits."""
    rollouts = make_rollouts(tokens)
    return lambda: method.credit(rollouts), rollouts.token_ids.numel()


def loss_work(tokens: int) -> tuple[Work, int]:
    """Compute the plain loss from log-probs that are there, and its gradient with respect to them."""
    rollouts, method = make_rollouts(tokens), Method()
    credit = method.credit(rollouts)
    logprobs = rollouts.logprobs_behaviour.clone().requires_grad_()
    return lambda: method.loss(logprobs, rollouts, credit).backward(), rollouts.token_ids.numel()


def play_work(task: str, model: LanguageModel, tokens: int, *, collated: bool) -> tuple[Work, int]:
    """Sample episodes of a few instances from a policy table that was read before, or collate such episodes."""
    family = find_task(task)
    worlds = [family.build(family.make_knobs({}), FIRST_SEED + number) for number in range(INSTANCES)]
    player = WindowedForm(model.tokenizer).player(model, worlds)
    trial = player.play(np.arange(INSTANCES), np.random.default_rng(0))
    each = (trial.prompt_tokens.sum() + trial.lengths.sum()) / INSTANCES
    instance = np.arange(max(1, round(tokens / each))) % INSTANCES
    episodes = player.play(instance, np.random.default_rng(1))
    count = int(episodes.prompt_tokens.sum() + episodes.lengths.sum())
    if collated:
        return lambda: player.rollouts(episodes, 0), count
    return lambda: player.play(instance, np.random.default_rng(1)), count


def network_work(model: LanguageModel, tokens: int) -> tuple[Work, int]:
    """Pass rows of one length through the network, forward and backward."""
    rows = max(1, tokens // NETWORK_ROW_TOKENS)
    ids = torch.randint(model.network.config.vocab_size, (rows, NETWORK_ROW_TOKENS))
    mask = torch.ones_like(ids, dtype=torch.bool)

    def work() -> None:
        model.network.zero_grad()
        token_logprobs(model.network, ids, mask)[0].sum().backward()

    return work, ids.numel()


def make_rollouts(tokens: int, seed: int = 0) -> Rollouts:
    """Return a batch of whole groups with about so many tokens and every field that a rule may read.

    Rows are episodes of `ROW_TOKENS` tokens; a turn is `ACTION_TOKENS` of the policy and an observation.
    """
    rng = torch.Generator().manual_seed(seed)
    rows = GROUP * max(1, round(tokens / ROW_TOKENS / GROUP))
    place = torch.arange(ROW_TOKENS)
    chosen = (place % TURN_TOKENS < ACTION_TOKENS).expand(rows, -1)
    turns = (rows, TURNS)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=rng)

    def scores() -> torch.Tensor:
        return torch.where(chosen, -random(rows, ROW_TOKENS), 0)

    return Rollouts(
        token_ids=torch.zeros(rows, ROW_TOKENS, dtype=torch.long),
        attention_mask=torch.ones(rows, ROW_TOKENS, dtype=torch.bool),
        action_mask=chosen.clone(),
        turn_ids=torch.where(chosen, place // TURN_TOKENS, -1),
        row_rollout=torch.arange(rows),
        group_ids=torch.arange(rows) // GROUP,
        terminal_rewards=random(rows).round(),
        truncated=torch.zeros(rows, dtype=torch.bool),
        turn_mask=torch.ones(turns, dtype=torch.bool),
        turn_rewards=torch.zeros(turns),
        logprobs_behaviour=scores(),
        logprobs_reference=scores(),
        entropies=-scores(),
        values=-scores(),
        turn_values=random(*turns),
        exact_advantages=random(*turns),
        observation_keys=torch.randint(OBSERVATIONS, turns, generator=rng),
        state_handles=torch.arange(rows * TURNS).reshape(turns),
        turn_scores=random(*turns),
        token_scores=-scores(),
        agent_ids=torch.randint(AGENTS, turns, generator=rng),
        rollout_ids=torch.arange(rows),
        parent_ids=torch.full((rows,), -1),
        fork_turns=torch.zeros(rows, dtype=torch.long),
        pairs=torch.arange(rows).reshape(-1, 2),
        imitated=random(rows) < 0.5,
    )


def sizes(least: int, greatest: int) -> tuple[int, ...]:
    """Return the powers of ten between, both ends with them."""
    steps = max(1, round(math.log10(greatest / least)))
    return tuple(round(least * (greatest / least) ** (step / steps)) for step in range(steps + 1))


def _seconds(work: Work) -> float:
    started = time.thread_time()
    work()
    return time.thread_time() - started
