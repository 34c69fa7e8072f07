"""The embedded model: an ordinary transformers folder, made by its recipe; and folders that are not one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from cairn.errors import UserError
from cairn.lab import pretrain
from cairn.lab.model import LanguageModel, load, pick_device, pick_dtype
from cairn.lab.pretrain import embedded_model, own_tokenizer, provide_model, rebuild
from cairn.lab.task import Recipe
from cairn.lab.tasks import find, names, quest

TINY = Recipe(
    width=16, layers=1, heads=2, inner=32, max_positions=256, clean_steps=3, noisy_steps=2, window_rows=8,
    history_rows=2, instances=3,
)  # fmt: skip
EMBEDDED_MODEL = embedded_model("quest")
SHIPPED = [name for name in names() if embedded_model(name).is_dir()]
Damage = Callable[[Path], object]


def test_it_loads_as_any_other_model_does(model: LanguageModel) -> None:
    network = AutoModelForCausalLM.from_pretrained(EMBEDDED_MODEL)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_MODEL)
    tokens = torch.tensor(tokenizer(["go left ."], add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        assert torch.equal(network(input_ids=tokens).logits, model.network(input_ids=tokens).logits)
    assert tokenizer.decode(tokens[0]) == "go left ."


@pytest.mark.parametrize("name", SHIPPED)
def test_it_is_small_and_knows_every_word_of_its_task(name: str) -> None:
    shipped, words = load(embedded_model(name)), find(name).vocabulary()
    assert len(shipped.tokenizer) == shipped.network.config.vocab_size
    assert {*shipped.tokenizer.get_vocab()} == {*words, *shipped.tokenizer.all_special_tokens}
    assert 100_000 < shipped.parameters < 500_000


def test_its_digest_is_that_of_the_weights_file(model: LanguageModel) -> None:
    assert model.digest == hashlib.sha256((EMBEDDED_MODEL / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", SHIPPED)
def test_its_tokenizer_is_the_recipe_s(name: str, tmp_path: Path) -> None:
    own_tokenizer(find(name)).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (embedded_model(name) / "tokenizer.json").read_bytes()


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_recipe_makes_the_same_bytes_twice(tmp_path: Path) -> None:
    knobs, steps = quest.Knobs(horizon=12, forks=3), list[None]()
    rebuild(tmp_path / "a", quest.TASK, TINY, knobs, lambda: steps.append(None))
    torch.manual_seed(999)  # nothing outside the recipe may matter
    rebuild(tmp_path / "b", quest.TASK, TINY, knobs, lambda: None)
    rebuild(tmp_path / "c", quest.TASK, dataclasses.replace(TINY, seed=1), knobs, lambda: None)
    assert _files(tmp_path / "a") == _files(tmp_path / "b")
    assert _files(tmp_path / "a")["model.safetensors"] != _files(tmp_path / "c")["model.safetensors"]
    assert len(steps) == TINY.steps == 5
    assert load(tmp_path / "a").parameters < 10_000


def test_a_task_without_a_shipped_model_gets_one_of_its_own_which_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(pretrain, "embedded_model", lambda name: tmp_path / name)
    monkeypatch.setattr(pretrain, "find", lambda _: dataclasses.replace(quest.TASK, recipe=TINY))
    steps = list[None]()
    made = [provide_model("new", {}, quest.TASK.tiny, "cpu", lambda: steps.append(None)) for _ in range(2)]
    assert made[0] == made[1]
    assert len(steps) == TINY.steps
    assert load(made[0]).network.config.hidden_size == TINY.width
    other = provide_model("new", {"width": 8}, quest.TASK.tiny, "cpu", lambda: None)
    assert load(other).network.config.hidden_size == 8
    (tmp_path / "new").mkdir()
    assert provide_model("new", {}, quest.TASK.tiny, "cpu", lambda: None) == tmp_path / "new"


@pytest.mark.rebuild
@pytest.mark.parametrize("name", SHIPPED)
def test_the_recipe_makes_the_shipped_model_bit_for_bit(name: str, tmp_path: Path) -> None:
    """About four minutes. Holds on the machine and packages that made it; elsewhere rounding may differ."""
    task = find(name)
    rebuild(tmp_path / "model", task, task.recipe, task.knobs(), lambda: None)
    made, shipped = _files(tmp_path / "model"), _files(embedded_model(name))
    assert made["model.safetensors"] == shipped["model.safetensors"]
    assert made == shipped


def _unlink(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text)


def _configure(**changes: object) -> Damage:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def _lose_a_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


DAMAGES: dict[str, tuple[Damage, str]] = {
    "no weights": (_unlink("model.safetensors"), "no weights"),
    "no config": (_unlink("config.json"), "no config"),
    "no tokenizer": (_unlink("tokenizer.json"), "no tokenizer"),
    "weights cut short": (_cut, "could not be loaded"),
    "a tensor missing": (_lose_a_tensor, "lack model.layers.1.mlp.down_proj.weight"),
    "more layers than weights": (_configure(num_hidden_layers=3), "lack model.layers.2"),
    "another width": (_configure(hidden_size=32), "could not be loaded"),
    "another vocabulary": (_configure(vocab_size=10), "could not be loaded"),
    "unknown architecture": (_configure(model_type="nope"), "could not be loaded"),
    "code of its own": (_configure(model_type="nope", auto_map={"AutoConfig": "evil.Config"}), "could not be loaded"),
    "config cut short": (_write("config.json", "{"), "could not be loaded"),
    "config is a list": (_write("config.json", "[]"), "could not be loaded"),
    "tokenizer cut short": (_write("tokenizer.json", "{"), "could not be loaded"),
    "tokenizer is empty": (_write("tokenizer.json", "{}"), "could not be loaded"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED_MODEL, folder)
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert caught.value.repair


def test_pickled_weights_are_never_read(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED_MODEL, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="no weights"):
        load(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no such model folder"):
        load("./nowhere")


def test_devices_are_checked() -> None:
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in {"cpu", "cuda"}
    with pytest.raises(UserError, match="unknown device"):
        pick_device("tpu")


def test_types_of_weights_are_checked() -> None:
    assert (pick_dtype("float32", "cpu"), pick_dtype("bfloat16", "cuda")) == ("float32", "bfloat16")
    for name, device in (("float16", "cuda"), ("bfloat16", "cpu")):
        with pytest.raises(UserError):
            pick_dtype(name, device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_missing_device_is_named() -> None:
    with pytest.raises(UserError, match="no CUDA device"):
        pick_device("cuda")
