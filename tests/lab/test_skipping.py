"""Maps that work at some places only, by themselves and as parts of the first and last layer of a network."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel, MambaConfig, MambaModel, PreTrainedModel

from cairn.lab.model import LanguageModel
from cairn.lab.prefixes import Ability, Packed, ability
from cairn.lab.skipping import Places, only_at

SEQUENCES = [(3, 1, 4, 1, 5), (3, 1, 4, 2), (2, 7, 1, 8, 2, 8)]
SIZES: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2}


def test_places_of_each_token_by_hand() -> None:
    """Row by row, the tokens 7 and 5 and 7 again, 9 and 7 and 5."""
    places = Places.one_a_token(torch.tensor([[7, 5, 7], [9, 7, 5]]))
    assert [[7, 5, 7, 9, 7, 5][at] for at in places.picked] == [5, 7, 9]
    states = torch.arange(6.0).view(2, 3, 1)
    assert [int(at) for at in places.pick(states)[0, :, 0]] == places.picked.tolist()
    assert places.spread(torch.tensor([[[50.0], [70.0], [90.0]]])).tolist() == [
        [[70.0], [50.0], [70.0]],
        [[90.0], [70.0], [50.0]],
    ]


def test_places_that_are_like_no_other_by_hand() -> None:
    places = Places(2, 2, torch.tensor([1, 2]))
    assert places.pick(torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])).tolist() == [[[2.0], [3.0]]]
    assert places.spread(torch.tensor([[[5.0], [6.0]]])).tolist() == [[[0.0], [5.0]], [[6.0], [0.0]]]


def test_a_network_is_whole_again_afterwards_even_after_a_mistake(model: LanguageModel) -> None:
    network, tokens = copy.deepcopy(model.network), torch.tensor([[3, 1, 4, 1, 5]])
    before = network(input_ids=tokens).logits
    with pytest.raises(IndexError), only_at(network, tokens, torch.tensor([5])):
        network(input_ids=tokens)
    with only_at(network, tokens, torch.tensor([1, 4])):
        found = network(input_ids=tokens).logits
    torch.testing.assert_close(found, before[:, [1, 4]])
    assert torch.equal(network(input_ids=tokens).logits, before)


def _ends(network: PreTrainedModel, *, skips: bool) -> Tensor:
    packed = Packed.of(network, SEQUENCES)
    assert packed.skips
    places = np.array([packed.place[n, len(one) - 1] for n, one in enumerate(SEQUENCES)])
    return Packed(network, packed.layout, packed.place, skips).outputs(places)


def test_outputs_and_gradients_are_those_of_the_whole_layer(model64: LanguageModel) -> None:
    """In float64, where only the norms round: the network computes these in float32."""
    found = []
    for skips in (True, False):
        network = copy.deepcopy(model64.network)
        said = _ends(network, skips=skips)
        said.square().sum().backward()
        found.append((said.detach(), [cast(Tensor, weight.grad) for weight in network.parameters()]))
    (skipped, gradients), (whole, expected) = found
    torch.testing.assert_close(skipped, whole, rtol=0, atol=1e-5)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


COUNTED = {
    "embed_tokens": "tokens",
    "layers.0.input_layernorm": "tokens",
    "layers.0.self_attn.q_proj": "tokens",
    "layers.0.self_attn.k_proj": "tokens",
    "layers.0.self_attn.v_proj": "tokens",
    "layers.0.self_attn.o_proj": "places",
    "layers.0.mlp": "places",
    "layers.1.input_layernorm": "places",
    "layers.1.self_attn.q_proj": "wanted",
    "layers.1.self_attn.k_proj": "places",
    "layers.1.self_attn.o_proj": "wanted",
    "layers.1.post_attention_layernorm": "wanted",
    "layers.1.mlp": "wanted",
    "norm": "wanted",
}


def test_no_map_is_given_more_than_it_takes(model: LanguageModel) -> None:
    network = copy.deepcopy(model.network)
    ability(network)  # found out beforehand
    given: dict[str, int] = {}
    maps = {name: network.base_model.get_submodule(name) for name in COUNTED} | {"head": network.lm_head}
    for name, one in maps.items():
        one.register_forward_hook(lambda _, __, said, name=name: given.update({name: said.shape[:-1].numel()}))
    _ends(network, skips=True)
    read = Packed.of(network, SEQUENCES).layout.tokens
    sizes = {"tokens": len(set(read.flat)), "places": read.size, "wanted": len(SEQUENCES)}
    assert given == {name: sizes[what] for name, what in (COUNTED | {"head": "wanted"}).items()}
    _ends(network, skips=False)
    assert set(given.values()) == {sizes["places"]}


class _Blurred(nn.Module):
    """A block whose output at a place depends on the places before it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self._block = block

    def forward(self, states: Tensor) -> Tensor:
        return torch.as_tensor(self._block(states.cumsum(1)))


class _Eager(nn.Module):
    """A norm that asks the feed-forward block before its turn."""

    def __init__(self, norm: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self._norm, self._block = norm, block

    def forward(self, states: Tensor) -> Tensor:
        return torch.as_tensor(self._norm(states) + self._block(states))


class _Placed(nn.Module):
    """An embedding that knows where a token stands, as those of older families do."""

    def __init__(self, words: nn.Module) -> None:
        super().__init__()
        self._words = words

    def forward(self, tokens: Tensor) -> Tensor:
        return torch.as_tensor(self._words(tokens)) + torch.arange(tokens.shape[1])[:, None] / 10


def test_a_network_that_needs_the_whole_layer_is_found_out(model: LanguageModel) -> None:
    torch.manual_seed(0)
    blurred = copy.deepcopy(model.network)
    cast(Any, blurred.base_model).layers[-1].mlp = _Blurred(cast(Any, blurred.base_model).layers[-1].mlp)
    eager = copy.deepcopy(model.network)
    layer = cast(Any, eager.base_model).layers[-1]
    layer.input_layernorm = _Eager(layer.input_layernorm, layer.mlp)
    placed = copy.deepcopy(model.network)
    cast(Any, placed.base_model).embed_tokens = _Placed(cast(Any, placed.base_model).embed_tokens)
    gpt2 = GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40)).eval()
    flat = LlamaModel(LlamaConfig(**{**SIZES, "num_hidden_layers": 1}, num_attention_heads=2)).eval()
    mamba = MambaModel(MambaConfig(state_size=4, **SIZES)).eval()
    assert ability(model.network) == Ability(packs=True, skips=True)
    assert not ability(blurred).skips
    assert not ability(placed).skips
    assert not ability(eager).skips
    assert not ability(flat).skips, "its only layer is the first and the last"
    assert ability(gpt2) == Ability(packs=True, skips=False), "its layers go by another name"
    assert ability(mamba) == Ability(packs=False, skips=False), "it has nothing of the kind"
