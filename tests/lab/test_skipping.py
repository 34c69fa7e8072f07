"""Maps that work at some places only, by themselves and as parts of the last layer of a network."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model, MambaConfig, MambaModel, PreTrainedModel

from cairn.lab.model import LanguageModel
from cairn.lab.prefixes import Ability, Packed, ability
from cairn.lab.skipping import last_maps, only_at

SEQUENCES = [(3, 1, 4, 1, 5), (3, 1, 4, 2), (2, 7, 1, 8, 2, 8)]
SIZES: dict[str, Any] = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2}


def test_a_map_says_nothing_elsewhere() -> None:
    block = nn.Linear(1, 1)
    nn.init.constant_(block.weight, 2.0)
    nn.init.constant_(block.bias, 1.0)
    states = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    with only_at([block], torch.tensor([1, 2])):
        assert block(states).tolist() == [[[0.0], [5.0]], [[7.0], [0.0]]]
        assert block(states[:, :1].expand(2, 4, 1)).shape == (2, 4, 1), "it may be asked again, in another shape"
    assert block(states).tolist() == [[[3.0], [5.0]], [[7.0], [9.0]]]


def test_a_map_is_whole_again_after_a_mistake() -> None:
    block = nn.Linear(2, 2)
    with pytest.raises(RuntimeError), only_at([block], torch.tensor([0])):
        block(torch.zeros(1, 1, 3))
    assert block(torch.ones(1, 2, 2))[0, 1].any()


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


def test_the_last_layer_is_given_what_is_asked_for_and_no_more(model: LanguageModel) -> None:
    network = copy.deepcopy(model.network)
    ability(network)  # found out beforehand
    given: list[int] = []
    for one in last_maps(network):
        one.register_forward_hook(lambda _, states, __: given.append(states[0].shape[:-1].numel()))
    _ends(network, skips=True)
    _ends(network, skips=False)
    places = Packed.of(network, SEQUENCES).layout.tokens.size
    assert given == [len(SEQUENCES)] * 3 + [places] * 3


class _Blurred(nn.Module):
    """A block whose output at a place depends on the places before it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self._block = block

    def forward(self, states: Tensor) -> Tensor:
        return torch.as_tensor(self._block(states.cumsum(1)))


def test_a_network_that_needs_the_whole_layer_is_found_out(model: LanguageModel) -> None:
    torch.manual_seed(0)
    blurred = copy.deepcopy(model.network)
    cast(Any, blurred.base_model).layers[-1].mlp = _Blurred(last_maps(blurred)[-1])
    gpt2 = GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40)).eval()
    mamba = MambaModel(MambaConfig(state_size=4, **SIZES)).eval()
    assert ability(model.network) == Ability(packs=True, skips=True)
    assert not ability(blurred).skips
    assert ability(gpt2) == Ability(packs=True, skips=False), "its layers go by another name"
    assert ability(mamba) == Ability(packs=False, skips=False), "it has nothing of the kind"
