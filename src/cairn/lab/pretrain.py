"""Rebuilds the embedded model: a real transformers model taught from demonstrations, clean ones first, then noisy ones.

The noisy teacher follows its stated skill levels, so that the policy from which reinforcement learning starts knows
some skills, is unsure of others and has some backwards. Both prompt forms are taught: windowed and full history.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cairn.evidence.records import spec_hash
from cairn.lab.history import scene
from cairn.lab.policy import pad
from cairn.lab.tasks import quest
from cairn.lab.tasks.world import World
from cairn.lab.teacher import Teacher

TRAINING_SEEDS = 1_000_000  # instances for demonstrations; apart from every panel


@dataclass(frozen=True)
class Recipe:
    """How the embedded model is made."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    inner: int = 192
    max_positions: int = 8192
    clean_steps: int = 600
    noisy_steps: int = 600
    window_rows: int = 320  # prompts in a step
    history_rows: int = 10  # whole episodes in a step
    learning_rate: float = 3e-3
    decision_weight: float = 5.0  # loss weight of the phrases of a turn in which there is a choice
    instances: int = 400
    seed: int = 20260401
    # Chance that the noisy teacher takes the right exit, for each kind of fork in `quest.KINDS`.
    skills: tuple[float, ...] = (0.75, 0.68, 0.60, 0.40, 0.32, 0.25)
    reading: float = 0.8  # chance that the noisy teacher reads a note before walking on

    @property
    def steps(self) -> int:
        """Number of steps in all, for a progress bar."""
        return self.clean_steps + self.noisy_steps


@dataclass(frozen=True)
class Lesson:
    """One token list with, for each token, its weight in the loss (0 on what the world says)."""

    tokens: list[int]
    weights: list[float]


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word; token 0 is padding and nothing else."""
    words = ["<pad>", "<unk>", *quest.vocabulary()]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")


def build_network(recipe: Recipe, words: int) -> LlamaForCausalLM:
    """A Llama of the recipe's size with random weights."""
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=words,
            hidden_size=recipe.width,
            intermediate_size=recipe.inner,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            max_position_embeddings=recipe.max_positions,
            tie_word_embeddings=True,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


class School:
    """Draws lessons: half of the windowed prompts are decisions, which are rare; histories are whole episodes."""

    def __init__(
        self, recipe: Recipe, worlds: list[World], teacher: Teacher, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        """Prepare the windowed prompts of all worlds."""
        self._recipe, self._worlds, self._teacher, self._tokenizer = recipe, worlds, teacher, tokenizer
        self._rng = np.random.default_rng(recipe.seed)
        asked = [(w, p) for w in worlds for p in range(len(w.prompts)) if w.options[p]]
        self._prompts = [(w.prompts[p], w.options[p], teacher.chances(w.prompts[p], w.options[p])) for w, p in asked]
        choice = np.array([len(options) > 1 for _, options, _ in self._prompts])
        self._decisions, self._routine = np.flatnonzero(choice), np.flatnonzero(~choice)

    def lessons(self) -> tuple[list[Lesson], list[Lesson]]:
        """Draw one step's lessons: windowed prompts, and histories (apart, since they are far longer)."""
        half = self._recipe.window_rows // 2
        rows = [*self._rng.choice(self._decisions, half), *self._rng.choice(self._routine, half)]
        worlds = self._rng.choice(len(self._worlds), self._recipe.history_rows)
        return [self._window(int(r)) for r in rows], [self._history(self._worlds[i]) for i in worlds]

    def _window(self, row: int) -> Lesson:
        prompt, options, chances = self._prompts[row]
        said = options[self._rng.choice(len(options), p=chances)]
        return self._lesson([(prompt, 0.0), (said, self._weight(options))])

    def _history(self, world: World) -> Lesson:
        parts = [(world.header, 0.0)]
        for state, option in self._teacher.walk(world, self._rng):
            options = world.options[world.state_prompt[state]]
            parts.append((scene(world.observations[world.state_observation[state]]), 0.0))
            parts.append((options[option], self._weight(options)))
        return self._lesson(parts)

    def _weight(self, options: tuple[str, ...]) -> float:
        return self._recipe.decision_weight if len(options) > 1 else 1.0

    def _lesson(self, parts: list[tuple[str, float]]) -> Lesson:
        pieces = self._tokenizer([text for text, _ in parts], add_special_tokens=False)["input_ids"]
        tokens = [token for piece in pieces for token in piece]
        weights = [w for piece, (_, w) in zip(pieces, parts, strict=True) for _ in piece]
        return Lesson(tokens, weights)


def teach(
    network: LlamaForCausalLM, school: School, steps: int, learning_rate: float, progress: Callable[[], None]
) -> None:
    """Minimise the weighted cross-entropy of the teacher's words, with a learning rate that falls to zero."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        windows, histories = school.lessons()
        loss = _loss(network, windows) + _loss(network, histories)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        progress()


def _loss(network: LlamaForCausalLM, lessons: list[Lesson]) -> Tensor:
    tokens, mask = pad([lesson.tokens for lesson in lessons])
    weights = torch.zeros(tokens.shape)
    weights[mask] = torch.tensor([w for lesson in lessons for w in lesson.weights])
    tokens, weights = tokens.to(network.device), weights.to(network.device)
    logits = network(input_ids=tokens, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
    return (losses * weights[:, 1:]).sum() / weights[:, 1:].sum()


def rebuild(
    folder: Path, recipe: Recipe, knobs: quest.Knobs, progress: Callable[[], None], device: str = "cpu"
) -> None:
    """Make the model and save it as a transformers folder.

    On the CPU one recipe gives the same bytes on one machine: a single thread, no random number outside the recipe.
    """
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    network = build_network(recipe, len(tokenizer)).to(device)  # type: ignore[arg-type]  # as in model.load
    worlds = [quest.build(knobs, TRAINING_SEEDS + i) for i in range(recipe.instances)]
    clean = Teacher(skills=(1.0,) * len(quest.KINDS), reading=1.0)
    noisy = Teacher(skills=recipe.skills, reading=recipe.reading)
    teach(network, School(recipe, worlds, clean, tokenizer), recipe.clean_steps, recipe.learning_rate, progress)
    teach(network, School(recipe, worlds, noisy, tokenizer), recipe.noisy_steps, recipe.learning_rate / 3, progress)
    network.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def cached_model(recipe: Recipe, knobs: quest.Knobs, progress: Callable[[], None], device: str) -> Path:
    """Return the folder of a recipe's model in the user's cache, making the model first if it is not there yet."""
    key = spec_hash({"recipe": asdict(recipe), "knobs": asdict(knobs), "torch": torch.__version__, "device": device})
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cairn" / "models"
    folder = root / key[:16]
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root) as building:
            rebuild(Path(building) / "model", recipe, knobs, progress, device)
            (Path(building) / "model").rename(folder)  # whole or not at all
    return folder
