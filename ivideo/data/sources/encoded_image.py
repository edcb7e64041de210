"""Pictures as png or jpeg bytes, decoded with their sizes checked first."""

from collections.abc import Callable, Iterable
from io import BytesIO

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ivideo.data.sources.source import Array
from ivideo.resizing import resize

MAX_PIXELS = 8192 * 8192
"""Largest picture that is decoded; a few kilobytes can claim any size."""
_CHUNK = 16
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr")


def decode_image(data: bytes, where: str) -> UInt8[Array, "h w 3"]:
    """Return a png or jpeg as RGB, upright; ValueError naming it for anything else, and for one that is damaged."""
    try:
        return _pixels(data)
    except UnidentifiedImageError as error:
        raise ValueError(f"{where}: no png or jpeg ({len(data)} bytes); it is damaged, or of another kind") from error
    except Exception as error:  # Pillow's decoders raise whatever damaged bytes make of them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{where}: it cannot be decoded ({reason}); expected a whole png or jpeg") from error


def _pixels(data: bytes) -> UInt8[Array, "h w 3"]:
    with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{picture.width}x{picture.height} are more than {MAX_PIXELS / 2**20:.0f} megapixels")
        if picture.mode not in _MODES:
            raise ValueError(f"its pixels are {picture.mode!r}, not 8 bits a colour")
        return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))


def decode_images(
    pictures: Iterable[bytes],
    where: Callable[[int], str],
    size: int | None,
    crop: bool,
    decode: Callable[[bytes, str], Array] = decode_image,
) -> UInt8[Tensor, "t 3 h w"]:
    """Return pictures of one shape as frames, resized a few at a time; `where` names number t in errors."""
    chunks: list[Tensor] = []
    waiting: list[Array] = []
    shape: tuple[int, ...] | None = None

    def settle() -> None:
        chunk = torch.from_numpy(np.stack(waiting)).permute(0, 3, 1, 2)
        chunks.append(chunk.contiguous() if size is None else resize(chunk, size, crop))
        waiting.clear()

    for number, data in enumerate(pictures):
        picture = decode(data, where(number))
        shape = shape or picture.shape
        if picture.shape != shape:
            raise ValueError(
                f"{where(number)} has shape {list(picture.shape)}, the first had {list(shape)}; expected one size "
                "throughout"
            )
        waiting.append(picture)
        if len(waiting) == _CHUNK:
            settle()
    if waiting:
        settle()
    if not chunks:
        raise ValueError(f"{where(0)}: there are no pictures; expected at least one")
    return torch.cat(chunks)
