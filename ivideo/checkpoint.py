"""World models on disk, in the layout of the released checkpoints.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from ivideo.embedding import EmbeddingConfig
from ivideo.files import read_json, staged_folder
from ivideo.heads import HeadsConfig
from ivideo.hub import resolve
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer
from tokenizer.checkpoint import load_tokenizer, save_tokenizer
from transformer import Sampling
from transformer.checkpoint import (
    check_layers,
    check_llama_shapes,
    llama_state_dict,
    load_llama_state_dict,
    read_shapes,
    read_tensors,
    write_config,
    write_tensors,
)
from transformer.checkpoint import read_config as read_transformer_config

if TYPE_CHECKING:
    from ivideo.migration import Migration
    from ivideo.world_model import WorldModel

_RELEASED_NAMES = {
    "embedding.action": "action_linear",
    "heads.reward": "reward_linear",
    "heads.action": "action_recon_linear",
}
_MOST_BYTES = 1 << 20
"""Of world_model.json, which has a kilobyte and is read whole."""
T = TypeVar("T")


def load(source: str | Path, *, revision: str | None = None) -> "WorldModel":
    """See `WorldModel.from_pretrained`."""
    from ivideo.world_model import WorldModel

    folder = resolve(source, revision=revision)
    tokenizer = load_tokenizer(folder / "tokenizer")
    shapes = read_shapes(folder / "transformer")
    config = read_config(folder, shapes)
    try:
        _check_fit(tokenizer, config, shapes)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be loaded: {error}") from error
    model = WorldModel(tokenizer, config)
    llama, extras = _parts(read_tensors(folder / "transformer"))
    load_llama_state_dict(model.transformer, llama)
    with torch.no_grad():
        for name, value in _extras(model).items():
            value.copy_(extras[name])
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


def _beyond_released(model: "WorldModel") -> dict[str, Any] | None:
    """What a reader of the released layout would not guess; None where there is nothing."""
    config = model.config
    embedding = asdict(config.embedding)
    for domain in embedding["domains"]:
        if not domain["choices"]:  # so that a model without any is written as it ever was
            del domain["choices"]
    if embedding["text"] is not None and not embedding["text"]["actions"]:
        del embedding["text"]["actions"]
    written: dict[str, Any] = {
        "embedding": embedding,
        "heads": asdict(config.heads),
        "vocabulary": config.vocabulary,
        "goal_conditioned": config.goal_conditioned,
        "remember": config.remember,
        "sampling": asdict(config.sampling),
    }
    if config.history is not None:
        written["history"] = config.history
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


def read_config(folder: Path, shapes: Mapping[str, Sequence[int]]) -> WorldModelConfig:
    """The config of the model in a folder; `shapes` of its transformer's tensors say what a released one leaves out.

    ValueError, naming the file and key, for settings that are unknown or of the wrong type.
    """
    from ivideo.config.build import build
    from ivideo.config.given import mark

    transformer = read_transformer_config(folder / "transformer")
    path = folder / "world_model.json"
    if path.exists():
        settings = read_json(path, what="a model's settings", most=_MOST_BYTES, remedy="fetch it again")
    else:
        settings = _released_settings(shapes)
    try:
        config = build(WorldModelConfig, {key: mark(value, "") for key, value in settings.items()})
    except ValueError as error:
        raise ValueError(f"{path} does not describe a world model: {error}") from error
    return replace(config, transformer=transformer)


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


def _parts(tensors: Mapping[str, T]) -> tuple[dict[str, T], dict[str, T]]:
    """The transformer's own tensors under their plain names, and those beside them."""
    plain = not any(name.startswith("llm.") for name in tensors)
    llama = {name.removeprefix("llm."): value for name, value in tensors.items() if plain or name.startswith("llm.")}
    return llama, {name: value for name, value in tensors.items() if not plain and not name.startswith("llm.")}


def _check_fit(tokenizer: VideoTokenizer, config: WorldModelConfig, shapes: Mapping[str, Sequence[int]]) -> None:
    """Refuse a config that the tensors do not bear out, on a model that takes no memory yet."""
    from ivideo.world_model import WorldModel

    check_layers(config.transformer, shapes)
    if config.embedding.guide_blocks > len(shapes):
        raise ValueError(f"embedding.guide_blocks is {config.embedding.guide_blocks}; there are {len(shapes)} tensors")
    try:
        with torch.device("meta"):
            plan = WorldModel(tokenizer, config)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # TypeError: a size beyond 64 bits
        raise ValueError(f"its configs describe tensors larger than any can be ({str(error)[:120]})") from error
    llama, extras = _parts(shapes)
    check_llama_shapes(plan.transformer, llama)
    expected = _shapes(_extras(plan))
    for name in sorted(expected.keys() | extras.keys()):
        if name not in extras:
            raise ValueError(f"transformer/model.safetensors lacks {name}, which its settings call for")
        if name not in expected:
            raise ValueError(f"transformer/model.safetensors holds {name}, which no setting of the model calls for")
        if tuple(extras[name]) != tuple(expected[name]):
            raise ValueError(
                f"transformer/model.safetensors: {name} is {list(extras[name])}, expected {list(expected[name])}; "
                "is world_model.json of the same model?"
            )
