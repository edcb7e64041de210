"""World models on disk and on the Hugging Face Hub, in the layout of the released checkpoints.

::

    tokenizer/config.json      tokenizer/diffusion_pytorch_model.safetensors
    transformer/config.json    transformer/model.safetensors
    world_model.json           what the released layout cannot say; absent where it says everything
    migration.json             what became of an older model on its way here; for people, never read

The transformer's file holds plain Llama names (`model.*`, `lm_head.weight`), so that `transformers` reads it, or, once
actions or heads are there, the released `llm.*`, `action_linear.*`, `reward_linear.*`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ivideo.embedding import EmbeddingConfig
from ivideo.files import near_names, staged_folder
from ivideo.heads import HeadsConfig
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import PICKLE_SUFFIXES, load_tokenizer, save_tokenizer
from transformer import Sampling
from transformer.checkpoint import (
    llama_state_dict,
    load_llama_state_dict,
    read_tensors,
    write_config,
    write_tensors,
)
from transformer.checkpoint import read_config as read_transformer_config

if TYPE_CHECKING:
    from ivideo.migration import Migration
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
    config = read_config(folder, _shapes(tensors))
    plain = not any(name.startswith("llm.") for name in tensors)
    llama = {name.removeprefix("llm."): value for name, value in tensors.items() if plain or name.startswith("llm.")}
    extras = {name: value for name, value in tensors.items() if not plain and not name.startswith("llm.")}
    try:
        model = WorldModel(tokenizer, config)
        load_llama_state_dict(model.transformer, llama)
        _load_extras(model, extras)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be loaded: {error}") from error
    return model


def save(
    model: "WorldModel",
    folder: str | Path,
    *,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
    migration: "Migration | None" = None,
) -> None:
    """See `WorldModel.save_pretrained`; `migration` is the report of how the model came about, where there is one."""
    with staged_folder(Path(folder), overwrite=overwrite) as stage:
        save_tokenizer(model.tokenizer, stage / "tokenizer", dtype=dtype)
        extras = _extras(model)
        prefix = "llm." if extras else ""
        tensors = {prefix + name: value for name, value in llama_state_dict(model.transformer).items()} | extras
        write_config(model.transformer.config, stage / "transformer")
        write_tensors(tensors, stage / "transformer", dtype=dtype)
        if (beyond := _beyond_released(model)) is not None:
            (stage / "world_model.json").write_text(json.dumps(beyond, indent=2, sort_keys=True) + "\n")
        if migration is not None:
            migration.write(stage)


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
    """The local folder of a model: a model's folder or a training run's, a packaged name, or a Hub id.

    What a Hub id names is downloaded once. FileNotFoundError, with names that are spelt alike, for what is none of
    these; ValueError for a file, pickled checkpoints above all.
    """
    path = Path(source).expanduser()
    if path.is_dir() and str(source):
        return _model_in(path)
    if path.is_file():
        if path.suffix in PICKLE_SUFFIXES:
            raise ValueError(
                f"{path} is a pickled checkpoint, which could run code when it is opened, so it is refused; expected a "
                "folder with safetensors files: convert it where you trust it"
            )
        raise ValueError(f"{path} is a file; expected a model: a folder, a packaged name or a Hugging Face Hub id")
    if str(source) in packaged():
        return _model_in(ASSETS / str(source))
    parts = str(source).split("/")
    if len(parts) == 2 and all(parts) and parts[0] not in {".", "..", "~"}:
        return _model_in(_download(str(source), revision))
    raise FileNotFoundError(_unknown(str(source)))


def find_tokenizer(source: str) -> VideoTokenizer:
    """Return the tokenizer at `source`: a run, a tokenizer's folder, a world model's, or a Hub id of one."""
    path = Path(source).expanduser()
    for folder in (path, path / "model", path / "tokenizer", path / "model" / "tokenizer"):
        if (folder / "config.json").is_file():
            return load_tokenizer(folder)
    if (path / "config.yaml").is_file():
        raise FileNotFoundError(f"{path} is a run that has saved no model yet; let it reach its first checkpoint")
    return load_tokenizer(resolve(source) / "tokenizer")


def packaged() -> list[str]:
    """Names of the models that ship inside the package."""
    return sorted(folder.name for folder in ASSETS.iterdir() if folder.is_dir()) if ASSETS.is_dir() else []


def _model_in(folder: Path) -> Path:
    """The folder itself, or `model/` of a training run."""
    for place in (folder, folder / "model"):
        if (place / "tokenizer").is_dir() and (place / "transformer").is_dir():
            return place
    held = sorted(entry.name for entry in folder.iterdir())
    raise FileNotFoundError(
        f"{folder} is no model: expected the subfolders tokenizer/ and transformer/, but it holds "
        f"{', '.join(held[:5]) or 'nothing'}{', ...' if held[5:] else ''}"
    )


def _unknown(source: str) -> str:
    near = [*get_close_matches(source, packaged(), n=1), *_near_folders(source)]
    remedy = f"did you mean {' or '.join(near)}?" if near else "expected a folder, or a Hub id such as owner/name"
    known = f"the packaged models are {', '.join(packaged())}" if packaged() else "no models are packaged"
    return f"there is no model {source!r}: it is neither a folder here nor a Hugging Face Hub id, and {known}; {remedy}"


def _near_folders(source: str) -> list[str]:
    return [name for name in near_names(Path(source)) if Path(name).is_dir()]


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    near = _near_folders(repo)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    try:
        return Path(
            snapshot_download(repo, revision=revision, allow_patterns=["*/config.json", "*.safetensors", "*.json"])
        )
    except HFValidationError as error:
        raise FileNotFoundError(_unknown(repo)) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError) as error:
        raise FileNotFoundError(
            f"there is no folder {repo!r} here, and the Hugging Face Hub cannot be reached to look for it there"
            f"{hint or '; connect and try again, or download it elsewhere and give the folder'}"
        ) from error
    except HfHubHTTPError as error:
        raise FileNotFoundError(
            f"there is no folder {repo!r} here, and the Hugging Face Hub has no model of that name that is open to you "
            f"(revision {revision or 'main'}){hint or '; check the spelling, or log in with `hf auth login`'}"
        ) from error


def _beyond_released(model: "WorldModel") -> dict[str, Any] | None:
    """What a reader of the released layout would not guess; None where there is nothing."""
    config = model.config
    written = {
        "embedding": asdict(config.embedding),
        "heads": asdict(config.heads),
        "vocabulary": config.vocabulary,
        "goal_conditioned": config.goal_conditioned,
        "remember": config.remember,
        "sampling": asdict(config.sampling),
    }
    return None if written == _released_settings(_shapes(_extras(model))) else written


def _released_settings(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """The settings a released checkpoint implies by the tensors it has."""
    action = shapes.get("action_linear.weight")
    return {
        "embedding": asdict(EmbeddingConfig(action_dim=0 if action is None else action[1])),
        "heads": asdict(HeadsConfig(reward="reward_linear.weight" in shapes)),
        "vocabulary": "full",
        "goal_conditioned": False,
        "remember": None,
        "sampling": asdict(Sampling()),
    }


def read_config(folder: Path, shapes: Mapping[str, Sequence[int]]) -> "WorldModelConfig":
    """The config of the model in a folder; `shapes` of its transformer's tensors say what a released one leaves out.

    ValueError, naming the file and key, for settings that are unknown or of the wrong type.
    """
    from ivideo.config.build import build
    from ivideo.config.given import mark
    from ivideo.world_model import WorldModelConfig

    transformer = read_transformer_config(folder / "transformer")
    path = folder / "world_model.json"
    settings = _read_settings(path) if path.exists() else _released_settings(shapes)
    try:
        config = build(WorldModelConfig, {key: mark(value, "") for key, value in settings.items()})
    except ValueError as error:
        raise ValueError(f"{path} does not describe a world model: {error}") from error
    return replace(config, transformer=transformer)


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}); it is truncated or damaged, fetch it again") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds a single {type(settings).__name__}; expected an object with a model's settings")
    return settings


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Sequence[int]]:
    return {name: tensor.shape for name, tensor in tensors.items()}


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
                f"expected {list(expected[name].shape)}; is world_model.json of the same model?"
            )
        with torch.no_grad():
            expected[name].copy_(tensors[name])


def check_device(device: torch.device | str) -> None:
    """Refuse a device that is none, or that is not there, before anything is loaded."""
    known = "expected cpu, or cuda, cuda:1 or mps where there is one: `ivideo info` says what there is"
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"{str(device)!r} is no device; {known}") from error
    try:
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(f"device {str(device)!r} cannot be used ({reason}); {known}") from error
