"""Models and configs made by somebody who means harm: to run code, to fill the memory, to write elsewhere."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from broken_files import CODES, SETTINGS, TOKENIZER, TRANSFORMER, WEIGHTS, Trap, _edited
from safetensors.torch import load_file, save_file

DEEP = "[" * 100_000


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """A safetensors file's header and what follows it."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(path: Path, header: dict[str, Any], body: bytes, length: int | None = None) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def _header(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def edit(model: Path) -> None:
        header, body = header_of(model / name)
        change(header)
        with_header(model / name, header, body)

    return edit


def _first(header: dict[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = next(value for key, value in header.items() if key != "__metadata__")
    return entry


def _lie(header: dict[str, Any]) -> None:
    _first(header)["shape"] = [2**40, 2**10]


def _overlap(header: dict[str, Any]) -> None:
    entries = [value for key, value in header.items() if key != "__metadata__"]
    entries[1]["data_offsets"] = entries[0]["data_offsets"]


def _bloat(header: dict[str, Any]) -> None:
    end = max(value["data_offsets"][1] for key, value in header.items() if key != "__metadata__")
    header |= {f"padding.{i:06d}": {"dtype": "F32", "shape": [0], "data_offsets": [end, end]} for i in range(20_000)}


def _long(name: str) -> Callable[[Path], object]:
    def lie(model: Path) -> None:
        header, body = header_of(model / name)
        with_header(model / name, header, body, length=2**62)

    return lie


def not_a_number(name: str) -> Callable[[Path], object]:
    def edit(model: Path) -> None:
        tensors = load_file(model / name)
        next(value for value in tensors.values() if value.is_floating_point() and value.ndim).flatten()[0] = torch.nan
        save_file(tensors, model / name)

    return edit


def _written(name: str, content: str | bytes) -> Callable[[Path], object]:
    return lambda model: (model / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _pickled(old: str, new: str) -> Callable[[Path], object]:
    def replace(model: Path) -> None:
        (model / old).unlink()
        (model / new).write_bytes(pickle.dumps(Trap()))

    return replace


def _linked(name: str, target: str) -> Callable[[Path], object]:
    def link(model: Path) -> None:
        (model / name).unlink()
        (model / name).symlink_to(target)

    return link


HUGE = 10**12
MALICIOUS_MODELS: list[tuple[Callable[[Path], object], tuple[str, ...]]] = [
    (_pickled(WEIGHTS, "transformer/pytorch_model.pt"), ("pytorch_model.pt", "opening a pickle can run code")),
    (_pickled(WEIGHTS, "transformer/model.ckpt"), ("model.ckpt", "opening a pickle can run code")),
    (_pickled(CODES, "tokenizer/diffusion_pytorch_model.bin"), ("diffusion_pytorch_model.bin", "can run code")),
    (_pickled(WEIGHTS, WEIGHTS), (WEIGHTS, "safetensors file")),
    (_pickled(CODES, CODES), (CODES, "safetensors file")),
    (_header(WEIGHTS, _bloat), (WEIGHTS, "has a header of", "expected a few thousand")),
    (_header(CODES, _bloat), (CODES, "has a header of", "expected some ten thousand at most")),
    (_header(WEIGHTS, _lie), (WEIGHTS, "safetensors file")),
    (_header(CODES, _lie), (CODES, "safetensors file")),
    (_header(WEIGHTS, _overlap), (WEIGHTS, "safetensors file")),
    (_header(CODES, _overlap), (CODES, "safetensors file")),
    (_long(WEIGHTS), (WEIGHTS, "safetensors file")),
    (_long(CODES), (CODES, "safetensors file")),
    (_linked(CODES, "/dev/zero"), (CODES, "does not exist")),
    (_linked(TRANSFORMER, "/dev/zero"), (TRANSFORMER, "does not exist")),
    (_written(TOKENIZER, DEEP), (TOKENIZER, "not valid JSON")),
    (_written(TRANSFORMER, DEEP), (TRANSFORMER, "not valid JSON")),
    (_written(SETTINGS, DEEP), (SETTINGS, "no valid JSON")),
    (_written(TOKENIZER, " " * (1 << 21)), (TOKENIZER, "2,097,152 bytes long")),
    (_written(TRANSFORMER, " " * (1 << 21)), (TRANSFORMER, "2,097,152 bytes long")),
    (_written(SETTINGS, " " * (1 << 21)), (SETTINGS, "2,097,152 bytes long")),
    (
        _edited(TRANSFORMER, "auto_map", value={"AutoModel": "evil.Model"}),
        ("auto_map", "never run here", "remove the key"),
    ),
    (_edited(TOKENIZER, "auto_map", value={"AutoModel": "evil.Model"}), ("no tokenizer knows: auto_map",)),
    (_edited(SETTINGS, "_target_", value="os.mkdir"), ("unknown key _target_",)),
]
"""Models that would run code or fill the memory when they are read; what is then said."""

VAST_MODELS: list[tuple[Callable[[Path], object], tuple[str, ...]]] = [
    (_edited(TOKENIZER, "block_out_channels", value=[10**6, 16]), (CODES, "does not fit")),
    (_edited(TOKENIZER, "block_out_channels", value=[2**62, 2**62]), ("larger than any can be",)),
    (_edited(TOKENIZER, "layers_per_block", value=10**9), (CODES, "2000000000 residual blocks")),
    (_edited(TOKENIZER, "mid_blocks", value=10**9), (CODES, "1000000002 residual blocks")),
    (_edited(TOKENIZER, "num_vq_embeddings", value=HUGE), (CODES, "does not fit")),
    (_edited(TOKENIZER, "num_dyn_embeddings", value=HUGE), (CODES, "does not fit")),
    (_edited(TOKENIZER, "context_length", value=HUGE), (CODES, "does not fit")),
    (_edited(TOKENIZER, "latent_channels", value=HUGE), (CODES, "does not fit")),
    (_edited(TRANSFORMER, "num_hidden_layers", value=10**9), ("1000000000 layers",)),
    (_edited(TRANSFORMER, "hidden_size", value=4 * HUGE), ("head_dim=2000000000000",)),
    (_edited(TRANSFORMER, "intermediate_size", value=HUGE), ("is expected",)),
    (_edited(SETTINGS, "embedding", "action_dim", value=HUGE), ("action_linear.weight",)),
    (_edited(TOKENIZER, "context_length", value=HUGE**3), ("larger than any can be",)),
    (_edited(TRANSFORMER, "intermediate_size", value=HUGE**3), ("larger than any can be",)),
    (_edited(SETTINGS, "embedding", "guide", value=10**6), ("embedding.guide",)),
    (_edited(SETTINGS, "embedding", "guide_blocks", value=10**9), ("embedding.guide_blocks is 1000000000",)),
]
"""Models whose configs describe terabytes that their weights do not hold."""


def write_arrays(folder: Path) -> None:
    """Archives of arrays that would run code, or write beside themselves."""
    frames = np.zeros((6, 16, 16, 3), np.uint8)
    nested = np.empty(1, object)
    nested[0] = Trap()
    np.savez(folder / "nested.npz", image=frames, actions=nested)
    np.savez(folder / "slip.npz", **{"image": frames, "../../slipped": frames, "/tmp/slipped": frames})
