"""`ivideo info [MODEL]`: what this installation computes with, or what a model is, without loading its weights."""

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Self

from safetensors import SafetensorError, safe_open

from ivideo.cli import own_version
from ivideo.config import parse

if TYPE_CHECKING:
    from tokenizer import TokenizerConfig

OPTIONAL = {
    "taming-transformers": "taming",
    "flash-attn": "flash",
    "metaworld": "metaworld",
    "dm_control": "dm-control",
    "fastapi": "play",
}
"""Distributions that add something, with the extra they come in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What to tell about."""

    model: str = ""
    """A folder, a packaged model or a Hugging Face Hub id; nothing for the installation itself."""


def main(argv: list[str]) -> int:
    """`ivideo info [MODEL]`."""
    wanted = parse(
        Info, argv, prog="ivideo info", description="Say what this installation, or a model, is.", positional=("model",)
    )
    lines = list(_model(wanted.model) if wanted.model else _installation())
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:<{width}}  {value}")
    return 0


def _installation() -> Iterator[tuple[str, str]]:
    import torch

    from ivideo import hub, recipes

    yield "ivideo", f"{own_version()} in {Path(__file__).parent}"
    yield "Python", f"{platform.python_version()} on {platform.platform()}"
    yield "torch", f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    yield "GPU", cuda
    for name in ("transformers", "lightning", "vector-quantize-pytorch", "av", "gymnasium"):
        yield name, version(name)
    for name, extra in OPTIONAL.items():
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, f"not installed (extra [{extra}])"
    yield "packaged models", ", ".join(hub.packaged()) or "none"
    yield "packaged configs", str(len(recipes.names()))


def _model(source: str) -> Iterator[tuple[str, str]]:
    """What a world model, or a tokenizer alone, is; from its configs and the headers of its weights."""
    from ivideo import checkpoint, hub
    from ivideo.act import Interface
    from ivideo.layout import layout_of
    from tokenizer import checkpoint as tokenizer_files
    from tokenizer.weights import weights_path
    from transformer import checkpoint as transformer_files

    alone = _tokenizer_alone(source)
    folder = hub.resolve(source) if alone is None else alone
    home = folder / "tokenizer" if alone is None else folder
    frames, codec = tokenizer_files.read_config(home), _Weights.of(weights_path(home))
    yield "folder", str(folder)
    if alone is not None:
        yield "kind", "tokenizer"
        yield from _frames(frames)
        yield "tokenizer", _said(frames, codec)
        return
    weights = _Weights.of(transformer_files.weights_path(folder / "transformer"))
    config = checkpoint.read_config(folder, weights.shapes)
    layout = layout_of(frames)
    shape, embedding = config.transformer, config.embedding
    goal = ", goal-conditioned" if config.goal_conditioned else ""
    yield "kind", f"world model, {'action-conditioned' if embedding.action_dim else 'action-free'}{goal}"
    yield from _frames(frames)
    room = min(layout.max_frames(shape.max_positions), config.remember or shape.max_positions)
    yield "remembers", f"{room} imagined frames; longer futures forget the oldest"
    yield "action", f"{embedding.action_dim} values" if embedding.action_dim else "none"
    yield "acts", str(Interface.of(config))
    if embedding.domains:
        yield "domains", Interface.of(config).embodiments.listed()
    if embedding.text is not None:
        yield "instructions", f"read by {embedding.text.encoder}"
    heads = {
        "reward": config.heads.reward,
        "termination": config.heads.termination,
        "action reconstruction": config.heads.action_reconstruction,
    }
    yield "heads", ", ".join(name for name, there in heads.items() if there) or "none"
    yield "tokenizer", _said(frames, codec)
    yield "transformer", f"{weights.said()}; {shape.layers} layers, {shape.heads} heads, width {shape.width}"
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    yield "together", f"{codec.count + weights.count:,} numbers, {size / 1e6:.2f} MB on disk"
    drawn = config.sampling
    yield "draws tokens", f"at temperature {drawn.temperature:g}, top-k {drawn.top_k}, top-p {drawn.top_p:g}"


def _tokenizer_alone(source: str) -> Path | None:
    """The folder of a tokenizer without a transformer, `model/` of a training run too; None for anything else."""
    path = Path(source).expanduser()
    found = [place for place in (path, path / "model") if (place / "config.json").is_file()]
    return found[0] if found else None


def _frames(config: "TokenizerConfig") -> Iterator[tuple[str, str]]:
    yield "resolution", f"{config.resolution}x{config.resolution} pixels"
    yield (
        "context frames",
        f"{config.context_frames}, {config.context_tokens} tokens each of {config.context_codes} codes",
    )
    yield "imagined frame", f"{config.dynamics_tokens} tokens of {config.dynamics_codes} codes"


def _said(config: "TokenizerConfig", weights: "_Weights") -> str:
    from tokenizer import EMAVQ

    return weights.said("numbers (parameters and running averages)" if isinstance(config.quantizer, EMAVQ) else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """The header of a safetensors file."""

    path: Path
    shapes: dict[str, list[int]]
    kinds: list[str]

    @classmethod
    def of(cls, path: Path) -> Self:
        try:
            with safe_open(path, framework="pt") as tensors:
                slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118  (not a dictionary)
        except SafetensorError as error:
            raise ValueError(
                f"{path} is no complete safetensors file ({error}): it is truncated or damaged; fetch it again"
            ) from error
        kinds = sorted({one.get_dtype() for one in slices.values()})
        return cls(path=path, shapes={name: one.get_shape() for name, one in slices.items()}, kinds=kinds)

    @property
    def count(self) -> int:
        return sum(map(prod, self.shapes.values()))

    def said(self, what: str | None = None) -> str:
        return (
            f"{self.count:,} {what or 'parameters'} as {', '.join(self.kinds)}, {self.path.stat().st_size / 1e6:.2f} MB"
        )
