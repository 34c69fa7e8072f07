"""The last feed-forward block of a network, computed only where an output is asked for.

It works place by place, and nothing but the output follows it. What a network puts out at a place that was left out
means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Size, Tensor, nn
from transformers import PreTrainedModel


def last_block(network: PreTrainedModel) -> nn.Module:
    """Return the feed-forward block of the last layer, by the names that most families give it.

    Raises AttributeError where there is nothing of these names.
    """
    layers = network.base_model.get_submodule("layers")
    return [*layers.children()][-1].get_submodule("mlp")


@contextmanager
def only_at(block: nn.Module, places: Tensor) -> Iterator[None]:
    """Let a block that maps (B, T, D) to (B, T, D) work at some places (M,) of its B * T, and say 0 at the others."""
    shapes: list[Size] = []

    def pick(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        shapes.append(given[0].shape)
        return (given[0].flatten(0, 1)[places][None],)

    def put_back(_: nn.Module, __: tuple[Tensor], said: Tensor) -> Tensor:
        shape = shapes.pop()
        return said.new_zeros(shape).flatten(0, 1).index_copy(0, places, said[0]).view(shape)

    hooks = block.register_forward_pre_hook(pick), block.register_forward_hook(put_back)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
