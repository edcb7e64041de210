"""Transformers on disk, in the layout of Hugging Face's Llama: `config.json` and `model.safetensors`.

`transformers.LlamaForCausalLM.from_pretrained` loads what is saved here, and what it saves is loaded here. Only
safetensors are read: a pickle can run code when it is opened.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .config import TransformerConfig
from .model import Transformer

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_LLAMA_MODULES = {
    "embedding": ("model.embed_tokens",),
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out": ("self_attn.o_proj",),
    "ffn_norm": ("post_attention_layernorm",),
    "ffn.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "ffn.down": ("mlp.down_proj",),
    "norm": ("model.norm",),
    "head": ("lm_head",),
}
"""Names of our modules, those of a block without its prefix, and of theirs whose weights they hold, stacked."""
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def save_transformer(model: Transformer, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes the model to a folder, replacing an earlier save in it; `dtype` stores the weights in fewer bits."""
    write_config(model.config, folder)
    write_tensors(llama_state_dict(model), folder, dtype=dtype)


def load_transformer(folder: str | Path, **changes: Any) -> Transformer:
    """The model in a folder, on the CPU in float32 and in evaluation mode; keywords replace fields of its config.

    FileNotFoundError for a missing file; ValueError for an unsupported config, for a missing, extra or misshapen
    tensor, which it names, for a damaged file and for pickled weights.
    """
    model = Transformer(read_config(folder, **changes))
    load_llama_state_dict(model, read_tensors(folder))
    return model.eval()


def llama_state_dict(model: Transformer) -> dict[str, Tensor]:
    """The weights under their Hugging Face names; each is a copy with memory of its own."""
    return {name: view.detach().clone() for name, view in _views(model)}


def load_llama_state_dict(model: Transformer, tensors: Mapping[str, Tensor]) -> None:
    """Copies weights with Hugging Face names into the model, all or none.

    ValueError naming the tensors that are missing, that the model has no place for, or whose shape differs.
    """
    views = dict(_views(model))
    faults = [f"{name} is missing" for name in views if name not in tensors]
    faults += [f"{name} is not part of this model" for name in tensors if name not in views]
    faults += [
        f"{name} is {list(tensors[name].shape)} where {list(view.shape)} is expected"
        for name, view in views.items()
        if name in tensors and tensors[name].shape != view.shape
    ]
    if faults:
        more = f"; and {len(faults) - 6} more" if len(faults) > 6 else ""
        raise ValueError(f"the weights do not fit the config: {'; '.join(faults[:6])}{more}; are both of one model?")
    with torch.no_grad():
        for name, view in views.items():
            view.copy_(tensors[name])


def read_config(folder: str | Path, **changes: Any) -> TransformerConfig:
    """The config in a folder's `config.json`; keywords replace fields of it."""
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; a transformer's folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    try:
        llama = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): it is truncated or damaged; fetch it again") from error
    if not isinstance(llama, dict):
        raise ValueError(f"{path} holds a {type(llama).__name__} where a Llama config, a JSON object, is expected")
    try:
        return TransformerConfig.from_llama(llama, **changes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def write_config(config: TransformerConfig, folder: str | Path) -> None:
    """Writes `config.json`."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config.to_llama(), indent=2, sort_keys=True) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def read_tensors(folder: str | Path) -> dict[str, Tensor]:
    """All tensors of a folder's `model.safetensors`, as stored.

    FileNotFoundError where there is none; ValueError where it is damaged, or where there are only pickled weights.
    """
    path = weights_path(folder)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no complete safetensors file ({error}): it is truncated or damaged; fetch it again"
        ) from error


def weights_path(folder: str | Path) -> Path:
    """The weights file in a folder; ValueError where there are pickles instead, else FileNotFoundError."""
    path = Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        pickled = sorted(file.name for pattern in _PICKLES for file in Path(folder).glob(pattern))
        if pickled:
            raise ValueError(
                f"{Path(folder)} holds pickled weights ({', '.join(pickled)}), which are refused because opening a "
                f"pickle can run code; convert them to {WEIGHTS_FILE} with safetensors where you trust them"
            )
        raise FileNotFoundError(f"{path} does not exist; a transformer's folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    return path


def write_tensors(tensors: Mapping[str, Tensor], folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes `model.safetensors`, in one piece or not at all; `dtype` stores floating-point tensors in that type.

    ValueError for a value that the type cannot hold.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    stored = {name: _cast(name, tensor, dtype).cpu().contiguous() for name, tensor in tensors.items()}
    partial = folder / f".{WEIGHTS_FILE}.partial"
    try:
        partial.touch()
        mode = partial.stat().st_mode
        save_file(stored, partial, metadata={"format": "pt"})
        partial.chmod(mode)  # safetensors makes files that only their owner can read, whatever the umask
        partial.replace(folder / WEIGHTS_FILE)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(
            f"{folder / WEIGHTS_FILE} cannot be written ({error}); make room or choose another place"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _cast(name: str, tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    tensor = tensor.detach()
    if dtype is None or not tensor.is_floating_point():
        return tensor
    cast = tensor.to(dtype)
    if tensor.isfinite().all() and not cast.isfinite().all():
        raise ValueError(f"{name} holds {tensor.abs().max():g}, too large for {dtype}; store it as torch.bfloat16")
    return cast


def _views(model: Transformer) -> Iterator[tuple[str, Tensor]]:
    """Every weight under its Hugging Face name, as a view into the model's; products held as one are cut apart."""
    for name, weight in model.named_parameters():
        module, prefix = name.removesuffix(".weight"), ""
        if module.startswith("blocks."):
            _, layer, module = module.split(".", 2)
            prefix = f"model.layers.{layer}."
        theirs = _LLAMA_MODULES[module]
        for part, rows in zip(theirs, weight.chunk(len(theirs)), strict=True):
            yield f"{prefix}{part}.weight", rows
