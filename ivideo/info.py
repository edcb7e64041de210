"""`ivideo info [MODEL]`: what this installation computes with, or what a model is, without loading its weights."""

import json
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ivideo.cli import own_version
from ivideo.config import parse

OPTIONAL = {"taming-transformers": "taming", "flash-attn": "flash", "metaworld": "metaworld"}
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
    models = sorted(path.name for path in hub.ASSETS.iterdir()) if hub.ASSETS.is_dir() else []
    yield "packaged models", ", ".join(models) or "none"
    yield "packaged configs", str(len(recipes.names()))


def _model(source: str) -> Iterator[tuple[str, str]]:
    from ivideo import hub

    folder = hub.resolve(source)
    yield "folder", str(folder)
    for path in sorted(folder.rglob("*.safetensors")):
        yield path.relative_to(folder).as_posix(), _contents(path)
    for name in ("tokenizer/config.json", "transformer/config.json", "world_model.json"):
        path = folder / name
        if not path.exists():
            continue
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}); fetch it again") from error
        for key, value in settings.items():
            yield f"{name.partition('/')[0].removesuffix('.json')}.{key}", str(value)


def _contents(path: Path) -> str:
    try:
        with safe_open(path, framework="pt") as tensors:
            slices = [tensors.get_slice(name) for name in tensors.keys()]  # noqa: SIM118  (not a dictionary)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file or a damaged one ({error}); fetch it again") from error
    count = sum(prod(one.get_shape()) for one in slices)
    kinds = ", ".join(sorted({one.get_dtype() for one in slices}))
    return f"{count:,} numbers ({kinds}), {path.stat().st_size / 1e6:.1f} MB"
