"""A tokenizer's weights file, read with care: nothing runs, and nothing is allocated that the file does not hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from .config import FSQ, GradientVQ, TokenizerConfig
from .model import VideoTokenizer
from .quantize import build_quantizer

WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_MOST_BYTES = 1 << 20
"""Of the header, which has some kilobytes and is read whole before anything else is known."""


def weights_path(folder: Path | str) -> Path:
    """The weights file in `folder`; `ValueError` where there are pickles instead, else `FileNotFoundError`.

    A header that is too long for a tokenizer's tensors is a `ValueError` too: it would be read whole.
    """
    folder = Path(folder)
    path = folder / WEIGHTS_FILE
    if path.is_file():
        with path.open("rb") as stream:
            header = int.from_bytes(stream.read(8), "little")
        if _MOST_BYTES < header <= path.stat().st_size:
            raise ValueError(f"{path} has a header of {header:,} bytes; expected some ten thousand at most")
        return path
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLE_SUFFIXES)
    if pickles:
        raise ValueError(
            f"{folder} holds pickled weights only ({', '.join(pickles)}), which can run code when they are opened; "
            f"convert them to {WEIGHTS_FILE} where you trust them"
        )
    raise FileNotFoundError(f"{path} does not exist; expected the weights of a saved tokenizer")


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors, floating-point ones as float32; `ValueError` for a damaged file and for numbers that are none."""
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{path}: {name} holds NaN or infinite weights; copy it again, or take an earlier save")
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors, from the header alone; raises as `read_weights` does."""
    try:
        with safe_open(path, framework="pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: SafetensorError) -> ValueError:
    return ValueError(
        f"{path} is not a whole safetensors file ({error}): it is truncated or damaged; copy or download it again"
    )


def check_shapes(config: TokenizerConfig, given: Mapping[str, Sequence[int]], path: Path) -> None:
    """Raises `ValueError` that names tensors that are missing, unknown or of another shape.

    Nothing is allocated for what a config says until the weights bear it out.
    """
    modules = len(config.channels) * config.blocks_per_level + config.mid_blocks
    if modules > len(given):
        raise ValueError(
            f"{path} does not fit its config.json: that names {modules} residual blocks, here are {len(given)} tensors"
        )
    expected = _expected_shapes(config, path)
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [f"{name} is unknown" for name in given if name not in expected]
    problems += [
        f"{name} has shape {tuple(given[name])}, expected {shape}"
        for name, shape in expected.items()
        if name in given and tuple(given[name]) != shape
    ]
    if problems:
        more = f"; and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise ValueError(f"{path} does not fit its config.json: {'; '.join(problems[:4])}{more}")


def _expected_shapes(config: TokenizerConfig, path: Path) -> dict[str, tuple[int, ...]]:
    """Of a tokenizer that is made of no memory, its quantizers apart where they cannot be."""
    plain = replace(config, quantizer=GradientVQ()) if isinstance(config.quantizer, FSQ) else config
    try:
        with torch.device("meta"):
            expected = VideoTokenizer(plain).state_dict()
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:  # TypeError: a size beyond 64 bits
        raise ValueError(
            f"{path.parent / 'config.json'} describes tensors larger than any can be ({str(error)[:120]})"
        ) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in expected.items()}
    if plain is config:
        return shapes
    for half in ("context", "dynamics"):
        module = "quantize" if half == "context" else "dynamics_quantize"
        codes = config.context_codes if half == "context" else config.dynamics_codes
        made = build_quantizer(config.quantizer, codes=codes, width=config.code_width, half=half)
        del shapes[f"{module}.embedding.weight"]
        shapes |= {f"{module}.{name}": tuple(value.shape) for name, value in made.state_dict().items()}
    return shapes
