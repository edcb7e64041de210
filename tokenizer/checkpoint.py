"""Tokenizers on disk, in the layout of the released checkpoints.

    folder/config.json                            the released keys; fields beyond them only where they were switched on
    folder/diffusion_pytorch_model.safetensors    one tensor per parameter, under its released name

Only safetensors are read: a pickle can run code when it is opened.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from .config import EMAVQ, FSQ, GradientVQ, SimVQ, TokenizerConfig
from .model import VideoTokenizer
from .weights import WEIGHTS_FILE, check_shapes, read_shapes, read_weights, weights_path

CONFIG_FILE = "config.json"
_MOST_BYTES = 1 << 20
"""Of a config, which has a few kilobytes and is read whole."""

# Released name of every field that the released configuration has.
RELEASED_NAMES = {
    "resolution": "resolution",
    "channels": "block_out_channels",
    "blocks_per_level": "layers_per_block",
    "latent_channels": "latent_channels",
    "code_dim": "vq_embed_dim",
    "context_codes": "num_vq_embeddings",
    "dynamics_codes": "num_dyn_embeddings",
    "patch_size": "patch_size",
    "context_frames": "context_length",
    "max_attention_resolution": "max_att_resolution",
    "norm_groups": "norm_num_groups",
    "context_mid_attention": "mid_block_add_attention",
}
# What a released configuration means where it leaves a key out.
RELEASED_DEFAULTS: dict[str, object] = {
    "resolution": 256,
    "max_att_resolution": 32,
    "patch_size": 4,
    "norm_num_groups": 32,
    "vq_embed_dim": None,
}
# Keys that the released files carry and that say the same of every tokenizer.
RELEASED_CONSTANTS: dict[str, object] = {
    "act_fn": "silu",
    "force_upcast": True,
    "in_channels": 3,
    "lookup_from_codebook": True,
    "norm_type": "group",
    "out_channels": 3,
    "sample_size": 32,
    "scaling_factor": 0.18215,
}
# Constants that change no computation, whatever they say.
IGNORED_CONSTANTS = {"force_upcast", "lookup_from_codebook", "sample_size", "scaling_factor"}
# Written for the readers of diffusers' own format; ignored, like every key that starts with an underscore, when read.
HEADER = {"_class_name": "CompressiveVQModel", "_diffusers_version": "0.27.0"}
# Left over from an early design in the published 256 px configuration.
LEGACY_KEYS = {"dyn_dim", "num_dyn_tokens"}
BLOCK_TYPES = {"down_block_types": "DownEncoderBlock2D", "up_block_types": "UpDecoderBlock2D"}
QUANTIZERS: dict[str, type[GradientVQ] | type[EMAVQ] | type[FSQ] | type[SimVQ]] = {
    kind.__name__: kind for kind in (GradientVQ, EMAVQ, FSQ, SimVQ)
}


def save_tokenizer(tokenizer: VideoTokenizer, folder: Path | str, *, dtype: torch.dtype | None = None) -> None:
    """Writes `tokenizer` to `folder` in the released layout; `load_tokenizer` gives it back, bit for bit.

    `dtype` stores numbers, running averages included, in fewer bits; they are loaded as float32 again.
    Files of an earlier save in `folder` are replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config_to_json(tokenizer.config), indent=2, sort_keys=True) + "\n")
    tensors = {
        name: (tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in tokenizer.state_dict().items()
    }
    part = folder / f"{WEIGHTS_FILE}.part"  # a save that is cut short leaves the earlier weights whole
    try:
        save_file(tensors, part, metadata={"format": "pt"})
        part.chmod(0o644)  # safetensors leaves it to its owner alone
        part.replace(folder / WEIGHTS_FILE)
    except SafetensorError as error:  # how safetensors reports a full disk
        raise OSError(
            f"{folder / WEIGHTS_FILE} cannot be written ({error}); make room or choose another place"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def load_tokenizer(folder: Path | str) -> VideoTokenizer:
    """The tokenizer in `folder`, with float32 weights, on the CPU and in evaluation mode.

    Raises `FileNotFoundError` for files that are not there, and `ValueError` for a configuration that is not a
    tokenizer's, for weights that do not fit it (naming tensors) and for pickled weights.
    """
    folder = Path(folder)
    config, path = read_config(folder), weights_path(folder)
    check_shapes(config, read_shapes(path), path)
    tokenizer = VideoTokenizer(config)
    tokenizer.load_state_dict(read_weights(path))
    return tokenizer.eval()


def read_config(folder: Path | str) -> TokenizerConfig:
    """The configuration of the tokenizer in `folder`, without its weights; raises as `load_tokenizer` does."""
    path = Path(folder) / CONFIG_FILE
    return config_from_json(_read_document(path), source=str(path))


def config_to_json(config: TokenizerConfig) -> dict[str, object]:
    """`config` under the released keys, with further keys only for fields the released models do not have."""
    values = asdict(config)
    quantizer = values.pop("quantizer")
    document: dict[str, object] = {**HEADER, **RELEASED_CONSTANTS}
    document |= {kind: [name] * len(config.channels) for kind, name in BLOCK_TYPES.items()}
    document |= {released: values[name] for name, released in RELEASED_NAMES.items()}
    document["block_out_channels"] = list(config.channels)
    document |= {name: values[name] for name, default in _extensions().items() if values[name] != default}
    if config.quantizer != GradientVQ():
        document["quantizer"] = {"kind": type(config.quantizer).__name__, **quantizer}
    return document


def config_from_json(document: dict[str, Any], *, source: str = CONFIG_FILE) -> TokenizerConfig:
    """The configuration that `document` holds; raises `ValueError` naming a key that is unknown, missing or unfit."""
    document = {key: value for key, value in document.items() if not key.startswith("_") and key not in LEGACY_KEYS}
    values: dict[str, Any] = {}
    for name, released in RELEASED_NAMES.items():
        if released not in document and released not in RELEASED_DEFAULTS:
            raise ValueError(f"{source} has no key {released!r}; expected the configuration of a released tokenizer")
        values[name] = document.pop(released, RELEASED_DEFAULTS.get(released))
    for key, constant in RELEASED_CONSTANTS.items():
        given = document.pop(key, constant)
        if given != constant and key not in IGNORED_CONSTANTS:
            raise ValueError(f"{source} sets {key} to {given!r}; only {constant!r} is supported")
    for key, kind in BLOCK_TYPES.items():
        given = document.pop(key, [kind])
        if not isinstance(given, list) or any(name != kind for name in given):
            raise ValueError(f"{source} lists {given} under {key}; only {kind!r} is supported")
    values |= {name: document.pop(name) for name in _extensions() if name in document}
    quantizer = document.pop("quantizer", {"kind": "GradientVQ"})
    if document:
        raise ValueError(f"{source} has keys that no tokenizer knows: {', '.join(sorted(document))}; remove them")
    values = _typed(TokenizerConfig, values, source, RELEASED_NAMES) | {
        "quantizer": _quantizer_from_json(quantizer, source)
    }
    try:
        return TokenizerConfig(**values)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def _extensions() -> dict[str, object]:
    """Fields beyond the released configuration, with the value that the released models stand for."""
    return {
        field.name: field.default
        for field in fields(TokenizerConfig)
        if field.name not in RELEASED_NAMES and field.default is not MISSING
    }


def _quantizer_from_json(document: object, source: str) -> GradientVQ | EMAVQ | FSQ | SimVQ:
    options = dict(document) if isinstance(document, dict) else {}
    kind = QUANTIZERS.get(str(options.pop("kind", "")))
    if kind is None:
        known = ", ".join(QUANTIZERS)
        raise ValueError(f"{source} has {document!r} for a quantizer; expected a kind, one of {known}, and its options")
    unknown = options.keys() - {field.name for field in fields(kind)}
    if unknown:
        raise ValueError(f"{source} gives {kind.__name__} unknown options: {', '.join(sorted(unknown))}; remove them")
    return kind(**_typed(kind, options, source, {}))


def _typed(cls: type[Any], values: dict[str, Any], source: str, spelt: Mapping[str, str]) -> dict[str, Any]:
    """The values for fields of `cls`, lists as tuples; a `ValueError` names one of the wrong type, as it is `spelt`."""
    for field in fields(cls):
        if field.name in values and not _fits(values[field.name], field.type):
            name, hint = spelt.get(field.name, field.name), field.type
            wanted = hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint)
            raise ValueError(f"{source} sets {name} to {values[field.name]!r}; expected {wanted}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        return isinstance(value, list | tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, member) for member in get_args(hint))
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _read_document(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected the folder of a saved tokenizer")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} is {path.stat().st_size:,} bytes long; expected a config of some thousand")
    try:
        document = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}): it is truncated or damaged; copy or download it again"
        ) from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} holds a {type(document).__name__}; expected a JSON object")
    return document
