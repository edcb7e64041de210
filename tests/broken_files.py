"""A folder of small models, episodes and videos, whole ones and every way of being broken that users meet."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import TINY_TOKENIZER, TINY_TRANSFORMER

from ivideo.data.recorder import save_episodes
from ivideo.embedding import EmbeddingConfig
from ivideo.episode import Episode
from ivideo.heads import HeadsConfig
from ivideo.video import write_video
from ivideo.world_model import WorldModel
from ivideo.world_model_config import WorldModelConfig
from tokenizer import VideoTokenizer

CODES = "tokenizer/diffusion_pytorch_model.safetensors"
WEIGHTS = "transformer/model.safetensors"
TOKENIZER = "tokenizer/config.json"
TRANSFORMER = "transformer/config.json"
SETTINGS = "world_model.json"
FRAMES = np.zeros((6, 16, 16, 3), np.uint8)

TINY = """
tokenizer: {resolution: 32, stem_stride: 4, channels: [8, 16], blocks_per_level: 1, mid_blocks: 0, latent_channels: 8,
  code_dim: 4, context_codes: 16, dynamics_codes: 24, patch_size: 2, norm_groups: 4, attention_heads: 2,
  max_attention_resolution: 4}
data: {source: data, frames: 4}
loop: {steps: 1}
run: {folder: new/run}
"""
TINY_WORLD = """
tokenizer: model
model: {transformer: {width: 16, layers: 1, heads: 2, ffn_width: 24}}
data: {source: data, frames: 4}
loop: {steps: 1}
run: {folder: new/run}
"""


class Trap:
    """Leaves a file where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("unpickled",)


