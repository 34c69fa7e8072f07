"""Small real language models: a local folder (or a hub name) loaded through transformers, and what a token costs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from cairn.errors import UserError

# Configuration, tokenizer and weights: all that is fetched or shipped of a model.
MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
# What transformers lets through when a folder's files are broken or do not fit together.
LOADING_ERRORS = (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError)


@dataclass(frozen=True)
class LanguageModel:
    """A language model with its tokenizer, where it came from, and the sizes that decide its cost."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: str
    digest: str  # sha256 of the weights

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return self.network.device

    @property
    def parameters(self) -> int:
        """Return the number of weights."""
        return sum(p.numel() for p in self.network.parameters())

    @cached_property
    def cost(self) -> ModelCost:
        """Return the sizes that decide how many FLOPs a token takes."""
        return model_cost(self.network)


@dataclass(frozen=True)
class ModelCost:
    """What one token costs. matmul_weights: weights that multiply each token; width * layers enters attention."""

    matmul_weights: int
    layers: int
    width: int

    def forward_flops(self, tokens: Tensor, contexts: Tensor) -> float:
        """FLOPs of a forward pass: 2 a weight and token, and 4 * layers * width a token and attended position.

        tokens: (N,) how many tokens each call processes; contexts: (N,) the sum of positions that they attend to.
        Embedding look-ups, norms and activations are not counted (below 5 % for these models).
        """
        weights = 2.0 * self.matmul_weights * float(tokens.double().sum())
        return weights + 4.0 * self.layers * self.width * float(contexts.double().sum())


def model_cost(network: PreTrainedModel) -> ModelCost:
    """Read the sizes off a network: every linear map counts once, the output head too even where it is tied.

    So does `Conv1D`, which is what GPT-2 calls a linear map. Of a mixture of experts all would be counted, as if every
    token passed through each; attention counts as if its heads together were as wide as the model.
    """
    config = network.config
    linear = sum(m.weight.numel() for m in network.modules() if isinstance(m, (nn.Linear, Conv1D)))
    return ModelCost(linear, int(config.num_hidden_layers), int(config.hidden_size))


def load(
    source: str | Path,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    architecture: Any = AutoModelForCausalLM,
) -> LanguageModel:
    """Load a local folder or a hub name. Never runs code from the folder, never unpickles.

    architecture: the class of transformers that picks the network, and with it its head.

    Raises UserError for a folder without weights, config or tokenizer, or whose parts do not fit together.
    """
    folder = local_folder(source)
    _require_files(folder)
    options = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **options)
        loaded: Any = architecture.from_pretrained(
            str(folder), dtype=dtype, use_safetensors=True, output_loading_info=True, **options
        )
    except LOADING_ERRORS as error:
        raise _not_loaded(source, next(iter(str(error).splitlines()), type(error).__name__)) from error
    network: PreTrainedModel = loaded[0]
    # transformers would only warn, and fill what is missing with random weights.
    missing = sorted(loaded[1]["missing_keys"])
    if missing:
        raise _not_loaded(source, f"the weights lack {missing[0]}, which the config asks for")
    network.eval()
    network.to(device)  # type: ignore[arg-type]  # the stub of a decorated method
    return LanguageModel(network, tokenizer, str(source), weights_digest(folder))


def local_folder(source: str | Path) -> Path:
    """Return the local folder of a model: the folder itself, or a hub name's snapshot, fetched if it is not there yet.

    Only configuration, tokenizer and safetensors files are fetched. Raises UserError for what cannot be found.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or str(source).startswith("."):
        raise UserError("there is no such model folder", value=str(source), repair="Give a folder or a hub name.")
    try:
        return Path(snapshot_download(str(source), allow_patterns=[*MODEL_FILES]))
    except (OSError, ValueError) as error:
        raise _not_loaded(source, next(iter(str(error).splitlines()), type(error).__name__)) from error


def _not_loaded(source: str | Path, reason: str) -> UserError:
    return UserError(
        f"the model could not be loaded: {reason}",
        value=str(source),
        repair="Check the name, or give a local folder with config.json, model.safetensors and tokenizer.json.",
    )


def weights_digest(folder: Path) -> str:
    """Return the sha256 over all weight files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _require_files(folder: Path) -> None:
    for pattern, what in (("config.json", "config"), ("*.safetensors", "weights"), ("tokenizer.json", "tokenizer")):
        if not any(folder.glob(pattern)):
            raise UserError(
                f"the model folder has no {what} ({pattern})",
                file=folder,
                repair="Save the model with `save_pretrained(folder, safe_serialization=True)` and its tokenizer.",
            )


def pick_device(name: str) -> str:
    """Resolve `auto`, `cpu` or `cuda`. Raises UserError for a device that is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError("unknown device", value=name, repair="Give auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("no CUDA device is available", value=name, repair="Use --device cpu, or auto.")
    return ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name


def pick_dtype(name: str, device: str) -> str:
    """Check the type of the weights. Raises UserError for an unknown one, and for bfloat16 without a CUDA device."""
    if name not in ("float32", "bfloat16"):
        raise UserError("unknown type of weights", value=name, repair="Give float32 or bfloat16.")
    if name == "bfloat16" and device != "cuda":
        raise UserError("bfloat16 is offered on a CUDA device only", value=device, repair="Leave --dtype out.")
    return name


def token_logprobs(network: PreTrainedModel, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Score given tokens. Returns log-probs (B, T) and next-token entropies (B, T) in nats, both 0 at position 0."""
    logits = network(input_ids=token_ids, attention_mask=attention_mask.long(), use_cache=False).logits[:, :-1]
    # Half the bits are too few for log-probs; wider types stay as they are.
    distribution = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
    chosen = distribution.gather(-1, token_ids[:, 1:, None]).squeeze(-1)
    entropy = -(distribution.exp() * distribution).sum(-1)
    return nn.functional.pad(chosen, (1, 0)), nn.functional.pad(entropy, (1, 0))


def quiet() -> None:
    """Keep transformers from printing progress and advice into a run's output."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
