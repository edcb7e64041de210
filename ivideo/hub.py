"""World models on disk and on the Hugging Face Hub, in the layout of the released checkpoints.

::

    tokenizer/config.json      tokenizer/diffusion_pytorch_model.safetensors
    transformer/config.json    transformer/model.safetensors
    world_model.json           what the released layout cannot say; absent where it says everything

The transformer's file holds plain Llama names (`model.*`, `lm_head.weight`), so that `transformers` reads it, or, once
actions or heads are there, the released `llm.*`, `action_linear.*`, `reward_linear.*`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ivideo.embedding import EmbeddingConfig
from ivideo.files import near_names, staged_folder
from ivideo.heads import HeadsConfig
from tokenizer.checkpoint import load_tokenizer, save_tokenizer
from transformer import Sampling
from transformer.checkpoint import (
    llama_state_dict,
    load_llama_state_dict,
    read_config,
    read_tensors,
    write_config,
    write_tensors,
)

if TYPE_CHECKING:
    from ivideo.world_model import WorldModel, WorldModelConfig

ASSETS = Path(__file__).parent / "assets"
"""Checkpoints that ship inside the package; their folder names are model names."""

_RELEASED_NAMES = {
    "embedding.action": "action_linear",
    "heads.reward": "reward_linear",
    "heads.action": "action_recon_linear",
}


def load(source: str | Path, *, revision: str | None = None) -> "WorldModel":
    """See `WorldModel.from_pretrained`."""
    from ivideo.world_model import WorldModel

    folder = resolve(source, revision=revision)
    tokenizer = load_tokenizer(folder / "tokenizer")
    tensors = read_tensors(folder / "transformer")
    model = WorldModel(tokenizer, _read_config(folder, tensors))
    plain = not any(name.startswith("llm.") for name in tensors)
    llama = {name.removeprefix("llm."): value for name, value in tensors.items() if plain or name.startswith("llm.")}
    load_llama_state_dict(model.transformer, llama)
    _load_extras(model, {name: value for name, value in tensors.items() if not plain and not name.startswith("llm.")})
    return model


def save(model: "WorldModel", folder: str | Path, *, dtype: torch.dtype | None = None, overwrite: bool = False) -> None:
    """See `WorldModel.save_pretrained`."""
    with staged_folder(Path(folder), overwrite=overwrite) as stage:
        save_tokenizer(model.tokenizer, stage / "tokenizer", dtype=dtype)
        extras = _extras(model)
        prefix = "llm." if extras else ""
        tensors = {prefix + name: value for name, value in llama_state_dict(model.transformer).items()} | extras
        write_config(model.transformer.config, stage / "transformer")
        write_tensors(tensors, stage / "transformer", dtype=dtype)
        if (beyond := _beyond_released(model)) is not None:
            (stage / "world_model.json").write_text(json.dumps(beyond, indent=2, sort_keys=True) + "\n")


def push(model: "WorldModel", repo: str, *, private: bool, message: str) -> str:
    """See `WorldModel.push_to_hub`."""
    from tempfile import TemporaryDirectory

    from huggingface_hub import HfApi

    with TemporaryDirectory() as scratch:
        save(model, Path(scratch) / "model")
        api = HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=Path(scratch) / "model", commit_message=message)
    return str(address)


def resolve(source: str | Path, *, revision: str | None = None) -> Path:
    """The local folder of a model: a folder, a packaged name, or a Hub id, which is downloaded once."""
    path = Path(source)
    if path.is_dir():
        if not (path / "tokenizer").is_dir() or not (path / "transformer").is_dir():
            raise FileNotFoundError(f"{path} is no model folder: it needs the subfolders tokenizer/ and transformer/")
        return path
    if path.is_file():
        raise ValueError(
            f"{path} is a file; a model is a folder of safetensors and config.json (or a Hub id). "
            "Pickled checkpoints (.pt, .bin, .ckpt) are refused because loading them runs code"
        )
    if (ASSETS / str(source)).is_dir():
        return ASSETS / str(source)
    parts = str(source).split("/")
    if len(parts) != 2 or not all(parts) or parts[0] in {".", "..", "~"}:
        known = sorted(folder.name for folder in ASSETS.iterdir()) if ASSETS.is_dir() else []
        raise FileNotFoundError(
            f"no model {str(source)!r}: it is no folder, no packaged model ({', '.join(known) or 'none'}) and no "
            f"Hub id of the form owner/name{near_names(path)}"
        )
    return _download(str(source), revision)


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(
            snapshot_download(repo, revision=revision, allow_patterns=["*/config.json", "*.safetensors", "*.json"])
        )
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise FileNotFoundError(
            f"{repo!r} is no folder here, and the Hugging Face Hub cannot be reached to download it. Connect and try "
            f"again, or download it elsewhere and pass the folder"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(
            f"the Hugging Face Hub has no {repo!r} that is open to you (revision {revision or 'main'}); check the "
            "spelling, or log in with `hf auth login`"
        ) from error


def _beyond_released(model: "WorldModel") -> dict[str, Any] | None:
    """What a reader of the released layout would not guess; None where there is nothing."""
    config = model.config
    written = {
        "embedding": asdict(config.embedding),
        "heads": asdict(config.heads),
        "vocabulary": config.vocabulary,
        "goal_conditioned": config.goal_conditioned,
        "sampling": asdict(config.sampling),
    }
    return None if written == _released_settings(_extras(model)) else written


def _released_settings(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings a released checkpoint implies by the tensors it has."""
    action = tensors.get("action_linear.weight")
    return {
        "embedding": asdict(EmbeddingConfig(action_dim=0 if action is None else action.shape[1])),
        "heads": asdict(HeadsConfig(reward="reward_linear.weight" in tensors)),
        "vocabulary": "full",
        "goal_conditioned": False,
        "sampling": asdict(Sampling()),
    }


def _read_config(folder: Path, tensors: Mapping[str, Tensor]) -> "WorldModelConfig":
    from ivideo.world_model import WorldModelConfig

    path = folder / "world_model.json"
    try:
        written = json.loads(path.read_text()) if path.exists() else _released_settings(tensors)
        return WorldModelConfig(
            transformer=read_config(folder / "transformer"),
            embedding=EmbeddingConfig(**written.pop("embedding")),
            heads=HeadsConfig(**written.pop("heads")),
            sampling=Sampling(**written.pop("sampling")),
            **written,
        )
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not describe a world model: {error}") from error


def _extras(model: "WorldModel") -> dict[str, Tensor]:
    """The tensors beside the transformer's own, under their released names where they have one."""
    extras = {}
    for owner in ("embedding", "heads"):
        for name, value in getattr(model, owner).state_dict().items():
            extras[_released_name(f"{owner}.{name}")] = value
    return extras


def _released_name(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{_RELEASED_NAMES.get(module, module)}.{leaf}"


def _load_extras(model: "WorldModel", tensors: Mapping[str, Tensor]) -> None:
    expected = _extras(model)
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise ValueError(f"transformer/model.safetensors lacks {name}, which its settings call for")
        if name not in expected:
            raise ValueError(f"transformer/model.safetensors holds {name}, which no setting of the model calls for")
        if tensors[name].shape != expected[name].shape:
            raise ValueError(
                f"transformer/model.safetensors: {name} is {list(tensors[name].shape)}, "
                f"expected {list(expected[name].shape)}"
            )
        with torch.no_grad():
            expected[name].copy_(tensors[name])
