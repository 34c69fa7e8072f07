"""The other side of `cairn bench loop`: TRL's GRPOTrainer, with the options that cost it least. Needs trl.

One turn: the trainer's own generation. Episodes: its `rollout_func`, since a world is no chat with tools. Each turn is
one call of transformers' `generate` on the whole rows that go on, as in the trainer's own loop for tools.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback

from cairn.lab.episodes import answer
from cairn.lab.generate import pad_left
from cairn.lab.history import scene
from cairn.lab.speed_loop import WARM_UPDATES, Spent, Workload
from cairn.lab.world import WorldBatch, join

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl import GRPOConfig, GRPOTrainer

IntArray = NDArray[np.int64]
NAME = "TRL GRPOTrainer"


class Clock(TrainerCallback):
    """Notes processor and wall time after each optimiser step."""

    def __init__(self) -> None:
        """Start with nothing noted."""
        self.stamps: list[tuple[float, float]] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time."""
        self.stamps.append((time.process_time(), time.perf_counter()))

    @property
    def taken(self) -> tuple[float, float]:
        """Return the seconds, on the processor and on the wall, of the updates after the warm ones."""
        first, last = self.stamps[WARM_UPDATES - 1], self.stamps[-1]
        return last[0] - first[0], last[1] - first[1]


class Play:
    """A `rollout_func` that plays worlds: rows of header, observation, phrase, observation and so on."""

    def __init__(self, worlds: WorldBatch, group_size: int, tokenizer: Any) -> None:
        """Tokenise all that can be said beforehand, as our side does."""

        def tokens(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        self._worlds, self._group_size, self._end = worlds, group_size, tokenizer.eos_token_id
        self._headers = [tokens(world.header) for world in worlds.worlds]
        self._scenes = [tokens(scene(o, w.opening)) for w in worlds.worlds for o in w.observations]
        options = [phrases for w in worlds.worlds for phrases in w.options]
        self._options = [{tuple(tokens(phrase)): c for c, phrase in enumerate(phrases)} for phrases in options]
        self._limit = max(len(phrase) for phrases in self._options for phrase in phrases)
        self._rng = np.random.default_rng(0)

    def __call__(self, prompts: Sequence[str], trainer: Any) -> dict[str, Any]:
        """Play an episode for each prompt; the prompts are the worlds in order, each `group_size` times."""
        world = np.arange(len(prompts)) // self._group_size
        rows = [list(self._headers[w]) for w in world]
        chosen: list[list[int]] = [[0] * len(row) for row in rows]
        state = self._worlds.starts[world]
        for _ in range(self._worlds.horizon):
            active = np.flatnonzero(~self._worlds.terminal[state])
            if not active.size:
                break
            for r in active:
                _extend(rows[r], chosen[r], self._scenes[self._worlds.observation[state[r]]], 0)
            said = self._generate([rows[r] for r in active], trainer)
            options = np.full(active.size, self._worlds.n_options)
            for i, (r, phrase) in enumerate(zip(active, said, strict=True)):
                _extend(rows[r], chosen[r], phrase, 1)
                options[i] = self._options[self._worlds.prompt[state[r]]].get(tuple(phrase), self._worlds.n_options)
            state[active] = answer(self._worlds, state[active], options, self._rng.random(active.size))
        heads = [len(self._headers[w]) for w in world]
        return {
            "prompt_ids": [row[:n] for row, n in zip(rows, heads, strict=True)],
            "completion_ids": [row[n:] for row, n in zip(rows, heads, strict=True)],
            "env_mask": [mask[n:] for mask, n in zip(chosen, heads, strict=True)],
            "logprobs": None,
            "paid": self._worlds.payoffs[state].tolist(),
            "chosen": [sum(mask) for mask in chosen],
        }

    def _generate(self, rows: list[list[int]], trainer: Any) -> list[list[int]]:
        """Return what the policy says behind each row, up to its end token."""
        tokens, present = (torch.from_numpy(array) for array in pad_left(rows))
        settings = trainer.generation_config
        settings.max_new_tokens = self._limit
        with torch.no_grad():
            full = trainer.model.generate(input_ids=tokens, attention_mask=present.long(), generation_config=settings)
        said = full[:, tokens.shape[1] :].tolist()
        return [phrase[: phrase.index(self._end) + 1] if self._end in phrase else phrase for phrase in said]


def _extend(row: list[int], chosen: list[int], tokens: list[int], by_policy: int) -> None:
    row += tokens
    chosen += [by_policy] * len(tokens)


def run_trl(work: Workload, folder: str, updates: int) -> Spent:
    """Train with GRPOTrainer: a fresh one, whose making is not timed."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    phrases = [phrase for world in work.worlds for options in world.options for phrase in options]
    tokenizer.eos_token = tokenizer.tokenize(phrases[0])[-1]  # the word with which every phrase ends
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    limit = max(len(tokenizer.tokenize(phrase)) for phrase in phrases)
    clock, steps, said = Clock(), WARM_UPDATES + updates, _Count()
    one_turn = all(world.horizon == 1 for world in work.worlds)
    rows = [{"prompt": w.prompts[0] if one_turn else w.header, "right": w.options[0][0]} for w in work.worlds]
    with tempfile.TemporaryDirectory() as out, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = GRPOTrainer(
            model,
            said.first_phrase if one_turn else said.paid,
            args=_config(work, out, steps, limit),
            train_dataset=Dataset.from_list(rows * steps),
            processing_class=tokenizer,
            callbacks=[clock],
            rollout_func=None if one_turn else Play(join(work.worlds), work.group_size, tokenizer),
        )
        trainer.remove_callback(PrinterCallback)  # it prints at the end, whatever the options say
        trainer.train()
    tokens = sum(said.tokens[WARM_UPDATES * work.samples :])
    return Spent(*clock.taken, updates * work.samples, tokens)


class _Count:
    """Reward functions that note how many tokens the policy chose."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    def first_phrase(
        self, completions: list[str], completion_ids: list[list[int]], right: list[str], **_: Any
    ) -> list[float]:
        """Pay for the first phrase that the prompt allows."""
        self.tokens += [len(ids) for ids in completion_ids]
        return [float(said.split() == one.split()) for said, one in zip(completions, right, strict=True)]

    def paid(self, paid: list[float], chosen: list[int], **_: Any) -> list[float]:
        """Pay what the world has paid."""
        self.tokens += chosen
        return paid


def _config(work: Workload, out: str, steps: int, limit: int) -> Any:
    return GRPOConfig(
        output_dir=out,
        max_steps=steps,
        per_device_train_batch_size=work.samples,
        num_generations=work.group_size,
        max_completion_length=limit,
        shuffle_dataset=False,
        learning_rate=work.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=work.clip_norm,
        epsilon=work.clip_ratio,
        beta=work.kl_coefficient,
        use_bias_correction_kl=False,
        loss_type="bnpo",  # the mean over the action tokens of the batch
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=0,
    )
