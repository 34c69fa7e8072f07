"""What the last layer of a network computes place by place, computed only where an output is asked for.

These are its queries, the map behind its attention and its feed-forward block: nothing but the output of the same place
follows them. What a network puts out at a place that was left out means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Size, Tensor, nn
from transformers import PreTrainedModel

PLACE_BY_PLACE = ("self_attn.q_proj", "self_attn.o_proj", "mlp")


def last_maps(network: PreTrainedModel) -> tuple[nn.Module, ...]:
    """Return what the last layer computes place by place, by the names that most families give it.

    Raises AttributeError where there is nothing of these names.
    """
    *_, last = network.base_model.get_submodule("layers").children()
    return tuple(last.get_submodule(name) for name in PLACE_BY_PLACE)


@contextmanager
def only_at(maps: Sequence[nn.Module], places: Tensor) -> Iterator[None]:
    """Let maps from (B, T, D) to (B, T, E) work at some places (M,) of their B * T, and say 0 at the others."""
    with ExitStack() as until_then:
        for one in maps:
            until_then.enter_context(_only_at(one, places))
        yield


@contextmanager
def _only_at(one: nn.Module, places: Tensor) -> Iterator[None]:
    shapes: list[Size] = []

    def pick(_: nn.Module, given: tuple[Tensor]) -> tuple[Tensor]:
        shapes.append(given[0].shape)
        return (given[0].flatten(0, 1)[places][None],)

    def put_back(_: nn.Module, __: tuple[Tensor], said: Tensor) -> Tensor:
        rows, width = shapes.pop()[:2]
        everywhere = said.new_zeros(rows * width, said.shape[-1])
        return everywhere.index_copy(0, places, said[0]).view(rows, width, -1)

    hooks = one.register_forward_pre_hook(pick), one.register_forward_hook(put_back)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
