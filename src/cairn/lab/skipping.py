"""What a network computes place by place, computed once for each distinct token, or only where an output is asked for.

What a place is before the first layer attends is a function of the token there: its embedding, and the norm, queries,
keys and values of that layer. What the last layer makes of a place after it has attended is read by nothing but the
output of that place, and so are its queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

Before = Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]
After = Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Places:
    """Some places of B rows with T places each, counted over all rows."""

    rows: int
    width: int
    picked: Tensor  # (M,)
    like: Tensor | None = None  # (B * T,) which of the picked ones each place is like; None: like none of them

    @staticmethod
    def one_a_token(tokens: Tensor) -> Places:
        """Pick a place for each distinct token of (B, T)."""
        flat = tokens.flatten()
        stands = flat.new_full((int(flat.max()) + 1,), -1)  # where each token does
        stands[flat] = torch.arange(len(flat), device=flat.device)
        there = stands >= 0
        return Places(len(tokens), tokens.shape[1], stands[there], (there.cumsum(0) - 1)[flat])

    def pick(self, states: Tensor) -> Tensor:
        """(B, T, ...) to (1, M, ...)."""
        return states.flatten(0, 1).index_select(0, self.picked)[None]

    def spread(self, said: Tensor) -> Tensor:
        """(1, M, E) to (B, T, E), with 0 at a place that is like none."""
        if self.like is not None:
            return said[0].index_select(0, self.like).view(self.rows, self.width, -1)
        everywhere = said.new_zeros(self.rows * self.width, said.shape[-1])
        return everywhere.index_copy(0, self.picked, said[0]).view(self.rows, self.width, -1)


@contextmanager
def only_at(network: PreTrainedModel, tokens: Tensor, wanted: Tensor) -> Iterator[None]:
    """Let a network that is given tokens (B, T) put out (1, M, D): what it would say at the wanted places (M,).

    Its layers are told by the names that most families give them. Raises AttributeError where there is nothing of these
    names, ValueError where there are not two layers.
    """
    first, *_, last = network.base_model.get_submodule("layers").children()
    alike, asked = Places.one_a_token(tokens), Places(len(tokens), tokens.shape[1], wanted)
    with ExitStack() as until_then:
        until_then.enter_context(_hooked(network.get_input_embeddings(), _picked(alike), _spread(alike)))
        readers = [first.get_submodule(f"self_attn.{name}_proj") for name in "qkv"]
        until_then.enter_context(_behind_norm(first.get_submodule("input_layernorm"), readers, alike))
        for name in ("self_attn.q_proj", "self_attn.o_proj"):
            until_then.enter_context(_hooked(last.get_submodule(name), _picked(asked), _spread(asked)))
        norm, readers = last.get_submodule("post_attention_layernorm"), [last.get_submodule("mlp")]
        until_then.enter_context(_behind_norm(norm, readers, asked))
        until_then.enter_context(_hooked(last, None, lambda _, __, states: asked.pick(states)))
        yield


@contextmanager
def _behind_norm(norm: nn.Module, readers: Sequence[nn.Module], places: Places) -> Iterator[None]:
    """Let a norm, and the maps that alone read what it says, work at some places."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: tuple[Tensor], said: Tensor) -> Tensor:
        kept[:] = [said]
        return said.detach()[:, :1].expand(places.rows, places.width, -1)  # the readers look at its shape alone

    with ExitStack() as until_then:
        until_then.enter_context(_hooked(norm, _picked(places), keep))
        for reader in readers:
            until_then.enter_context(_hooked(reader, lambda _, __: (kept[0],), _spread(places)))
        yield


def _picked(places: Places) -> Before:
    return lambda _, given: (places.pick(given[0]),)


def _spread(places: Places) -> After:
    return lambda _, __, said: places.spread(said)


@contextmanager
def _hooked(one: nn.Module, before: Before | None, after: After) -> Iterator[None]:
    hooks = [one.register_forward_hook(after)]
    if before is not None:
        hooks.append(one.register_forward_pre_hook(before))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
