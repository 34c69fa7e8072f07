"""Packed sequences against each one by itself, and the layout of a small batch by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from cairn.lab.model import LanguageModel, token_logprobs
from cairn.lab.prefixes import Layout, Packed
from cairn.lab.reading import logprobs, read_before

Sequences = list[tuple[int, ...]]


def _alone(model: LanguageModel, sequences: Sequences) -> Tensor:
    with torch.no_grad():
        return torch.cat([model.network(torch.tensor([sequence])).logits[0] for sequence in sequences])


def _together(model: LanguageModel, sequences: Sequences, places_at_once: int | None = None) -> Tensor:
    packed = Packed.of(model.network, sequences)
    places = np.concatenate([packed.place[n, : len(sequence)] for n, sequence in enumerate(sequences)])
    with torch.no_grad():
        return packed.outputs(places, places_at_once)


def _tree(rng: np.random.Generator, count: int, stem: int, longest: int, words: int) -> Sequences:
    """Sequences that begin with parts of a stem."""
    trunk = rng.integers(0, words, stem).tolist()
    ends = [rng.integers(0, words, rng.integers(1, longest + 1)).tolist() for _ in range(count)]
    return [(*trunk[: rng.integers(0, stem + 1)], *end) for end in ends]


def test_the_layout_of_three_sequences_by_hand() -> None:
    layout = Layout.of(((7, 8, 9), (7, 5), (7, 8, 6), (7, 5)))
    # Sorted: 7 5 | 7 8 6 | 7 8 9. Each adds what the one before it does not begin with.
    assert layout.tokens.tolist() == [[7, 5, 8, 6, 9]]
    assert layout.position.tolist() == [[0, 1, 1, 2, 2]]
    assert [layout.place[n, :size].tolist() for n, size in enumerate((3, 2, 3, 2))] == [
        [0, 2, 4],
        [0, 1],
        [0, 2, 3],
        [0, 1],
    ]
    assert layout.sees is not None
    assert layout.sees[0].astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 0, 1, 1, 0],
        [1, 0, 1, 0, 1],
    ]


@pytest.mark.parametrize("seed", range(6))
def test_outputs_are_those_of_each_sequence_by_itself(model64: LanguageModel, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sequences = _tree(rng, count=int(rng.integers(2, 60)), stem=40, longest=9, words=3)
    sequences += sequences[:2]
    layout = Layout.of(tuple(sequences))
    assert layout.sees is not None
    assert layout.tokens.size < 0.75 * sum(map(len, set(sequences)))
    # The norms of the network compute in float32.
    torch.testing.assert_close(_together(model64, sequences), _alone(model64, sequences), rtol=0, atol=1e-5)


def test_a_sequence_of_its_own_row_keeps_it(model64: LanguageModel, rng: np.random.Generator) -> None:
    """What shares little is read as plain rows, without a mask."""
    sequences = [tuple(rng.integers(0, 90, 50 + n % 3).tolist()) for n in range(5)]
    layout = Layout.of(tuple(sequences))
    assert layout.sees is None
    assert layout.tokens.shape == (5, 52)
    torch.testing.assert_close(_together(model64, sequences), _alone(model64, sequences), rtol=0, atol=1e-5)


@pytest.mark.parametrize("places_at_once", [1, 64, 150])
def test_reading_in_parts_gives_the_same(model64: LanguageModel, places_at_once: int) -> None:
    sequences = _tree(np.random.default_rng(1), count=80, stem=30, longest=20, words=5)
    assert len(Layout.of(tuple(sequences)).tokens) > 3
    whole, parts = _together(model64, sequences), _together(model64, sequences, places_at_once)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_log_probs_are_those_of_plain_rows_on_whichever_side_the_padding_stands(
    model64: LanguageModel, side: str
) -> None:
    sequences = _tree(np.random.default_rng(2), count=20, stem=12, longest=6, words=4)
    ids = torch.zeros(len(sequences), 25, dtype=torch.long)
    present, said, expected = ids.bool(), ids.bool(), ids.double()
    for n, sequence in enumerate(sequences):
        here = slice(25 - len(sequence), 25) if side == "left" else slice(len(sequence))
        row, there = torch.tensor([sequence]), torch.ones(1, len(sequence), dtype=torch.bool)
        with torch.no_grad():
            ids[n, here], present[n, here] = row[0], True
            expected[n, here] = token_logprobs(model64.network, row, there)[0][0]
        said[n, here] = torch.rand(len(sequence), generator=torch.Generator().manual_seed(n)) < 0.5
    found = logprobs(model64.network, ids, present, said).detach()
    torch.testing.assert_close(found, expected * said, rtol=0, atol=1e-5)
    assert not found[~said].any()


def test_nothing_wanted_and_nothing_before_it(model: LanguageModel) -> None:
    """A row's first token has nothing before it: 0, as where nothing is wanted; the network is not asked for it."""
    ids = torch.tensor([[3, 4], [5, 6]])
    here = torch.ones_like(ids, dtype=torch.bool)
    nothing = logprobs(model.network, ids, here, torch.zeros_like(here))
    first = logprobs(model.network, ids, here, torch.tensor([[True, False], [True, False]]))
    none = logprobs(model.network, ids[:0], here[:0], here[:0])
    assert not nothing.any()
    assert not first.any()
    assert none.shape == (0, 2)


def test_a_head_reads_what_stands_before_a_token(model: LanguageModel) -> None:
    ids = torch.tensor([[3, 4, 5], [3, 6, 0]])
    present = torch.tensor([[True, True, True], [True, True, False]])
    wanted = torch.tensor([[False, False, True], [False, True, False]])
    read = read_before(model.network, ids, present, wanted, lambda logits, said: logits[:, 0] + 100 * said)
    with torch.no_grad():
        plain = model.network(torch.tensor([[3, 4]])).logits[0, :, 0]
    expected = torch.tensor([[0, 0, plain[1] + 500], [0, plain[0] + 600, 0]])
    torch.testing.assert_close(read.detach(), expected, rtol=0, atol=1e-4)


SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "bos_token_id": None,
    "eos_token_id": None,
}


def _strange(name: str) -> LanguageModel:
    """A network of another kind, with random weights, in the place of a model's own."""
    torch.manual_seed(0)
    match name:
        case "gpt2":
            network: Any = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, **SIZES))
        case "wide" | "narrow":  # attends to a window, which holds all of a sequence here or does not
            heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 32}
            window = 64 if name == "wide" else 8
            network = MistralForCausalLM(MistralConfig(sliding_window=window, pad_token_id=None, **heads, **SIZES))
        case _:
            network = MambaForCausalLM(MambaConfig(state_size=4, **SIZES))
    return LanguageModel(network.eval(), None, name, "")  # type: ignore[arg-type]  # no text is read


@pytest.mark.parametrize(("name", "golden"), [("gpt2", True), ("wide", True), ("narrow", False), ("mamba", False)])
def test_a_network_that_cannot_read_several_in_a_row_is_found_out(name: str, golden: bool) -> None:
    """Mamba carries its state from place to place, whatever the mask says: it gets plain rows, and is right then."""
    model, sequences = _strange(name), _tree(np.random.default_rng(3), count=20, stem=20, longest=5, words=40)
    assert (Packed.of(model.network, sequences).layout.sees is not None) is golden
    torch.testing.assert_close(_together(model, sequences), _alone(model, sequences), rtol=0, atol=1e-4)
