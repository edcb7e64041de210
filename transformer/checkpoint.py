"""Transformers on disk, in the layout of Hugging Face's Llama: `config.json` and `model.safetensors`.

`transformers.LlamaForCausalLM.from_pretrained` loads what is saved here, and what it saves is loaded here. Only
safetensors are read: a pickle can run code when it is opened.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
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
_MOST_BYTES = 1 << 20
"""Of a config, or of the header of a weights file; both have kilobytes, and are read before anything else is known."""


def save_transformer(model: Transformer, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Writes the model to a folder, replacing an earlier save in it; `dtype` stores the weights in fewer bits."""
    write_config(model.config, folder)
    write_tensors(llama_state_dict(model), folder, dtype=dtype)


def load_transformer(folder: str | Path, **changes: Any) -> Transformer:
    """The model in a folder, on the CPU in float32 and in evaluation mode; keywords replace fields of its config.

    FileNotFoundError for a missing file; ValueError for an unsupported config, for a missing, extra or misshapen
    tensor, which it names, for a damaged file and for pickled weights.
    """
    config, shapes = read_config(folder, **changes), read_shapes(folder)
    check_layers(config, shapes)
    with torch.device("meta"):
        plan = Transformer(config)
    check_llama_shapes(plan, shapes)
    model = Transformer(config)
    load_llama_state_dict(model, read_tensors(folder))
    return model.eval()


def llama_state_dict(model: Transformer) -> dict[str, Tensor]:
    """The weights under their Hugging Face names; each is a copy with memory of its own."""
    return {name: view.detach().clone() for name, view in _views(model)}


def load_llama_state_dict(model: Transformer, tensors: Mapping[str, Tensor]) -> None:
    """Copies weights with Hugging Face names into the model, all or none; raises as `check_llama_shapes` does."""
    check_llama_shapes(model, {name: tensor.shape for name, tensor in tensors.items()})
    with torch.no_grad():
        for name, view in _views(model):
            view.copy_(tensors[name])


def check_layers(config: TransformerConfig, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse a config of more layers than there are tensors, before a module is made for each of them."""
    if config.layers > len(shapes):
        raise ValueError(f"the config names {config.layers} layers, but there are {len(shapes)} tensors")


def check_llama_shapes(model: Transformer, shapes: Mapping[str, Sequence[int]]) -> None:
    """ValueError naming the tensors that are missing, that the model has no place for, or whose shape differs.

    The model may be on the meta device, where it takes no memory.
    """
    views = dict(_views(model))
    faults = [f"{name} is missing" for name in views if name not in shapes]
    faults += [f"{name} is not part of this model" for name in shapes if name not in views]
    faults += [
        f"{name} is {list(shapes[name])} where {list(view.shape)} is expected"
        for name, view in views.items()
        if name in shapes and tuple(shapes[name]) != tuple(view.shape)
    ]
    if faults:
        more = f"; and {len(faults) - 6} more" if len(faults) > 6 else ""
        raise ValueError(f"the weights do not fit the config: {'; '.join(faults[:6])}{more}; are both of one model?")


def read_config(folder: str | Path, **changes: Any) -> TransformerConfig:
    """The config in a folder's `config.json`; keywords replace fields of it."""
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; a transformer's folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} is {path.stat().st_size:,} bytes long; expected a Llama config of a few thousand")
    try:
        llama = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
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

    FileNotFoundError where there is none; ValueError where it is damaged, holds numbers that are none, or where there
    are only pickled weights.
    """
    path = weights_path(folder)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path}: {name} holds NaN or infinite weights; fetch it again, or an earlier checkpoint")
    return tensors


def read_shapes(folder: str | Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors, from the file's header alone; raises as `read_tensors` does."""
    path = weights_path(folder)
    try:
        with safe_open(path, framework="pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: SafetensorError) -> ValueError:
    return ValueError(f"{path} is no complete safetensors file ({error}): it is truncated or damaged; fetch it again")


def weights_path(folder: str | Path) -> Path:
    """The weights file in a folder; ValueError where there are pickles instead, else FileNotFoundError.

    A header that is too long for a model's tensors is a ValueError too: it would be read whole.
    """
    path = Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        pickled = sorted(file.name for pattern in _PICKLES for file in Path(folder).glob(pattern))
        if pickled:
            raise ValueError(
                f"{Path(folder)} holds pickled weights ({', '.join(pickled)}), which are refused because opening a "
                f"pickle can run code; convert them to {WEIGHTS_FILE} with safetensors where you trust them"
            )
        raise FileNotFoundError(f"{path} does not exist; a transformer's folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if _MOST_BYTES < header <= path.stat().st_size:
        raise ValueError(f"{path} has a header of {header:,} bytes; expected a few thousand, for a few hundred tensors")
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
