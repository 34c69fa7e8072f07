"""The stated formula against what torch counts, on the shipped models and on larger ones of other shapes.

Golden: `torch.utils.flop_counter`, which adds up the matrix products that really run, attention as plain products.
"""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from cairn.lab.bills import TRAINING_PASSES
from cairn.lab.model import load, model_cost
from cairn.lab.pretrain import embedded_model

EMBEDDED = sorted(path.parent.name for path in Path(embedded_model("quest")).parent.glob("*/config.json"))


def llama(layers: int, width: int, inner: int, words: int, heads: int = 8, shared: int = 8) -> PreTrainedModel:
    """Return a model of the shape that the sizes say; `shared`: heads of keys and values."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=words, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
            num_attention_heads=heads, num_key_value_heads=shared, max_position_embeddings=2048,
        )
    )  # fmt: skip


LARGER = {
    "ten million weights": lambda: llama(5, 384, 1024, 2000),
    "grouped keys": lambda: llama(4, 256, 704, 1000, shared=2),
    "wide vocabulary": lambda: llama(2, 128, 352, 32_000),
    "GPT-2, whose maps are Conv1D": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=1000, n_embd=128, n_layer=3, n_head=4, n_positions=512)
    ),
}
NAMES = [*EMBEDDED, *LARGER]


def network(name: str) -> PreTrainedModel:
    """Return a network whose attention runs as plain products, which the counter knows on every device."""
    made = LARGER[name]() if name in LARGER else copy.deepcopy(load(embedded_model(name)).network)  # type: ignore[no-untyped-call]
    made.set_attn_implementation("eager")
    return made


def counted(counter: FlopCounterMode) -> int:
    return int(counter.get_total_flops())


@pytest.mark.parametrize("tokens", [24, 400])
@pytest.mark.parametrize("name", NAMES)
def test_forward_and_backward(name: str, tokens: int) -> None:
    net = network(name)
    ids = torch.randint(2, net.config.vocab_size, (2, tokens), generator=torch.Generator().manual_seed(0))
    lengths = torch.full((2,), tokens)
    stated = model_cost(net).forward_flops(lengths, lengths**2)
    with FlopCounterMode(display=False) as counter:
        logits = net(input_ids=ids, use_cache=False).logits
    assert counted(counter) == pytest.approx(stated, rel=0.1)
    with FlopCounterMode(display=False) as both:
        net(input_ids=ids, use_cache=False).logits.sum().backward()
    assert counted(both) == pytest.approx(TRAINING_PASSES * stated, rel=0.1)
    assert logits.shape[1] == tokens


@pytest.mark.parametrize("name", NAMES)
def test_generation_with_a_cache(name: str) -> None:
    """A prompt as one block, then token by token: position t attends to t positions, itself included."""
    net, prompt, said = network(name), 40, 24
    ids = torch.randint(2, net.config.vocab_size, (1, prompt + said), generator=torch.Generator().manual_seed(0))
    cost, cache, total = model_cost(net), None, 0
    for piece in (ids[:, :prompt], *ids[:, prompt:].split(1, dim=1)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            cache = net(input_ids=piece, past_key_values=cache, use_cache=True).past_key_values
        total += counted(counter)
    attended = prompt * prompt + sum(range(prompt + 1, prompt + said + 1))
    stated = cost.forward_flops(torch.tensor([prompt + said]), torch.tensor([attended]))
    assert total == pytest.approx(stated, rel=0.1)
