"""Makes the small model of a task: a real transformers model taught by demonstrations, clean first and then noisy.

The noisy teacher errs at stated rates, so that the policy from which reinforcement learning starts knows some things,
is unsure of others and has some backwards. Both prompt forms are taught: windowed and full history.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cairn.evidence.records import spec_hash
from cairn.lab.demonstrations import Lesson, TextSchool, build_character_tokenizer
from cairn.lab.demonstrations import School as Lessons
from cairn.lab.history import scene
from cairn.lab.policy import pad
from cairn.lab.task import Recipe, Task, Teacher
from cairn.lab.tasks import find
from cairn.lab.world import World

TRAINING_SEEDS = 1_000_000  # instances for demonstrations; apart from every panel


def build_tokenizer(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token for each word; token 0 is padding and nothing else."""
    words = ["<pad>", "<unk>", *vocabulary]
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
    """Draws lessons: windowed prompts, and histories, which are whole episodes.

    Half of the windowed prompts are decisions, where there are others too: decisions may be rare.
    """

    def __init__(
        self, recipe: Recipe, worlds: list[World], teacher: Teacher, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        """Prepare the windowed prompts of all worlds."""
        self._recipe, self._worlds, self._teacher, self._tokenizer = recipe, worlds, teacher, tokenizer
        self._rng = np.random.default_rng(recipe.seed)
        asked = [(w, p) for w in worlds for p in range(len(w.prompts)) if w.options[p]]
        self._prompts = [(w.prompts[p], w.options[p], teacher.chances(w, p)) for w, p in asked]
        choice = np.array([len(options) > 1 for _, options, _ in self._prompts])
        self._pools = [pool for pool in (np.flatnonzero(choice), np.flatnonzero(~choice)) if pool.size]

    def lessons(self) -> tuple[list[Lesson], list[Lesson]]:
        """Draw one step's lessons: windowed prompts, and histories (apart, since they are far longer)."""
        share = self._recipe.window_rows // len(self._pools)
        rows = [row for pool in self._pools for row in self._rng.choice(pool, share)]
        worlds = self._rng.choice(len(self._worlds), self._recipe.history_rows)
        return [self._window(int(r)) for r in rows], [self._history(self._worlds[i]) for i in worlds]

    def _window(self, row: int) -> Lesson:
        prompt, options, chances = self._prompts[row]
        said = options[self._rng.choice(len(options), p=chances)]
        return self._lesson([(prompt, 0.0), (said, self._weight(options))])

    def _history(self, world: World) -> Lesson:
        parts = [(world.header, 0.0)]
        for state, option in walk(self._teacher, world, self._rng):
            options = world.options[world.state_prompt[state]]
            parts.append((scene(world.observations[world.state_observation[state]], world.opening), 0.0))
            parts.append((options[option], self._weight(options)))
        return self._lesson(parts)

    def _weight(self, options: tuple[str, ...]) -> float:
        return self._recipe.decision_weight if len(options) > 1 else 1.0

    def _lesson(self, parts: list[tuple[str, float]]) -> Lesson:
        pieces = self._tokenizer([text for text, _ in parts], add_special_tokens=False)["input_ids"]
        tokens = [token for piece in pieces for token in piece]
        weights = [w for piece, (_, w) in zip(pieces, parts, strict=True) for _ in piece]
        return Lesson(tokens, weights)


def walk(teacher: Teacher, world: World, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Let the teacher play one episode; yield (state, option) for each turn."""
    state = world.start
    for _ in range(world.horizon):
        if world.terminal[state]:
            return
        prompt = int(world.state_prompt[state])
        option = int(rng.choice(len(world.options[prompt]), p=teacher.chances(world, prompt)))
        yield state, option
        state = int(rng.choice(world.successors[state, option], p=world.probabilities[state, option]))


def teach(
    network: LlamaForCausalLM, school: Lessons, steps: int, learning_rate: float, progress: Callable[[], None]
) -> None:
    """Minimise the weighted cross-entropy of the teacher's words, with a learning rate that falls to zero."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        first, *others = (_loss(network, batch) for batch in school.lessons())
        loss = sum(others, start=first)
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


def own_tokenizer(task: Task[Any]) -> PreTrainedTokenizerFast:
    """Return the tokenizer of a task's small model."""
    tokenizer: PreTrainedTokenizerFast = _lessons_of(task)[0](task.vocabulary())
    return tokenizer


def _lessons_of(task: Task[Any]) -> tuple[Any, Any]:
    """Return what tells tokens apart, and who draws lessons."""
    text = (build_character_tokenizer, TextSchool)
    return text if task.prompts[0] == "free" else (build_tokenizer, School)


def rebuild(
    folder: Path, task: Task[Any], recipe: Recipe, knobs: Any, progress: Callable[[], None], device: str = "cpu"
) -> None:
    """Make the model of a task with the given knobs and save it as a transformers folder.

    On the CPU one recipe gives the same bytes on one machine: a single thread, no random number outside the recipe.
    """
    torch.set_num_threads(1)
    tokenizer, open_school = own_tokenizer(task), _lessons_of(task)[1]
    network = build_network(recipe, len(tokenizer)).to(device)  # type: ignore[arg-type]  # as in model.load
    network.config.eos_token_id = network.generation_config.eos_token_id = tokenizer.eos_token_id
    lessons = task.taught_on(knobs)
    instances = [task.build(lessons, TRAINING_SEEDS + i) for i in range(recipe.instances)]
    clean, noisy = (open_school(recipe, instances, teacher, tokenizer) for teacher in (task.clean, task.noisy))
    teach(network, clean, recipe.clean_steps, recipe.learning_rate, progress)
    teach(network, noisy, recipe.noisy_steps, recipe.learning_rate / 3, progress)
    network.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)


def provide_model(
    name: str, changes: Mapping[str, float | int], knobs: Any, device: str, progress: Callable[[], None]
) -> Path:
    """Return the folder of a task's model: the embedded one, or one that is made now and kept in the user's cache.

    changes: fields of the task's recipe that are to differ; with any, and where no model is shipped, one is made for
    instances with these knobs, unless it was made before.
    """
    if not changes and embedded_model(name).is_dir():
        return embedded_model(name)
    task = find(name)
    recipe = task.recipe.changed(changes)
    folder = _cache() / _key(name, task, recipe, knobs, device)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as building:
            rebuild(Path(building) / "model", task, recipe, knobs, progress, device)
            (Path(building) / "model").rename(folder)  # whole or not at all
    return folder


def embedded_model(name: str) -> Path:
    """Return the folder in which the package carries the small model of a task, if it carries one."""
    return Path(__file__).parent / "models" / name


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cairn" / "models"


def _key(name: str, task: Task[Any], recipe: Recipe, knobs: Any, device: str) -> str:
    lessons = asdict(task.taught_on(knobs))
    decisive = {"recipe": asdict(recipe), "teachers": [repr(task.clean), repr(task.noisy)], "knobs": lessons}
    return spec_hash({"task": name, **decisive, "torch": torch.__version__, "device": device})[:16]