def tiny_model(action_dim: int = 2) -> WorldModel:
    """A model that sees 32 px, starts from 2 frames and knows nothing."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        transformer=TINY_TRANSFORMER,
        embedding=EmbeddingConfig(action_dim=action_dim),
        heads=HeadsConfig(reward=True),
        vocabulary="dynamics",
    )
    return WorldModel(VideoTokenizer(TINY_TOKENIZER), config).eval()


def episode(frames: int = 8, actions: int = 2, size: int = 32) -> Episode:
    """Noise, with rewards; `actions` 0 leaves the actions out."""
    pixels = torch.randint(0, 256, (frames, 3, size, size), dtype=torch.uint8)
    return Episode(
        frames=pixels,
        actions=torch.randn(frames - 1, actions) if actions else None,
        rewards=torch.randn(frames - 1),
    )


def fill(folder: Path) -> None:
    """Write everything but the broken models."""
    tiny_model().save_pretrained(folder / "model")
    tiny_model(action_dim=0).save_pretrained(folder / "free")
    for name, made in (("data", episode()), ("wide", episode(actions=7)), ("short", episode(frames=2))):
        save_episodes(folder / name, [made, made, made])
    for suffix in ("mp4", "webm", "gif"):
        path = folder / f"clip.{suffix}"
        write_video(path, episode(frames=16, size=64).frames)
        (folder / f"cut.{suffix}").write_bytes(_half(path))
        (folder / f"empty.{suffix}").touch()
    write_video(folder / "single.mp4", episode(frames=1, size=64).frames)
    (folder / "told.mp4").write_bytes((folder / "clip.mp4").read_bytes())
    (folder / "told.json").write_text('{"actions": [[0.0, 1.0], [0.0')
    _write_arrays(folder)
    (folder / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    (folder / "model.pt").write_bytes(pickle.dumps(Trap()))
    (folder / "file").write_text("mine\n")
    for name in ("demo", "old"):
        (folder / name).mkdir()
    for name in ("strip.png", "demo/futures.gif", "table.json", "old/card.json"):
        (folder / name).write_text("mine\n")
    (folder / "run/checkpoints").mkdir(parents=True)
    (folder / "run/config.yaml").write_text("loop: {steps: 9}\n")
    (folder / "run/metrics.jsonl").write_text('{"step": 3}\n')
    (folder / "tiny.yaml").write_text(TINY)
    (folder / "tiny_world.yaml").write_text(TINY_WORLD)
    (folder / "misspelt.yaml").write_text("loop: {stps: 3}\n")
    (folder / "untyped.yaml").write_text("loop: {steps: many}\n")
    (folder / "broken.yaml").write_text("loop: [\n")


def _write_arrays(folder: Path) -> None:
    whole = next((folder / "data").iterdir())
    (folder / "cut.npz").write_bytes(_half(whole))
    (folder / "empty.npz").touch()
    objects = np.empty(6, object)
    objects[:] = [Trap() for _ in objects]
    np.savez(folder / "object.npz", image=objects)
    np.savez(folder / "grey.npz", image=FRAMES[..., :1])
    np.savez(folder / "float.npz", image=np.full(FRAMES.shape, np.nan))
    np.savez(folder / "nan.npz", image=FRAMES, actions=np.full((5, 2), np.nan))
    np.savez(folder / "inf.npz", image=FRAMES, actions=np.zeros((5, 2)), rewards=np.full(5, np.inf))


def _half(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: len(content) // 2]


def _cut(name: str) -> Callable[[Path], object]:
    return lambda model: (model / name).write_bytes(_half(model / name))


def _emptied(name: str) -> Callable[[Path], object]:
    return lambda model: (model / name).write_bytes(b"")


def _missing(name: str) -> Callable[[Path], object]:
    return lambda model: (model / name).unlink()


def _pickled(name: str) -> Callable[[Path], object]:
    def replace(model: Path) -> None:
        (model / name).unlink()
        (model / name).with_suffix(".bin").write_bytes(pickle.dumps(Trap()))

    return replace


def _edited(name: str, *keys: str, value: object) -> Callable[[Path], object]:
    def edit(model: Path) -> None:
        document = inner = json.loads((model / name).read_text())
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (model / name).write_text(json.dumps(document))

    return edit


BROKEN_MODELS: list[tuple[Callable[[Path], object], tuple[str, ...]]] = [
    (_cut(CODES), (CODES, "truncated or damaged")),
    (_cut(WEIGHTS), (WEIGHTS, "truncated or damaged")),
    (_emptied(CODES), (CODES, "truncated or damaged")),
    (_emptied(WEIGHTS), (WEIGHTS, "truncated or damaged")),
    (_cut(TOKENIZER), (TOKENIZER, "not valid JSON", "truncated or damaged")),
    (_cut(TRANSFORMER), (TRANSFORMER, "not valid JSON", "truncated or damaged")),
    (_cut(SETTINGS), (SETTINGS, "no valid JSON", "truncated or damaged")),
    (_emptied(SETTINGS), (SETTINGS, "no valid JSON", "truncated or damaged")),
    (_missing(CODES), (CODES, "does not exist")),
    (_missing(WEIGHTS), (WEIGHTS, "does not exist")),
    (_missing(TOKENIZER), (TOKENIZER, "does not exist")),
    (_missing(TRANSFORMER), (TRANSFORMER, "does not exist")),
    (_edited(TOKENIZER, "resolution", value="32"), (TOKENIZER, "resolution to '32'", "expected int")),
    (_edited(TOKENIZER, "resolution", value=33), (TOKENIZER, "resolution 33 is not a multiple of 8")),
    (_edited(TOKENIZER, "block_out_channels", value=8), (TOKENIZER, "block_out_channels to 8", "tuple[int, ...]")),
    (_edited(TOKENIZER, "resolutoin", value=32), (TOKENIZER, "no tokenizer knows: resolutoin")),
    (_edited(TOKENIZER, "quantizer", value=3), (TOKENIZER, "3 for a quantizer", "GradientVQ")),
    (_edited(TRANSFORMER, "hidden_size", value="16"), (TRANSFORMER, "hidden_size='16'", "expected a whole number")),
    (_edited(TRANSFORMER, "hidden_size", value=18), (TRANSFORMER, "width=18", "multiple of 4")),
    (_edited(TRANSFORMER, "rope_scaling", value=2), (TRANSFORMER, "rope_scaling", "expected objects")),
    (_edited(SETTINGS, "embedding", value=None), (SETTINGS, "embedding is empty")),
    (_edited(SETTINGS, "embedding", "acton_dim", value=2), (SETTINGS, "did you mean embedding.action_dim?")),
    (_edited(SETTINGS, "embedding", "action_dim", value="two"), (SETTINGS, "'two'", "expected int")),
    (_edited(SETTINGS, "vocabulary", value="all"), (SETTINGS, "'all'", "expected 'full' or 'dynamics'")),
    (_edited(SETTINGS, "sampling", "temperature", value=-1), ("temperature=-1",)),
    (lambda model: (model / SETTINGS).write_text("[1]"), (SETTINGS, "a JSON list", "expected an object")),
    (_pickled(CODES), ("holds pickled weights", "diffusion_pytorch_model.bin", "can run code")),
    (_pickled(WEIGHTS), ("holds pickled weights", "model.bin", "can run code")),
]
"""Ways to break a model that its configs and the headers of its weights already show; what is then said."""
